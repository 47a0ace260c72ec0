"""A plain 3D U-Net (Çiçek et al., 3D U-Net, MICCAI 2016), to compare the AS-MLP with.

Two 3x3x3 convolutions a level, instance norm, leaky ReLU, transposed convolutions on the way up.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """(B, C, X, Y, Z) -> logits (B, K, X, Y, Z); extents are multiples of 2 for each level."""

    def __init__(
        self, in_channels: int, out_channels: int, widths: tuple[int, ...] = (16, 32, 64, 128)
    ) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.encoder = nn.ModuleList(
            _convolutions(coming, width) for coming, width in pairwise((in_channels, *widths))
        )
        self.pool = nn.MaxPool3d(2)
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, kernel_size=2, stride=2) for fine, coarse in levels
        )
        self.decoder = nn.ModuleList(_convolutions(2 * fine, fine) for fine, _ in levels)
        self.head = nn.Conv3d(widths[0], out_channels, kernel_size=1)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, K, X, Y, Z) logits."""
        skips: list[Tensor] = []
        for stage in self.encoder:
            volume = stage(self.pool(volume) if skips else volume)
            skips.append(volume)
        stages = zip(
            reversed(skips[:-1]), reversed(self.upsampling), reversed(self.decoder), strict=True
        )
        for skip, upsampling, stage in stages:
            volume = stage(torch.cat([upsampling(volume), skip], dim=1))
        logits: Tensor = self.head(volume)
        return logits


def _convolutions(in_channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, width):
        layers.append(nn.Conv3d(channels, width, kernel_size=3, padding=1))
        layers.append(nn.InstanceNorm3d(width, affine=True))
        layers.append(nn.LeakyReLU(0.01))
    return nn.Sequential(*layers)
