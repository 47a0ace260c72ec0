"""The axial shift and the two rearrangements of tokens around it.

Tokens are channels-last, ``(B, X, Y, Z, C)``. Nothing here has weights: these functions only move
tokens, and the channel MLPs of `napari_asmlp.networks.asmlp` do the computing.

The axial shift (Lian et al., AS-MLP, ICLR 2022, arXiv 2107.08391) splits the channels into groups
and moves each group by another number of tokens along one axis, so that a linear layer over the
channels of one token then sees its neighbours along that axis::

    axis position      0  1  2  3  4
    channel group 0    b  c  d  e  0     moved by -1
    channel group 1    a  b  c  d  e     moved by  0
    channel group 2    0  a  b  c  d     moved by +1
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Offsets of the tokens in a 2x2x2 cell, in the order of `merge_octants`: the last axis fastest.
OCTANTS = tuple(itertools.product((0, 1), repeat=3))
# What the public 3D port concatenates, in its order: it takes (1, 1, 1) twice and (1, 0, 1)
# never, so this is no permutation of voxels. Only its checkpoints need it.
REFERENCE_OCTANTS = (
    (0, 0, 0),
    (1, 0, 0),
    (1, 1, 0),
    (1, 1, 1),
    (0, 1, 0),
    (0, 1, 1),
    (1, 1, 1),
    (0, 0, 1),
)


def channel_groups(channels: int, shift_size: int) -> list[tuple[int, int]]:
    """Size and displacement in tokens of each channel group.

    Groups hold ``ceil(channels / shift_size)`` channels, the last one the rest; there may be
    fewer groups than shifts. Group number n moves by ``n - shift_size // 2``.

    >>> channel_groups(7, 3)
    [(3, -1), (3, 0), (1, 1)]
    """
    size = math.ceil(channels / shift_size)
    starts = range(0, channels, size)
    return [(min(size, channels - start), n - shift_size // 2) for n, start in enumerate(starts)]


def axial_shift(tokens: Tensor, axis: int, shift_size: int) -> Tensor:
    """Move each channel group along one axis; zeros come in from outside.

    Parameters
    ----------
    tokens : (B, X, Y, Z, C) tensor
    axis : 1, 2 or 3, the axis to move along
    shift_size : extent of the shift in tokens; 1 moves nothing

    Returns
    -------
    (B, X, Y, Z, C) tensor, a new one unless nothing moves
    """
    if shift_size == 1:
        return tokens
    shifted: Tensor = _AxialShift.apply(tokens, axis, shift_size)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return shifted


class _AxialShift(torch.autograd.Function):
    """The adjoint of a shift is the opposite shift: cheaper than autograd's slices and sums."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, axis: int, shift_size: int) -> Tensor:
        ctx.arguments = axis, shift_size
        return _move(tokens, axis, shift_size, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        axis, shift_size = ctx.arguments
        return _move(gradients[0], axis, shift_size, -1), None, None


def _move(tokens: Tensor, axis: int, shift_size: int, direction: int) -> Tensor:
    reach, length = shift_size // 2, tokens.shape[axis]
    before, after = (shift_size - 1 - reach, reach)[::direction]
    padded = functional.pad(tokens, [0, 0] * (tokens.ndim - 1 - axis) + [before, after])
    pieces, channel = [], 0
    for size, displacement in channel_groups(tokens.shape[-1], shift_size):
        piece = padded.narrow(axis, before - direction * displacement, length)
        pieces.append(piece.narrow(-1, channel, size))
        channel += size
    return torch.cat(pieces, dim=-1)


def merge_octants(tokens: Tensor) -> Tensor:
    """Lay the eight tokens of each 2x2x2 cell side by side: a permutation of the numbers.

    Parameters
    ----------
    tokens : (B, X, Y, Z, C) tensor, X, Y and Z even

    Returns
    -------
    (B, X/2, Y/2, Z/2, 8C) tensor, the tokens of a cell in the order of its offsets, the last
    axis fastest
    """
    batch, x, y, z, channels = tokens.shape
    cells = tokens.reshape(batch, x // 2, 2, y // 2, 2, z // 2, 2, channels)
    return cells.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(
        batch, x // 2, y // 2, z // 2, 8 * channels
    )


def split_octants(tokens: Tensor) -> Tensor:
    """Undo `merge_octants`.

    Parameters
    ----------
    tokens : (B, X, Y, Z, 8C) tensor

    Returns
    -------
    (B, 2X, 2Y, 2Z, C) tensor
    """
    batch, x, y, z, channels = tokens.shape
    cells = tokens.reshape(batch, x, y, z, 2, 2, 2, channels // 8)
    return cells.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, 2 * x, 2 * y, 2 * z, channels // 8)


def merge_reference_octants(tokens: Tensor) -> Tensor:
    """Merge as the public 3D port does, its slip included (`REFERENCE_OCTANTS`).

    Same shapes as `merge_octants`, but not a permutation: one voxel of each cell is lost.
    """
    return torch.cat([tokens[:, i::2, j::2, k::2] for i, j, k in REFERENCE_OCTANTS], dim=-1)
