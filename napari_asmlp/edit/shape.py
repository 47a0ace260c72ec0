"""Tools on the shape of a label: holes, smoothness, margins in mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import fill_voids
import numpy as np
from edt import edt
from numpy.typing import NDArray
from scipy import ndimage

from napari_asmlp.edit.change import Change, Labels, Mask, Target, padded, union, within
from napari_asmlp.edit.tool import Scope, Tool, label_boxes, require_length

_ROUNDING = 1 + 1e-6  # distances come in float32: ten steps of 0.1 mm must be within 1 mm
_SLAB_VOXELS = 2_000_000  # about 0.1 s of edt
_TIE = 1e-4  # of equal votes the label that is there wins


@dataclass(frozen=True)
class FillHoles(Tool):
    """Fill what a label encloses: background, and other labels where they may be overwritten.

    In 3D a hole is closed on all sides; in a plane, within that plane. One that is open to the
    border of the array is none.
    """

    title: ClassVar[str] = "Fill holes"

    def _change(self, scope: Scope) -> Change:
        boxes = scope.boxes()
        draft = scope.draft(union(boxes.values()))
        # from inner shells to outer: each fills its own hole before the one around it may
        for value, box in sorted(boxes.items(), key=lambda item: _voxels(item[1])):
            labels = draft.at(box)
            holes = _holes(labels == value, scope.flat_axis)
            if not scope.target.overwrite:
                holes &= labels == 0
            labels[holes] = value
        return draft.change()


@dataclass(frozen=True)
class Smooth(Tool):
    """Smooth the border of a label by a vote of all labels, which leaves no gap and no overlap.

    Each voxel takes the label with the most weight around it, background being one of them: a
    median for several labels. The weights are a Gaussian of half the radius as standard
    deviation, cut off at the radius.

    Parameters
    ----------
    radius_mm
        How far around a voxel to look; details smaller than this go.
    """

    title: ClassVar[str] = "Smooth"
    radius_mm: float = 1.5

    def _change(self, scope: Scope) -> Change:
        require_length(self.radius_mm, "smoothing radius")
        reach = scope.reach(self.radius_mm)
        twice = (2 * reach[0], 2 * reach[1], 2 * reach[2])
        # twice: a voxel that the label may gain needs all votes within reach of it
        draft = scope.draft(padded(union(scope.boxes().values()), twice, scope.window))
        sigma = tuple(
            0 if axis == scope.flat_axis else self.radius_mm / 2 / step
            for axis, step in enumerate(scope.spacing)
        )
        old = scope.labels[draft.box]
        winner = _vote(old, sigma, reach)
        draft.new[...] = np.where(_concerns(scope.target, old, winner), winner, old)
        return draft.change()


@dataclass(frozen=True)
class Grow(Tool):
    """Grow a label by a distance; labels that grow together share the space between them.

    Parameters
    ----------
    mm
        Between centres of voxels, Euclidean.
    """

    title: ClassVar[str] = "Grow"
    mm: float = 1.0

    def _change(self, scope: Scope) -> Change:
        require_length(self.mm, "growing by")
        reach = scope.reach(self.mm)
        boxes = {value: padded(box, reach, scope.window) for value, box in scope.boxes().items()}
        draft = scope.draft(union(boxes.values()))
        nearest = np.full(draft.new.shape, self.mm * _ROUNDING, np.float32)
        for value, box in boxes.items():
            distance = _distances(scope.labels[box] != value, self.mm, scope)
            so_far = nearest[within(box, draft.box)]
            closer = distance < so_far
            so_far[closer] = distance[closer]
            draft.at(box)[closer] = value
        return draft.change()


@dataclass(frozen=True)
class Shrink(Tool):
    """Take from a label what lies within a distance of its outside, other labels included.

    The border of the array is no outside: a label that it cuts stays there.

    Parameters
    ----------
    mm
        Between centres of voxels, Euclidean.
    """

    title: ClassVar[str] = "Shrink"
    mm: float = 1.0

    def _change(self, scope: Scope) -> Change:
        require_length(self.mm, "shrinking by")
        boxes = {
            value: padded(box, (1, 1, 1), scope.window) for value, box in scope.boxes().items()
        }
        draft = scope.draft(union(boxes.values()))
        for value, box in boxes.items():
            inside = scope.labels[box] == value
            depth = _distances(inside, self.mm, scope)
            draft.at(box)[inside & (depth <= self.mm * _ROUNDING)] = 0
        return draft.change()


def _distances(mask: Mask, mm: float, scope: Scope) -> NDArray[np.float32]:
    """Return for each voxel of a mask how far its outside is, exact up to `mm`; 0 outside.

    Computed in slabs that overlap by that much: edt holds Python's lock, and a window that waits
    for it would freeze for as long as a whole volume takes.
    """
    halo = scope.reach(mm)[0]
    step = max(1, halo, _SLAB_VOXELS // mask[0].size)
    distances = np.empty(mask.shape, np.float32)
    for start in range(0, len(mask), step):
        low = max(0, start - halo)
        slab = np.ascontiguousarray(mask[low : start + step + halo])
        part = edt(slab, anisotropy=scope.spacing)
        distances[start : start + step] = part[start - low : start - low + step]
    return distances


def _voxels(box: tuple[slice, ...]) -> int:
    return int(np.prod([along.stop - along.start for along in box]))


def _holes(mask: Mask, flat_axis: int | None) -> Mask:
    """Return what a mask encloses, in the plane where there is a flat axis."""
    solid = mask if flat_axis is None else mask.squeeze(flat_axis)
    # fill-voids 2.1 misses some single voxels that are open to the border: give it none there
    filled = fill_voids.fill(np.pad(solid, 1))[(slice(1, -1),) * solid.ndim]
    holes: Mask = filled.astype(bool).reshape(mask.shape) & ~mask
    return holes


def _vote(labels: Labels, sigma: tuple[float, ...], reach: tuple[int, int, int]) -> Labels:
    """Return for each voxel the label of the most weight around it, all labels voting."""
    best = np.zeros(labels.shape, np.float32)
    background = np.ones(labels.shape, np.float32)  # what the labels leave of all weight
    background[labels == 0] += _TIE
    winner = np.zeros_like(labels)
    whole = tuple(slice(0, n) for n in labels.shape)
    for value, box in label_boxes(labels, (whole[0], whole[1], whole[2])).items():
        part = padded(box, reach, (whole[0], whole[1], whole[2]))
        mask = labels[part] == value
        weight: NDArray[np.float32] = ndimage.gaussian_filter(
            mask.astype(np.float32), sigma, mode="nearest", radius=reach
        )
        background[part] -= weight
        weight[mask] += _TIE
        wins = weight > best[part]
        best[part][wins] = weight[wins]
        winner[part][wins] = value
    winner[background > best] = 0
    return winner


def _concerns(target: Target, old: Labels, new: Labels) -> Mask | bool:
    """Tell which changes have to do with the target: all, or those from and to its label."""
    if target.value is None:
        return True
    leaves, joins = old == target.value, new == target.value
    if not target.overwrite:  # no other label gains either: between two labels the border stays
        leaves &= new == 0
    concerns: Mask = leaves | joins
    return concerns
