"""The network as one would write it down: what the package's own is measured against.

A plain implementation of the paper's block (Lian et al., ICLR 2022) in three dimensions, as public
code has it: volumes stay ``(B, C, X, Y, Z)``; a shift pads all axes, rolls each chunk of channels,
concatenates and narrows; linear layers are 1x1x1 convolutions; squeeze and head come after the
upsampling. It takes the weights of an `Asmlp` and gives the same logits.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.networks.asmlp import MLP_RATIO, Asmlp, AsmlpConfig
from napari_asmlp.networks.shift import REFERENCE_OCTANTS


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, X, Y, Z)."""

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(volume.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


def norm_of(channels: int, config: AsmlpConfig) -> nn.Module:
    return ChannelNorm(channels) if config.norm == "layer" else nn.GroupNorm(1, channels)


def pointwise(channels: int, out_channels: int, bias: bool = True) -> nn.Conv3d:
    return nn.Conv3d(channels, out_channels, 1, bias=bias)


def shift(volume: Tensor, axis: int, shift_size: int) -> Tensor:
    """Pad, roll, concatenate, narrow."""
    pad = shift_size // 2
    padded = functional.pad(volume, (pad,) * 6)
    chunks = padded.chunk(shift_size, dim=1)
    rolled = [torch.roll(c, n - pad, dims=axis) for n, c in enumerate(chunks)]
    whole = torch.cat(rolled, dim=1)
    for each, size in zip((2, 3, 4), volume.shape[2:], strict=True):
        whole = whole.narrow(each, pad, size)
    return whole


class Mixer(nn.Module):
    def __init__(self, channels: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.shift_size = config.shift_size
        self.linear_in = pointwise(channels, channels)
        self.norm_in = norm_of(channels, config)
        self.branches = nn.ModuleList(pointwise(channels, channels) for _ in range(3))
        self.norm_out = norm_of(channels, config)
        self.linear_out = pointwise(channels, channels)

    def forward(self, volume: Tensor) -> Tensor:
        hidden = functional.gelu(self.norm_in(self.linear_in(volume)))
        mixed = sum(
            functional.gelu(branch(shift(hidden, axis, self.shift_size)))
            for axis, branch in enumerate(self.branches, start=2)
        )
        return self.linear_out(self.norm_out(mixed))


class Block(nn.Module):
    def __init__(self, channels: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.norm_mixer = norm_of(channels, config)
        self.mixer = Mixer(channels, config)
        self.norm_mlp = norm_of(channels, config)
        self.mlp = nn.Sequential(
            pointwise(channels, MLP_RATIO * channels),
            nn.GELU(),
            pointwise(MLP_RATIO * channels, channels),
        )

    def forward(self, volume: Tensor) -> Tensor:
        volume = volume + self.mixer(self.norm_mixer(volume))
        return volume + self.mlp(self.norm_mlp(volume))


class Embedding(nn.Module):
    def __init__(self, config: AsmlpConfig) -> None:
        super().__init__()
        padding = (config.stem_size - config.patch_size) // 2
        self.projection = nn.Conv3d(
            config.in_channels, config.widths[0], config.stem_size, config.patch_size, padding
        )
        self.norm = norm_of(config.widths[0], config)

    def forward(self, volume: Tensor) -> Tensor:
        return self.norm(self.projection(volume))


class Merging(nn.Module):
    def __init__(self, channels: int, out_channels: int, config: AsmlpConfig) -> None:
        super().__init__()
        octants = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        self.octants = REFERENCE_OCTANTS if config.decoder == "upsample" else octants
        self.norm = norm_of(8 * channels, config)
        self.reduction = pointwise(8 * channels, out_channels, bias=False)

    def forward(self, volume: Tensor) -> Tensor:
        parts = [volume[:, :, i::2, j::2, k::2] for i, j, k in self.octants]
        return self.reduction(self.norm(torch.cat(parts, dim=1)))


class UpsampleStage(nn.Module):
    def __init__(self, channels: int, finer: int, count: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.squeeze_in = pointwise(channels, finer)
        self.blocks = nn.Sequential(*(Block(2 * finer, config) for _ in range(count)))
        self.squeeze_out = pointwise(2 * finer, finer)

    def forward(self, volume: Tensor, skip: Tensor) -> Tensor:
        finer = self.squeeze_in(upsample(volume, 2))
        return self.squeeze_out(self.blocks(torch.cat([finer, skip], dim=1)))


class ExpandStage(nn.Module):
    def __init__(self, channels: int, finer: int, count: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.expand = pointwise(channels, 8 * finer)
        self.fuse = pointwise(2 * finer, finer)
        self.blocks = nn.Sequential(*(Block(finer, config) for _ in range(count)))

    def forward(self, volume: Tensor, skip: Tensor) -> Tensor:
        batch, _, x, y, z = volume.shape
        cells = self.expand(volume).reshape(batch, 2, 2, 2, -1, x, y, z)
        split = cells.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(batch, -1, 2 * x, 2 * y, 2 * z)
        return self.blocks(self.fuse(torch.cat([split, skip], dim=1)))


def upsample(volume: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return volume
    return functional.interpolate(volume, scale_factor=factor, mode="trilinear", align_corners=True)


class Straightforward(nn.Module):
    """(B, C, X, Y, Z) -> logits (B, K, X, Y, Z); extents are multiples of `multiple_of`."""

    def __init__(self, network: Asmlp) -> None:
        super().__init__()
        self.config = config = network.config
        widths = config.widths
        levels = list(pairwise(widths))
        self.embedding = Embedding(config)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(Block(width, config) for _ in range(count)))
            for width, count in zip(widths, config.encoder_blocks, strict=True)
        )
        self.merging = nn.ModuleList(Merging(fine, coarse, config) for fine, coarse in levels)
        stage = UpsampleStage if config.decoder == "upsample" else ExpandStage
        self.decoder = nn.ModuleList(
            stage(coarse, fine, count, config)
            for (fine, coarse), count in zip(levels, config.decoder_blocks, strict=True)
        )
        head: nn.Module = pointwise(widths[0], config.out_channels)
        if config.decoder == "expand":
            head = nn.Sequential(norm_of(widths[0], config), head)
        self.head = head
        self.load_state_dict(as_convolutions(network.state_dict(), self.state_dict()))

    def forward(self, volume: Tensor) -> Tensor:
        volume = self.embedding(volume)
        skips = []
        for stage, merging in zip(self.encoder, self.merging, strict=False):
            entering = volume
            volume = stage(volume)
            skips.append(entering if self.config.decoder == "upsample" else volume)
            volume = merging(volume)
        volume = self.encoder[-1](volume)
        for stage, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            volume = stage(volume, skip)
        return self.head(upsample(volume, self.config.patch_size))


def as_convolutions(weights: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give linear weights the shape of 1x1x1 convolutions."""
    return {name: value.reshape(like[name].shape) for name, value in weights.items()}
