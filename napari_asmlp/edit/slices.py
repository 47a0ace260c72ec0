"""Tools from slice to slice: interpolation between painted ones, and copying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import ClassVar

import cc3d
import numpy as np
from edt import edt
from numpy.typing import NDArray
from scipy import ndimage

from napari_asmlp.edit.change import Change, Mask, union, within
from napari_asmlp.edit.tool import Scope, Tool, require, require_axis

Distances = NDArray[np.float32]
Point = NDArray[np.float64]
Spacing2D = tuple[float, float]


@dataclass(frozen=True)
class InterpolateSlices(Tool):
    """Fill the empty slices between painted ones with shapes in between.

    Signed distances to the outlines of the two painted slices are averaged [1]_, after both were
    moved so that their centres meet in between [2]_. Outlines that overlap belong together, then
    those of the nearest centres; one that is left over shrinks away halfway to the other slice.

    Parameters
    ----------
    axis
        Across the painted slices.

    References
    ----------
    .. [1] Raya, Udupa: Shape-based interpolation of multidimensional objects. IEEE TMI 9 (1990)
       32-42.
    .. [2] Higgins, Morice, Ritman: Shape-based interpolation of tree-like structures in
       three-dimensional images. IEEE TMI 12 (1993) 439-450.
    """

    title: ClassVar[str] = "Interpolate between slices"
    axis: int = 0

    def _change(self, scope: Scope) -> Change:
        require_axis(self.axis)
        plane = scope.target.plane
        require(
            plane is None or plane[0] == self.axis,
            f"slices along axis {self.axis} cannot be interpolated within a slice of another: "
            "choose 3D",
        )
        whole = replace(scope, target=replace(scope.target, plane=None))
        boxes = whole.boxes()
        draft = whole.draft(union(boxes.values()))
        best = np.zeros(draft.new.shape, np.float32)
        spacing = [step for axis, step in enumerate(scope.spacing) if axis != self.axis]
        for value, box in boxes.items():
            mask = np.moveaxis(scope.labels[box] == value, self.axis, 0)
            so_far = np.moveaxis(best[within(box, draft.box)], self.axis, 0)
            new = np.moveaxis(draft.at(box), self.axis, 0)
            for n, score in _between_painted(mask, (spacing[0], spacing[1])):
                if plane is None or plane[1] == box[self.axis].start + n:
                    wins = score > so_far[n]
                    if not scope.target.overwrite:
                        wins &= (new[n] == 0) | (so_far[n] > 0)  # background before this edit
                    so_far[n][wins] = score[wins]
                    new[n][wins] = value
        return draft.change()


@dataclass(frozen=True)
class CopySlice(Tool):
    """Copy a label from one slice to another, in place of what the label was there.

    The slices are those named here, whichever plane the target has.

    Parameters
    ----------
    axis
        Across the slices.
    index, to
        The slice to copy from, and the one to copy to.
    """

    title: ClassVar[str] = "Copy slice"
    axis: int = 0
    index: int = 0
    to: int = 1

    def _change(self, scope: Scope) -> Change:
        require_axis(self.axis)
        last = scope.labels.shape[self.axis] - 1
        for index in (self.index, self.to):
            require(0 <= index <= last, f"slice {index}: give one from 0 to {last}")
        here, there = (
            replace(scope, target=replace(scope.target, plane=(self.axis, index)))
            for index in (self.index, self.to)
        )
        here.boxes()  # refuses an empty slice
        source = scope.labels[here.window]
        draft = there.draft(there.window)
        value = scope.target.value
        if value is None:
            draft.new[...] = source
        else:
            draft.new[draft.new == value] = 0
            draft.new[source == value] = value
        return draft.change()


def _between_painted(mask: Mask, spacing: Spacing2D) -> Iterator[tuple[int, Distances]]:
    """Yield each empty slice (its index along axis 0) between painted ones, with its shape.

    The shape is a float32 array (n, m): signed distances in mm, positive inside.
    """
    painted = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    for low, high in pairwise(painted):
        if high - low == 1:
            continue
        shapes = list(_shapes(mask[low], mask[high], spacing))
        for n in range(low + 1, high):
            share = (n - low) / (high - low)
            yield n, np.maximum.reduce([shape.at(share) for shape in shapes])


class _Outline:
    """Shape in one slice: signed distances in mm, positive inside, and its centre in voxels."""

    def __init__(self, mask: Mask, spacing: Spacing2D) -> None:
        ringed = np.pad(mask, 1)  # there is an outside, also of one that fills the slice
        inside = edt(ringed, anisotropy=spacing)
        outside = edt(~ringed, anisotropy=spacing)
        self.distances: Distances = (inside - outside)[1:-1, 1:-1]
        self.centre: Point = np.argwhere(mask).mean(axis=0)

    def moved(self, by: Point) -> Distances:
        """Return the distances of the outline moved by voxels."""
        moved: Distances = ndimage.shift(self.distances, by, order=1, mode="nearest")
        return moved

    def shrunk(self, share: float) -> Distances:
        """Return the distances of the outline shrunk, to nothing at a share of 1."""
        return self.distances - np.float32(share * self.distances.max())


@dataclass(frozen=True, eq=False)
class _Pair:
    """Outlines in the low and in the high painted slice that belong together."""

    low: _Outline
    high: _Outline

    def at(self, share: float) -> Distances:
        """Return the shape at a share of the way from the low slice to the high one."""
        move = self.high.centre - self.low.centre
        near, far = self.low.moved(share * move), self.high.moved((share - 1) * move)
        return near * np.float32(1 - share) + far * np.float32(share)


@dataclass(frozen=True, eq=False)
class _Alone:
    """An outline in one of the painted slices (0 low, 1 high) that has none to go to."""

    outline: _Outline
    side: int

    def at(self, share: float) -> Distances:
        """Return the shape at a share of the way: gone from halfway on."""
        return self.outline.shrunk(2 * abs(share - self.side))


def _shapes(low: Mask, high: Mask, spacing: Spacing2D) -> Iterator[_Pair | _Alone]:
    """Yield what belongs together: outlines that overlap, then those of the nearest centres."""
    groups = cc3d.connected_components(low | high, connectivity=8)
    lows, highs = [], []
    for group in range(1, int(groups.max()) + 1):
        in_low, in_high = low & (groups == group), high & (groups == group)
        if not in_high.any():
            lows.append(_Outline(in_low, spacing))
        elif not in_low.any():
            highs.append(_Outline(in_high, spacing))
        else:
            yield _Pair(_Outline(in_low, spacing), _Outline(in_high, spacing))
    yield from _nearest(lows, highs, spacing)


def _nearest(
    lows: list[_Outline], highs: list[_Outline], spacing: Spacing2D
) -> Iterator[_Pair | _Alone]:
    """Yield pairs of outlines, the closest centres first, and then those that are left over."""

    def apart(pair: tuple[_Outline, _Outline]) -> float:
        return float(np.linalg.norm((pair[0].centre - pair[1].centre) * spacing))

    while lows and highs:
        low, high = min(product(lows, highs), key=apart)
        lows.remove(low)
        highs.remove(high)
        yield _Pair(low, high)
    yield from (_Alone(outline, side=0) for outline in lows)
    yield from (_Alone(outline, side=1) for outline in highs)
