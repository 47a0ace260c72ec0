"""What is held while windows move along the slab axis: planes of the image, sums of logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from napari_asmlp.windows import axis_shares, finished_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_asmlp.windows import Box

    Floats = NDArray[np.float32]

# A voxel of a turned volume is summed up in another order of windows, and must still get the same
# label. Float32 adds whole numbers exactly, in any order, below 2**24: so contributions are
# counted in steps of 2**-12, and logits bounded by 2**11, which leaves a factor of 2 in hand for
# rounding. A difference of 2**11 between logits is certainty many times over.
_STEPS = 2.0**12
LARGEST_LOGIT = 2.0**11


class ImagePlanes(Protocol):
    """An image whose planes along the slab axis are there when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, X, Y, Z)."""

    def planes(self, wanted: range) -> Floats:
        """Return planes, (C, ...); each is asked for once, in the order of the walk."""


class HeldImage:
    """The planes of an image that windows are cut from."""

    def __init__(self, image: ImagePlanes | Floats, axis: int) -> None:
        self._image, self._axis = image, axis
        self._planes = range(0)
        self._held: Floats = np.empty((0, 0, 0, 0), np.float32)

    def hold(self, planes: range) -> None:
        """Hold these planes, and no others."""
        both = range(max(planes.start, self._planes.start), min(planes.stop, self._planes.stop))
        if isinstance(self._image, np.ndarray):  # which holds them all
            self._planes, self._held = planes, _along(self._image, self._axis, planes)
        elif not both:
            self._planes, self._held = planes, self._image.planes(planes)
        elif planes != self._planes:
            kept = [_along(self._held, self._axis, _shifted(both, self._planes))]
            before, after = range(planes.start, both.start), range(both.stop, planes.stop)
            parts = [
                *([self._image.planes(before)] if before else []),
                *kept,
                *([self._image.planes(after)] if after else []),
            ]
            self._planes, self._held = planes, np.concatenate(parts, axis=1 + self._axis)

    def window(self, box: Box) -> Floats:
        """Return the voxels of a box, (C, x, y, z)."""
        index = [slice(None), *box.slices]
        first, last = box.start[self._axis], box.stop[self._axis]
        index[1 + self._axis] = _slice(_shifted(range(first, last), self._planes))
        return self._held[tuple(index)]


class RollingSums:
    """Weighted sums of logits over the planes that the current layer of windows touches.

    Axes are those of the windows, so that sums and logits go through memory alike.
    """

    def __init__(self, boxes: Sequence[Box], slab_axis: int) -> None:
        self._boxes = boxes
        self._axis = slab_axis
        self._finished = finished_planes(boxes, slab_axis)
        self._shares = [axis_shares(boxes, axis) for axis in range(3)]
        self._shape = [max(box.stop[axis] for box in boxes) for axis in range(3)]
        self._planes = range(0)
        self._sums: Tensor | None = None  # (K, X, Y, Z), of the planes alone

    def add(self, n: int, logits: Tensor) -> None:
        """Add the logits (K, x, y, z) of window n, of at most `LARGEST_LOGIT`."""
        box = self._boxes[n]
        sums = self._moved(range(box.start[self._axis], box.stop[self._axis]), len(logits))
        where = list(box.slices)
        where[self._axis] = slice(None)
        x, y, z = (self._shares[axis][box.start[axis]] for axis in range(3))
        share = torch.from_numpy(x[:, None, None] * y[:, None] * z * np.float32(_STEPS))
        part = torch.empty_like(share)
        # Channel after channel, whose part stays in the cache.
        for total, channel in zip(sums, logits, strict=True):
            torch.mul(channel, share, out=part)
            total[tuple(where)].add_(part.round_(), alpha=1 / _STEPS)

    def _moved(self, planes: range, channels: int) -> Tensor:
        """Return the sums of these planes: those held already as they are, others 0."""
        if self._sums is None:
            shape = [channels, *self._shape]
            shape[1 + self._axis] = len(planes)
            self._sums = torch.from_numpy(np.zeros(shape, np.float32))
        elif planes != self._planes:
            for total in self._sums:
                _move(total.numpy(), self._axis, self._planes, planes)
        self._planes = planes
        return self._sums

    def released(self, n: int) -> tuple[int, Floats] | None:
        """Return first plane and scores (K, X, Y, Z) of the planes that window n finishes.

        None if it finishes none. The scores are a view, until the next window is added.
        """
        planes = self._finished[n]
        if not planes or self._sums is None:
            return None
        return planes.start, _along(self._sums.numpy(), self._axis, _shifted(planes, self._planes))


def _move(sums: Floats, axis: int, planes: range, wanted: range) -> None:
    """Let sums (X, Y, Z) of planes become those of other planes, of the same number, in place."""
    both = range(max(planes.start, wanted.start), min(planes.stop, wanted.stop))
    sums = np.moveaxis(sums, axis, 0)
    kept = sums[_slice(_shifted(both, planes))].copy(order="K")
    sums[...] = 0
    sums[_slice(_shifted(both, wanted))] = kept


def _along(array: NDArray[Any], axis: int, planes: range) -> NDArray[Any]:
    index = [slice(None)] * 4
    index[1 + axis] = _slice(planes)
    return array[tuple(index)]


def _shifted(planes: range, held: range) -> range:
    return range(planes.start - held.start, planes.stop - held.start)


def _slice(planes: range) -> slice:
    return slice(planes.start, planes.stop)
