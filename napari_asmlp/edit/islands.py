"""Tools on the connected pieces of a label."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import log, prod
from typing import Any, ClassVar, Literal

import cc3d
import numpy as np
from edt import edt
from numpy.typing import NDArray
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from napari_asmlp.edit.change import Change, Mask, padded, union
from napari_asmlp.edit.tool import Scope, Spacing, Tool, require, require_value

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
        for value, box in boxes.items():
            labels = draft.at(box)
            pieces = cc3d.connected_components(labels == value, connectivity=self.connectivity)
            voxels = cc3d.statistics(pieces)["voxel_counts"]
            removed = np.zeros(len(voxels), bool)
            removed[1:] = ~self._kept(voxels[1:], scope.spacing)  # piece 0 is all else
            labels[removed[pieces]] = 0
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
    mm) is flooded from its maxima [1]_, but for those no clear neck parts from a higher one.

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
    depth = edt(mask, anisotropy=scope.spacing)
    if not np.isfinite(depth).all():  # the mask fills the array: it has no surface
        return mask.astype(np.uint8)
    voxel = max(step for axis, step in enumerate(scope.spacing) if axis != scope.flat_axis)
    height = np.log(depth + voxel)  # here a ratio of widths is a difference of heights
    height[~mask] = log(voxel) + log(_NECK) - 1  # far below: even a single voxel is a maximum
    # maxima that no clear neck parts become one plateau; skimage's h_maxima leaves them several
    peaks = local_maxima(reconstruction(height + log(_NECK), height))
    markers = cc3d.connected_components(peaks & mask, connectivity=26)
    bodies: Pieces = watershed(-height, markers.astype(np.int32), np.ones((3, 3, 3)), mask=mask)
    return bodies
