"""A volume that is taught: its annotations and its image, on the grids that learners look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.card import Preprocessing
from napari_asmlp.preprocess import place, to_model_grid
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.filters import filter_maps
from napari_asmlp.teaching.maps import Map
from napari_asmlp.volume import Volume


class Subject:
    """A volume with annotations.

    Parameters
    ----------
    volume : image
    annotation : on the volume's grid
    preprocessing : of the network that is taught

    Attributes
    ----------
    annotation : in canonical axes
    shape : (X, Y, Z) of the volume in canonical axes
    filters, tokens : what voxels are known by, once `look_near` and `look_far` are done
    """

    def __init__(
        self, volume: Volume, annotation: Annotation, preprocessing: Preprocessing
    ) -> None:
        self.volume, self.preprocessing = volume, preprocessing
        self._placement = place(volume.grid, preprocessing)
        self.shape: tuple[int, int, int] = self._placement.canonical_grid.shape
        turned = self._placement.orientation.apply(annotation.classes)
        self.annotation = replace(annotation, classes=np.ascontiguousarray(turned))
        self.filters: list[Map] = []
        self.tokens: list[Map] = []

    @property
    def classes(self) -> int:
        """How many there are, background among them."""
        return len(self.annotation.values)

    @cached_property
    def seen(self) -> NDArray[np.float32]:
        """The standardised image on the grid of the network that is taught, (C, X, Y, Z)."""
        return self._on_grid(self.preprocessing.spacing)

    def look_near(self) -> Iterator[str]:
        """Filter; yields what has been done."""
        for channel in self._on_grid(None):
            self.filters += filter_maps(channel)
            yield "filtering"

    def look_far(self) -> Iterator[str]:
        """Ask the pretrained network, where it is there; yields what has been done."""
        if not encoder.is_there():
            return
        runs = encoder.Encoder(encoder.pretrained_network())
        for channel in self._on_grid(encoder.working_spacing(self.volume.grid, encoder.LOOKING_MM)):
            self.tokens.append(runs.map(channel, self.shape))
            yield "looking for anatomy and shapes"

    def labels(self, classes: NDArray[np.uint8]) -> Volume:
        """Return classes (X, Y, Z) as labels on the volume's own grid, annotated ones kept."""
        annotated = self.annotation.classes
        found = np.where(annotated == UNANNOTATED, classes, annotated)
        undone = self._placement.orientation.undo(found)
        return self.volume.with_labels(self.annotation.written(undone))

    def undone(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array in canonical axes as the volume lies."""
        return np.ascontiguousarray(self._placement.orientation.undo(array))

    def _on_grid(self, spacing: tuple[float, float, float] | None) -> NDArray[np.float32]:
        preprocessing = replace(self.preprocessing, spacing=spacing)
        return to_model_grid(self.volume, place(self.volume.grid, preprocessing), preprocessing)


def spread(classes: NDArray[np.int16], shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Bring annotated voxels to another grid over the same field, so that no thin stroke is lost.

    Where that grid is finer voxels repeat; where it is coarser one of them stands for its cell.
    """
    out = nearest(classes, shape)
    places = np.argwhere(classes != UNANNOTATED)
    ratio = np.array(shape) / np.array(classes.shape)
    moved = ((places + 0.5) * ratio).astype(np.intp)
    out[tuple(moved.T)] = classes[tuple(places.T)]
    return out


def nearest(classes: NDArray[np.int16], shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Bring classes to another grid over the same field: the voxel that a centre lies in."""
    at = [
        ((np.arange(m) + 0.5) * n / m).astype(np.intp)
        for n, m in zip(classes.shape, shape, strict=True)
    ]
    return classes[np.ix_(*at)]
