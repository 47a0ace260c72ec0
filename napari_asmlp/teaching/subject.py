"""A volume that is taught or labelled: its image and annotations, on the grids learners look at.

What is computed from the image is kept, so that a later round begins at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.card import Preprocessing
from napari_asmlp.grid import Grid
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.preprocess import place, to_model_grid
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.filters import filter_maps
from napari_asmlp.teaching.maps import Map
from napari_asmlp.volume import Volume

MOST_VOXELS = 12_000_000  # of all channels that the light learner looks at; more are made coarser
_FINER = 1.02  # step of the search for a spacing


class Subject:
    """A volume, and its annotations if it has any.

    Parameters
    ----------
    volume : image
    preprocessing : of the network that is taught

    Attributes
    ----------
    annotation : on the volume's grid, or None
    shape : (X, Y, Z) that learners look at, in canonical axes; coarser than the volume where that
        is very large
    filters, tokens : what voxels are known by, once `look_near` and `look_far` are done
    """

    def __init__(self, volume: Volume, preprocessing: Preprocessing) -> None:
        self.volume, self.preprocessing = volume, preprocessing
        self.annotation: Annotation | None = None
        canonical = place(volume.grid, replace(preprocessing, spacing=None)).canonical_grid
        self._working = workable_spacing(canonical, volume.channels)
        placement = place(volume.grid, replace(preprocessing, spacing=self._working))
        self._orientation = placement.orientation
        self._canonical: tuple[int, int, int] = placement.canonical_grid.shape
        self.shape: tuple[int, int, int] = placement.model_grid.shape
        self.filters: list[Map] = []
        self.tokens: list[Map] = []
        self._seen: NDArray[np.float32] | None = None

    def seen(self) -> NDArray[np.float32]:
        """Return the standardised image on the grid of the network that is taught, (C, X, Y, Z)."""
        if self._seen is None:
            self._seen = self._on_grid(self.preprocessing.spacing)
        return self._seen

    def look_near(self) -> Iterator[str]:
        """Filter, if that is not done yet; yields what has been done.

        Raises
        ------
        VolumeError
            If a channel is constant or holds no finite value.
        """
        if self.filters:
            return
        found: list[Map] = []
        for channel in self._on_grid(self._working):
            for one in filter_maps(channel):
                found.append(one)
                yield "filtering"
        self.filters = found

    def look_far(self, network: Asmlp) -> Iterator[str]:
        """Ask the pretrained network, if that is not done yet; yields what has been done."""
        if self.tokens:
            return
        runs, found = encoder.Encoder(network), []
        for channel in self._on_grid(encoder.working_spacing(self.volume.grid, encoder.LOOKING_MM)):
            found.append(runs.map(channel, self.shape))
            yield "looking for anatomy and shapes"
        self.tokens = found

    def classes(self, values: tuple[int, ...]) -> NDArray[np.int16]:
        """Return the annotations as learners see them, (X, Y, Z), as indices of a table."""
        if self.annotation is None:
            return np.full(self.shape, UNANNOTATED, np.int16)
        turned = self._orientation.apply(self.annotation.recoded(values).classes)
        return spread(np.ascontiguousarray(turned), self.shape)

    def labels(self, classes: NDArray[np.uint8], values: tuple[int, ...]) -> Volume:
        """Return classes (X, Y, Z) as labels on the volume's own grid, annotated ones kept."""
        undone = self.undone(classes)
        table = Annotation(np.empty(0, np.int16), values)
        if self.annotation is None:
            return self.volume.with_labels(table.written(undone))
        annotated = self.annotation.recoded(values).classes
        return self.volume.with_labels(
            table.written(np.where(annotated == UNANNOTATED, undone, annotated))
        )

    def undone(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array (X, Y, Z) as the volume lies."""
        fine = nearest(array, self._canonical)
        return np.ascontiguousarray(self._orientation.undo(fine))

    def _on_grid(self, spacing: tuple[float, float, float] | None) -> NDArray[np.float32]:
        preprocessing = replace(self.preprocessing, spacing=spacing)
        return to_model_grid(self.volume, place(self.volume.grid, preprocessing), preprocessing)


def workable_spacing(grid: Grid, channels: int = 1) -> tuple[float, float, float] | None:
    """Return the spacing that a volume is looked at with: its own, which is None, unless too fine.

    The axes with the smallest voxels are made coarser first.
    """
    if channels * np.prod(grid.shape) <= MOST_VOXELS:
        return None
    extent, side = np.array(grid.extent_mm), min(grid.spacing)
    while channels * np.prod(extent / np.maximum(grid.spacing, side)) > MOST_VOXELS:
        side *= _FINER
    x, y, z = np.maximum(grid.spacing, side).tolist()
    return (x, y, z)


def spread(classes: NDArray[np.int16], shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Bring annotated voxels to another grid over the same field, so that no thin stroke is lost.

    Where that grid is finer voxels repeat; where it is coarser one of them stands for its cell.
    """
    if classes.shape == shape:
        return classes
    out = nearest(classes, shape)
    places = np.argwhere(classes != UNANNOTATED)
    ratio = np.array(shape) / np.array(classes.shape)
    moved = ((places + 0.5) * ratio).astype(np.intp)
    out[tuple(moved.T)] = classes[tuple(places.T)]
    return out


def nearest(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Bring an array to another grid over the same field: the voxel that a centre lies in."""
    if array.shape == shape:
        return array
    at = [
        ((np.arange(m) + 0.5) * n / m).astype(np.intp)
        for n, m in zip(array.shape, shape, strict=True)
    ]
    return array[np.ix_(*at)]
