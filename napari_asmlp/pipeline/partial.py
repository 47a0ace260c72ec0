"""Finished planes of a run, kept in a folder so that another run can go on with them.

Beside them lies a journal: what the run was made of, and how many planes are finished. Both are
plain: numbers and JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pydantic
import torch

from napari_asmlp.devices import Precision
from napari_asmlp.errors import OutputError, SettingsError
from napari_asmlp.io import replacing
from napari_asmlp.io.planes import each_plane
from napari_asmlp.io.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_asmlp.pipeline.plan import Plan
    from napari_asmlp.volume import Volume

_JOURNAL, _CLAIMED = "run.json", "outputs.json"
_ARRAYS = ("labels", "probabilities", "uncertainty")
Identity = dict[str, str]


class NotResumableError(SettingsError):
    """What lies in the folder is of another run, or damaged.

    Attributes
    ----------
    what : what differs, by its name in the identity; empty if it is damaged
    """

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what


@dataclass(frozen=True)
class Finished:
    """How far a run came: planes along the file's slowest axis, and how the last of them ran."""

    planes: Annotated[int, pydantic.Field(ge=0)] = 0
    precision: Precision | None = None
    parts: Annotated[int, pydantic.Field(ge=1)] = 1


_FINISHED = pydantic.TypeAdapter(Finished)


@dataclass(frozen=True)
class Partial:
    """The folder of an unfinished run.

    Parameters
    ----------
    folder
        Made when the first planes are finished.
    resume
        Whether to go on with what lies there; else it begins anew.
    """

    folder: Path
    resume: bool = False

    @property
    def exists(self) -> bool:
        """Whether planes of a run lie there, of whatever it was made."""
        return self._journal.exists()

    def spool(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Spool:
        """Return where an output of the run is kept."""
        return Spool(self.folder / f"{name}.raw", shape, dtype)

    def finished(self, identity: Identity, spools: list[Spool]) -> Finished:
        """Return how far the run came that lies here; nowhere if there is none.

        Raises
        ------
        NotResumableError
            If it was made of something else, or is damaged.
        """
        if not self.resume or not self.exists:
            return Finished()
        anew = "give --overwrite instead of --resume to begin anew"
        try:
            content = json.loads(self._journal.read_text(encoding="utf-8"))
            found = _FINISHED.validate_python(content["finished"])
            other = {str(key): str(value) for key, value in content["identity"].items()}
            sizes = [spool.path.stat().st_size == spool.stored().nbytes for spool in spools]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise NotResumableError(f"{self.folder}: damaged ({reason}); {anew}") from error
        for key in identity | other:
            if identity.get(key) != other.get(key):
                raise NotResumableError(
                    f"{self.folder}: {key} was {other.get(key)}, now it is {identity.get(key)},"
                    f" and would give other labels; {anew}",
                    key,
                )
        if not all(sizes):
            raise NotResumableError(f"{self.folder}: damaged (a file has the wrong size); {anew}")
        return found

    def begin(self, spools: list[Spool]) -> None:
        """Make the folder, with empty outputs and no journal yet.

        Raises
        ------
        OutputError
            If the system refuses.
        """
        self.remove()
        try:
            self.folder.mkdir()
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made: {error.strerror}") from error
        for spool in spools:
            spool.make()

    def note(self, identity: Identity, finished: Finished) -> None:
        """Write the journal; what it says is finished has to be on the disk already."""
        content = {"identity": identity, "finished": asdict(finished)}
        with replacing(self._journal, overwrite=True) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def claim(self, outputs: Iterable[Path]) -> None:
        """Take down which files the run is about to write, before it writes the first of them."""
        content = json.dumps([str(path.absolute()) for path in outputs], indent=1)
        with replacing(self.folder / _CLAIMED, overwrite=True) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")

    def claimed(self) -> frozenset[Path]:
        """Return the files that a run was about to write when it was killed; none else."""
        try:
            content = json.loads((self.folder / _CLAIMED).read_text(encoding="utf-8"))
            return frozenset(map(Path, content))
        except (OSError, ValueError, TypeError, RecursionError):
            return frozenset()  # what is not known to be of the run is not replaced

    def remove(self) -> None:
        """Delete what lies in the folder, and the folder if nothing else does.

        Raises
        ------
        OutputError
            If something else does, or the system refuses.
        """
        try:
            for file in (_JOURNAL, *(f"{name}.raw" for name in _ARRAYS), _CLAIMED):
                (self.folder / file).unlink(missing_ok=True)
            if self.folder.exists():
                self.folder.rmdir()
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be removed: {error.strerror}") from error

    @property
    def _journal(self) -> Path:
        return self.folder / _JOURNAL


def identity_of(volume: Volume, plan: Plan, described: Mapping[str, Any]) -> Identity:
    """Return all that the labels depend on, down to the last bit, by name.

    Parameters
    ----------
    volume, plan : of the run
    described : `provenance.describe_run` of it
    """
    chosen = dict(described["settings"])
    for planned in ("memory", "precision", "device", "compiled"):  # which show in the plan
        chosen.pop(planned)
    file, channels = described["input"], described["channels"]
    hashes = [each["hash"] for each in channels] if channels else [file["hash"]] if file else []
    return {
        "input": " ".join(hashes) or _content_hash(volume),
        "voxels": f"{volume.data.dtype} {tuple(volume.data.shape)}",
        "offset": str(getattr(volume.data, "offset", 0)),
        "grid": str(volume.grid.affine.tolist()),
        "model": described["model"]["hash"],
        "window": "x".join(map(str, plan.window)),
        "device": plan.inference.device.type,
        "precision": plan.inference.precision,
        "brought upright": str(plan.upright is not None),
        "network": plan.engine,
        "threads": str(torch.get_num_threads()),
        **{f"setting {key}": str(value) for key, value in chosen.items()},
        **{f"version of {key}": value for key, value in described["versions"].items()},
    }


def _content_hash(volume: Volume) -> str:
    digest = hashlib.sha256()
    for plane in each_plane(volume.data):
        digest.update(plane.tobytes(order="F"))
    return "sha256:" + digest.hexdigest()
