"""Where a region lies: pure functions of voxels and of mm.

A region is counted in voxels of the file, (i, j, k). On screen it is an `Outline`: where its outer
faces lie in mm, along the axes (S, A, R) of its image's layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.grid import Grid, Region

if TYPE_CHECKING:
    from napari_asmlp.model import Card

_WAYS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
_LETTERS = {way[0].upper(): way for pair in _WAYS for way in pair}


@dataclass(frozen=True)
class Outline:
    """A box in the world.

    Parameters
    ----------
    low, high : float arrays (3,)
        Its outer faces, in mm.
    spacing : float array (3,)
        Of the voxels that it is made of, in mm; it is never thinner.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    spacing: NDArray[np.float64]

    @property
    def ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The centres of its first and last voxel, in mm."""
        return self.low + self.spacing / 2, self.high - self.spacing / 2

    def drawn(
        self, axes: Sequence[int], first: NDArray[np.float64], last: NDArray[np.float64]
    ) -> Outline:
        """Return the outline around two points; along all but the shown axes it stays."""
        low, high, shown = self.low.copy(), self.high.copy(), list(axes)
        half = self.spacing[shown] / 2  # the voxels of both points belong to it
        low[shown] = np.minimum(first, last)[shown] - half
        high[shown] = np.maximum(first, last)[shown] + half
        return replace(self, low=low, high=high)

    def moved(
        self, axes: Sequence[int], sides: Sequence[int], point: NDArray[np.float64]
    ) -> Outline:
        """Return the outline with faces brought to a point, as far as one voxel remains.

        Parameters
        ----------
        axes, sides
            For each shown axis, which face: as of `grabbed_faces`.
        """
        low, high = self.low.copy(), self.high.copy()
        for axis, side in zip(axes, sides, strict=True):
            if side < 0:
                low[axis] = min(point[axis], high[axis] - self.spacing[axis])
            elif side > 0:
                high[axis] = max(point[axis], low[axis] + self.spacing[axis])
        return replace(self, low=low, high=high)


def grabbed_faces(
    point: Iterable[float], low: Iterable[float], high: Iterable[float], reach: float
) -> tuple[int, ...]:
    """Return for each shown axis which face of a box a point is near.

    Parameters
    ----------
    point, low, high
        Along the shown axes, in mm.
    reach
        How far from a face counts as near, in mm.

    Returns
    -------
    tuple of int
        −1 for the low face, 1 for the high one, 0 for neither; a corner has two.
    """
    places = list(zip(point, low, high, strict=True))
    if not all(a - reach <= p <= b + reach for p, a, b in places):
        return (0,) * len(places)
    nearer = [-1 if abs(p - a) <= abs(p - b) else 1 for p, a, b in places]
    near = [min(abs(p - a), abs(p - b)) <= reach for p, a, b in places]
    return tuple(side if yes else 0 for side, yes in zip(nearer, near, strict=True))


def box_around(index: tuple[int, int, int], grid: Grid, card: Card) -> Region:
    """Return a box of a model's field of view around a voxel, moved to lie inside the volume.

    Parameters
    ----------
    index
        Voxel (i, j, k) of `grid`.
    grid
        The source grid.
    """
    codes = card.preprocessing.axis_codes
    axes = grid.orientation(codes).axes if codes else (0, 1, 2)
    spacing = card.preprocessing.spacing or tuple(grid.spacing[axis] for axis in axes)
    window = tuple(n * mm for n, mm in zip(card.window, spacing, strict=True))
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis, mm in zip(axes, card.field_of_view_mm or window, strict=True):
        size = min(grid.shape[axis], math.ceil(mm / grid.spacing[axis]))
        start[axis] = min(max(0, index[axis] - size // 2), grid.shape[axis] - size)
        stop[axis] = start[axis] + size
    return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def region_of_labels(labels: NDArray[Any], value: int | None = None) -> Region | None:
    """Return the smallest region around a label, or around all of them; None if it is empty.

    Parameters
    ----------
    labels : integer array (i, j, k)
        Looked at plane by plane along the axis that is slowest in memory, so that no mask of the
        whole volume is made.
    value
        The label; None for all.
    """
    slowest = int(np.argmax(np.abs(labels.strides)))
    planes = np.moveaxis(labels, slowest, 0)
    occupied = np.zeros(len(planes), bool)
    shadow = np.zeros(planes.shape[1:], bool)  # all planes seen through each other
    for n, plane in enumerate(planes):
        mask = plane > 0 if value is None else plane == value
        occupied[n] = mask.any()
        if occupied[n]:
            shadow |= mask
    if not occupied.any():
        return None
    spans = [_span(shadow.any(axis=1)), _span(shadow.any(axis=0))]
    spans.insert(slowest, _span(occupied))
    (i0, i1), (j0, j1), (k0, k1) = spans
    return Region((i0, j0, k0), (i1, j1, k1))


def with_margin(region: Region, grid: Grid, margin_mm: float) -> Region:
    """Return a region grown by a margin on each side, clipped to its volume."""
    extra = [math.ceil(round(margin_mm / mm, 6)) for mm in grid.spacing]
    start = [max(0, a - n) for a, n in zip(region.start, extra, strict=True)]
    stop = [min(b + n, size) for b, n, size in zip(region.stop, extra, grid.shape, strict=True)]
    return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def size_text(shape: Sequence[int], grid: Grid) -> str:
    """Return a size in one line: ``20×30×10 voxels · 20×30×25 mm``."""
    voxels = "×".join(str(n) for n in shape)
    lengths = "×".join(f"{n * mm:.4g}" for n, mm in zip(shape, grid.spacing, strict=True))
    return f"{voxels}\N{NO-BREAK SPACE}voxels · {lengths}\N{NO-BREAK SPACE}mm"


def axes_text(grid: Grid) -> str:
    """Return where a file's axes run: ``i to left, j to superior, k to posterior``."""
    ways = (_LETTERS[code] for code in grid.axis_codes)
    return ", ".join(f"{axis} to {way}" for axis, way in zip("ijk", ways, strict=True))


def _span(flags: Any) -> tuple[int, int]:
    """Return the first of 1D flags that is set, and one beyond the last."""
    where = np.flatnonzero(flags)
    return int(where[0]), int(where[-1]) + 1
