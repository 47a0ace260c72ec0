"""From cases to what the network sees of them: small arrays, all held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_asmlp.card import Measurement
from napari_asmlp.errors import AsmlpError, SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.io import read_volume
from napari_asmlp.model import ClassifierInput
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.preprocess.classifier import ObjectInputs, volume_input
from napari_asmlp.preprocess.objects import (
    SHAPE_MEASUREMENTS,
    THICKNESS_MEASUREMENTS,
    grown,
    measure_shape,
    object_boxes,
)
from napari_asmlp.training.classifier.dataset import ClassCase
from napari_asmlp.training.trainer import Stage
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FITTING = 95  # percent of the shapes that an input is to show whole
_OBJECT_MARGIN = 0.25


@dataclass(frozen=True)
class ClassSamples:
    """What the network sees of cases, and their classes.

    Attributes
    ----------
    inputs : (N, C, X, Y, Z) float16
    outputs : (N,) int64
    """

    inputs: Tensor
    outputs: Tensor

    def __len__(self) -> int:
        return len(self.outputs)

    def at(self, places: NDArray[np.intp]) -> ClassSamples:
        """Return some of them."""
        return ClassSamples(self.inputs[places], self.outputs[places])

    @property
    def hash(self) -> str:
        """Of inputs and classes, in their order."""
        digest = hashlib.sha256(self.inputs.numpy().tobytes())
        digest.update(self.outputs.numpy().tobytes())
        return "sha256:" + digest.hexdigest()


class CaseReader:
    """Reads cases; the label file that several in a row are about is read once.

    Parameters
    ----------
    volume : which one of 4D images; None for all of them, as channels
    """

    def __init__(self, volume: int | None = None) -> None:
        self._volume = volume
        self._image = lru_cache(maxsize=1)(self._read_image)
        self._labels = lru_cache(maxsize=1)(self._read_labels)
        self._boxes = lru_cache(maxsize=1)(self._find_boxes)
        self._objects = lru_cache(maxsize=1)(self._read_objects)

    def image(self, case: ClassCase) -> Volume:
        """Return the volume of a case."""
        if case.array is not None:
            return Volume(case.array, Grid(_extent(case.array), np.eye(4)), title=case.name)
        if case.path is None:
            raise ValueError(f"{case.name}: neither an array nor a path")
        return self._image(case.path)

    def seen(
        self, case: ClassCase, recipe: ClassifierInput, network: MixerConfig
    ) -> NDArray[np.float32]:
        """Return what the network sees of a case, (C, X, Y, Z)."""
        if case.path is not None and case.labels is not None and case.object is not None:
            objects = self._objects(case.path, case.labels, recipe, network)
            return objects.seen(case.object).array
        volume, patch = self.image(case), network.patch_size
        if recipe.what == "volume" and min(volume.grid.shape) < patch:
            raise VolumeError(
                f"{volume.name}: {volume.grid.shape} voxels are less than a patch of {patch}"
            )
        return volume_input(volume, recipe, network).array

    def longest_mm(self, case: ClassCase) -> float:
        """Return the longest side in mm of the box around a case's shape."""
        labels, box = self._shape(case)
        return float((np.array(box.shape) * labels.grid.spacing).max())

    def measured(self, case: ClassCase) -> dict[str, float]:
        """Return all that is measured of a case's shape, by name."""
        labels, box = self._shape(case)
        part = labels.array()[grown(box, 1, labels.grid.shape).slices]
        mask = part != 0 if case.object is None else part == case.object
        return measure_shape(mask, labels.grid.spacing)

    def _shape(self, case: ClassCase) -> tuple[Volume, Region]:
        """Return the volume that a case's shape is in, and the smallest box around it."""
        if case.labels is not None and case.object is not None:
            labels, boxes = self._boxes(case.labels)
            if case.object not in boxes:
                raise SettingsError(f"{labels.name}: holds no object of the value {case.object}")
            return labels, boxes[case.object]
        labels = self.image(case)
        found = object_boxes((labels.array() != 0).view(np.uint8))
        if not found:
            raise VolumeError(f"{labels.name}: is empty: no voxel of it is set")
        return labels, found[1]

    def _read_image(self, path: Path) -> Volume:
        return read_volume(path, volume=self._volume)

    def _read_labels(self, path: Path) -> Volume:
        return read_volume(path, kind="labels")

    def _find_boxes(self, path: Path) -> tuple[Volume, dict[int, Region]]:
        labels = self._labels(path)
        return labels, object_boxes(labels.array())

    def _read_objects(
        self, path: Path, labels: Path, recipe: ClassifierInput, network: MixerConfig
    ) -> ObjectInputs:
        image = None if recipe.what == "mask" else self._image(path)
        return ObjectInputs(self._labels(labels), image, recipe, network)


