"""Tools on the values of labels: merging, renaming, clipping, and growing into the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from napari_asmlp.edit.change import Change, Labels, Mask, among, difference, slabs, within
from napari_asmlp.edit.tool import Scope, Tool, require, require_value
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region


@dataclass(frozen=True)
class Threshold(Tool):
    """Give a label all voxels of an intensity range of the image, be it empty or not.

    Parameters
    ----------
    low, high
        The range, both ends included, in the unit of the image.
    replace
        Whether the label loses what it has outside the range.
    """

    title: ClassVar[str] = "Threshold"
    needs_image: ClassVar[bool] = True
    low: float = 0.0
    high: float = 100.0
    replace: bool = False

    def _change(self, scope: Scope) -> Change:
        require(self.low <= self.high, f"range {self.low:g} to {self.high:g}: give low <= high")
        value, draft = scope.target.value, scope.draft(scope.window)
        if value is None:
            raise SettingsError("all labels are chosen: choose the one to give the range to")
        if scope.image is None:
            raise SettingsError("this tool looks at the image: choose an image layer")
        image = scope.image[scope.window]
        for slab in slabs(draft.new):
            here, new = image[slab], draft.new[slab]
            in_range = (here >= self.low) & (here <= self.high)  # never where it is NaN
            if self.replace:
                new[(new == value) & ~in_range] = 0
            new[in_range] = value
        return draft.change()


@dataclass(frozen=True)
class GrowFromSeeds(Tool):
    """Grow a label through connected voxels (by faces) of an intensity range of the image.

    Where several labels grow and meet, each keeps what is fewer steps from it.

    Parameters
    ----------
    low, high
        The range, both ends included, in the unit of the image.
    """

    title: ClassVar[str] = "Grow from seeds"
    needs_image: ClassVar[bool] = True
    low: float = 0.0
    high: float = 100.0

    def _change(self, scope: Scope) -> Change:
        require(self.low <= self.high, f"range {self.low:g} to {self.high:g}: give low <= high")
        box, selected = scope.selected()
        labels = scope.labels[scope.window]
        ringed = tuple(n + 2 for n in labels.shape)  # so that no step leads round the end of a row
        free, grown = np.zeros(ringed, bool), np.zeros(ringed, labels.dtype)
        inner = (slice(1, -1),) * 3
        self._free(scope, free[inner])
        seeds = within(box, scope.window)
        free[inner][seeds][selected] = False
        grown[inner][seeds][selected] = labels[seeds][selected]
        _spread(grown.ravel(), free.ravel(), _steps(ringed))
        changed = grown[inner] > 0
        changed[seeds][selected] = False
        return difference(scope.window, labels, grown[inner], changed)

    def _free(self, scope: Scope, free: Mask) -> None:
        """Mark where growth may go: in the range, and on background or what it may overwrite."""
        if scope.image is None:
            return
        labels, image = scope.labels[scope.window], scope.image[scope.window]
        for slab in slabs(labels):
            here, old = image[slab], labels[slab]
            in_range = (here >= self.low) & (here <= self.high)  # never where it is NaN
            if not scope.target.overwrite:
                in_range &= old == 0
            free[slab] = in_range & ~among(old, scope.target.locked)


@dataclass(frozen=True)
class Merge(Tool):
    """Give all voxels of another label to the one edited.

    Parameters
    ----------
    other
        The label that goes.
    """

    title: ClassVar[str] = "Merge"
    other: int = 2

    def _change(self, scope: Scope) -> Change:
        value, other = scope.target.value, self.other
        if value is None:
            raise SettingsError("all labels are chosen: choose the one to merge into")
        require(other not in (0, value), f"label {other} cannot be merged into label {value}")
        require(other not in scope.target.locked, f"label {other} is locked: unlock it to merge")
        scope.check_present(value)  # or the other would be renamed, not merged
        return scope.turned(*scope.voxels_of(other), value)


@dataclass(frozen=True)
class Relabel(Tool):
    """Give a label another value, where other voxels may have it already.

    Parameters
    ----------
    to
        The new value; 0 erases the label.
    """

    title: ClassVar[str] = "Relabel"
    to: int = 1

    def _change(self, scope: Scope) -> Change:
        require_value(self.to, scope.labels)
        require(self.to not in scope.target.locked, f"label {self.to} is locked: unlock it first")
        box, mask = scope.selected()
        if scope.target.value in (None, self.to):
            mask &= scope.labels[box] != self.to
        return scope.turned(box, mask, self.to)


@dataclass(frozen=True)
class ClipToRegion(Tool):
    """Erase a label outside a region.

    Parameters
    ----------
    region
        Where it stays, in voxels of the array.
    """

    title: ClassVar[str] = "Clip to region"
    region: Region | None = None

    def _change(self, scope: Scope) -> Change:
        if self.region is None:
            raise SettingsError("there is no region to clip to: draw or type one first")
        kept = self.region.clipped(scope.labels.shape)
        box, outside = scope.selected()
        # an end of the region may lie before the box: then nothing is inside
        inside = tuple(
            slice(max(0, a - own.start), max(0, b - own.start))
            for a, b, own in zip(kept.start, kept.stop, box, strict=True)
        )
        outside[inside] = False
        return scope.turned(box, outside, 0)


def _steps(shape: tuple[int, ...]) -> list[int]:
    """Return how far the neighbours by faces are in the memory of an array in C order."""
    _, rows, columns = shape
    return [sign * step for step in (rows * columns, columns, 1) for sign in (-1, 1)]


def _spread(labels: Labels, free: Mask, steps: Sequence[int]) -> None:
    """Grow labels over free voxels, both flat and in place: the seed of the fewest steps wins."""
    front = np.flatnonzero(labels)
    while len(front):
        reached = []
        for step in steps:
            to = front + step
            fresh = free[to]
            to = to[fresh]
            free[to] = False
            labels[to] = labels[front[fresh]]
            reached.append(to)
        front = np.concatenate(reached)
