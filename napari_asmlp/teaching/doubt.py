"""Where to paint next, and when more painting stops helping.

A slice is worth painting for what there is to learn from it: much doubt, far from what is annotated
already, since voxels close to an annotation tell little that is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_CELL = 4  # voxels along each axis that are looked at as one
_FAR = 12.0  # voxels from which on an annotation tells nothing of a place
_SETTLED = 0.005  # share of voxels that change from one round to the next
_SURE = 0.02  # mean doubt of all voxels, of 1


@dataclass(frozen=True)
class Place:
    """A slice to paint, and where in it.

    Attributes
    ----------
    axis : of the volume that the slice is across
    index : of the slice along it
    voxel : of the greatest doubt in the slice
    worth : doubt in the slice that annotations leave, in voxels
    """

    axis: int
    index: int
    voxel: tuple[int, int, int]
    worth: float


def where_next(doubt: NDArray[np.uint8], annotated: NDArray[np.bool_]) -> list[Place]:
    """Return for each axis the slice that is most worth painting, the best one first.

    Parameters
    ----------
    doubt : (i, j, k), 255 where two classes are equally likely
    annotated : (i, j, k)
    """
    coarse = _cells(doubt) / 255
    near = _cells(annotated) > 0
    if near.any():
        distance = _CELL * ndimage.distance_transform_edt(~near)
        coarse = coarse * (1 - np.exp(-distance / _FAR))
    worth = ndimage.gaussian_filter(coarse, 1.0, mode="constant")
    places = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        across = worth.sum(axis=others)
        cell = int(across.argmax())
        plane = worth.take(cell, axis)
        at = [int(n) for n in np.unravel_index(int(plane.argmax()), plane.shape)]
        at.insert(axis, cell)
        voxel = [min(_CELL * m + _CELL // 2, n - 1) for m, n in zip(at, doubt.shape, strict=True)]
        x, y, z = voxel
        places.append(Place(axis, voxel[axis], (x, y, z), float(across[cell]) * _CELL**2))
    return sorted(places, key=lambda place: -place.worth)


def is_enough(
    doubt: NDArray[np.uint8], earlier: NDArray[np.integer[Any]], now: NDArray[np.integer[Any]]
) -> bool:
    """Tell whether more painting will change little.

    Parameters
    ----------
    doubt : (i, j, k) of the present answer
    earlier, now : labels before and after the last round of painting
    """
    changed = np.count_nonzero(earlier != now) / now.size
    return bool(changed < _SETTLED and float(doubt.mean()) / 255 < _SURE)


def _cells(values: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over cells; planes at the end that fill no cell are cells with zeros."""
    padded = np.pad(values, [(0, -n % _CELL) for n in values.shape])
    x, y, z = (n // _CELL for n in padded.shape)
    cells: NDArray[np.float64] = padded.reshape(x, _CELL, y, _CELL, z, _CELL).mean(axis=(1, 3, 5))
    return cells
