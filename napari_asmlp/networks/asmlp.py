"""The 3D U-shaped AS-MLP: channel MLPs and axial shifts, nothing else.

The block is that of Lian et al., "AS-MLP: An Axial Shifted MLP Architecture for Vision",
ICLR 2022 (arXiv 2107.08391), with a third axis. Two decoders share it:

``expand``
    ours. A stage widens its tokens by a linear layer and splits them into octants, fuses them
    with the encoder stage's output, and runs its blocks on the narrow result.
``upsample``
    that of the public 3D port (Dootmaan/3D-ASMLP-Segmentation, 2022), for its checkpoints:
    trilinear upsampling, blocks on the concatenation with the encoder stage's input.

Linear layers commute with upsampling, since both are linear and act on different axes, and the
weights of an interpolation sum to 1, so that a bias passes through. Squeezes and heads therefore
run before an upsampling, on an eighth of the tokens or fewer; the result is the same.

Shapes: volumes are ``(B, C, X, Y, Z)`` at the door; inside, tokens are ``(B, X, Y, Z, C)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.errors import ModelError
from napari_asmlp.networks.shift import (
    axial_shift,
    merge_octants,
    merge_reference_octants,
    split_octants,
)

MLP_RATIO = 4


@dataclass(frozen=True)
class AsmlpConfig:
    """Sizes and choices of an `Asmlp`.

    Attributes
    ----------
    in_channels, out_channels : channels of the volume and of the logits
    patch_size : voxels per token along each axis; 1 is patch-free
    stem_size : voxels a token sees along each axis at the embedding; `patch_size`, or 3 for a
        patch-free network whose tokens start with their 27 neighbours
    widths : channels of each stage, finest first; each stage halves the extent
    encoder_blocks, decoder_blocks : blocks of each stage, finest first; the decoder has no
        stage at the coarsest level
    shift_size : extent of the axial shift in tokens
    norm : ``layer`` normalises each token by itself, so that the answer does not depend on the
        window; ``group`` normalises over the whole window, as reference checkpoints need
    decoder : ``expand`` or ``upsample``, see the module
    """

    in_channels: int = 1
    out_channels: int = 2
    patch_size: Literal[1, 2, 4] = 1
    stem_size: int = 3
    widths: tuple[int, ...] = (16, 32, 64, 128)
    encoder_blocks: tuple[int, ...] = (1, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (1, 1, 2)
    shift_size: int = 5
    norm: Literal["layer", "group"] = "layer"
    decoder: Literal["expand", "upsample"] = "expand"

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the value."""
        if self.patch_size not in (1, 2, 4):
            raise ModelError(f"patch_size {self.patch_size}: the AS-MLP has 1, 2 or 4")
        if self.stem_size not in (self.patch_size, self.patch_size + 2):
            raise ModelError(
                f"stem_size {self.stem_size}: it is patch_size ({self.patch_size}) or two more"
            )
        if self.norm not in ("layer", "group") or self.decoder not in ("expand", "upsample"):
            raise ModelError(f"norm {self.norm!r} and decoder {self.decoder!r} are not known")
        stages = len(self.widths)
        if len(self.encoder_blocks) != stages or len(self.decoder_blocks) != stages - 1:
            raise ModelError(
                f"{stages} widths need {stages} encoder_blocks and {stages - 1} decoder_blocks,"
                f" not {len(self.encoder_blocks)} and {len(self.decoder_blocks)}"
            )
        if min(self.in_channels, self.out_channels, self.shift_size, *self.widths) < 1:
            raise ModelError(f"channels, widths and shift_size are at least 1: {self}")

    @property
    def multiple_of(self) -> int:
        """Voxels that the extent of a window must be a multiple of."""
        return int(self.patch_size * 2 ** (len(self.widths) - 1))


