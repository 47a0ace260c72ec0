"""Tools on the values of labels: merging, renaming, clipping, and growing into the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from skimage.segmentation import watershed

from napari_asmlp.edit.change import Change, Labels, Mask, bounding_box, union
from napari_asmlp.edit.tool import Scope, Tool, among, pieces_of, require, require_value
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region


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
        seeds = list(scope.boxes())
        draft = scope.draft(scope.window)
        passable = self._passable(scope, draft.new)
        sown = among(draft.new, seeds)
        reached = _reached(sown, passable | sown)
        if len(seeds) == 1:
            draft.new[reached] = seeds[0]
        else:
            _share(draft.new, sown, reached)
        return draft.change()

    def _passable(self, scope: Scope, labels: Labels) -> Mask:
        """Tell where growth may go: in the range, and on background or what it may overwrite."""
        if scope.image is None:
            return np.zeros(labels.shape, bool)
        image = scope.image[scope.window]
        in_range: Mask = (image >= self.low) & (image <= self.high)  # never where it is NaN
        if scope.target.overwrite:
            in_range &= ~among(labels, scope.target.locked)
        else:
            in_range &= labels == 0
        return in_range


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
        scope.boxes()  # refuses an empty label: the other would be renamed, not merged
        draft = scope.draft(scope.box_of(other))
        draft.new[draft.new == other] = value
        return draft.change(overwrite=True)  # that of the other label is asked for


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
        boxes = scope.boxes()
        draft = scope.draft(union(boxes.values()))
        draft.new[among(draft.new, boxes)] = self.to
        return draft.change()


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
        boxes = scope.boxes()
        draft = scope.draft(union(boxes.values()))
        outside = among(draft.new, boxes)
        # an end of the region may lie before the box: then nothing is inside
        inside = tuple(
            slice(max(0, a - own.start), max(0, b - own.start))
            for a, b, own in zip(kept.start, kept.stop, draft.box, strict=True)
        )
        outside[inside] = False
        draft.new[outside] = 0
        return draft.change()


def _reached(sown: Mask, passable: Mask) -> Mask:
    """Return the connected pieces of `passable` that hold a sown voxel."""
    pieces = pieces_of(passable, 6)
    hit = np.zeros(int(pieces.max()) + 1, bool)
    hit[pieces[sown]] = True
    reached: Mask = hit[pieces]
    return reached


def _share(labels: Labels, sown: Mask, reached: Mask) -> None:
    """Grow the sown labels over what is reached, in place and step by step."""
    box = bounding_box(reached)
    seeds = np.where(sown[box], labels[box], 0).astype(np.int32)
    flat = np.zeros(seeds.shape, np.uint8)  # a flood of level ground: the nearest seed wins
    grown = watershed(flat, seeds, mask=reached[box])
    labels[box] = np.where(reached[box], grown, labels[box])
