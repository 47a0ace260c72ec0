"""Volumes that lie at a tilt: brought upright for a model, and labels back.

A model with fixed axes knows a structure as it lies in upright volumes, and in those tilted by as
much as it was trained for. A volume of a stronger tilt (or with axes that are not orthogonal) is
interpolated onto an *upright grid*: its axes are those of the world, and it covers the field of
view. That grid takes the place of the source grid on the way to the network. On the way back,
probabilities are interpolated at the voxels of the source and decided there. The source's planes
cross all of the upright ones, so that the upright volume and its probabilities are in memory as a
whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_asmlp.grid import Grid, Region
from napari_asmlp.preprocess.fills import Fill, cleaner_of
from napari_asmlp.preprocess.placement import place
from napari_asmlp.preprocess.to_source import Slab, SourceSlabs
from napari_asmlp.resample import iter_resample
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.model import Card, Preprocessing

_ROUNDING = 1e-6  # of a voxel
_WORKED_AT_ONCE = 1 << 22  # numbers of a slab of the source


def upright_grid(grid: Grid, preprocessing: Preprocessing) -> Grid:
    """Return the smallest upright grid that covers the field of view of another one.

    Its axes point as the model's do. It has the model's spacing, or that of the closest axes.
    """
    codes = preprocessing.axis_codes or "RAS"
    closest = grid.reoriented(grid.orientation(codes))
    step = np.array(preprocessing.spacing or closest.spacing)
    axes = np.round(_unit_axes(codes))
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    corners = np.array(list(product(*ends))) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    along = corners @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    shape = np.maximum(1, np.ceil((high - low) / step - _ROUNDING)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * step
    affine[:3, 3] = axes @ ((low + high) / 2 - (shape - 1) / 2 * step)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def iter_raise(
    volume: Volume, region: Region, grid: Grid, preprocessing: Preprocessing
) -> Generator[float, None, tuple[Volume, list[Fill]]]:
    """Interpolate a region of a volume onto an upright grid, in memory.

    Fill values are not interpolated.

    Yields
    ------
    float
        The fraction done of the channel's image, then of its mask.

    Returns
    -------
    volume : float32, NaN beyond the region and where there was a fill value
    fills : those found in the region

    Raises
    ------
    VolumeError
        If the file is damaged, or a channel holds no finite value.
    """
    array = np.asarray(volume.data[region.slices])
    channels = array[..., np.newaxis] if array.ndim == 3 else array
    cut = replace(volume, grid=volume.grid.cropped(region), data=channels[..., 0])
    out = np.empty((*grid.shape, channels.shape[3]), np.float32)
    fills: list[Fill] = []
    for n in range(channels.shape[3]):
        cleaner = cleaner_of(channels[..., n], preprocessing.clip, n, volume.name)
        values, left_out = cleaner.clean(channels[..., n])
        fills += cleaner.fills
        moved = yield from iter_resample(replace(cut, data=values), grid)
        out[..., n] = moved.data
        counts = np.ones(cut.grid.shape, bool) if left_out is None else ~left_out
        mask = replace(cut, data=counts.view(np.uint8), kind="labels")
        measured = yield from iter_resample(mask, grid)
        out[..., n][measured.array() == 0] = np.nan
    return replace(cut, data=out if array.ndim == 4 else out[..., 0], grid=grid), fills


class UprightSlabs(SourceSlabs):
    """Turn finished planes of scores on an upright grid into slabs of labels on the source grid.

    Slabs come when the last plane is in.

    Parameters
    ----------
    upright : the upright grid
    source_grid, region : of the file, and what is looked at of it
    card, probabilities, uncertainty : as for `SourceSlabs`
    """

    def __init__(
        self,
        upright: Grid,
        source_grid: Grid,
        region: Region,
        card: Card,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
    ) -> None:
        super().__init__(
            place(upright, card.preprocessing),
            card,
            probabilities=probabilities,
            uncertainty=uncertainty,
        )
        model = self._placement.model_grid
        self._matrix = np.linalg.inv(model.affine) @ source_grid.cropped(region).affine
        self._region, self._finished = region, 0
        self._left = model.shape[self._axis]
        self._chances = np.empty((0, *model.shape), np.float32)

    def skip(self, finished: int) -> int:
        """Leave out planes that are finished already; all windows are needed for the others."""
        self._finished = finished
        return 0

    def add(self, first: int, scores: NDArray[np.float32]) -> Iterator[Slab]:
        """Take finished planes; with the last of them, give all slabs, in the order of the file."""
        started = time.monotonic()
        if not len(self._chances):
            self._chances = np.empty((len(scores), *self._chances.shape[1:]), np.float32)
        count = scores.shape[1 + self._axis]
        index: list[Any] = [slice(None)] * 4
        index[1 + self._axis] = slice(first, first + count)
        self._chances[tuple(index)] = self._activated(scores)
        self._left -= count
        depth = self._region.shape[2] if not self._left else 0
        step = max(1, _WORKED_AT_ONCE // (len(scores) * math.prod(self._region.shape[:2])))
        for k in range(self._finished, depth, step):
            slab = self._tilted(range(k, min(k + step, depth)))
            self.seconds += time.monotonic() - started
            yield slab
            started = time.monotonic()
        self.seconds += time.monotonic() - started

    def _tilted(self, planes: range) -> Slab:
        """Interpolate the probabilities at planes of the source, and decide."""
        (i, j, k), (i_stop, j_stop, _) = self._region.start, self._region.stop
        region = Region((i, j, k + planes.start), (i_stop, j_stop, k + planes.stop))
        matrix = self._matrix.copy()
        matrix[:3, 3] += planes.start * matrix[:3, 2]
        chances = np.empty((len(self._chances), *region.shape), np.float32)
        for given, found in zip(self._chances, chances, strict=True):
            ndimage.affine_transform(
                given, matrix, output_shape=region.shape, output=found, order=1, mode="nearest"
            )
        return self._made(region, self._answers(chances), lambda part: part)


def _unit_axes(codes: str) -> NDArray[np.float64]:
    """Return where axes of these codes point in the world, as the columns of a (3, 3) matrix."""
    straight = Grid((1, 1, 1), np.eye(4))
    return straight.reoriented(straight.orientation(codes)).directions
