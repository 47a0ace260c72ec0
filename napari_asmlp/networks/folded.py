"""An `Asmlp` folded for inference on a CPU: the same logits, several times faster.

At few channels and many tokens the block of Lian et al. is bound by memory, not by arithmetic. So
each block runs over a few planes at a time, small enough that everything between reading and
writing its tokens stays in the cache; what the shift needs beyond those planes is kept from the
tiles before, or computed ahead, so that nothing is computed twice and the result is exact::

    planes along X  ->     a       b
    hidden          . . h h|x x x x|h h . .     h: shift_size // 2 planes kept or computed ahead
    written                |x x x x|            in place: no later plane reads these any more

Three more things make it fast, all of them exact: tokens are channels-first, ``(C, X, Y, Z)``, so
that shifts copy whole rows and norms are sums of long rows; the gain and offset of a norm are
folded into the linear layer after it, its mean into the linear layer before it; all intermediate
results go to buffers that are made once.

A `WindowNorm` looks at all tokens: networks with ``norm="group"`` run without tiles, and gain only
where their blocks are compiled (`napari_asmlp.networks.compiled`).
"""

from __future__ import annotations

from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.networks.asmlp import (
    Asmlp,
    Embedding,
    ExpandStage,
    Merging,
    Norm,
    UpsampleStage,
    WindowNorm,
    pad_end,
)
from napari_asmlp.networks.shift import OCTANTS, REFERENCE_OCTANTS
from napari_asmlp.networks.tiles import (
    FoldedBlocks,
    FoldedLinear,
    Scratch,
    WindowNormaliser,
    each,
    normaliser,
    tile_planes,
)


