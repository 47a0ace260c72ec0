"""Tools on the connected pieces of a label."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.bodies import Bodies, bodies_of
from napari_asmlp.edit.change import Change, Labels, Mask, difference, padded
from napari_asmlp.edit.tool import Scope, Spacing, Tool, pieces_of, require, require_value

Connectivity = Literal[6, 18, 26]
Counts = NDArray[np.integer[Any]]

_MOST_VOXELS = 2**31  # places are counted in 32 bits


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
        box, mask = scope.selected()
        # one pass for all labels; for a single one, a mask is quicker
        one = scope.target.value is not None
        own = mask if one else np.where(mask, scope.labels[box], 0)
        pieces = pieces_of(own, self.connectivity)[mask]
        voxels = np.bincount(pieces)
        label = np.zeros(len(voxels), scope.labels.dtype)
        label[pieces] = own[mask]
        gone = np.ones(len(voxels), bool)
        for value in np.unique(label[1:]):
            of_label = label == value
            gone[of_label] = ~self._kept(voxels[of_label], scope.spacing)
        mask[mask] = gone[pieces]
        return scope.turned(box, mask, 0)


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
        around = padded(scope.selected()[0], (1, 1, 1), scope.window)  # with the labels' surface
        old = scope.labels[around]
        require(old.size < _MOST_VOXELS, f"{old.size:,} voxels: split one slice at a time")
        inside = scope.has_label_to_edit(old)
        bodies = bodies_of(np.where(inside, old, 0), scope.spacing, scope.flat_axis)
        own = old[inside]
        new = self._values(scope, own, bodies)
        draft = old.copy()
        draft[inside] = new
        inside[inside] = new != own
        return difference(around, old, draft, inside)

    def _values(self, scope: Scope, labels: Labels, bodies: Bodies) -> Labels:
        """Return the new value of each voxel from its label and its body."""
        voxels = np.bincount(bodies)
        label = np.zeros(len(voxels), labels.dtype)
        label[bodies] = labels
        values = np.zeros_like(label)
        coming = max(int(scope.labels.max()), *scope.target.locked, 0) + 1
        for value in np.unique(label).tolist():
            own = np.flatnonzero(label == value)
            require_value(coming + len(own) - 2, scope.labels)
            by_size = own[np.argsort(-voxels[own], kind="stable")]
            values[by_size] = [value, *range(coming, coming + len(own) - 1)]
            coming += len(own) - 1
        return values[bodies]