class WindowNorm(nn.Module):
    """GroupNorm(1, C) on channels-last tokens: one mean and deviation for the whole window."""

    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, X, Y, Z, C) -> the same shape."""
        whole = functional.layer_norm(tokens, tokens.shape[1:], eps=self.eps)
        return torch.addcmul(self.bias, whole, self.weight)


Norm = nn.LayerNorm | WindowNorm
NORMS: dict[str, type[Norm]] = {"layer": nn.LayerNorm, "group": WindowNorm}


class AxialShiftMixer(nn.Module):
    """The axial-shifted MLP of Lian et al., figure 2, with one branch for each of three axes."""

    def __init__(self, channels: int, config: AsmlpConfig) -> None:
        super().__init__()
        norm = NORMS[config.norm]
        self.shift_size = config.shift_size
        self.linear_in = nn.Linear(channels, channels)
        self.norm_in = norm(channels)
        self.branches = nn.ModuleList(nn.Linear(channels, channels) for _ in range(3))
        self.norm_out = norm(channels)
        self.linear_out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, X, Y, Z, C) -> the same shape."""
        hidden = functional.gelu(self.norm_in(self.linear_in(tokens)))
        first, second, third = (
            functional.gelu(branch(axial_shift(hidden, axis, self.shift_size)))
            for axis, branch in enumerate(self.branches, start=1)
        )
        mixed: Tensor = self.linear_out(self.norm_out(first + second + third))
        return mixed


