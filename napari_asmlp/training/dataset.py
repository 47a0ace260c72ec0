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
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.io import base_name, check_volumes, read_volume, volumes_in
from napari_asmlp.io.bids import is_bids
from napari_asmlp.io.channels import channel_of, check_channels, content_hash, joined
from napari_asmlp.volume import Volume

IGNORED = 255  # among classes: nobody annotated the voxel
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
class LabelTable:
    """What label values mean, in files and in what a model writes.

    A *class* is the position of a label value of the files among `values`, from 1; 0 is background
    and `IGNORED` a voxel that nobody annotated.

    Attributes
    ----------
    names : of each label value that a model writes, in the order of its outputs
    regions : for each of `names` the values of the files that it comprises, where regions overlap
        (a whole tumour and its core); empty where each value is a label of its own
    ignore : value of voxels that nobody annotated, or None
    """

    names: dict[int, str]
    regions: tuple[tuple[int, ...], ...] = ()
    ignore: int | None = None

    @property
    def values(self) -> tuple[int, ...]:
        """Label values of the files, without background and `ignore`, ascending."""
        if not self.regions:
            return tuple(self.names)
        return tuple(sorted({value for region in self.regions for value in region}))

    @property
    def region_classes(self) -> tuple[tuple[int, ...], ...]:
        """Classes of each region; empty without regions."""
        classes = {value: n for n, value in enumerate(self.values, start=1)}
        return tuple(tuple(classes[value] for value in region) for region in self.regions)

    @property
    def outputs(self) -> int:
        """Outputs of a network: one for each region, or for background and each label."""
        return len(self.regions) or 1 + len(self.names)

    def absent(self, classes: Container[int]) -> list[str]:
        """Return the names of what none of these classes belongs to."""
        parts = self.region_classes or [(n,) for n in range(1, 1 + len(self.names))]
        return [
            name
            for name, part in zip(self.names.values(), parts, strict=True)
            if not any(n in classes for n in part)
        ]


@dataclass(frozen=True)
class Dataset:
    """The cases of a folder, the label table they share, and what their channels are called.

    Attributes
    ----------
    note : what the user should know of it before training begins, or empty
    """

    name: str
    cases: tuple[Case, ...]
    labels: LabelTable
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
        raise SettingsError(
            f"{index}: cannot be read: {error.strerror}{_layout_advice(folder)}"
        ) from error
    except (ValueError, RecursionError) as error:  # too many digits, or brackets, are those
        raise SettingsError(f"{index}: not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise SettingsError(f"{index}: it has no table of labels")
    listed = content.get("training")
    absolute = folder.absolute()  # names in it are compared, and "." would hold any of them
    cases = _listed_cases(absolute, listed) if isinstance(listed, list) else _named_cases(folder)
    if not cases:
        raise SettingsError(f"{folder}: no training cases")
    check_volumes([path for case in cases for path in (*case.images, case.labels)])
    chosen = tuple(replace(case, volume=volume) for case in cases)
    name, labels = str(content.get("name", folder.name)), _label_table(content, index)
    note = _count_note(content.get("numTraining"), len(cases), index)
    return Dataset(name, chosen, labels, _channel_names(content), note)


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
                f" {expected}; a model takes one number of them; --volume N chooses one of 4D"
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
    return joined(channels), labels


def class_indices(labels: Volume, table: LabelTable) -> NDArray[np.uint8]:
    """Label values to classes (see `LabelTable`); raises `VolumeError` on an undeclared value."""
    array, values = labels.array(), table.values
    ignored = () if table.ignore is None else (table.ignore,)
    if unknown := sorted(set(np.unique(array).tolist()) - {0, *values, *ignored}):
        raise VolumeError(
            f"{labels.name}: label value {unknown[0]} is not in dataset.json"
            f" (declared: {', '.join(map(str, (0, *values, *ignored)))})"
        )
    of_value = np.zeros(max(*values, *ignored, 0) + 1, dtype=np.uint8)
    of_value[list(values)] = np.arange(1, len(values) + 1)
    of_value[list(ignored)] = IGNORED
    classes: NDArray[np.uint8] = of_value[array]
    return classes


def _label_table(content: dict[str, Any], index: Path) -> LabelTable:
    """MSD writes {"1": "name"}, nnU-Net {"name": 1}, and {"name": [1, 2]} of a region."""
    named: dict[str, tuple[int, ...]] = {}
    ignore: int | None = None
    for key, value in content["labels"].items():
        is_number = isinstance(value, int | list)
        numbers = _numbers(key, value if is_number else key, value, index)
        name = str(key if is_number else value)
        if name.lower() == "ignore" and len(numbers) == 1:
            (ignore,) = numbers
        elif numbers != (0,):
            named[_unused(name, numbers, named)] = numbers
    values = [value for numbers in named.values() for value in numbers]
    checked = [*values, *([] if ignore is None else [ignore])]
    if not values or min(checked) < 1 or max(checked) > _HIGHEST_LABEL or len(named) > _MOST_LABELS:
        raise SettingsError(
            f"{index}: needs 1 to {_MOST_LABELS} labels from 1 to {_HIGHEST_LABEL}, has"
            f" {sorted(checked)[:5]}"
        )
    if ignore in values:
        raise SettingsError(f"{index}: label {ignore} means 'ignore' and something else")
    if any(len(numbers) > 1 for numbers in named.values()):
        return LabelTable(_region_names(content, named, index), tuple(named.values()), ignore)
    names = {numbers[0]: name for name, numbers in named.items()}
    if len(names) < len(named):
        raise SettingsError(f"{index}: two labels have one number: {sorted(values)}")
    return LabelTable(dict(sorted(names.items())), ignore=ignore)


def _numbers(key: object, given: object, value: object, index: Path) -> tuple[int, ...]:
    """Return the label values of an entry of the table."""
    parts: list[Any] = given if isinstance(given, list) else [given]
    try:
        numbers = tuple(sorted({int(part) for part in parts}))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{index}: label {key!r}: {value!r} is not a number") from error
    if not numbers or (0 in numbers and len(numbers) > 1):
        raise SettingsError(
            f"{index}: region {key!r}: {value!r}: give label values from 1 up; 0 is background"
        )
    return numbers


def _unused(name: str, numbers: tuple[int, ...], named: Container[str]) -> str:
    """Return a name that no other label has: tables of MSD may use one twice."""
    return name if name not in named else f"{name} {numbers[0]}"


def _region_names(
    content: dict[str, Any], named: Mapping[str, tuple[int, ...]], index: Path
) -> dict[int, str]:
    """Return the name of the label value that each region is written as, in their order."""
    order = content.get("regions_class_order")
    if (
        not isinstance(order, list)
        or not all(isinstance(value, int) and 0 < value <= _HIGHEST_LABEL for value in order)
        or len(set(order)) != len(order)
        or len(order) != len(named)
    ):
        raise SettingsError(
            f"{index}: regions_class_order {order!r}: give {len(named)} different label values, one"
            f" for each of {', '.join(named)} in this order; a later one is written over an earlier"
        )
    for value, (name, members) in zip(order, named.items(), strict=True):
        if value not in members:
            raise SettingsError(
                f"{index}: regions_class_order {order!r}: {name!r} would be written as {value},"
                f" which is none of its label values {list(members)}"
            )
    return dict(zip(order, named, strict=True))


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
