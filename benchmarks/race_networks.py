"""Who takes part in the race: networks from this package, from MONAI, and an MLP-Mixer.

An entry is a network and an optimiser, written ``unet-muon``, or ``unet-muon@0.01`` with a learning
rate of its own.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.training.recipe import Recipe

OPTIMISERS = ("adamw", "muon")
WIDTHS = (16, 32, 64, 128)

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Task:
    """What any network is built for: crops of this shape, and channels in and out."""

    crop: Shape
    in_channels: int
    out_channels: int


@dataclass(frozen=True)
class Entry:
    """A network, an optimiser, and a learning rate where it is not the recipe's."""

    network: str
    optimiser: str
    rate: float | None = None

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Read ``NETWORK-OPTIMISER[@RATE]``; raises ValueError, as argparse expects."""
        match = re.fullmatch(r"(\w+)-(\w+)(?:@([\d.e-]+))?", text)
        if match is None or match[1] not in NETWORKS or match[2] not in OPTIMISERS:
            raise ValueError(text)
        return cls(match[1], match[2], float(match[3]) if match[3] else None)

    def __str__(self) -> str:
        rate = "" if self.rate is None else f"@{self.rate:g}"
        return f"{self.network}-{self.optimiser}{rate}"

    def tuned(self, recipe: Recipe) -> Recipe:
        """The recipe with this optimiser. With Muon, the rate is that of the hidden weights."""
        if self.optimiser == "adamw":
            return replace(
                recipe, optimiser="adamw", learning_rate=self.rate or recipe.learning_rate
            )
        rate = self.rate or recipe.muon_learning_rate
        return replace(recipe, optimiser="muon", muon_learning_rate=rate)

    def missing(self) -> str | None:
        """Say what has to be installed first, if anything."""
        if self.network in ("unet", "dynunet") and importlib.util.find_spec("monai") is None:
            return "needs MONAI: pip install napari-asmlp[benchmark]"
        if self.optimiser == "muon" and not hasattr(torch.optim, "Muon"):
            return f"Muon needs PyTorch 2.9, this is {torch.__version__}"
        return None


def build(entry: Entry, task: Task, recipe: Recipe) -> nn.Module:
    """(B, C, X, Y, Z) of the crop's shape or larger -> logits (B, K, X, Y, Z)."""
    network = NETWORKS[entry.network](task, recipe)
    return with_matrices(network) if entry.optimiser == "muon" else network


def asmlp(task: Task, recipe: Recipe) -> nn.Module:
    """This package's network, with the sizes of the recipe."""
    sizes = replace(recipe.network, in_channels=task.in_channels, out_channels=task.out_channels)
    return Asmlp(sizes)


def unet(task: Task, _recipe: Recipe) -> nn.Module:
    """MONAI's `BasicUNet`: two convolutions a level, five levels, instance norm."""
    from monai.networks.nets.basic_unet import BasicUNet

    return BasicUNet(
        spatial_dims=3,
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        features=(WIDTHS[0], *WIDTHS, WIDTHS[0]),
        norm=("instance", {"affine": True}),
    )


def dynunet(task: Task, _recipe: Recipe) -> nn.Module:
    """MONAI's `DynUNet`, nnU-Net's network, with four levels."""
    from monai.networks.nets.dynunet import DynUNet

    levels = len(WIDTHS)
    return DynUNet(
        spatial_dims=3,
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(WIDTHS),
    )


