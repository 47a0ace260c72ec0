"""Measurements of every label, or of every connected object of labels: a row each.

An *object* is a piece of one label whose voxels hang together by faces, edges or corners (26).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np
from scipy import ndimage

from napari_asmlp.errors import GridError, VolumeError
from napari_asmlp.grid import Region
from napari_asmlp.measure.shape import Ruler, Shape
from napari_asmlp.volume import Volume, as_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Box = tuple[slice, slice, slice]

_STEP = 2**20  # voxels looked at between two reports of progress
_OBJECT = 2**13  # voxels that could be looked at in the time that any object takes
_MANY = 2**20  # a label value above it is no place in a list
_PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Intensities:
    """Of the voxels of an object whose intensity is finite: at least one.

    Attributes
    ----------
    mean, sd : the standard deviation is that of a sample (n - 1); None of a single voxel
    p5, p50, p95 : percentiles, linear between ranks
    """

    mean: float
    sd: float | None
    p5: float
    p50: float
    p95: float


@dataclass(frozen=True)
class Measurement:
    """One row.

    Attributes
    ----------
    label, name : the label's value, and its class name or ``label 3``
    box : the smallest that holds it, in voxels
    shape : size and form
    centroid_mm : in the world (right, anterior, superior)
    intensities : None without an image, or where no voxel of it is finite
    object : number among the objects of the label, 1 the largest; None for a whole label
    """

    label: int
    name: str
    box: Region
    shape: Shape
    centroid_mm: tuple[float, float, float]
    intensities: Intensities | None = None
    object: int | None = None


@dataclass(frozen=True)
class MeasureProgress:
    """Where measuring stands: rows done and in all, and seconds since the first began."""

    done: int
    total: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Share that is done."""
        return self.done / self.total if self.total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far, None before the first row."""
        return self.seconds * (self.total - self.done) / self.done if self.done else None

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        return f"{self.done:,} of {self.total:,}"


def measure(
    labels: Volume, image: Volume | None = None, *, objects: bool = False
) -> list[Measurement]:
    """Measure every label that occurs, in order of its value; see `iter_measure`."""
    steps = iter_measure(labels, image, objects=objects)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            rows: list[Measurement] = end.value
            return rows


def iter_measure(
    labels: Volume, image: Volume | None = None, *, objects: bool = False
) -> Generator[MeasureProgress, None, list[Measurement]]:
    """Measure labels, yielding progress; close it to cancel.

    Parameters
    ----------
    labels
        3D whole numbers; 0 is background. Its `label_names` are the names of the rows.
    image
        On the same grid, of one channel. Voxels that are not finite are left out.
    objects
        A row for each connected object in place of each label; those of a label by size.

    Raises
    ------
    GridError
        If labels and image lie on different grids; both are named.
    VolumeError
        If a voxel is no label, or the image has several channels.
    """
    scribe = _Scribe(labels, image)
    array = as_labels(labels.array(), labels.name)
    writable = np.require(array, requirements="W")  # cc3d refuses any other
    pieces = cc3d.connected_components(writable) if objects else array
    boxes = boxes_of(pieces)
    rows, work, start = [], 0, time.monotonic()
    yield MeasureProgress(0, len(boxes), 0.0)
    for done, (number, box) in enumerate(boxes.items(), start=1):
        mask = pieces[box] == number
        if mask.any():  # else it has been painted over since the boxes were found
            value = int(array[box].flat[mask.argmax()]) if objects else number
            rows.append(scribe.row(value, box, mask))
        work += max(mask.size, _OBJECT)
        if work >= _STEP:
            yield MeasureProgress(done, len(boxes), time.monotonic() - start)
            work = 0
    yield MeasureProgress(len(boxes), len(boxes), time.monotonic() - start)
    return _numbered(rows) if objects else rows


def boxes_of(labels: NDArray[np.integer[Any]]) -> dict[int, Box]:
    """Return the smallest box around each value above 0 of an array (i, j, k), in their order."""
    if labels.max(initial=0) <= _MANY:
        found = enumerate(ndimage.find_objects(labels), start=1)
        return {value: box for value, box in found if box is not None}
    values, places = np.unique(labels, return_inverse=True)
    places = places.reshape(labels.shape) + 1
    boxes = zip(values.tolist(), ndimage.find_objects(places), strict=True)
    return {value: box for value, box in boxes if value > 0}


class _Scribe:
    """Writes rows about masks of one labels volume."""

    def __init__(self, labels: Volume, image: Volume | None) -> None:
        self._affine, self._names = labels.grid.affine, labels.label_names
        self._ruler = Ruler(self._affine)
        self._voxels = None if image is None else _voxels_of(image, labels)

    def row(self, value: int, box: Box, mask: NDArray[np.bool_]) -> Measurement:
        """Measure a mask, which lies in a box and is not empty."""
        shape = self._ruler.measure(mask)
        centre = np.add(shape.centroid, [along.start for along in box])
        x, y, z = (self._affine[:3, :3] @ centre + self._affine[:3, 3]).tolist()
        return Measurement(
            label=value,
            name=self._names.get(value) or f"label {value}",
            box=Region(*zip(*((along.start, along.stop) for along in box), strict=True)),
            shape=shape,
            centroid_mm=(x, y, z),
            intensities=None if self._voxels is None else _intensities(self._voxels[box][mask]),
        )


def _voxels_of(image: Volume, labels: Volume) -> NDArray[Any]:
    """Return the voxels (i, j, k) of an image that lies on the grid of labels."""
    if not labels.grid.same_as(image.grid):
        raise GridError(
            f"labels {labels.name} and image {image.name} lie on different grids"
            f" ({labels.grid.difference(image.grid)}): bring them to the same one"
        )
    if image.channels > 1:
        raise VolumeError(f"{image.name}: holds {image.channels} volumes: choose one to measure")
    return image.array().reshape(labels.grid.shape)


def _intensities(values: NDArray[Any]) -> Intensities | None:
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return None
    p5, p50, p95 = np.percentile(finite, _PERCENTILES).tolist()
    sd = float(finite.std(ddof=1)) if finite.size > 1 else None
    return Intensities(float(finite.mean()), sd, p5, p50, p95)


def _numbered(rows: list[Measurement]) -> list[Measurement]:
    """Sort objects by label and size, and number those of each label."""
    rows = sorted(rows, key=lambda row: (row.label, -row.shape.voxels, row.box.start))
    numbers: dict[int, int] = {}
    numbered = []
    for row in rows:
        numbers[row.label] = numbers.get(row.label, 0) + 1
        numbered.append(replace(row, object=numbers[row.label]))
    return numbered
