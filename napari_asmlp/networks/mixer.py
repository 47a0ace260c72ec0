"""The 3D MLP-Mixer: one MLP across the tokens, one across the channels, nothing else.

Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", NeurIPS 2021
(arXiv 2105.01601), with a third axis. The volume is cut into cubes of `patch_size` voxels, each
becomes a token, and a block mixes first what stands in the same channel of all tokens, then the
channels of each token. Its place is classification: what a patch holds within is not kept apart.

Mixing both at once would take a dense layer over all numbers. Of a picture of 16,384 points in
patches of 64 (128x128 in 8x8; here 16x16x64 in 4x4x4) with 128 channels, that is a billion
weights; two layers, one across each, take a ten-thousandth of them:

>>> config = MixerConfig(input_size=(16, 16, 64), patch_size=4, width=128)
>>> math.prod(config.input_size), config.tokens
(16384, 256)
>>> f"{(config.tokens * config.width) ** 2:,}"
'1,073,741,824'
>>> f"{config.tokens**2 + config.width**2:,}"
'81,920'

Shapes: volumes are ``(B, C, X, Y, Z)`` at the door; inside, tokens are ``(B, T, W)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Literal

import pydantic
import torch
from torch import Tensor, nn

from napari_asmlp.errors import ModelError

# Bounds of what a model file may claim; far above what a classifier of volumes needs.
_Side = Annotated[int, pydantic.Field(ge=1, le=512)]
_Channels = Annotated[int, pydantic.Field(ge=1, le=1024)]
_Width = Annotated[int, pydantic.Field(ge=1, le=8192)]
_Few = Annotated[int, pydantic.Field(ge=1, le=64)]


@dataclass(frozen=True)
class MixerConfig:
    """Sizes and choices of a `Mixer`.

    Attributes
    ----------
    input_size : voxels of the volumes it takes: (X, Y, Z), multiples of `patch_size`
    patch_size : voxels of a token along each axis
    in_channels, out_channels : channels of the volume, and classes
    width : channels of a token
    depth : blocks
    token_width, channel_width : hidden units of the MLP across tokens and of that across channels
    dropout : share of the hidden units that a training step leaves out
    mirror_axes : axes of the volume; outside training the answer is the mean over the volume and
        its mirrorings along each choice of them
    fixed_channels : how many channels, the last ones, are not of places and not mirrored
    """

    input_size: tuple[_Side, _Side, _Side] = (32, 32, 32)
    patch_size: _Side = 4
    in_channels: _Channels = 1
    out_channels: _Channels = 2
    width: _Width = 64
    depth: _Few = 4
    token_width: _Width = 128
    channel_width: _Width = 256
    dropout: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    fixed_channels: Annotated[int, pydantic.Field(ge=0, le=1024)] = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the value."""
        sizes = (self.in_channels, self.out_channels, self.width, self.depth)
        if min(*self.input_size, self.patch_size, self.token_width, self.channel_width, *sizes) < 1:
            raise ModelError(f"sizes, channels, widths and depth are at least 1: {self}")
        if any(side % self.patch_size for side in self.input_size):
            raise ModelError(
                f"input_size {self.input_size}: each side is a multiple of the patch size"
                f" ({self.patch_size})"
            )
        if not 0 <= self.dropout < 1:
            raise ModelError(f"dropout {self.dropout}: it is at least 0 and less than 1")
        axes = self.mirror_axes
        if not set(axes) <= {0, 1, 2} or len(set(axes)) != len(axes):
            raise ModelError(f"mirror_axes {axes}: give some of 0, 1, 2, each once")
        if not 0 <= self.fixed_channels < self.in_channels:
            raise ModelError(
                f"fixed_channels {self.fixed_channels}: of {self.in_channels} channels"
            )

    @property
    def token_grid(self) -> tuple[int, int, int]:
        """Patches along each axis."""
        x, y, z = (side // self.patch_size for side in self.input_size)
        return x, y, z

    @property
    def tokens(self) -> int:
        """Patches of a volume."""
        return math.prod(self.token_grid)


def _mlp(size: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, size),
        nn.Dropout(dropout),
    )


class MixerBlock(nn.Module):
    """Token mixing, then channel mixing, each added to what it was made of (section 2)."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.token_mlp = _mlp(config.tokens, config.token_width, config.dropout)
        self.norm2 = nn.LayerNorm(config.width)
        self.channel_mlp = _mlp(config.width, config.channel_width, config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, W) -> the same shape."""
        across: Tensor = self.token_mlp(self.norm1(tokens).transpose(1, 2))  # (B, W, T)
        tokens = tokens + across.transpose(1, 2)
        mixed: Tensor = tokens + self.channel_mlp(self.norm2(tokens))
        return mixed


class Mixer(nn.Module):
    """Scores of classes for volumes of one size: (B, C, X, Y, Z) -> logits (B, K)."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.in_channels * config.patch_size**3, config.width)
        self.blocks = nn.ModuleList(MixerBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.out_channels)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> logits (B, K); raises `ModelError` for another C, X, Y or Z."""
        # The head is linear: the head of a mean of features is the mean of the logits.
        logits: Tensor = self.head(self.features(volume))
        return logits

    def features(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, W): what the head sees, the mean over tokens."""
        expected = (self.config.in_channels, *self.config.input_size)
        if tuple(volume.shape[1:]) != expected:
            raise ModelError(f"a volume of {tuple(volume.shape[1:])}: this Mixer takes {expected}")
        if self.training:
            return self._pooled(volume)
        axes = [axis + 2 for axis in self.config.mirror_axes]
        flips = [chosen for n in range(len(axes) + 1) for chosen in combinations(axes, n)]
        places = self.config.in_channels - self.config.fixed_channels
        moving, fixed = volume[:, :places], volume[:, places:]
        mirrored = (torch.cat([moving.flip(flip), fixed], dim=1) for flip in flips)
        return torch.stack([self._pooled(one) for one in mirrored]).mean(dim=0)

    def _pooled(self, volume: Tensor) -> Tensor:
        tokens: Tensor = self.embedding(patches(volume, self.config.patch_size))
        for block in self.blocks:
            tokens = block(tokens)
        pooled: Tensor = self.norm(tokens).mean(dim=1)
        return pooled


def patches(volume: Tensor, size: int) -> Tensor:
    """(B, C, X, Y, Z) -> (B, T, C * size**3): cubes in the order of x, y, z, voxels within too."""
    B, C, X, Y, Z = volume.shape
    x, y, z = X // size, Y // size, Z // size
    cubes = volume.reshape(B, C, x, size, y, size, z, size)
    return cubes.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(B, x * y * z, C * size**3)
