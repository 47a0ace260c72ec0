"""Tools on the connected pieces of a label."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import product
from math import log, prod
from typing import Any, ClassVar, Literal

import numpy as np
from edt import edt
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from napari_asmlp.edit.change import Change, Mask, padded, union
from napari_asmlp.edit.tool import Scope, Spacing, Tool, among, pieces_of, require, require_value

Connectivity = Literal[6, 18, 26]
Counts = NDArray[np.integer[Any]]
Pieces = NDArray[np.integer[Any]]

# Two bodies are apart if the neck between them is narrower than this share of the slimmer one; one
# voxel is added to both widths, so that the steps of a digital surface do not count as necks.
_NECK = 0.8


class _Sieve(Tool):
    """Removes some of the connected pieces of each label."""

    connectivity: Connectivity

    @abstractmethod
    def _kept(self, voxels: Counts, spacing: Spacing) -> Mask:
        """Tell which pieces stay, from the number of voxels of each."""

    def _change(self, scope: Scope) -> Change:
        require(
            self.connectivity in (6, 18, 26),
            f"connectivity {self.connectivity}: give 6, 18 or 26 neighbours",
        )
        boxes = scope.boxes()
        draft = scope.draft(union(boxes.values()))
        inside = among(draft.new, boxes)
        # one pass for all labels; for a single one, a mask is quicker
        own = inside if len(boxes) == 1 else np.where(inside, draft.new, 0)
        pieces = pieces_of(own, self.connectivity)[inside]
        values = draft.new[inside]
        voxels = np.bincount(pieces)
        label = np.zeros(len(voxels), values.dtype)
        label[pieces] = values
        kept = np.zeros(len(voxels), bool)
        for value in boxes:
            of_label = label == value
            kept[of_label] = self._kept(voxels[of_label], scope.spacing)
        values[~kept[pieces]] = 0
        draft.new[inside] = values
        return draft.change()


@dataclass(frozen=True)
class KeepLargestIsland(_Sieve):
    """Remove all of a label but its largest connected piece.

    Parameters
    ----------
    connectivity
        Voxels are neighbours that share a face (6), an edge too (18), or a corner too (26).
    """

    title: ClassVar[str] = "Keep largest island"
    connectivity: Connectivity = 26

    def _kept(self, voxels: Counts, spacing: Spacing) -> Mask:  # noqa: ARG002  the base class's
        kept: Mask = np.arange(len(voxels)) == voxels.argmax()  # one of several equal ones
        return kept


@dataclass(frozen=True)
class RemoveSmallIslands(_Sieve):
    """Remove the connected pieces of a label that are smaller than a volume.

    Parameters
    ----------
    smallest_mm3
        Pieces of this volume stay; in a plane a piece is one voxel thick.
    connectivity
        Voxels are neighbours that share a face (6), an edge too (18), or a corner too (26).
    """

    title: ClassVar[str] = "Remove small islands"
    smallest_mm3: float = 10.0
    connectivity: Connectivity = 26

    def _change(self, scope: Scope) -> Change:
        require(self.smallest_mm3 > 0, f"volume {self.smallest_mm3:g} mm³: give a positive one")
        return super()._change(scope)

    def _kept(self, voxels: Counts, spacing: Spacing) -> Mask:
        kept: Mask = voxels * prod(spacing) >= self.smallest_mm3 * (1 - 1e-6)  # 0.1 * 3 < 0.3
        return kept


@dataclass(frozen=True)
class SplitByWatershed(Tool):
    """Give touching and separate bodies of a label a value each; the largest keeps its own.

    Bodies are told apart by the necks between them: the distance to the surface (Euclidean, in
    mm) is flooded from its maxima [1]_, and those floods are joined that no clear neck parts, the
    widest necks first.

    References
    ----------
    .. [1] Beucher, Lantuéjoul: Use of watersheds in contour detection. Workshop on image
       processing, Rennes (1979).
    """

    title: ClassVar[str] = "Split touching objects"

    def _change(self, scope: Scope) -> Change:
        # a voxel around each label, so that its surface is inside the box
        boxes = {
            value: padded(box, (1, 1, 1), scope.window) for value, box in scope.boxes().items()
        }
        draft = scope.draft(union(boxes.values()))
        coming = max(int(scope.labels.max()), *scope.target.locked, 0) + 1
        for value, box in boxes.items():
            bodies = _bodies(scope.labels[box] == value, scope)
            voxels = np.bincount(bodies[bodies > 0])[1:]
            by_size = np.argsort(-voxels, kind="stable") + 1
            require_value(coming + len(voxels) - 2, scope.labels)
            values = np.zeros(len(voxels) + 1, scope.labels.dtype)
            values[by_size] = [value, *range(coming, coming + len(voxels) - 1)]
            inside = bodies > 0
            draft.at(box)[inside] = values[bodies[inside]]
            coming += len(voxels) - 1
        return draft.change()


def _bodies(mask: Mask, scope: Scope) -> Pieces:
    """Return the bodies of a mask, numbered from 1; 0 outside it."""
    mask = np.ascontiguousarray(mask)  # or numbers would depend on the order in memory
    depth = edt(mask, anisotropy=scope.spacing)
    if not np.isfinite(depth).all():  # the mask fills the array: it has no surface
        return mask.astype(np.uint8)
    voxel = max(step for axis, step in enumerate(scope.spacing) if axis != scope.flat_axis)
    height = np.log(depth + voxel)  # here a ratio of widths is a difference of heights
    height[~mask] = log(voxel) - 1  # far below: even a single voxel is a maximum
    bodies = np.zeros(mask.shape, np.int32)
    pieces = pieces_of(mask, 26)
    known = 0
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == number
        found = _parts(np.pad(piece, 1), np.pad(height[box], 1, constant_values=-np.inf))
        bodies[box][piece] = found[1:-1, 1:-1, 1:-1][piece] + known
        known += int(found.max())
    return bodies


def _parts(piece: Mask, height: NDArray[np.float32]) -> Pieces:
    """Return the bodies of one connected piece, numbered from 1; 0 outside it."""
    markers = pieces_of(local_maxima(height) & piece, 26)
    if markers.max() == 1:
        return piece.astype(np.int32)
    basins: Pieces = watershed(-height, markers.astype(np.int32), np.ones((3, 3, 3)), mask=piece)
    peaks = np.full(int(basins.max()) + 1, -np.inf, np.float32)
    np.maximum.at(peaks, basins[piece], height[piece])
    body = np.arange(len(peaks))
    for one, other, saddle in _saddles(basins, height):
        lower, higher = sorted((body[one], body[other]), key=peaks.__getitem__)
        if lower != higher and saddle >= peaks[lower] + log(_NECK):  # no clear neck between them
            body[body == lower] = higher
    return np.unique(body, return_inverse=True)[1].astype(np.int32)[basins]


def _saddles(basins: Pieces, height: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    """Return pairs of neighbouring basins and how high one must go between them, highest first."""
    pairs, heights = [], []
    for offset in product((-1, 0, 1), repeat=3):
        if offset > (0, 0, 0):  # each pair of voxels once
            here = tuple(slice(max(0, -n), -n if n > 0 else None) for n in offset)
            there = tuple(slice(max(0, n), n if n < 0 else None) for n in offset)
            one, other = basins[here], basins[there]
            border = (one != other) & (one > 0) & (other > 0)
            ends = np.stack([one[border], other[border]])
            pairs.append(np.sort(ends, axis=0))
            heights.append(np.minimum(height[here][border], height[there][border]))
    ends, at = np.unique(np.concatenate(pairs, axis=1), axis=1, return_inverse=True)
    saddles = np.full(ends.shape[1], -np.inf, np.float32)
    np.maximum.at(saddles, at, np.concatenate(heights))
    highest = np.argsort(-saddles, kind="stable")
    return list(zip(*ends[:, highest].tolist(), saddles[highest].tolist(), strict=True))
