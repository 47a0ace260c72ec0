"""Writing files so that nobody ever meets half of one, and nothing is overwritten by accident."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_asmlp.errors import OutputError
from napari_asmlp.io.formats import KNOWN, AnyPath, files_of, format_of, suffix_of


@contextmanager
def replacing(path: AnyPath, *, overwrite: bool = False) -> Iterator[Path]:
    """Give the body a temporary file name, and make the file `path` only if the body succeeds.

    The temporary file lies hidden in the same folder and has the same suffix. After the body it
    is forced to disk and renamed; after a failure of any kind it is removed.

    Yields
    ------
    Path
        Where the body writes.

    Raises
    ------
    OutputError
        If `path` exists and `overwrite` is false, or the system refuses to write.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(6)}{suffix_of(path)}")
    try:
        temporary.touch(exist_ok=False)
        mode = (path if path.exists() else temporary).stat().st_mode
        yield temporary
        temporary.chmod(mode)  # whatever the body's writer thinks that others may do
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        _refuse_special(path)
        if not overwrite:
            refuse_existing(path)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: AnyPath, *, overwrite: bool = False, inputs: Iterable[AnyPath] = ()) -> Path:
    """Make sure that a volume can be written to `path`, before the long work that leads to it.

    Parameters
    ----------
    path
        The file to write; its suffix chooses the format.
    overwrite
        Whether an existing file may be replaced.
    inputs
        Files that are read; they are never replaced.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    OutputError
        If the suffix is unknown, the folder is missing or refuses new files, the file exists and
        `overwrite` is false, or it is one of the inputs.
    """
    path = Path(path)
    if format_of(path) is None:
        raise OutputError(f"{path}: no known format; end the name with one of {KNOWN}")
    for file in files_of(path):
        check_file(file, overwrite=overwrite, inputs=inputs)
    return path


def check_file(
    file: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Make sure that a file of any kind, such as a report, can be written; see `check_output`."""
    file = Path(file)
    try:
        check_folder(file.parent)
        _refuse_input(file, inputs)
        if file.is_dir():
            raise OutputError(f"{file}: is a folder; give the name of a file")
        _refuse_special(file)
        if not overwrite:
            refuse_existing(file)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error


def check_distinct(files: Iterable[Path]) -> None:
    """Raise an OutputError if two of the files to write are one."""
    seen: set[Path] = set()
    for file in (file.resolve() for file in files):
        if file in seen:
            raise OutputError(f"{file}: two outputs would be written to it; give different names")
        seen.add(file)


def check_folder(folder: Path) -> None:
    """Raise an OutputError unless new files can be made in `folder`."""
    if not folder.exists():
        raise OutputError(f"{folder}: the folder does not exist; make it first")
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder to write into")
    try:
        # Trying is the only sure way: permission bits say nothing of a full or read-only disk.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder}: cannot be written to ({reason}); choose another") from error


def refuse_existing(path: Path) -> None:
    """Raise an OutputError if there is a file at `path`, or a link to one that is not there."""
    if os.path.lexists(path):
        raise OutputError(f"{path}: exists already; choose another name or give --overwrite")


def _refuse_special(file: Path) -> None:
    """Raise an OutputError if there is a device or a pipe, such as ``/dev/null``, at `file`.

    A file renamed to it would take its place, for whoever else uses it too.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise OutputError(f"{file}: is no ordinary file; give the name of one")


def _refuse_input(file: Path, inputs: Iterable[AnyPath]) -> None:
    """Raise an OutputError if `file` is one that is read, by whatever name."""
    for source in inputs:
        for part in files_of(source):
            same = file.exists() and part.exists() and file.samefile(part)
            if same or file.resolve() == part.resolve():
                raise OutputError(
                    f"{file}: is the input, which is never written to; choose another"
                )