def choose_input(
    cases: Sequence[ClassCase], network: MixerConfig, reader: CaseReader
) -> Generator[Stage, None, ClassifierInput]:
    """Take from the data what a recipe leaves open.

    Objects are seen with what is around them; volumes of one value beside 0 as shapes, others
    whole. The input of objects and shapes keeps their size: it is as large as 95 in 100 need.
    """
    what = kind_of(cases[0], reader)
    if what == "volume":
        return ClassifierInput()
    longest = []
    for done, case in enumerate(cases):
        yield Stage("measuring", done, len(cases))
        with _named(case):
            longest.append(reader.longest_mm(case))
    margin = _OBJECT_MARGIN if what == "object" else 0.0
    fitting = float(np.percentile(longest, _FITTING)) * (1 + 2 * margin)
    mm = float(f"{fitting / min(network.input_size):.3g}")
    return ClassifierInput(what, spacing=(mm, mm, mm), thickness=what == "mask")


def choose_measurements(
    cases: Sequence[ClassCase], names: Sequence[str], recipe: ClassifierInput, reader: CaseReader
) -> Generator[Stage, None, ClassifierInput]:
    """Have the network see measurements of the shape too, standardised over all cases.

    Raises
    ------
    SettingsError
        For volumes, and for a name that no measurement of a shape has.
    """
    if recipe.what == "volume":
        raise SettingsError("measurements: only a shape has them, no volume")
    known = SHAPE_MEASUREMENTS + THICKNESS_MEASUREMENTS
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"measurements: {unknown[0]!r} is none of {', '.join(known)}")
    rows = []
    for done, case in enumerate(cases):
        yield Stage("measuring", done, len(cases))
        with _named(case):
            found = reader.measured(case)
        rows.append([found[name] for name in names])
    table = np.array(rows)
    pairs = zip(table.mean(axis=0).tolist(), table.std(axis=0).tolist(), strict=True)
    measurements = tuple(
        Measurement(name, mean, deviation or 1.0)
        for name, (mean, deviation) in zip(names, pairs, strict=True)
    )
    return replace(recipe, measurements=measurements)


def kind_of(case: ClassCase, reader: CaseReader) -> Literal["volume", "mask", "object"]:
    """Tell what a case is: an object, a shape of one value beside 0, or an image."""
    if case.object is not None:
        return "object"
    with _named(case):
        array = reader.image(case).array()
    inside = array[array != 0]
    is_shape = array.ndim == 3 and inside.size and (inside == inside[0]).all()
    return "mask" if is_shape else "volume"


def prepare(
    cases: Sequence[ClassCase], recipe: ClassifierInput, network: MixerConfig, reader: CaseReader
) -> Generator[Stage, None, ClassSamples]:
    """Read all cases; raises `AsmlpError` naming the row of what cannot be used."""
    inputs: list[NDArray[np.float16]] = []
    for done, case in enumerate(cases):
        yield Stage("reading", done, len(cases))
        with _named(case):
            seen = reader.seen(case, recipe, network).astype(np.float16)
        if inputs and seen.shape != inputs[0].shape:
            raise VolumeError(
                f"{case.name}: gives {seen.shape[0]} channels, where {cases[0].name} gives"
                f" {inputs[0].shape[0]}"
            )
        inputs.append(seen)
    outputs = torch.tensor([case.output for case in cases])
    return ClassSamples(torch.from_numpy(np.stack(inputs)), outputs)


@contextmanager
def _named(case: ClassCase) -> Iterator[None]:
    """Put the name of a case before what is wrong with it."""
    try:
        yield
    except AsmlpError as error:
        text = str(error)
        raise type(error)(text if text.startswith(case.name) else f"{case.name}: {text}") from error


def _extent(array: NDArray[Any]) -> tuple[int, int, int]:
    x, y, z = array.shape[:3]
    return x, y, z
