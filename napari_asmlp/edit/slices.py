"""Tools from slice to slice: interpolation between painted ones, and copying."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
from edt import edt
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_asmlp.edit.change import Change, Mask, union, within
from napari_asmlp.edit.tool import Scope, Tool, pieces_of, require, require_axis

Distances = NDArray[np.float32]
Point = NDArray[np.float64]
Spacing2D = tuple[float, float]
Size2D = tuple[int, ...]
Box2D = tuple[slice, slice]


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
            for n, where, score in _between_painted(mask, (spacing[0], spacing[1])):
                if plane is None or plane[1] == box[self.axis].start + n:
                    old, highest = new[n][where], so_far[n][where]
                    wins = score > highest
                    if not scope.target.overwrite:
                        wins &= (old == 0) | (highest > 0)  # background before this edit
                    highest[wins] = score[wins]
                    old[wins] = value
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


def _between_painted(mask: Mask, spacing: Spacing2D) -> Iterator[tuple[int, Box2D, Distances]]:
    """Yield shapes in the empty slices between painted ones.

    Each is the slice's index along axis 0, a box of the slice, and signed distances in mm,
    positive inside, as a float32 array of the box's shape.
    """
    painted = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    for low, high in pairwise(painted):
        if high - low == 1:
            continue
        for shape in _shapes(mask[low], mask[high], spacing):
            for n in range(low + 1, high):
                yield n, shape.box, shape.at((n - low) / (high - low))


@dataclass(frozen=True, eq=False)
class _Piece:
    """Connected pixels of a slice: a box of it, and which of its pixels they are."""

    box: Box2D
    mask: Mask

    @property
    def centre(self) -> Point:
        """Mean place of the pixels, in the slice."""
        centre: Point = np.argwhere(self.mask).mean(axis=0) + [each.start for each in self.box]
        return centre

    def distances(self, box: Box2D, spacing: Spacing2D) -> Distances:
        """Return signed distances to the outline in a box that holds this one's."""
        ringed = np.zeros([each.stop - each.start + 2 for each in box], bool)  # it has an outside
        u, v = (
            slice(a.start - b.start + 1, a.stop - b.start + 1)
            for a, b in zip(self.box, box, strict=True)
        )
        ringed[u, v] = self.mask
        signed: Distances = edt(ringed, anisotropy=spacing) - edt(~ringed, anisotropy=spacing)
        return signed[1:-1, 1:-1]


class _Pair:
    """Outlines in the low and in the high painted slice that belong together.

    Parameters
    ----------
    shape
        Of the slices.
    """

    def __init__(self, low: _Piece, high: _Piece, spacing: Spacing2D, shape: Size2D) -> None:
        self._move = high.centre - low.centre
        margins = (np.ceil(np.abs(self._move)) + 1).astype(int).tolist()
        u, v = (
            slice(max(0, min(a.start, b.start) - margin), min(n, max(a.stop, b.stop) + margin))
            for a, b, margin, n in zip(low.box, high.box, margins, shape, strict=True)
        )
        self.box = (u, v)  # whatever is moved, stays in it
        self._low, self._high = (each.distances(self.box, spacing) for each in (low, high))

    def at(self, share: float) -> Distances:
        """Return the shape at a share of the way from the low slice to the high one."""
        near = _moved(self._low, share * self._move)
        far = _moved(self._high, (share - 1) * self._move)
        return near * np.float32(1 - share) + far * np.float32(share)


class _Alone:
    """An outline in one of the painted slices (0 low, 1 high) that has none to go to."""

    def __init__(self, piece: _Piece, spacing: Spacing2D, side: int) -> None:
        self.box, self._side = piece.box, side
        self._distances = piece.distances(piece.box, spacing)

    def at(self, share: float) -> Distances:
        """Return the shape at a share of the way: shrunk, and gone from halfway on."""
        gone = np.float32(2 * abs(share - self._side))
        shrunk: Distances = self._distances - gone * self._distances.max()
        return shrunk


def _moved(distances: Distances, by: Point) -> Distances:
    if not by.any():
        return distances
    moved: Distances = ndimage.shift(distances, by, order=1, mode="nearest")
    return moved


def _shapes(low: Mask, high: Mask, spacing: Spacing2D) -> Iterator[_Pair | _Alone]:
    """Yield what belongs together: outlines that overlap, then those of the nearest centres."""
    groups = pieces_of(low | high, 8)
    lows, highs = [], []
    for group, box in enumerate(ndimage.find_objects(groups), start=1):
        here = groups[box] == group
        in_low, in_high = low[box] & here, high[box] & here
        if not in_high.any():
            lows.append(_Piece(box, in_low))
        elif not in_low.any():
            highs.append(_Piece(box, in_high))
        else:
            yield _Pair(_Piece(box, in_low), _Piece(box, in_high), spacing, low.shape)
    pairs = _nearest(lows, highs, spacing)
    yield from (_Pair(lows[n], highs[m], spacing, low.shape) for n, m in pairs)
    for side, pieces in enumerate((lows, highs)):
        paired = {pair[side] for pair in pairs}
        yield from (
            _Alone(piece, spacing, side) for n, piece in enumerate(pieces) if n not in paired
        )


def _nearest(
    lows: Sequence[_Piece], highs: Sequence[_Piece], spacing: Spacing2D
) -> list[tuple[int, int]]:
    """Return which of the low and high outlines belong together, the closest centres first."""
    if not (lows and highs):
        return []
    places = [np.array([piece.centre for piece in pieces]) * spacing for pieces in (lows, highs)]
    apart = cdist(*places)
    pairs = []
    for at in np.argsort(apart, axis=None, kind="stable").tolist():
        n, m = divmod(at, len(highs))
        if apart[n, m] < np.inf:
            pairs.append((n, m))
            apart[n, :] = apart[:, m] = np.inf  # each belongs to one
    return pairs
