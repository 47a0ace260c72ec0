"""Labelled data sets on disk: which cases there are, how they are split, and how they are read.

Two layouts are known, both a folder with ``dataset.json``, ``imagesTr`` and ``labelsTr``: that of
the Medical Segmentation Decathlon, which lists its pairs and has one file a case, and nnU-Net's,
which pairs by name and has one file a channel (``NAME_0000.nii.gz`` ...).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.io import base_name, read_volume, volumes_in
from napari_asmlp.io.bids import is_bids
from napari_asmlp.io.channels import content_hash, stacked
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
    """The cases of a folder, the label table they share, and what their channels are called."""

    name: str
    cases: tuple[Case, ...]
    label_names: dict[int, str]
    channel_names: tuple[str, ...] = ()


def read_dataset(folder: Path, volume: int | None = None) -> Dataset:
    """Find the cases of a data set; raises `SettingsError` on a missing or stray file.

    Parameters
    ----------
    volume : which one of 4D images; None for all of them, as channels
    """
    index = folder / "dataset.json"
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{index}: cannot be read: {error.strerror}{_layout_advice(folder)}"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingsError(f"{index}: not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise SettingsError(f"{index}: it has no table of labels")
    listed = content.get("training")
    cases = _listed_cases(folder, listed) if isinstance(listed, list) else _named_cases(folder)
    if not cases:
        raise SettingsError(f"{folder}: no training cases")
    chosen = tuple(replace(case, volume=volume) for case in cases)
    name, labels = str(content.get("name", folder.name)), _label_names(content, index)
    return Dataset(name, chosen, labels, _channel_names(content))


def _layout_advice(folder: Path) -> str:
    """Return what to add where a folder without ``dataset.json`` has another layout."""
    if not is_bids(folder):
        return ""
    return (
        "; the folder is a BIDS data set: copy images to imagesTr and labels to labelsTr of a new"
        " folder, under the same names, and list them there in dataset.json"
    )


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
        cases.append(Case(base_name(image), (image,), labels))
    _check_listed_once(folder, cases)
    return _named_apart(folder, cases)


def _named_apart(folder: Path, cases: Sequence[Case]) -> list[Case]:
    """Call cases of one name by the paths of their images in the data set."""
    count, root = Counter(case.name for case in cases), folder.resolve()

    def name(case: Case) -> str:
        return case.name if count[case.name] == 1 else case.images[0].relative_to(root).as_posix()

    return [replace(case, name=name(case)) for case in cases]


def _check_listed_once(folder: Path, cases: Sequence[Case]) -> None:
    """Raise a `SettingsError` where a file is listed twice, or lies there and is not listed."""
    rooms = {
        "imagesTr": {case.images[0] for case in cases},
        "labelsTr": {case.labels for case in cases},
    }
    for room, known in rooms.items():
        if len(known) < len(cases):
            raise SettingsError(f"{folder / 'dataset.json'} lists a file of {room} twice")
        present = volumes_in(folder / room) if cases and (folder / room).is_dir() else []
        if stray := [path for path in present if path.resolve() not in known]:
            raise SettingsError(f"{stray[0]}: not listed in dataset.json; list it or move it away")


def _inside(folder: Path, relative: str) -> Path:
    try:
        path = (folder / relative).resolve()
    except (ValueError, OSError) as error:
        raise SettingsError(f"{folder / 'dataset.json'}: {relative!r}: {error}") from error
    if not path.is_relative_to(folder.resolve()):
        raise SettingsError(f"{folder / 'dataset.json'}: {relative!r} lies outside the data set")
    if not path.is_file():
        raise SettingsError(f"{folder / 'dataset.json'} lists {relative}, which does not exist")
    return path


def _named_cases(folder: Path) -> list[Case]:
    channels: dict[str, list[Path]] = {}
    for image in volumes_in(folder / "imagesTr"):
        match = re.fullmatch(r"(.+)_(\d{4})", base_name(image))
        if match is None:
            raise SettingsError(f"{image}: not named NAME_0000 as nnU-Net has it")
        channels.setdefault(match[1], []).append(image)
    labels: dict[str, Path] = {}
    for path in volumes_in(folder / "labelsTr"):
        if labels.setdefault(base_name(path), path) != path:
            raise SettingsError(f"{labels[base_name(path)]} and {path.name}: one name; keep one")
    if lonely := sorted(set(channels) ^ set(labels)):
        raise SettingsError(f"{folder}: {lonely[0]} is not in both imagesTr and labelsTr")
    for name, paths in channels.items():
        numbers = [base_name(path)[-4:] for path in paths]
        if sorted(numbers) != [f"{n:04}" for n in range(len(paths))]:
            raise SettingsError(
                f"{folder / 'imagesTr'}: {name} has channels {', '.join(sorted(numbers))};"
                " each number from 0000 up is needed once"
            )
    return [Case(name, tuple(sorted(paths)), labels[name]) for name, paths in channels.items()]
