"""Maps: features of a volume on grids of several resolutions, read at voxels or planes.

A map covers the canonical axes of a volume on a grid of its own: element m of an axis lies at voxel
``(m + 0.5) * size - 0.5``, where `size` is in voxels of the volume and need not be whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Map:
    """Features on one grid.

    Attributes
    ----------
    values : (C, x, y, z) float16 or float32
    size : voxels of the volume that an element covers along each axis
    """

    values: Tensor
    size: tuple[float, float, float]

    def at(self, places: Tensor) -> Tensor:
        """Interpolate at voxels: (N, 3) int64 -> (N, C) float32."""
        axes = [self._around(axis, places[:, axis]) for axis in range(3)]
        flat = self.values.flatten(1)
        _, y, z = self.values.shape[1:]
        found = torch.zeros(len(places), len(flat))
        for corner in range(8):
            index, weight = torch.zeros(len(places), dtype=torch.long), torch.ones(len(places))
            for axis, step in enumerate((y * z, z, 1)):
                low, high, upper = axes[axis]
                far = corner >> axis & 1
                index += (high if far else low) * step
                weight *= upper if far else 1 - upper
            found += flat[:, index].float().T * weight[:, None]
        return found

    def planes(self, planes: range, shape: tuple[int, int, int]) -> Tensor:
        """Interpolate whole planes along the first axis: (C, planes, Y, Z) float32."""
        wanted = [torch.arange(planes.start, planes.stop), *map(torch.arange, shape[1:])]
        values = self.values
        for axis, places in enumerate(wanted):
            low, high, upper = self._around(axis, places)
            if axis == 0:
                first = int(low[0])
                values = values[:, first : int(high[-1]) + 1].float()
                low, high = low - first, high - first
            if len(low) == values.shape[1 + axis] and not upper.any():
                continue
            near = values.index_select(1 + axis, low)
            if upper.any():
                far = values.index_select(1 + axis, high)
                share = upper.reshape([-1 if n == axis else 1 for n in range(3)])
                near = near.lerp_(far, share.expand_as(near[0])[None].expand_as(near))
            values = near
        return values

    def _around(self, axis: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the elements around voxels of an axis, and the weight of the upper one."""
        count = self.values.shape[1 + axis]
        at = ((places + 0.5) / self.size[axis] - 0.5).clamp(0, count - 1)
        low = at.floor()
        return low.long(), at.ceil().long(), (at - low).float()


@dataclass(frozen=True)
class Maps:
    """All that is known of the voxels of a volume in canonical axes.

    Attributes
    ----------
    shape : (X, Y, Z) of the volume
    maps : whose channels follow each other
    position : whether the voxel's place follows them
    """

    shape: tuple[int, int, int]
    maps: tuple[Map, ...]
    position: bool = True

    def __len__(self) -> int:
        """Features of a voxel."""
        return sum(len(one.values) for one in self.maps) + PLACES * self.position

    def at(self, places: NDArray[np.int64]) -> Tensor:
        """(N, 3) voxels -> (N, F) float32."""
        where = torch.from_numpy(places)
        parts = [one.at(where) for one in self.maps]
        if self.position:
            parts.append(_position(where, self.shape))
        return torch.cat(parts, dim=1)

    def planes(self, planes: range) -> Tensor:
        """Whole planes along the first axis, (F, planes * Y * Z) float32."""
        parts = [one.planes(planes, self.shape).flatten(1) for one in self.maps]
        if self.position:
            grid = torch.meshgrid(
                torch.arange(planes.start, planes.stop),
                *map(torch.arange, self.shape[1:]),
                indexing="ij",
            )
            where = torch.stack(grid, dim=-1).reshape(-1, 3)
            parts.append(_position(where, self.shape).T)
        return torch.cat(parts)


PLACES = 4


def _position(where: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, 3) voxels -> (N, 4): place along each axis, of -1 to 1, and distance from mid-plane."""
    at = (where + 0.5) * (2 / torch.tensor(shape)) - 1
    return torch.cat([at, at[:, :1].abs()], dim=1)
