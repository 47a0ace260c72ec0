"""A course as a project on disk: what is written beside its file, and what comes of opening it.

Nothing here knows a widget. Images that lie in files are named, all others are written beside the
project; annotations with the corrections among them always are.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp import zoo
from napari_asmlp.errors import SettingsError
from napari_asmlp.io import read_volume, write_labels
from napari_asmlp.io import write_volume as write_image
from napari_asmlp.model import SUFFIX, Model, save_model
from napari_asmlp.project import (
    PROJECT_SUFFIX,
    UNKNOWN,
    Project,
    ProjectVolume,
    describe_volume,
    known_values,
    load_project,
    open_annotations,
    open_image,
    save_project,
)
from napari_asmlp.viewer.files import as_named
from napari_asmlp.viewer.layers import METADATA_KEY, channels_beside
from napari_asmlp.viewer.teach.classes import BACKGROUND
from napari_asmlp.viewer.teach.request import painted_in, volume_with
from napari_asmlp.volume import Volume, smallest_unsigned

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

    from napari_asmlp.model import LabelEntry
    from napari_asmlp.viewer.teach.pairs import Pair

_FORBIDDEN = r'[/\\:*?"<>|\x00-\x1f]'
_LONGEST_NAME = 80


@dataclass(frozen=True, eq=False)
class Part:
    """A volume of the course that can be written.

    Attributes
    ----------
    key : of its pair
    name : that no other part has
    files : of its image; none if it lies in no file, or only a part of one
    entry : of the project that it came from, as long as its image is the same
    """

    key: str
    name: str
    volume: Volume
    files: tuple[Path, ...]
    annotations: Labels
    taught: Labels | None
    entry: ProjectVolume | None


@dataclass(frozen=True, eq=False)
class Contents:
    """What else a project holds; `model_file` is that of an earlier day, if none is at hand."""

    classes: tuple[LabelEntry, ...]
    settings: Mapping[str, bool | int | float | str]
    model: Model | None = None
    model_file: Path | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """A volume of a project in memory.

    Attributes
    ----------
    images : one for each file
    annotations : (i, j, k), 0 where nothing is known
    """

    entry: ProjectVolume
    images: tuple[Volume, ...]
    annotations: NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class OpenedProject:
    """A project in memory; `background` is the value that means it in all annotations."""

    path: Path
    project: Project
    background: int
    volumes: tuple[Opened, ...]
    model: Model | None


def parts_of(pairs: Iterable[Pair], layers: Sequence[Layer]) -> list[Part]:
    """Return what of a course can be written; raises a `SettingsError` where there is nothing."""
    parts: list[Part] = []
    for pair in pairs:
        if pair.annotations is None:
            continue
        entry = pair.entry
        wanted = pair.image.name if entry is None else entry.name
        name = unlike([part.name for part in parts], wanted)
        volume, files = volume_with(pair.channels), image_files(pair.channels, layers)
        parts.append(Part(pair.key, name, volume, files, pair.annotations, pair.taught, entry))
    if not parts:
        raise SettingsError("there is nothing to save yet: choose an image, press New, and paint")
    return parts


def image_files(channels: tuple[Image, ...], layers: Sequence[Layer]) -> tuple[Path, ...]:
    """Return the files whose voxels are just these channels, or none."""
    sources = [layer.metadata.get(METADATA_KEY) for layer in channels]
    paths = [source.path for source in sources if isinstance(source, Volume) and source.path]
    if len(paths) < len(channels):
        return ()
    alone = [channels_beside(layer, layers) == [layer] for layer in channels]
    if all(alone) and len(set(paths)) == len(paths):
        return tuple(paths)
    together = channels_beside(channels[0], layers)
    is_whole = len(channels) > 1 and set(together) == set(channels)
    return (paths[0],) if is_whole else ()


def iter_save(
    parts: Sequence[Part], contents: Contents, path: Path, *, overwrite: bool
) -> Generator[str, None, dict[str, ProjectVolume]]:
    """Write annotations, images without a file, the model and last the project.

    Yields what is being written; returns the entries by the keys of their pairs.

    Raises
    ------
    AsmlpError
        If a file cannot be written, or is there already and `overwrite` is false.
    """
    stem = path.name.removesuffix(PROJECT_SUFFIX)
    entries, background = {}, _background(parts, contents.classes)
    for part in parts:
        yield f"Saving {part.name}"
        painted = painted_in(part.annotations, part.taught)
        array = painted.array
        if painted.background is not None:
            array = np.where(array == painted.background, np.uint16(background), array)
        place = path.with_name(f"{stem}_{part.name}_annotations.nii.gz")
        labels = as_named(part.annotations, part.volume, array)
        write_labels(labels, place, overwrite=overwrite)
        entries[part.key] = yield from iter_entry(part, place, path, overwrite=overwrite)
    model_file = contents.model_file
    if contents.model is not None:
        yield "Saving the model"
        model_file = path.with_name(f"{stem}{SUFFIX}")
        save_model(contents.model, model_file, overwrite=overwrite)
    project = Project(
        tuple(entries.values()), 0, background, contents.classes, model_file, contents.settings
    )
    save_project(project, path, overwrite=overwrite)
    return entries


def iter_open(path: Path) -> Generator[str, None, OpenedProject]:
    """Read a project and all that it names; yields what is being read.

    Raises
    ------
    AsmlpError
        If a file is missing, damaged, or not what it was when the project was saved.
    """
    project = load_project(path)
    used = {entry.value for entry in project.classes}
    background = project.background
    if background is None:
        background = BACKGROUND if BACKGROUND not in used else max(used) + 1
    volumes = []
    for entry in project.volumes:
        yield f"Opening {entry.name}"
        image = open_image(entry)
        known = known_values(project, entry, open_annotations(entry, image))
        known[known == 0] = background
        known[known == UNKNOWN] = 0
        files = [read_volume(file, volume=entry.volume) for file in entry.images]
        images = tuple(replace(file, data=file.array()) for file in files)
        annotations = known.astype(smallest_unsigned(max(int(known.max()), background)))
        volumes.append(Opened(entry, images, annotations))
    model = None
    if project.model is not None:
        yield "Opening the model"
        model = zoo.load_segmenter(project.model)
    return OpenedProject(path, project, background, tuple(volumes), model)


def iter_entry(
    part: Part, place: Path, project: Path, *, overwrite: bool
) -> Generator[str, None, ProjectVolume]:
    """Return the entry of a part whose labels lie at a place; its image is written if need be."""
    if part.entry is not None:
        return replace(part.entry, name=part.name, annotations=place, corrected=None)
    files = part.files
    if not files:
        yield f"Saving the image of {part.name}"
        stem = project.name.removesuffix(PROJECT_SUFFIX)
        image = replace(part.volume, path=None)
        files = (
            write_image(
                image, project.with_name(f"{stem}_{part.name}.nii.gz"), overwrite=overwrite
            ),
        )
    yield f"Reading {part.name}"
    return describe_volume(part.name, files, place)


def unlike(taken: Sequence[str], wanted: str) -> str:
    """Return a name fit for a file that is not taken."""
    name = re.sub(_FORBIDDEN, "_", wanted)[:_LONGEST_NAME].strip(" .") or "volume"
    known, candidate, number = {one.casefold() for one in taken}, name, 2
    while candidate.casefold() in known:
        candidate, number = f"{name} {number}", number + 1
    return candidate


def _background(parts: Sequence[Part], classes: Iterable[LabelEntry]) -> int:
    """Return a value for the background of all parts that is no class of any."""
    used = {entry.value for entry in classes}
    for part in parts:
        value = painted_in(part.annotations, None).background
        if value is not None and value not in used:
            return value
    return BACKGROUND if BACKGROUND not in used else max(used) + 1
