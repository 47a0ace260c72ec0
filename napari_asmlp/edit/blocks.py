"""Edits of borders, block by block: what lies deep inside a label or far from it is passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from napari_asmlp.edit.change import Box, Labels, padded, within

_SIDE = 32  # voxels: with its surroundings, a block fits the processor's cache


@dataclass(frozen=True, eq=False)
class Surrounded:
    """A block of voxels that an edit may alter, and what it looks at to do so.

    Parameters
    ----------
    block
        Where the voxels lie in the array.
    around
        The same, grown by the edit's reach as far as the window goes.
    labels : integer array of the shape of `around`
    """

    block: Box
    around: Box
    labels: Labels

    @property
    def inner(self) -> Box:
        """Where the block lies in what is around it."""
        return within(self.block, self.around)

    def values(self) -> list[int]:
        """Return the labels around the block, background 0 included."""
        return np.flatnonzero(np.bincount(self.labels.ravel())).tolist()


def border_blocks(
    labels: Labels, box: Box, reach: tuple[int, int, int], window: Box
) -> Iterator[Surrounded]:
    """Yield the blocks of a box that have two labels or more within `reach` of some voxel.

    Parameters
    ----------
    labels : integer array (i, j, k)
    reach
        In voxels along each axis.
    window
        Voxels outside it are not looked at; it holds the box.
    """
    sides = [max(_SIDE, 3 * n) for n in reach]  # a wide reach would else be most of the work
    corners = (range(along.start, along.stop, side) for along, side in zip(box, sides, strict=True))
    for corner in product(*corners):
        i, j, k = (
            slice(start, min(start + side, along.stop))
            for start, side, along in zip(corner, sides, box, strict=True)
        )
        around = padded((i, j, k), reach, window)
        part = labels[around]
        if part.min() != part.max():
            yield Surrounded((i, j, k), around, part)