class AxialShiftBlock(nn.Module):
    """x + AS(norm x), then x + MLP(norm x) (Lian et al., equation 1 ff.)."""

    def __init__(self, channels: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.norm_mixer = NORMS[config.norm](channels)
        self.mixer = AxialShiftMixer(channels, config)
        self.norm_mlp = NORMS[config.norm](channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, MLP_RATIO * channels),
            nn.GELU(),
            nn.Linear(MLP_RATIO * channels, channels),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, X, Y, Z, C) -> the same shape."""
        tokens = tokens + self.mixer(self.norm_mixer(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return mixed


def blocks(channels: int, count: int, config: AsmlpConfig) -> nn.Sequential:
    """Return the blocks of one stage."""
    return nn.Sequential(*(AxialShiftBlock(channels, config) for _ in range(count)))


class Embedding(nn.Module):
    """Voxels to tokens: the network's only convolution, with stride `patch_size`."""

    def __init__(self, config: AsmlpConfig) -> None:
        super().__init__()
        self.projection = nn.Conv3d(
            config.in_channels,
            config.widths[0],
            kernel_size=config.stem_size,
            stride=config.patch_size,
            padding=(config.stem_size - config.patch_size) // 2,
        )
        self.norm = NORMS[config.norm](config.widths[0])

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, X/p, Y/p, Z/p, W)."""
        tokens: Tensor = self.norm(self.projection(volume).permute(0, 2, 3, 4, 1).contiguous())
        return tokens


class Merging(nn.Module):
    """Octants to channels, norm, linear 8C -> C': half the extent."""

    def __init__(self, channels: int, out_channels: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.slip = config.decoder == "upsample"
        self.merge = merge_reference_octants if self.slip else merge_octants
        self.norm = NORMS[config.norm](8 * channels)
        self.reduction = nn.Linear(8 * channels, out_channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, X, Y, Z, C) -> (B, X/2, Y/2, Z/2, C')."""
        reduced: Tensor = self.reduction(self.norm(self.merge(tokens)))
        return reduced


class ExpandStage(nn.Module):
    """Our decoder stage: split octants, fuse with the skip, blocks at the finer width."""

    def __init__(self, channels: int, finer: int, count: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, 8 * finer)
        self.fuse = nn.Linear(2 * finer, finer)
        self.blocks = blocks(finer, count, config)

    def forward(self, tokens: Tensor, skip: Tensor) -> Tensor:
        """(B, X, Y, Z, C) and (B, 2X, 2Y, 2Z, C') -> (B, 2X, 2Y, 2Z, C')."""
        expanded = split_octants(self.expand(tokens))
        fused: Tensor = self.blocks(self.fuse(torch.cat([expanded, skip], dim=-1)))
        return fused


class UpsampleStage(nn.Module):
    """The port's decoder stage, with the squeeze before the upsampling (equal, and cheaper)."""

    def __init__(self, channels: int, finer: int, count: int, config: AsmlpConfig) -> None:
        super().__init__()
        self.squeeze_in = nn.Linear(channels, finer)
        self.blocks = blocks(2 * finer, count, config)
        self.squeeze_out = nn.Linear(2 * finer, finer)

    def forward(self, tokens: Tensor, skip: Tensor) -> Tensor:
        """(B, X, Y, Z, C) and (B, 2X, 2Y, 2Z, C') -> (B, 2X, 2Y, 2Z, C')."""
        finer = upsample(self.squeeze_in(tokens), 2)
        squeezed: Tensor = self.squeeze_out(self.blocks(torch.cat([finer, skip], dim=-1)))
        return squeezed


def upsample(tokens: Tensor, factor: int) -> Tensor:
    """Trilinear, corners aligned: (B, X, Y, Z, C) -> (B, fX, fY, fZ, C)."""
    if factor == 1:
        return tokens
    finer = functional.interpolate(
        tokens.permute(0, 4, 1, 2, 3), scale_factor=factor, mode="trilinear", align_corners=True
    )
    return finer.permute(0, 2, 3, 4, 1)


STAGES: dict[str, type[ExpandStage | UpsampleStage]] = {
    "expand": ExpandStage,
    "upsample": UpsampleStage,
}


class Asmlp(nn.Module):
    """3D U-shaped AS-MLP: (B, C, X, Y, Z) float -> logits (B, K, X, Y, Z), for any X, Y, Z.

    Extents that are no multiple of `AsmlpConfig.multiple_of` are padded at their end with the
    least value of each channel, and the logits cropped.
    """

    def __init__(self, config: AsmlpConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        levels = list(pairwise(widths))
        self.embedding = Embedding(config)
        self.encoder = nn.ModuleList(
            blocks(width, count, config)
            for width, count in zip(widths, config.encoder_blocks, strict=True)
        )
        self.merging = nn.ModuleList(Merging(fine, coarse, config) for fine, coarse in levels)
        stage = STAGES[config.decoder]
        self.decoder = nn.ModuleList(
            stage(coarse, fine, count, config)
            for (fine, coarse), count in zip(levels, config.decoder_blocks, strict=True)
        )
        self.head = _head(config)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, K, X, Y, Z) logits."""
        logits = upsample(self._tokens(volume), self.config.patch_size).permute(0, 4, 1, 2, 3)
        x, y, z = volume.shape[2:]
        return logits[:, :, :x, :y, :z]

    def token_logits(self, volume: Tensor) -> Tensor:
        """Return the logits before they are upsampled, one for each token of the padded volume."""
        return self._tokens(volume).permute(0, 4, 1, 2, 3)

    def _tokens(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, x, y, z, K)."""
        tokens = self.embedding(pad_end(volume, self.config))
        skips = []
        for stage, merging in zip(self.encoder, self.merging, strict=False):
            entering = tokens
            tokens = stage(tokens)
            skips.append(entering if self.config.decoder == "upsample" else tokens)
            tokens = merging(tokens)
        tokens = self.encoder[-1](tokens)
        for stage, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            tokens = stage(tokens, skip)
        logits: Tensor = self.head(tokens)
        return logits


def pad_end(volume: Tensor, config: AsmlpConfig) -> Tensor:
    """Pad (B, C, X, Y, Z) at its end to a multiple, with the least value of each channel.

    Raises
    ------
    ModelError
        If it has other channels than the network takes.
    """
    unit, channels = config.multiple_of, config.in_channels
    if volume.ndim != 5 or volume.shape[1] != channels:
        raise ModelError(f"the network takes (B, {channels}, X, Y, Z), not {tuple(volume.shape)}")
    x, y, z = (-n % unit for n in volume.shape[2:])
    if not (x or y or z):
        return volume
    floor = volume.amin(dim=(2, 3, 4), keepdim=True)
    return functional.pad(volume - floor, (0, z, 0, y, 0, x)) + floor


def _head(config: AsmlpConfig) -> nn.Module:
    """Return the layer from tokens to logits; that of the port is two linears in a row."""
    width = config.widths[0]
    if config.decoder == "upsample":
        return nn.Linear(width, config.out_channels)
    return nn.Sequential(NORMS[config.norm](width), nn.Linear(width, config.out_channels))
