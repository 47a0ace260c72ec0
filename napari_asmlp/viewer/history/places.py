"""From what napari says it painted to voxels counted along the memory of the labels.

napari speaks of voxels as they are shown; steps count those of the volume (i, j, k). Since the one
is the other turned, the place of a voxel is a sum: an offset, and a stride for each axis shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.step import Layout
from napari_asmlp.viewer.layers import AXIS_LABELS, shown_index, source_view

if TYPE_CHECKING:
    from napari.layers import Labels

_Voxels = tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]


def array_of(layer: Labels) -> NDArray[Any]:
    """Return a layer's voxels in the axis order of its volume; as they are if it is no volume."""
    data: NDArray[Any] = layer.data
    return source_view(layer) if data.ndim == len(AXIS_LABELS) else data


def is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two arrays are the same voxels in memory, in the same order."""
    first, second = one.__array_interface__, other.__array_interface__
    alike = one.shape == other.shape and one.strides == other.strides and one.dtype == other.dtype
    return bool(alike and first["data"][0] == second["data"][0])


@dataclass(frozen=True)
class Places:
    """The place of each voxel shown: ``offset + sum(index * strides)``.

    Parameters
    ----------
    shape
        Of the layer's data.
    """

    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]

    @classmethod
    def of(cls, layer: Labels, layout: Layout) -> Places:
        """Return those of a layer whose `array_of` has this layout."""
        along = _strides(layout)
        if layer.data.ndim != len(AXIS_LABELS):
            return cls(layer.data.shape, 0, along)
        first = np.array(shown_index(layer, (0, 0, 0)))
        strides = np.zeros(3, np.int64)
        for axis, stride in enumerate(along):
            one = [int(axis == other) for other in range(3)]
            strides += stride * (np.array(shown_index(layer, one)) - first)
        return cls(layer.data.shape, -int(first @ strides), tuple(strides.tolist()))

    def voxels(self, item: Iterable[Any], dtype: np.dtype[Any]) -> _Voxels:
        """Return what an item of napari's history did.

        Parameters
        ----------
        item
            Of ``events.paint``: masks in boxes, and (index, old values, new values).

        Returns
        -------
        (places, old, new)
            1D arrays in the order of time.
        """
        parts = [self._atom(atom, dtype) for atom in item]
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, dtype), np.zeros(0, dtype)
        places, old, new = (np.concatenate(column) for column in zip(*parts, strict=True))
        return places, old, new

    def _atom(self, atom: Any, dtype: np.dtype[Any]) -> _Voxels:
        if hasattr(atom, "slice_key"):
            places = self._box(atom.slice_key)
            places = places.reshape(-1) if atom.mask is None else places[atom.mask]
            old, new = atom.old_values, atom.new_value
        else:
            index, old, new = atom
            places = np.full(np.shape(index[0]), self.offset, np.int64)
            for along, stride in zip(index, self.strides, strict=True):
                places += np.asarray(along, np.int64) * stride
        flat = places.reshape(-1)
        return (
            flat,
            np.asarray(old, dtype).reshape(-1),
            np.broadcast_to(np.asarray(new, dtype), places.shape).reshape(-1),
        )

    def _box(self, key: tuple[slice, ...]) -> NDArray[np.int64]:
        """Return the places of all voxels of a box."""
        places = np.array(self.offset, np.int64)
        for along, size, stride in zip(key, self.shape, self.strides, strict=True):
            places = places[..., None] + np.arange(*along.indices(size), dtype=np.int64) * stride
        return places


def _strides(layout: Layout) -> tuple[int, ...]:
    """Return how many places the next voxel along each axis is away."""
    sizes = layout.shape if layout.order == "F" else layout.shape[::-1]
    strides = [int(np.prod(sizes[:axis], dtype=np.int64)) for axis in range(len(sizes))]
    return tuple(strides if layout.order == "F" else strides[::-1])
