"""What a tool is asked to edit, and what it answers: a difference, never a copy of the volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, VolumeError

Box = tuple[slice, slice, slice]
Mask = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]

LARGEST_VALUE = 65_535
_FEW = 3  # label values that are sooner compared than looked up
_CACHED = 100_000  # voxels
_COUNTED = 1_000_000  # voxels at a time: bincount makes a copy eight bytes wide


@dataclass(frozen=True)
class Target:
    """What may be edited.

    Parameters
    ----------
    value
        The label edited; None for every label that is not locked.
    plane
        Axis and index of the one 2D slice of the array to look at and to edit; None for all of it.
    locked
        Labels that neither lose nor gain a voxel.
    overwrite
        Whether labels other than `value` may lose voxels to it; background always may.
    """

    value: int | None
    plane: tuple[int, int] | None
    locked: frozenset[int] = frozenset()
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class Change:
    """The voxels that an edit would alter, all others left out.

    Parameters
    ----------
    region
        Bounding box of the voxels, in the axis order of the label array.
    mask : bool array of the shape of the region
        Which of its voxels change.
    values : integer array (changed voxels,)
        Their new values, in the order of ``labels[region][mask]``.
    lost, gained
        How many voxels each old value loses and each new one gains, background 0 included.
    """

    region: Box
    mask: Mask
    values: Labels
    lost: Mapping[int, int] = field(default_factory=dict)
    gained: Mapping[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of voxels that change."""
        return len(self.values)

    def apply(self, labels: Labels) -> None:
        """Write the new values into an array, in place.

        Raises
        ------
        GridError
            The array is too small for the region.
        VolumeError
            The array is read-only.
        """
        if any(along.stop > size for along, size in zip(self.region, labels.shape, strict=True)):
            raise GridError(f"labels of shape {labels.shape} are not those the edit was made for")
        if not labels.flags.writeable:
            raise VolumeError("these labels are read-only: duplicate the layer and edit the copy")
        labels[self.region][self.mask] = self.values


def difference(box: Box, old: Labels, new: Labels, changed: Mask) -> Change:
    """Return the change of the `changed` voxels of a box from `old` to `new` values."""
    if not changed.any():
        nowhere = slice(0, 0)
        return Change((nowhere,) * 3, np.zeros((0, 0, 0), bool), new[changed])
    tight = bounding_box(changed)
    mask = changed[tight]
    if 2 * mask.size < (changed if changed.base is None else changed.base).size:
        mask = mask.copy()  # or the change would hold on to much more
    values = new[tight][mask]
    return Change(placed(tight, box), mask, values, tally(old[tight][mask]), tally(values))


def tally(values: Labels) -> dict[int, int]:
    """Count each value of a 1D array of label values."""
    largest = int(values.max(initial=0))
    counts = np.zeros(largest + 1, np.int64)
    for start in range(0, len(values), _COUNTED):
        counts += np.bincount(values[start : start + _COUNTED], minlength=largest + 1)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def among(labels: Labels, values: Iterable[int]) -> Mask:
    """Tell which voxels have one of some values; several times faster than `np.isin`."""
    wanted = [value for value in values if 0 <= value <= LARGEST_VALUE]
    if len(wanted) <= _FEW:
        few: Mask = np.zeros(labels.shape, bool)
        for value in wanted:
            few |= labels == value
        return few
    table = np.zeros(LARGEST_VALUE + 1, bool)
    table[wanted] = True
    found: Mask = table[labels]
    return found


def bounding_box(mask: Mask) -> Box:
    """Return the smallest box around the voxels of a mask that is not empty."""
    box = [slice(0, n) for n in mask.shape]
    for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):  # each looks only at what is left
        along = np.flatnonzero(mask[tuple(box)].any(axis=others))
        box[axis] = slice(int(along[0]), int(along[-1]) + 1)
    return box[0], box[1], box[2]


def slabs(array: Labels) -> Iterator[Box]:
    """Yield boxes of an array, one after the other in memory, that fit the processor's cache."""
    axis = int(np.argmax(np.abs(array.strides)))
    planes = max(1, _CACHED * array.shape[axis] // array.size)
    for start in range(0, array.shape[axis], planes):
        box = [slice(0, n) for n in array.shape]
        box[axis] = slice(start, min(start + planes, array.shape[axis]))
        yield box[0], box[1], box[2]


def union(boxes: Iterable[Box]) -> Box:
    """Return the smallest box around boxes."""
    i, j, k = (
        slice(min(box.start for box in along), max(box.stop for box in along))
        for along in zip(*boxes, strict=True)
    )
    return i, j, k


def padded(box: Box, reach: tuple[int, int, int], inside: Box) -> Box:
    """Return a box grown by `reach` voxels along each axis, no further than another box."""
    i, j, k = (
        slice(max(own.start - n, limit.start), min(own.stop + n, limit.stop))
        for own, n, limit in zip(box, reach, inside, strict=True)
    )
    return i, j, k


def placed(inner: Box, outer: Box) -> Box:
    """Return a box counted from the start of `outer`, counted from the start of the array."""
    i, j, k = (
        slice(a.start + b.start, a.stop + b.start) for a, b in zip(inner, outer, strict=True)
    )
    return i, j, k


def within(box: Box, outer: Box) -> Box:
    """Return a box of the array, counted from the start of `outer`: undoes `placed`."""
    i, j, k = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))
    return i, j, k
