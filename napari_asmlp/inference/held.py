"""What is held while windows move along the slab axis: planes of the image, sums of logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_asmlp.windows import axis_shares, finished_planes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_asmlp.windows import Box

    Floats = NDArray[np.float32]

# A voxel of a turned volume is summed up in another order of windows, and must still get the same
# label. Float32 adds whole numbers exactly, in any order, below 2**24: so contributions are
# counted in steps of 2**-12, and logits bounded by 2**11, which leaves a factor of 2 in hand for
# rounding. A difference of 2**11 between logits is certainty many times over.
_STEPS = 2.0**12
LARGEST_LOGIT = 2.0**11

RELEASED_AT_ONCE = 1 << 24  # scores copied out of the sums at a time


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
    """Weighted sums of logits of the planes that the current layer touches, plane by plane."""

    def __init__(self, boxes: Sequence[Box], slab_axis: int) -> None:
        self._boxes = boxes
        self._axis = slab_axis
        self._finished = finished_planes(boxes, slab_axis)
        self._shares = [axis_shares(boxes, axis) for axis in range(3)]
        self._shape = [max(box.stop[axis] for box in boxes) for axis in range(3)]
        del self._shape[slab_axis]
        self._sums: dict[int, Floats] = {}  # (K, n, m) of each plane, in steps of 1 / _STEPS
        # Memory is used again, as fresh memory takes the system longer than the sums take.
        self._spare: list[Floats] = []
        self._buffers: tuple[Floats, Floats] | None = None

    def add(self, n: int, logits: Floats) -> None:
        """Add the logits (K, x, y, z) of window n."""
        box = self._boxes[n]
        across = [part for axis, part in enumerate(box.slices) if axis != self._axis]
        where = (slice(None), *across)
        planes = range(box.start[self._axis], box.stop[self._axis])
        for plane, part in zip(planes, self._weighted(box, logits), strict=True):
            if plane not in self._sums:
                self._sums[plane] = self._empty_plane(len(logits))
            self._sums[plane][where] += part

    def _empty_plane(self, channels: int) -> Floats:
        if not self._spare:
            return np.zeros((channels, *self._shape), np.float32)
        plane = self._spare.pop()
        plane.fill(0)
        return plane

    def _weighted(self, box: Box, logits: Floats) -> Floats:
        """Return the share of a window in the sums: its planes, then K and the two other axes."""
        x, y, z = (self._shares[axis][box.start[axis]] for axis in range(3))
        if max(logits.max(), -logits.min()) > LARGEST_LOGIT:
            logits = logits.clip(-LARGEST_LOGIT, LARGEST_LOGIT)
        if self._buffers is None or self._buffers[0].shape != logits.shape:
            parts = np.empty(logits.shape, np.float32)
            self._buffers = parts, np.empty_like(np.moveaxis(parts, 1 + self._axis, 0), order="C")
        parts, planes = self._buffers
        np.multiply(logits, x[:, None, None] * y[:, None] * z * np.float32(_STEPS), out=parts)
        np.rint(parts, out=parts)
        np.copyto(planes, np.moveaxis(parts, 1 + self._axis, 0))
        return planes

    def released(self, n: int, *, backwards: bool) -> Iterator[tuple[int, Floats] | None]:
        """Give first plane and scores (K, X, Y, Z) of the planes that window n finishes.

        A few at a time and in the order of the walk; they are forgotten. None if it finishes none.
        """
        planes = self._finished[n]
        if not planes:
            yield None
            return
        step = max(1, RELEASED_AT_ONCE // self._sums[planes.start].size)
        for first in planes[::step][:: -1 if backwards else 1]:
            part = range(first, min(first + step, planes.stop))
            sums = [self._sums.pop(plane) for plane in part]
            self._spare += sums
            scores = np.stack(sums, axis=1 + self._axis)
            scores /= np.float32(_STEPS)
            yield first, scores


def _along(array: NDArray[Any], axis: int, planes: range) -> NDArray[Any]:
    index = [slice(None)] * 4
    index[1 + axis] = _slice(planes)
    return array[tuple(index)]


def _shifted(planes: range, held: range) -> range:
    return range(planes.start - held.start, planes.stop - held.start)


def _slice(planes: range) -> slice:
    return slice(planes.start, planes.stop)
