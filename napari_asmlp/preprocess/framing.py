"""From a box of a volume to the input of a classifier, and back.

A *frame* is the input of the network laid over a volume: `size` voxels along three upright axes,
each a number of the volume's voxels (its *step*) long, centred on the middle of a box. Steps are
whole millimetres' worth where a model states its spacing; else one length in mm for all three axes,
the smallest with which the box fits in: proportions are kept, size is not.

Values are averaged with triangular weights, one voxel of the coarser grid to either side of the
centre: linear interpolation where the input is finer than the volume, and no aliasing where it is
coarser. Such weights are separable, so that a box goes through three small products of matrices.
Beyond the volume lies `outside`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp.grid import Grid, Orientation, Region

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from napari_asmlp.grid import Triple

    Floats = NDArray[np.float32]

_PLANES = 32  # taken to float32 at a time


@dataclass(frozen=True)
class Frame:
    """The input of a network, laid over a volume.

    Attributes
    ----------
    region : of the volume: all voxels that reach into the input
    orientation : that turns the axes (i, j, k) of the volume to the input's (X, Y, Z)
    size : voxels of the input along (X, Y, Z)
    steps : length of a voxel of the input along (X, Y, Z), in voxels of the volume
    centres : of the input along (X, Y, Z), as an index of the turned region
    """

    region: Region
    orientation: Orientation
    size: Triple
    steps: tuple[float, float, float]
    centres: tuple[float, float, float]

    def forth(self, part: NDArray[Any], outside: float = 0.0) -> Floats:
        """Bring the voxels of the region, (i, j, k), to the input's, (X, Y, Z)."""
        turned = self.orientation.apply(part)
        weights = [
            _weights(size, n, step, centre)
            for size, n, step, centre in zip(
                self.size, turned.shape, self.steps, self.centres, strict=True
            )
        ]
        return _product(turned, weights, outside)

    def back(self, values: Floats) -> Floats:
        """Bring values of the input's voxels, (X, Y, Z), to those of the region, (i, j, k).

        Interpolated linearly; 0 outside the input.
        """
        turned = [self.region.shape[axis] for axis in self.orientation.axes]
        weights = [
            _weights(n, size, 1 / step, (size - 1) / 2 + ((n - 1) / 2 - centre) / step)
            for size, n, step, centre in zip(
                self.size, turned, self.steps, self.centres, strict=True
            )
        ]
        return np.ascontiguousarray(self.orientation.undo(_product(values, weights, 0.0)))


def make_frame(
    grid: Grid,
    box: Region,
    size: Triple,
    *,
    spacing: tuple[float, float, float] | None = None,
    axis_codes: str | None = None,
    margin: float = 0.0,
) -> Frame:
    """Lay the input of a network over the middle of a box.

    Parameters
    ----------
    grid : of the volume
    box : of an object, a region, or all of the volume
    size : voxels of the input along (X, Y, Z)
    spacing : mm between these, or None: as many as it takes for the box to fit in
    axis_codes : where X, Y and Z point, or None: along the axes of the volume
    margin : without a spacing, what is added on each side, as a share of the box's longest side
    """
    turn, voxel = _turned(grid, axis_codes)
    extent = np.array([box.shape[axis] for axis in turn.axes]) * voxel
    if spacing is None:
        steps = ((extent + 2 * margin * extent.max()) / size).max() / voxel
    else:
        steps = np.array(spacing) / voxel
    region = _reached(box, grid.shape, turn, steps, size)
    centres = []
    for axis, flip in zip(turn.axes, turn.flips, strict=True):
        middle = (box.start[axis] + box.stop[axis] - 1) / 2 - region.start[axis]
        centres.append(region.shape[axis] - 1 - middle if flip else middle)
    (x, y, z), (a, b, c) = (float(s) for s in steps), centres
    return Frame(region, turn, size, (x, y, z), (a, b, c))


@lru_cache(maxsize=8)  # thousands of objects lie on one grid
def _turned(grid: Grid, axis_codes: str | None) -> tuple[Orientation, NDArray[np.float64]]:
    """Return the turn to the axes of the input, and mm per voxel of the volume along these."""
    turn = Orientation((0, 1, 2), (False, False, False))
    if axis_codes is not None:
        turn = grid.orientation(axis_codes)
    spacing = grid.spacing
    return turn, np.array([spacing[axis] for axis in turn.axes])


def _reached(
    box: Region, shape: Triple, turn: Orientation, steps: NDArray[np.float64], size: Triple
) -> Region:
    """Return the voxels that reach into the input; those of the box's middle at least."""
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis, step, count in zip(turn.axes, steps, size, strict=True):
        middle = (box.start[axis] + box.stop[axis] - 1) / 2
        reach = (count - 1) / 2 * step + max(1.0, step)
        start[axis] = max(0, int(np.ceil(middle - reach)))
        stop[axis] = min(shape[axis], int(np.floor(middle + reach)) + 1)
    (i, j, k), (a, b, c) = start, stop
    return Region((i, j, k), (a, b, c))


def _weights(count: int, length: int, step: float, centre: float) -> Floats:
    """Return what each of `length` voxels adds to each of `count` along an axis.

    (count, length); a row sums up to 1 where all that it reaches is there.
    """
    places = centre + (np.arange(count) - (count - 1) / 2) * step
    width = max(1.0, step)
    apart = np.abs(np.arange(length) - places[:, np.newaxis])
    total = _all_weights(places, width)  # beyond the ends too, so that what lies there fades in
    weights: Floats = np.maximum(0, 1 - apart / width) / total[:, np.newaxis]
    return weights.astype(np.float32)


def _all_weights(places: NDArray[Any], width: float) -> NDArray[Any]:
    """Return the sum of ``1 - |n - place| / width`` over all whole n for which it is positive.

    To either side of a place they are evenly spaced, so that the mean of the ends is that of all,
    and a width of a million voxels costs no more than one of one.
    """
    floor = np.floor(places)
    total = np.zeros_like(places)
    for near, far in ((floor, np.ceil(places - width)), (floor + 1, np.floor(places + width))):
        apart = np.abs(near - places) + np.abs(far - places)
        total += (np.abs(far - near) + 1) * (1 - apart / (2 * width))
    return total


def _product(array: NDArray[Any], weights: list[Floats], outside: float) -> Floats:
    """Return ``outside + Wx Wy Wz (array - outside)``, a few planes at a time."""
    first, second, third = weights
    sums = np.zeros((len(first), len(second), len(third)), np.float32)
    for start in range(0, len(array), _PLANES):
        planes = array[start : start + _PLANES].astype(np.float32) - np.float32(outside)
        rows = second @ (planes @ third.T)
        sums += np.tensordot(first[:, start : start + _PLANES], rows, axes=1)
    sums += np.float32(outside)
    return sums
