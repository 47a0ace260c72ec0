"""Tools from slice to slice: interpolation between painted ones, and copying."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import floor
from typing import ClassVar

import numpy as np
from edt import edt
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_asmlp.edit.change import Change, Labels, Mask, union, within
from napari_asmlp.edit.tool import Draft, Scope, Tool, pieces_of, require, require_axis

Distances = NDArray[np.float32]
Point = NDArray[np.float64]
Spacing2D = tuple[float, float]
Box2D = tuple[slice, slice]
Shape = tuple[Box2D, Distances]  # signed distances in mm, positive inside, and their box

_TURNED = 16  # slices written at once, so that those behind each other share cache lines


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
        around = union(boxes.values())
        stack = _Stack(np.moveaxis(scope.labels[around], self.axis, 0), scope.target.overwrite)
        only = None if plane is None else plane[1] - around[self.axis].start
        u, v = (axis for axis in range(3) if axis != self.axis)
        spacing = scope.spacing[u], scope.spacing[v]
        for value, box in boxes.items():
            own = within(box, around)
            own_box = own[u], own[v]
            for (low, lower), (high, upper) in pairwise(stack.painted(value, own_box)):
                between = [n for n in range(low + 1, high) if only in (None, n)]
                for shape in _shapes(lower, upper, spacing) if between else ():
                    for n in between:
                        stack.draw(value, n, own_box, shape.at((n - low) / (high - low)))
        draft = Draft(whole, around, np.empty_like(scope.labels[around]))
        stack.copy_to(np.moveaxis(draft.new, self.axis, 0))
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


class _Stack:
    """Slices one behind the other in memory, to draw shapes between the painted ones.

    Parameters
    ----------
    labels : (slices, u, v)
    overwrite
        Whether shapes are drawn over other labels too.
    """

    def __init__(self, labels: Labels, overwrite: bool) -> None:
        self._painted = {
            int(n): np.ascontiguousarray(labels[n])
            for n in np.flatnonzero((labels != 0).any(axis=(1, 2)))
        }
        self._overwrite = overwrite
        # of both, what is never drawn on takes no memory
        self._drawn = np.zeros(labels.shape, labels.dtype)
        self._scores = np.zeros(labels.shape, np.float32)
        for n, painted in self._painted.items():
            self._drawn[n] = painted

    def painted(self, value: int, box: Box2D) -> Iterator[tuple[int, Mask]]:
        """Yield the slices where a label was painted, and where in a box that holds all of it."""
        for n, painted in self._painted.items():
            mask = painted[box] == value
            if mask.any():
                yield n, mask

    def draw(self, value: int, n: int, box: Box2D, shape: Shape) -> None:
        """Draw a label in a box of slice `n` where its score is the highest, and positive."""
        where, score = shape
        if score.max() <= 0:
            return  # it has shrunk away
        here, inside = _overlap(self._scores[n][box].shape, where)
        highest, score = self._scores[n][box][here], score[inside]
        wins = score > highest
        if n in self._painted and not self._overwrite:
            wins &= self._painted[n][box][here] == 0
        np.copyto(highest, score, where=wins)
        np.copyto(self._drawn[n][box][here], self._drawn.dtype.type(value), where=wins)

    def copy_to(self, labels: Labels) -> None:
        """Write all slices into an array of their shape, of any order in memory."""
        for start in range(0, len(labels), _TURNED):
            labels[start : start + _TURNED] = self._drawn[start : start + _TURNED]


@dataclass(frozen=True, eq=False)
class _Piece:
    """Connected pixels of a slice: a box of it, and which of its pixels they are."""

    box: Box2D
    mask: Mask

    @property
    def centre(self) -> Point:
        """Mean place of the pixels, in the slice."""
        counts = [self.mask.sum(axis=axis) for axis in (1, 0)]
        means = [each @ np.arange(len(each)) / each.sum() for each in counts]
        centre: Point = np.array(means) + [each.start for each in self.box]
        return centre

    def distances(self, box: Box2D, spacing: Spacing2D) -> Distances:
        """Return signed distances to the outline in a box that holds this one's."""
        ringed = np.zeros([each.stop - each.start + 2 for each in box], bool)  # it has an outside
        u, v = (
            slice(a.start - b.start + 1, a.stop - b.start + 1)
            for a, b in zip(self.box, box, strict=True)
        )
        ringed[u, v] = self.mask
        # of inside and outside as two labels, one transform gives both distances
        far = edt(ringed + np.uint8(1), anisotropy=spacing)[1:-1, 1:-1]
        signed: Distances = np.where(ringed[1:-1, 1:-1], far, -far)
        return signed


class _Pair:
    """Outlines in the low and in the high painted slice that belong together.

    Both are held in a frame that fits around them when their centres lie on each other.
    """

    def __init__(self, low: _Piece, high: _Piece, spacing: Spacing2D) -> None:
        self._move = high.centre - low.centre
        whole = np.floor(self._move).astype(int).tolist()
        self._rest = self._move - whole
        # a pixel of margin, since the centres may lie between pixels
        u, v = (
            slice(min(a.start, b.start - n - 1) - 1, max(a.stop, b.stop - n) + 1)
            for a, b, n in zip(low.box, high.box, whole, strict=True)
        )
        self._frame = (u, v)
        self._low = low.distances(self._frame, spacing)
        self._high = high.distances(_shifted(self._frame, whole), spacing)

    def at(self, share: float) -> Shape:
        """Return the shape at a share of the way from the low slice to the high one."""
        move = share * self._move
        whole = np.floor(move).astype(int).tolist()
        near = _moved(self._low, move - whole)
        far = _moved(self._high, move - whole - self._rest)
        score = near * np.float32(1 - share) + far * np.float32(share)
        return _shifted(self._frame, whole), score


class _Alone:
    """An outline in one of the painted slices (0 low, 1 high) that has none to go to."""

    def __init__(self, piece: _Piece, spacing: Spacing2D, side: int) -> None:
        self._box, self._side = piece.box, side
        self._distances = piece.distances(piece.box, spacing)

    def at(self, share: float) -> Shape:
        """Return the shape at a share of the way: shrunk, and gone from halfway on."""
        gone = np.float32(2 * abs(share - self._side))
        return self._box, self._distances - gone * self._distances.max()


def _overlap(size: tuple[int, ...], box: Box2D) -> tuple[Box2D, Box2D]:
    """Return what of a box that may jut out lies in an image, and where in the box that is."""
    u, v = (
        slice(min(n, max(0, each.start)), max(0, min(n, each.stop)))
        for each, n in zip(box, size, strict=True)
    )
    return (u, v), _shifted((u, v), [-each.start for each in box])


def _shifted(box: Box2D, by: Sequence[int]) -> Box2D:
    u, v = (slice(each.start + n, each.stop + n) for each, n in zip(box, by, strict=True))
    return u, v


def _moved(distances: Distances, by: Point) -> Distances:
    """Shift by fractions of pixels, linearly; the border is repeated outwards."""
    for axis, step in enumerate(by.tolist()):
        whole = floor(step)
        part = np.float32(step - whole)
        places = np.arange(distances.shape[axis]) - whole
        moved = distances.take(places, axis, mode="clip")
        if part:
            moved += part * (distances.take(places - 1, axis, mode="clip") - moved)
        distances = moved
    return distances


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
            yield _Pair(_Piece(box, in_low), _Piece(box, in_high), spacing)
    pairs = _nearest(lows, highs, spacing)
    yield from (_Pair(lows[n], highs[m], spacing) for n, m in pairs)
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
