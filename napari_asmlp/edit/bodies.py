"""Bodies of labels, told apart by the necks between them: a watershed of the distance inside.

With every maximum as a source, flooding gives each voxel to the body of its highest neighbour. So
the way uphill is followed from all voxels at once instead, which needs no queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from edt import edt
from numpy.typing import NDArray

from napari_asmlp.edit.change import Box, Labels, padded, within

Depths = NDArray[np.float32]
Bodies = NDArray[np.int32]
Places = NDArray[np.int64]

# Two bodies are apart if the neck between them is narrower than this share of the slimmer one; one
# voxel is added to both widths, so that the steps of a digital surface do not count as necks.
_NECK = 0.8
_ROUNDING = 1 - 1e-6  # distances come in float32
_SIDE = 32  # voxels of a block: it fits the processor's cache


def bodies_of(
    labels: Labels, spacing: tuple[float, float, float], flat_axis: int | None
) -> NDArray[np.int32]:
    """Return for each voxel of a label, in the order of ``labels[labels > 0]``, its body from 0.

    Bodies hang together by faces, edges or corners; no two labels share one.

    Parameters
    ----------
    labels : integer array (i, j, k)
        Of fewer than 2³¹ voxels.
    spacing : mm per voxel
    flat_axis
        The axis across a 2D slice, which has no width.
    """
    labels = np.ascontiguousarray(labels)
    depth = edt(labels, anisotropy=spacing)
    inside = np.flatnonzero(labels)
    basins = _basins(_uphill(labels, depth), inside)
    numbers = np.zeros(labels.shape, np.int32)
    numbers.ravel()[inside] = basins
    peaks = np.zeros(int(basins.max()) + 1, np.float32)
    np.maximum.at(peaks, basins, depth.ravel()[inside])
    voxel = max(step for axis, step in enumerate(spacing) if axis != flat_axis)
    ones, others, saddles = _saddles(labels, numbers, depth)
    return _joined(peaks + voxel, ones, others, saddles + voxel)[basins]


def _blocks(labels: Labels) -> Iterator[tuple[Box, Box, Labels]]:
    """Yield blocks that hold labels, each with the box one voxel wider and the labels in it."""
    window = tuple(slice(0, n) for n in labels.shape)
    for corner in product(*(range(0, n, _SIDE) for n in labels.shape)):
        i, j, k = (
            slice(start, min(start + _SIDE, n))
            for start, n in zip(corner, labels.shape, strict=True)
        )
        if labels[i, j, k].any():
            around = padded((i, j, k), (1, 1, 1), (window[0], window[1], window[2]))
            yield (i, j, k), around, labels[around]


def _uphill(labels: Labels, depth: Depths) -> NDArray[np.int32]:
    """Return where the deepest of each labelled voxel and its neighbours of that label is.

    Of equally deep ones it is the last in memory, so that no way uphill leads round in a circle.
    """
    uphill = np.zeros(labels.shape, np.int32)
    _, rows, columns = labels.shape
    for block, around, near in _blocks(labels):
        i, j, k = np.ogrid[around]
        # depths are not negative, and so their bits are ordered as they are
        keys = depth[around].view(np.int32).astype(np.int64) << 32 | (i * rows + j) * columns + k
        inner = within(block, around)
        for value in np.flatnonzero(np.bincount(near[inner].ravel())[1:]) + 1:
            own = near == value
            highest = np.where(own, keys, 0)
            for axis in range(3):
                highest = _highest_along(highest, axis)
            mine = own[inner]
            place = highest[inner][mine].astype(np.int32)  # drops the bits of the depth
            uphill[block][mine] = place
    return uphill


def _highest_along(keys: Places, axis: int) -> Places:
    """Return the maximum of each voxel and its two neighbours along an axis."""
    highest = keys.copy()
    far, near = np.moveaxis(keys, axis, 0), np.moveaxis(highest, axis, 0)
    np.maximum(near[1:], far[:-1], out=near[1:])
    np.maximum(near[:-1], far[1:], out=near[:-1])
    return highest


def _basins(uphill: NDArray[np.int32], inside: Places) -> NDArray[np.int32]:
    """Follow the ways uphill to their ends; return for each voxel inside which end, from 0."""
    number = np.zeros(uphill.size, np.int32)
    number[inside] = np.arange(len(inside), dtype=np.int32)
    up = number[uphill.ravel()[inside]]
    while True:
        further = up[up]  # twice as far each time
        if np.array_equal(further, up):
            break
        up = further
    ends = np.zeros(len(up), np.int32)
    ends[up] = 1
    ends = np.cumsum(ends, dtype=np.int32) - np.int32(1)
    basins: NDArray[np.int32] = ends[up]
    return basins


def _saddles(labels: Labels, basins: Bodies, depth: Depths) -> tuple[Places, Places, Depths]:
    """Return the pairs of neighbouring basins, and how deep the widest way between them is."""
    count = int(basins.max()) + 1
    pairs, saddles = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for _, around, near in _blocks(labels):
        for pair, saddle in _borders(near, basins[around], depth[around], count):
            pairs.append(pair)
            saddles.append(saddle)
    pair, saddle = _deepest(np.concatenate(pairs), np.concatenate(saddles))
    return pair // count, pair % count, saddle


def _borders(
    labels: Labels, basins: Bodies, depth: Depths, count: int
) -> Iterator[tuple[Places, Depths]]:
    """Yield for each direction the pairs of basins of one label that meet, and how deep."""
    for offset in product((-1, 0, 1), repeat=3):
        if offset > (0, 0, 0):  # each pair of voxels once
            here = tuple(slice(max(0, -n), -n if n > 0 else None) for n in offset)
            there = tuple(slice(max(0, n), n if n < 0 else None) for n in offset)
            border = basins[here] != basins[there]
            border &= labels[here] == labels[there]
            if border.any():
                one, other = basins[here][border], basins[there][border]
                low, high = np.minimum(one, other), np.maximum(one, other)
                saddle = np.minimum(depth[here][border], depth[there][border])
                yield _deepest(low.astype(np.int64) * count + high, saddle)


def _deepest(pairs: Places, depth: Depths) -> tuple[Places, Depths]:
    """Return each pair once, with the greatest of its depths."""
    if not len(pairs):
        return pairs, depth
    order = np.argsort(pairs)
    pairs = pairs[order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    return pairs[first], np.maximum.reduceat(depth[order], first)


def _joined(peaks: Depths, ones: Places, others: Places, saddles: Depths) -> Bodies:
    """Join basins that no clear neck parts, the widest necks first; return the body of each."""
    width: list[float] = peaks.tolist()
    body = list(range(len(width)))

    def body_of(basin: int) -> int:
        while body[basin] != basin:
            body[basin] = body[body[basin]]  # shortens the way for the next
            basin = body[basin]
        return basin

    order = np.argsort(-saddles, kind="stable")
    necks = (column[order].tolist() for column in (ones, others, saddles))
    for one, other, neck in zip(*necks, strict=True):
        lower, higher = sorted((body_of(one), body_of(other)), key=width.__getitem__)
        if lower != higher and neck >= _NECK * _ROUNDING * width[lower]:
            body[lower] = higher
    joined = [body_of(basin) for basin in range(len(body))]
    return np.unique(joined, return_inverse=True)[1].astype(np.int32)
