"""A volume on another grid: for images that lie at a tilt to each other.

Each voxel of the new grid takes its value from the place in the world where it lies. Outside the
field of view of the volume (half a voxel beyond its outer voxel centres) images get their smallest
value, and labels background.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.volume import Volume

Interpolation = Literal["nearest", "linear", "cubic"]

_ORDERS: dict[Interpolation, int] = {"nearest": 0, "linear": 1, "cubic": 3}
_SLAB_VOXELS = 1 << 21  # of the new grid, computed at a time
_ROUNDING = 1e-6  # voxels that a coordinate may be off
# Of coordinates between the outer centres and the edge of the field of view; those further out do
# not count. Splines know no "nearest" without padding.
_EDGES = {0: "nearest", 1: "nearest", 3: "mirror"}


def resample(volume: Volume, grid: Grid, interpolation: Interpolation = "linear") -> Volume:
    """Return a volume's voxels on another grid; see `iter_resample`."""
    steps = iter_resample(volume, grid, interpolation)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Volume = end.value
            return result


def iter_resample(
    volume: Volume, grid: Grid, interpolation: Interpolation = "linear"
) -> Generator[float, None, Volume]:
    """Compute a volume's voxels on another grid, slab by slab along k.

    Labels are always resampled to the nearest. An image that is interpolated onto a coarser grid
    is smoothed first: along an axis where neighbours of the new grid lie f > 1 of its voxels apart,
    by a Gaussian of deviation (f - 1) / 2 voxels, so that fine structure does not alias; and NaN
    and infinities count as its smallest value. In memory are the volume, the new one, and a float32
    copy of one channel where it is smoothed or cubic.

    Yields
    ------
    float
        The fraction done.

    Returns
    -------
    Volume
        On `grid`, without path or header. Interpolated images are float32; others keep their
        dtype.

    Raises
    ------
    SettingsError
        If there is no such interpolation.
    VolumeError
        If the voxels cannot be loaded, or none is finite.
    """
    if interpolation not in get_args(Interpolation):
        known = ", ".join(get_args(Interpolation))
        raise SettingsError(f"interpolation {interpolation!r}: known are {known}")
    order = 0 if volume.kind == "labels" else _ORDERS[interpolation]
    source = volume.array()
    if source.dtype == np.float16:  # which scipy does not take
        source = source.astype(np.float32)
    matrix = np.linalg.inv(volume.grid.affine) @ grid.affine
    out = np.empty(
        (*grid.shape, *source.shape[3:]), source.dtype if order == 0 else np.float32, order="F"
    )
    channels = source[..., np.newaxis] if source.ndim == 3 else source
    targets = out[..., np.newaxis] if source.ndim == 3 else out
    count = channels.shape[3]
    for channel in range(count):
        yield channel / count
        outside = 0 if volume.kind == "labels" else _lowest(channels[..., channel], volume.name)
        prepared = _prepared(channels[..., channel], matrix, order, outside)
        for done in _fill(targets[..., channel], prepared, matrix, order, outside):
            yield (channel + done) / count
    return replace(
        volume, data=out, grid=grid, path=None, header=None, title=f"{volume.name} resampled"
    )


def _prepared(
    source: NDArray[Any], matrix: NDArray[np.float64], order: int, lowest: float
) -> NDArray[Any]:
    """Return what is interpolated between: (i, j, k), smoothed or spline coefficients at need."""
    if order == 0:
        return source
    if source.dtype.kind == "f" and not np.isfinite(source).all():
        source = np.where(np.isfinite(source), source, lowest)
    apart = np.linalg.norm(matrix[:3, :3], axis=1)  # voxels of the source, along each of its axes
    sigmas = np.where(apart > 1 + _ROUNDING, (apart - 1) / 2, 0)
    if sigmas.any():
        source = ndimage.gaussian_filter(source, sigmas, output=np.float32, mode="nearest")
    if order > 1:
        source = ndimage.spline_filter(source, order, output=np.float32, mode=_EDGES[order])
    return source


def _fill(
    target: NDArray[Any],
    source: NDArray[Any],
    matrix: NDArray[np.float64],
    order: int,
    outside: float,
) -> Iterator[float]:
    """Write the values of a slab at a time; `matrix` leads from new to source indices."""
    thickness = max(1, _SLAB_VOXELS // (target.shape[0] * target.shape[1]))
    for k in range(0, target.shape[2], thickness):
        slab = target[:, :, k : k + thickness]
        moved = matrix.copy()
        moved[:3, 3] += k * matrix[:3, 2]
        ndimage.affine_transform(
            source,
            moved,
            output_shape=slab.shape,
            output=slab,
            order=order,
            mode=_EDGES[order],
            prefilter=False,
        )
        slab[_is_outside(slab.shape, source.shape, moved)] = outside
        yield min(1.0, (k + thickness) / target.shape[2])


def _is_outside(
    shape: tuple[int, ...], source: tuple[int, ...], matrix: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell of each voxel of a slab whether it lies beyond the source's field of view."""
    outside = np.zeros(shape, bool)
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    for row, size in zip(matrix[:3], source, strict=True):
        index = row[0] * i + row[1] * j + (row[2] * k + row[3])
        outside |= (index < -0.5 - _ROUNDING) | (index > size - 0.5 + _ROUNDING)
    return outside


def _lowest(source: NDArray[Any], name: str) -> float:
    """Return the smallest finite value."""
    if source.dtype.kind != "f":
        return int(source.min())
    lowest = np.min(source, where=np.isfinite(source), initial=np.inf)
    if lowest == np.inf:
        raise VolumeError(f"{name}: no voxel is finite; there is nothing to resample")
    return float(lowest)
