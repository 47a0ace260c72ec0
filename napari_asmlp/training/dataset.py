"""Labelled data sets on disk: which cases there are, how they are split, and how they are read.

Two layouts are known, both a folder with ``dataset.json``, ``imagesTr`` and ``labelsTr``: that of
the Medical Segmentation Decathlon, which lists its pairs and has one file a case, and nnU-Net's,
which pairs by name and has one file a channel (``NAME_0000.nii.gz`` ...). nnU-Net's first version
mixes them: it lists ``NAME.nii.gz`` and stores the channels.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.io import base_name, check_volumes, read_volume, volumes_in
from napari_asmlp.io.channels import channel_of, check_channels, content_hash, stacked
from napari_asmlp.volume import Volume

_HIGHEST_LABEL = 65535
_MOST_LABELS = 254


@dataclass(frozen=True)
class Case:
    """One labelled volume: a file per channel (or one 4D file), and its labels.

    Attributes
    ----------
    volume : which one of a 4D file; None for all of them, as channels
    hash : SHA-256 of the voxels, once `examined`
    """

    name: str
    images: tuple[Path, ...]
    labels: Path
    volume: int | None = None
    hash: str = ""

    def open_images(self) -> list[Volume]:
        """Open the files of its image; no voxel is read."""
        return [read_volume(path, volume=self.volume) for path in self.images]


@dataclass(frozen=True)
class Dataset:
    """The cases of a folder, the label table they share, and what their channels are called.

    Attributes
    ----------
    note : what the user should know of it before training begins, or empty
    """

    name: str
    cases: tuple[Case, ...]
    label_names: dict[int, str]
    channel_names: tuple[str, ...] = ()
    note: str = ""


def read_dataset(folder: Path, volume: int | None = None) -> Dataset:
    """Find the cases of a data set.

    Parameters
    ----------
    volume : which one of 4D images; None for all of them, as channels

    Raises
    ------
    SettingsError
        Where ``dataset.json`` is unusable, or a file is missing or stray.
    VolumeError
        Where a file cannot be opened, such as a link to a file that is not there.
    """
    index = folder / "dataset.json"
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{index}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingsError(f"{index}: not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise SettingsError(f"{index}: it has no table of labels")
    listed = content.get("training")
    cases = _listed_cases(folder, listed) if isinstance(listed, list) else _named_cases(folder)
    if not cases:
        raise SettingsError(f"{folder}: no training cases")
    check_volumes([path for case in cases for path in (*case.images, case.labels)])
    chosen = tuple(replace(case, volume=volume) for case in cases)
    name, labels = str(content.get("name", folder.name)), _label_names(content, index)
    note = _count_note(content.get("numTraining"), len(cases), index)
    return Dataset(name, chosen, labels, _channel_names(content), note)


def examined(cases: Sequence[Case]) -> Iterator[Case]:
    """Read each image once, plane by plane: give the cases with their hashes.

    The hash is of the voxels as float32: a renamed, moved or recompressed image keeps it.

    Raises
    ------
    VolumeError
        Where a file is damaged, holds NaN or infinity, or has other channels than the first case.
    """
    expected = None
    for case in cases:
        images = case.open_images()
        channels = sum(image.channels for image in images)
        if channels != (expected := expected or channels):
            raise VolumeError(
                f"{case.images[0]}: {channels} channels, but {cases[0].images[0].name} has"
                f" {expected}; a model takes one number of them (--volume N chooses one of 4D)"
            )
        yield replace(case, hash=content_hash(images))


def read_case(case: Case) -> tuple[Volume, Volume]:
    """Image and labels of a case on one grid; raises `GridError` where theirs differ."""
    channels = case.open_images()
    labels = read_volume(case.labels, kind="labels")
    for volume in channels:
        if not volume.grid.same_as(labels.grid):
            raise GridError(
                f"{volume.path} and its labels {labels.path} lie on different grids"
                f" ({volume.grid.difference(labels.grid)})"
            )
    return stacked(channels), labels


def class_indices(labels: Volume, label_names: Mapping[int, str]) -> NDArray[np.uint8]:
    """Label values to positions in the label table; raises `VolumeError` on an undeclared one."""
    values = labels.array()
    if unknown := sorted(set(np.unique(values).tolist()) - {0, *label_names}):
        raise VolumeError(
            f"{labels.name}: label value {unknown[0]} is not in dataset.json"
            f" (declared: 0, {', '.join(map(str, label_names))})"
        )
    table = np.zeros(max(label_names) + 1, dtype=np.uint8)
    table[list(label_names)] = np.arange(1, len(label_names) + 1)
    classes: NDArray[np.uint8] = table[values]
    return classes


def _label_names(content: dict[str, Any], index: Path) -> dict[int, str]:
    """MSD writes {"1": "name"}, nnU-Net {"name": 1}."""
    names: dict[int, str] = {}
    for key, value in content["labels"].items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        try:
            names[int(number)] = str(name)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{index}: label {key!r}: {value!r} is not a number") from error
    names.pop(0, None)
    if ignored := [number for number, name in names.items() if name.lower() == "ignore"]:
        raise SettingsError(
            f"{index}: label {ignored[0]} means 'ignore': leaving voxels out is not supported"
        )
    if not names or min(names) < 0 or max(names) > _HIGHEST_LABEL or len(names) > _MOST_LABELS:
        raise SettingsError(
            f"{index}: needs 1 to {_MOST_LABELS} labels from 1 to {_HIGHEST_LABEL}, has"
            f" {sorted(names)[:5]}"
        )
    return dict(sorted(names.items()))


def _count_note(stated: object, found: int, index: Path) -> str:
    """Return a line where ``numTraining`` is another number than that of the cases found."""
    if stated is None or stated == found:
        return ""
    return f"{index} says numTraining {stated!r}, but {found} cases are there: {found} are used"


def _channel_names(content: dict[str, Any]) -> tuple[str, ...]:
    """MSD and nnU-Net's first version say ``modality``, its second ``channel_names``."""
    table = content.get("channel_names", content.get("modality"))
    if not isinstance(table, dict):
        return ()
    return tuple(str(name) for _, name in sorted(table.items(), key=lambda item: str(item[0])))


