"""Linear interpolation between two grids over one field of view, axis by axis, edges aligned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Neighbours = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]

_TRUNCATE = 4.0  # standard deviations that the low-pass filter reaches


def neighbours(n_wanted: int, n_given: int) -> Neighbours:
    """Return for each plane wanted the given planes around it and the weight of the upper one.

    With aligned edges, plane p of those wanted lies at ``(p + 0.5) * n_given / n_wanted - 0.5``.
    """
    position = (np.arange(n_wanted) + 0.5) * n_given / n_wanted - 0.5
    position = position.clip(0, n_given - 1)
    low = np.floor(position).astype(np.intp)
    return low, np.ceil(position).astype(np.intp), position - low


def lerp(values: NDArray[Any], axis: int, around: Neighbours) -> NDArray[Any]:
    """Interpolate along one axis; exact where neighbours are equal or the weight is 0."""
    low, high, weight = around
    if axis == values.ndim - 1 > 0:  # taking whole rows is many times as fast
        return np.moveaxis(lerp(np.moveaxis(values, -1, 0), 0, around), 0, -1)
    values = np.ascontiguousarray(values)
    near = values.take(low, axis)
    if not weight.any():
        return near
    far = values.take(high, axis)
    far -= near
    far *= weight.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1 - axis))
    near += far
    return near


class Resampler:
    """Brings planes to a grid of other spacing, after a low-pass filter along axes that shrink.

    Planes lie along one axis. A plane comes out the same, bit for bit, whichever others are
    computed with it.

    Parameters
    ----------
    given, wanted : shapes of the two grids
    axis : along which planes lie
    """

    def __init__(self, given: Sequence[int], wanted: Sequence[int], axis: int) -> None:
        self._axis, self._length = axis, given[axis]
        self._around = [neighbours(*lengths) for lengths in zip(wanted, given, strict=True)]
        # The deviation that scikit-image's `resize` chooses against aliasing.
        self._sigmas = [max(0.0, (n / m - 1) / 2) for n, m in zip(given, wanted, strict=True)]
        self._reach = int(_TRUNCATE * self._sigmas[axis] + 0.5)

    def needed(self, planes: range) -> range:
        """Return the given planes that wanted ones follow from."""
        low, high, _ = self._around[self._axis]
        first, last = int(low[planes.start]), int(high[planes.stop - 1])
        return range(max(0, first - self._reach), min(self._length, last + self._reach + 1))

    def __call__(self, values: NDArray[np.float64], planes: range) -> NDArray[np.float64]:
        """Return wanted planes, from ``needed(planes)``."""
        # Always axis 0, 1, 2, whichever the planes lie along: another order rounds differently.
        for axis, sigma in enumerate(self._sigmas):
            if sigma:
                values = ndimage.gaussian_filter1d(
                    values, sigma, axis, mode="nearest", truncate=_TRUNCATE
                )
        first = self.needed(planes).start
        for axis, around in enumerate(self._around):
            if axis == self._axis:
                low, high, weight = around
                mine = slice(planes.start, planes.stop)
                around = low[mine] - first, high[mine] - first, weight[mine]
            values = lerp(values, axis, around)
        return values