class MixerBlock(nn.Module):
    """Token mixing, then channel mixing, each with a norm before and a residual around it."""

    def __init__(self, tokens: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(channels)
        self.token_mixing = _mlp(tokens, hidden)
        self.norm_channels = nn.LayerNorm(channels)
        self.channel_mixing = _mlp(channels, 4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, C) -> the same shape."""
        mixed = self.token_mixing(self.norm_tokens(tokens).transpose(1, 2)).transpose(1, 2)
        tokens = tokens + mixed
        mixed = self.channel_mixing(self.norm_channels(tokens))
        both: Tensor = tokens + mixed
        return both


class MixerSegmenter(nn.Module):
    """An MLP-Mixer whose head predicts, from each patch's token, the classes of its voxels.

    Tolstikhin et al., MLP-Mixer, NeurIPS 2021 (arXiv 2105.01601), with a third axis. The number of
    tokens is part of it, hence it takes crops of one shape only: a multiple of the patch.
    """

    def __init__(self, task: Task, patch: int, channels: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.fixed_shape = task.crop
        self.patch = patch
        grid = tuple(n // patch for n in task.crop)
        self.embedding = nn.Conv3d(task.in_channels, channels, patch, patch)
        blocks = (MixerBlock(prod(grid), channels, hidden) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, patch**3 * task.out_channels)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, K, X, Y, Z), for the crop's X, Y, Z."""
        grid, p = self.embedding(volume), self.patch  # (B, W, x, y, z)
        batch, _, x, y, z = grid.shape
        tokens = self.norm(self.blocks(grid.flatten(2).transpose(1, 2)))  # (B, xyz, W)
        voxels: Tensor = self.head(tokens).reshape(batch, x, y, z, p, p, p, -1)
        return voxels.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(batch, -1, x * p, y * p, z * p)


def mixer4(task: Task, _recipe: Recipe) -> nn.Module:
    return MixerSegmenter(task, patch=4, channels=96, depth=4, hidden=96)


def mixer8(task: Task, _recipe: Recipe) -> nn.Module:
    return MixerSegmenter(task, patch=8, channels=128, depth=8, hidden=128)


NETWORKS: dict[str, Callable[[Task, Recipe], nn.Module]] = {
    "asmlp": asmlp,
    "asmlp_compiled": asmlp,  # learns in C++, is scored as the other
    "unet": unet,
    "dynunet": dynunet,
    "mixer4": mixer4,
    "mixer8": mixer8,
}


class _FromMatrix(nn.Module):
    """Keeps the weight of a convolution as the matrix that it is, rows for outputs."""

    def __init__(self, shape: torch.Size, transposed: bool) -> None:
        super().__init__()
        self.shape, self.transposed = shape, transposed

    def forward(self, matrix: Tensor) -> Tensor:
        if not self.transposed:
            return matrix.reshape(self.shape)
        coming, *going = self.shape
        return matrix.T.reshape(coming, *going)

    def right_inverse(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        return matrix.T.contiguous() if self.transposed else matrix


def with_matrices(network: nn.Module) -> nn.Module:
    """Keep weights of hidden convolutions as matrices, since torch's Muon takes no other.

    As Jordan et al. (2024) do: (O, I, k, k, k) as (O, Ik³). A transposed convolution that does not
    overlap is a linear layer from I to Ok³ channels, hence (Ok³, I). The first and the last
    convolution stay as they are: they do not lead from hidden to hidden channels.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    for layer in layers[1:-1]:
        transposed = isinstance(layer, nn.ConvTranspose3d)
        kept_as = _FromMatrix(layer.weight.shape, transposed)
        parametrize.register_parametrization(layer, "weight", kept_as)
    return network


def without_matrices(network: nn.Module) -> nn.Module:
    """Undo `with_matrices` once the network has learnt: it is then what its makers published."""
    for layer in [m for m in network.modules() if parametrize.is_parametrized(m, "weight")]:
        parametrize.remove_parametrizations(layer, "weight")
    return network


def _mlp(channels: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))


def padded(image: Tensor, least: Shape, unit: int) -> tuple[Tensor, tuple[slice, ...]]:
    """Surround (C, X, Y, Z) by its least values, as a crop of the training is; and where it lies.

    Parameters
    ----------
    least : shape that the result has at least
    unit : its extents are multiples of this, where they are larger
    """
    shape = image.shape[1:]
    target = [
        low if n <= low else -(-n // unit) * unit for n, low in zip(shape, least, strict=True)
    ]
    before = [(t - n) // 2 for t, n in zip(target, shape, strict=True)]
    after = [t - n - b for t, n, b in zip(target, shape, before, strict=True)]
    pad: list[Any] = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]
    floor = image.amin(dim=(1, 2, 3), keepdim=True)
    inside = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    return functional.pad(image - floor, pad) + floor, inside