def _listed_cases(folder: Path, listed: list[Any]) -> list[Case]:
    cases = []
    for entry in listed:
        if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
            raise SettingsError(
                f"{folder / 'dataset.json'}: {entry!r} is no pair of image and label"
            )
        image, labels = (_inside(folder, str(entry[key])) for key in ("image", "label"))
        _check_listed(folder, labels)
        cases.append(Case(base_name(image), _listed_images(folder, image), labels))
    _check_listed_once(folder, cases)
    return _named_apart(folder, cases)


def _named_apart(folder: Path, cases: Sequence[Case]) -> list[Case]:
    """Call cases of one name by the paths of their images in the data set."""
    count, root = Counter(case.name for case in cases), os.path.normpath(folder)

    def name(case: Case) -> str:
        return case.name if count[case.name] == 1 else case.images[0].relative_to(root).as_posix()

    return [replace(case, name=name(case)) for case in cases]


def _check_listed_once(folder: Path, cases: Sequence[Case]) -> None:
    """Raise a `SettingsError` where a file is listed twice, or lies there and is not listed."""
    rooms = {
        "imagesTr": [path for case in cases for path in case.images],
        "labelsTr": [case.labels for case in cases],
    }
    for room, known in rooms.items():
        if len(set(known)) < len(known):
            raise SettingsError(f"{folder / 'dataset.json'} lists a file of {room} twice")
        present = volumes_in(folder / room) if cases and (folder / room).is_dir() else []
        if stray := [path for path in present if Path(os.path.normpath(path)) not in known]:
            raise SettingsError(f"{stray[0]}: not listed in dataset.json; list it or move it away")


def _inside(folder: Path, relative: str) -> Path:
    """Return a listed path, which may be a link to elsewhere but is named within the data set."""
    index = folder / "dataset.json"
    if "\0" in relative:
        raise SettingsError(f"{index}: {relative!r} is no name of a file")
    path = Path(os.path.normpath(folder / relative))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise SettingsError(f"{index}: {relative!r} lies outside the data set")
    return path


def _listed_images(folder: Path, image: Path) -> tuple[Path, ...]:
    """Return the file that is listed, or the channels ``NAME_0000`` ... in its place."""
    if os.path.lexists(image) or not image.parent.is_dir():
        _check_listed(folder, image)
        return (image,)
    name = base_name(image)
    siblings = volumes_in(image.parent)
    channels = [path for path in siblings if (found := channel_of(path)) and found[0] == name]
    if not channels:
        _check_listed(folder, image)
    return check_channels(name, channels)


def _check_listed(folder: Path, path: Path) -> None:
    """Raise a `SettingsError` where a listed file is not there, not even as a link."""
    if not os.path.lexists(path):
        relative = path.relative_to(os.path.normpath(folder)).as_posix()
        raise SettingsError(f"{folder / 'dataset.json'} lists {relative}, which does not exist")


def _named_cases(folder: Path) -> list[Case]:
    channels: dict[str, list[Path]] = {}
    for image in volumes_in(folder / "imagesTr"):
        if (found := channel_of(image)) is None:
            raise SettingsError(f"{image}: not named NAME_0000 as nnU-Net has it")
        channels.setdefault(found[0], []).append(image)
    labels: dict[str, Path] = {}
    for path in volumes_in(folder / "labelsTr"):
        if labels.setdefault(base_name(path), path) != path:
            raise SettingsError(f"{labels[base_name(path)]} and {path.name}: one name; keep one")
    if lonely := sorted(set(channels) ^ set(labels)):
        raise SettingsError(f"{folder}: {lonely[0]} is not in both imagesTr and labelsTr")
    return [
        Case(name, check_channels(name, paths), labels[name]) for name, paths in channels.items()
    ]
