"""Which files a run writes: going on, it replaces these, and no others that happen to lie there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from napari_asmlp.errors import SettingsError
from napari_asmlp.io.files import replacing


class Claims:
    """The names of the files of a run, kept in a file of their own.

    Parameters
    ----------
    file : where they are kept; absent before the run began
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def __contains__(self, path: Path) -> bool:
        return str(path.absolute()) in self._read()

    def add(self, paths: Iterable[Path]) -> None:
        """Note files before they are written."""
        names = sorted(self._read() | {str(path.absolute()) for path in paths})
        with replacing(self._file, overwrite=True) as temporary:
            temporary.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")

    def remove(self) -> None:
        """Forget them, once the run is done."""
        self._file.unlink(missing_ok=True)

    def _read(self) -> set[str]:
        try:
            return set(map(str, json.loads(self._file.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise SettingsError(
                f"{self._file}: damaged ({reason}); begin anew with --overwrite"
            ) from error