class FoldedEmbedding(nn.Module):
    """Voxels to tokens, a few planes at a time."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        convolution = embedding.projection
        self.patch_size = convolution.stride[0]
        self.reach = (convolution.kernel_size[0] - self.patch_size) // 2
        weights = convolution.state_dict()
        self.weight = nn.Buffer(weights["weight"].clone())
        self.bias = nn.Buffer(weights["bias"].clone())
        self.normal = normaliser(embedding.norm, len(self.bias))
        self.gain = nn.Buffer(embedding.norm.weight.detach()[:, None].clone())
        self.offset = nn.Buffer(embedding.norm.bias.detach()[:, None].clone())

    def forward(self, volume: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) -> (W, X/p, Y/p, Z/p)."""
        size, reach = self.patch_size, self.reach
        padded = functional.pad(volume, (reach,) * 6)
        x, y, z = (n // size for n in volume.shape[1:])
        tokens = volume.new_empty((len(self.bias), x, y, z))
        step = tile_planes(tokens)
        for first in range(0, x, step):
            stop = min(first + step, x)
            seen = padded[None, :, first * size : stop * size + 2 * reach]
            tile = functional.conv3d(seen, self.weight, self.bias, stride=size)[0]
            tokens[:, first:stop] = tile
        for tile in torch.split(tokens, normal_planes(self.normal, tokens), dim=1):
            normal = self.normal(tile.flatten(1), scratch).mul_(self.gain).add_(self.offset)
            tile.copy_(normal.view(tile.shape))
        return tokens


class FoldedMerging(nn.Module):
    """A `Merging`, a few planes at a time."""

    def __init__(self, merging: Merging) -> None:
        super().__init__()
        self.octants = REFERENCE_OCTANTS if merging.slip else OCTANTS
        self.normal = normaliser(merging.norm, merging.reduction.in_features)
        self.reduction = FoldedLinear(merging.reduction, merging.norm)

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) -> (C', X/2, Y/2, Z/2)."""
        channels, *shape = tokens.shape
        x, y, z = (n // 2 for n in shape)
        merged = tokens.new_empty((len(self.reduction.weight), x, y, z))
        step = max(1, normal_planes(self.normal, tokens) // 2)
        for first in range(0, x, step):
            stop = min(first + step, x)
            cells = scratch.take("cells", 8, channels, stop - first, y, z)
            for cell, (i, j, k) in zip(cells, self.octants, strict=True):
                cell.copy_(tokens[:, 2 * first + i : 2 * stop : 2, j::2, k::2])
            normal = self.normal(cells.view(8 * channels, -1), scratch)
            out = scratch.take("linear", len(merged), normal.shape[1])
            self.reduction.into(out, normal)
            merged[:, first:stop] = out.view(len(merged), stop - first, y, z)
        return merged


class FoldedExpandStage(nn.Module):
    """An `ExpandStage`; widening and fusing are two linear layers in a row, and so one."""

    def __init__(self, stage: ExpandStage) -> None:
        super().__init__()
        finer = stage.fuse.out_features
        from_coarse, from_skip = torch.split(stage.fuse.weight.double(), finer, dim=1)
        expand = stage.expand.weight.double().view(8, finer, -1)
        offset = stage.expand.bias.double().view(8, finer, 1)
        self.expand = nn.Buffer((from_coarse @ expand).flatten(0, 1).float())
        bias = from_coarse @ offset + stage.fuse.bias.double()[:, None]
        self.bias = nn.Buffer(bias.flatten(0, 1).float())
        self.from_skip = nn.Buffer(from_skip.float())
        self.blocks = FoldedBlocks(stage.blocks)

    def forward(self, tokens: Tensor, skip: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) and (C', 2X, 2Y, 2Z) -> the latter, overwritten."""
        _, x, y, z = tokens.shape
        step = max(1, tile_planes(skip) // 2)
        for first in range(0, x, step):
            planes = min(step, x - first)
            rows = tokens[:, first : first + planes].flatten(1)
            wide = scratch.take("wide", len(self.expand), rows.shape[1])
            torch.addmm(self.bias, self.expand, rows, out=wide)
            tile = skip[:, 2 * first : 2 * (first + planes)]
            fused = scratch.take("linear", len(skip), tile[0].numel())
            torch.mm(self.from_skip, tile.flatten(1), out=fused)
            tile.copy_(fused.view(tile.shape))
            cells = wide.view(8, len(skip), planes, y, z)
            for cell, (i, j, k) in zip(cells, OCTANTS, strict=True):
                tile[:, i::2, j::2, k::2] += cell
        fine: Tensor = self.blocks(skip, scratch)
        return fine


class FoldedUpsampleStage(nn.Module):
    """An `UpsampleStage`."""

    def __init__(self, stage: UpsampleStage) -> None:
        super().__init__()
        self.squeeze_in = FoldedLinear(stage.squeeze_in)
        self.squeeze_out = FoldedLinear(stage.squeeze_out)
        self.blocks = FoldedBlocks(stage.blocks)

    def forward(self, tokens: Tensor, skip: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) and (C', 2X, 2Y, 2Z) -> (C', 2X, 2Y, 2Z)."""
        finer = upsampled(self.squeeze_in(tokens), 2)
        both = torch.cat([finer, skip])
        squeezed: Tensor = self.squeeze_out(self.blocks(both, scratch))
        return squeezed


class FoldedHead(nn.Module):
    """The layer from tokens to logits, a few planes at a time."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        norms: list[Norm] = [*each(head, nn.LayerNorm), *each(head, WindowNorm)]
        norm, linear = (norms[0], each(head, nn.Linear)[0]) if norms else (None, head)
        self.normal = None if norm is None else normaliser(norm, len(norm.weight))
        self.linear = FoldedLinear(cast("nn.Linear", linear), norm)

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) -> (K, X, Y, Z)."""
        step, tiles = normal_planes(self.normal, tokens), []
        for tile in torch.split(tokens, step, dim=1):
            rows = tile.flatten(1) if self.normal is None else self.normal(tile.flatten(1), scratch)
            tiles.append(self.linear(rows).view(-1, *tile.shape[1:]))
        return torch.cat(tiles, dim=1)


class FoldedAsmlp(nn.Module):
    """The logits of an `Asmlp`: (B, C, X, Y, Z) -> (B, K, X, Y, Z), for any X, Y, Z.

    Weights are copied at the time; converted to ``bfloat16``, it computes in bfloat16.
    """

    def __init__(self, network: Asmlp) -> None:
        super().__init__()
        self.config = network.config
        self.embedding = FoldedEmbedding(network.embedding)
        self.encoder = nn.ModuleList(map(FoldedBlocks, network.encoder))
        self.merging = nn.ModuleList(map(FoldedMerging, each(network.merging, Merging)))
        self.decoder = nn.ModuleList(
            chain(
                map(FoldedExpandStage, each(network.decoder, ExpandStage)),
                map(FoldedUpsampleStage, each(network.decoder, UpsampleStage)),
            )
        )
        self.head = FoldedHead(network.head)
        self.requires_grad_(requires_grad=False)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, K, X, Y, Z) logits, in the precision of the weights."""
        padded = pad_end(volume, self.config).to(self.embedding.weight.dtype)
        x, y, z = volume.shape[2:]
        logits = [
            upsampled(tokens.float(), self.config.patch_size).to(tokens.dtype)
            for tokens in map(self.token_logits, padded)
        ]
        return torch.stack(logits)[:, :, :x, :y, :z]

    def token_logits(self, volume: Tensor) -> Tensor:
        """(C, X, Y, Z), of whole tokens at each stage -> (K, X/p, Y/p, Z/p)."""
        scratch = Scratch(volume)
        tokens = self.embedding(volume, scratch)
        skips = []
        for stage, merging in zip(self.encoder, self.merging, strict=False):
            entering = tokens.clone() if self.config.decoder == "upsample" else tokens
            tokens = stage(tokens, scratch)
            skips.append(entering if self.config.decoder == "upsample" else tokens)
            tokens = merging(tokens, scratch)
        tokens = self.encoder[-1](tokens, scratch)
        for stage, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            tokens = stage(tokens, skip, scratch)
        logits: Tensor = self.head(tokens, scratch)
        return logits


def can_fold(network: Asmlp) -> bool:
    """Tell whether calls of torch gain by folding: whether norms look at one token at a time."""
    return network.config.norm == "layer"


def normal_planes(normal: nn.Module | None, tokens: Tensor) -> int:
    """Return how many planes of (C, X, Y, Z) a tile holds: all, if their norm must see them."""
    return tokens.shape[1] if isinstance(normal, WindowNormaliser) else tile_planes(tokens)


def upsampled(tokens: Tensor, factor: int) -> Tensor:
    """Trilinear, corners aligned: (C, X, Y, Z) -> (C, fX, fY, fZ), an axis at a time.

    As products of matrices it is several times faster than torch's own on a CPU.
    """
    if factor == 1:
        return tokens
    channels, *shape = tokens.shape
    x, y, z = (_interpolation(n, factor).to(tokens) for n in shape)
    planes = y @ (tokens @ z.T)
    return (x @ planes.flatten(2)).view(channels, len(x), len(y), len(z))


def _interpolation(length: int, factor: int) -> Tensor:
    """(factor * length, length): the shares of the old points in each new one, corners aligned."""
    points = torch.eye(length)[None]
    new = functional.interpolate(
        points, scale_factor=factor, mode="linear", align_corners=True, recompute_scale_factor=False
    )
    return new[0].T
