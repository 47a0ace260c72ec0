"""What a project holds, as values; paths are absolute here, and relative only in its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from napari_asmlp.card import LabelEntry
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region

WHOLE: Literal["whole"] = "whole"
Corrected = Literal["whole"] | tuple[Region, ...]
Plain = bool | int | float | str


@dataclass(frozen=True)
class ProjectVolume:
    """An image and what people said about it.

    Attributes
    ----------
    name : unlike that of all others, and fit to be a file's
    images : one file, or one for each channel
    hash : of their voxels, by `io.channels.content_hash`
    annotations : label file on the image's grid, or None where there is none yet
    corrected : None where slices or strokes are painted, and voxels of the project's value
        `unannotated` are unknown. Of a predicted label file that somebody has corrected, what he
        has looked at: all of it (`WHOLE`), or boxes. In there 0 is background whatever it means
        elsewhere; all else is unknown
    volume : which one of 4D files; None for all of them, as channels
    """

    name: str
    images: tuple[Path, ...]
    hash: str
    annotations: Path | None = None
    corrected: Corrected | None = None
    volume: int | None = None


@dataclass(frozen=True)
class Project:
    """Volumes that teach one model.

    Attributes
    ----------
    unannotated : value of voxels that nobody looked at, where slices or strokes are painted
    background : value that means background, and is written as 0 in labels; None if none does
    classes : name and colour of label values; a value that is not here is "label N"
    model : file of the model that was taught or fine-tuned, if there is one
    settings : plain values of whoever saved the project
    """

    volumes: tuple[ProjectVolume, ...] = ()
    unannotated: int = 0
    background: int | None = None
    classes: tuple[LabelEntry, ...] = ()
    model: Path | None = None
    settings: Mapping[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse two volumes of one name, two classes of one value, and values of two meanings."""
        names = [volume.name.casefold() for volume in self.volumes]  # files' names may be so too
        if twice := _twice(names):
            raise SettingsError(f"two volumes are called {twice!r}; give one another name")
        if twice := _twice([str(entry.value) for entry in self.classes]):
            raise SettingsError(f"label value {twice} has two names; keep one")
        if self.background == self.unannotated:
            raise SettingsError(
                f"background {self.background}: is the value of unannotated voxels too; name"
                " another one"
            )

    def volume(self, name: str) -> ProjectVolume:
        """Return the volume of a name; raises `SettingsError` with the names there are."""
        for volume in self.volumes:
            if volume.name == name:
                return volume
        names = ", ".join(volume.name for volume in self.volumes) or "none"
        raise SettingsError(f"volume {name!r}: the project has no such volume ({names})")


def with_volume(project: Project, volume: ProjectVolume) -> Project:
    """Add a volume at the end, or put it in the place of that of the same name."""
    if all(one.name != volume.name for one in project.volumes):
        return replace(project, volumes=(*project.volumes, volume))
    volumes = tuple(volume if one.name == volume.name else one for one in project.volumes)
    return replace(project, volumes=volumes)


def without_volume(project: Project, name: str) -> Project:
    """Take a volume out; raises `SettingsError` where there is none of that name."""
    gone = project.volume(name)
    return replace(project, volumes=tuple(one for one in project.volumes if one is not gone))


def _twice(values: list[str]) -> str | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)
