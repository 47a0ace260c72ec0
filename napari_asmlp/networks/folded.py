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

It needs ``norm="layer"``, which looks at one token at a time; a `WindowNorm` looks at all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.errors import ModelError
from napari_asmlp.networks.asmlp import (
    Asmlp,
    AxialShiftBlock,
    Embedding,
    ExpandStage,
    Merging,
    UpsampleStage,
    pad_end,
)
from napari_asmlp.networks.shift import OCTANTS, REFERENCE_OCTANTS, channel_groups

_TILE_BYTES = 1 << 20  # of the tokens in a tile: its few buffers then fit a core's second cache


class Scratch:
    """Buffers that are made once and used by every tile, by name."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a buffer of a shape; what it holds is left over from its last use."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = self._like.new_empty(size)
        return buffer[:size].view(shape)


class FoldedLinear(nn.Module):
    """A linear layer on channels-first tokens, with the affine part of a norm before it.

    Parameters
    ----------
    linear, norm
        ``linear(norm(x))`` is what it computes of an x that is normalised but for gain and offset.
    centred
        Whether to take the mean over the channels off its output, as the norm after it would.
    """

    def __init__(
        self, linear: nn.Linear, norm: nn.Module | None = None, *, centred: bool = False
    ) -> None:
        super().__init__()
        weight = linear.weight.double()
        bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.double()
        if isinstance(norm, nn.LayerNorm):
            bias = bias + weight @ norm.bias.double()
            weight = weight * norm.weight.double()
        if centred:
            weight, bias = weight - weight.mean(0), bias - bias.mean()
        self.weight = nn.Buffer(weight.float())
        self.bias = nn.Buffer(bias.float()[:, None])

    def into(self, out: Tensor, tokens: Tensor) -> Tensor:
        """(C, N) -> (C', N), written to `out`."""
        return torch.addmm(self.bias, self.weight, tokens, out=out)

    def forward(self, tokens: Tensor) -> Tensor:
        """(C, X, Y, Z) -> (C', X, Y, Z), a new tensor."""
        rows = torch.addmm(self.bias, self.weight, tokens.flatten(1))
        return rows.view(-1, *tokens.shape[1:])


class Normaliser(nn.Module):
    """Mean 0 and variance 1 over the channels of each token: a layer norm without gain, offset."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.ones = nn.Buffer(torch.ones(1, channels))  # a matrix product sums faster than a sum

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, N) -> a buffer of the same shape."""
        mean = self._mean(tokens, scratch)
        centred = torch.sub(tokens, mean, out=scratch.take("normal", *tokens.shape))
        return self.scale(centred, scratch)

    def scale(self, centred: Tensor, scratch: Scratch) -> Tensor:
        """Divide tokens of mean 0 by their deviation, in place."""
        squares = torch.mul(centred, centred, out=scratch.take("squares", *centred.shape))
        return centred.mul_(self._mean(squares, scratch).add_(self.eps).rsqrt_())

    def _mean(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        total = torch.mm(self.ones, tokens, out=scratch.take("row", 1, tokens.shape[1]))
        return total.mul_(1 / len(tokens))


class FoldedBlock(nn.Module):
    """An `AxialShiftBlock`, tile by tile and in place."""

    def __init__(self, block: AxialShiftBlock) -> None:
        super().__init__()
        mixer, (widen, _, narrow) = block.mixer, block.mlp
        self.shift_size = mixer.shift_size
        self.normal = Normaliser(mixer.linear_in.in_features, block.norm_mixer.eps)
        self.linear_in = FoldedLinear(mixer.linear_in, block.norm_mixer, centred=True)
        self.gain = nn.Buffer(mixer.norm_in.weight.detach()[:, None].clone())
        self.offset = nn.Buffer(mixer.norm_in.bias.detach()[:, None].clone())
        self.branches = nn.ModuleList(FoldedLinear(branch) for branch in mixer.branches)
        self.linear_out = FoldedLinear(mixer.linear_out, mixer.norm_out)
        self.widen = FoldedLinear(widen, block.norm_mlp)
        self.narrow = FoldedLinear(narrow)

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) -> the same tensor, overwritten."""
        for first, hidden, core in self._tiles(tokens, scratch):
            planes = core.stop - core.start
            tile = tokens[:, first : first + planes]
            mixed = self._mix(hidden, core, tile, scratch)
            tile.copy_(self._mlp(mixed, scratch).view(tile.shape))
        return tokens

    def _tiles(self, tokens: Tensor, scratch: Scratch) -> Iterator[tuple[int, Tensor, slice]]:
        """Yield each tile's first plane, its hidden planes with what the shift needs around it,
        and where among those the tile lies.
        """  # noqa: D205  # one sentence
        channels, length, *plane = tokens.shape
        after = self.shift_size // 2
        before = self.shift_size - 1 - after
        step = tile_planes(tokens)
        kept = tokens.new_empty((channels, 0, *plane))
        known = 0
        for first in range(0, length, step):
            low, high = max(0, first - before), min(length, min(first + step, length) + after)
            hidden = scratch.take(f"hidden {first // step % 2}", channels, high - low, *plane)
            old = known - low
            if old:
                hidden[:, :old] = kept[:, -old:]
            for start in range(known, high, step):
                stop = min(start + step, high)
                self._hide(tokens[:, start:stop], hidden[:, start - low : stop - low], scratch)
            kept, known = hidden, high
            yield first, hidden, slice(first - low, min(first + step, length) - low)

    def _hide(self, tile: Tensor, out: Tensor, scratch: Scratch) -> None:
        """Compute what is shifted: GELU(norm(linear(norm x)))."""
        normal = self.normal(tile.flatten(1), scratch)
        hidden = self.linear_in.into(scratch.take("linear", *normal.shape), normal)
        self.normal.scale(hidden, scratch).mul_(self.gain).add_(self.offset)
        out.copy_(gelu_(hidden).view(out.shape))

    def _mix(self, hidden: Tensor, core: slice, tile: Tensor, scratch: Scratch) -> Tensor:
        """Return x + AS(norm x) of a tile, (C, N)."""
        rows = tile.flatten(1)
        total = scratch.take("total", *rows.shape)
        for axis, branch in enumerate(self.branches):
            shifted = scratch.take("shifted", *tile.shape)
            shift_into(shifted, hidden, core, axis, self.shift_size)
            out = total if axis == 0 else scratch.take("linear", *rows.shape)
            gelu_(branch.into(out, shifted.view(rows.shape)))
            if axis:
                total += out
        normal = self.normal(total, scratch)
        mixed: Tensor = self.linear_out.into(scratch.take("mixed", *rows.shape), normal)
        return mixed.add_(rows)

    def _mlp(self, mixed: Tensor, scratch: Scratch) -> Tensor:
        """Return x + MLP(norm x) of (C, N), overwritten."""
        normal = self.normal(mixed, scratch)
        wide = scratch.take("wide", len(self.widen.weight), mixed.shape[1])
        gelu_(self.widen.into(wide, normal))
        return mixed.add_(self.narrow.into(normal, wide))


class FoldedEmbedding(nn.Module):
    """Voxels to tokens, a few planes at a time."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        convolution = embedding.projection
        self.patch_size = convolution.stride[0]
        self.reach = convolution.padding[0]
        self.weight = nn.Buffer(convolution.weight.detach().clone())
        self.bias = nn.Buffer(convolution.bias.detach().clone())
        self.normal = Normaliser(len(self.bias), embedding.norm.eps)
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
            normal = self.normal(tile.flatten(1), scratch).mul_(self.gain).add_(self.offset)
            tokens[:, first:stop] = normal.view(tile.shape)
        return tokens


class FoldedMerging(nn.Module):
    """A `Merging`, a few planes at a time."""

    def __init__(self, merging: Merging) -> None:
        super().__init__()
        self.octants = REFERENCE_OCTANTS if merging.slip else OCTANTS
        self.normal = Normaliser(merging.reduction.in_features, merging.norm.eps)
        self.reduction = FoldedLinear(merging.reduction, merging.norm)

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) -> (C', X/2, Y/2, Z/2)."""
        channels, *shape = tokens.shape
        x, y, z = (n // 2 for n in shape)
        merged = tokens.new_empty((len(self.reduction.weight), x, y, z))
        step = max(1, tile_planes(tokens) // 2)
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
        from_coarse, from_skip = stage.fuse.weight.double().split(finer, dim=1)
        expand = stage.expand.weight.double().view(8, finer, -1)
        offset = stage.expand.bias.double().view(8, finer, 1)
        self.expand = nn.Buffer((from_coarse @ expand).flatten(0, 1).float())
        bias = from_coarse @ offset + stage.fuse.bias.double()[:, None]
        self.bias = nn.Buffer(bias.flatten(0, 1).float())
        self.from_skip = nn.Buffer(from_skip.float())
        self.blocks = nn.ModuleList(FoldedBlock(block) for block in stage.blocks)

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
        for block in self.blocks:
            skip = block(skip, scratch)
        return skip


class FoldedUpsampleStage(nn.Module):
    """An `UpsampleStage`."""

    def __init__(self, stage: UpsampleStage) -> None:
        super().__init__()
        self.squeeze_in = FoldedLinear(stage.squeeze_in)
        self.squeeze_out = FoldedLinear(stage.squeeze_out)
        self.blocks = nn.ModuleList(FoldedBlock(block) for block in stage.blocks)

    def forward(self, tokens: Tensor, skip: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) and (C', 2X, 2Y, 2Z) -> (C', 2X, 2Y, 2Z)."""
        finer = upsampled(self.squeeze_in(tokens), 2)
        both = torch.cat([finer, skip])
        for block in self.blocks:
            both = block(both, scratch)
        squeezed: Tensor = self.squeeze_out(both)
        return squeezed


class FoldedAsmlp(nn.Module):
    """The logits of an `Asmlp`: (B, C, X, Y, Z) -> (B, K, X, Y, Z), for any X, Y, Z.

    Weights are copied at the time; converted to ``bfloat16``, it computes in bfloat16.

    Raises
    ------
    ModelError
        If the network's norm is not ``layer``.
    """

    def __init__(self, network: Asmlp) -> None:
        super().__init__()
        config = network.config
        if config.norm != "layer":
            raise ModelError(f"norm {config.norm!r}: only networks with norm 'layer' are folded")
        self.config = config
        self.embedding = FoldedEmbedding(network.embedding)
        self.encoder = nn.ModuleList(
            nn.ModuleList(FoldedBlock(block) for block in stage) for stage in network.encoder
        )
        self.merging = nn.ModuleList(FoldedMerging(merging) for merging in network.merging)
        folded = FoldedUpsampleStage if config.decoder == "upsample" else FoldedExpandStage
        self.decoder = nn.ModuleList(folded(stage) for stage in network.decoder)
        head_norm, head = (
            network.head if isinstance(network.head, nn.Sequential) else (None, network.head)
        )
        self.head_normal = (
            None if head_norm is None else Normaliser(head.in_features, head_norm.eps)
        )
        self.head = FoldedLinear(head, head_norm)
        self.requires_grad_(requires_grad=False)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, K, X, Y, Z) logits, in the precision of the weights."""
        padded = pad_end(volume, self.config).to(self.head.weight.dtype)
        x, y, z = volume.shape[2:]
        return torch.stack([self._logits(each) for each in padded])[:, :, :x, :y, :z]

    def _logits(self, volume: Tensor) -> Tensor:
        scratch = Scratch(volume)
        tokens = self.embedding(volume, scratch)
        skips = []
        for stage, merging in zip(self.encoder, self.merging, strict=False):
            entering = tokens.clone() if self.config.decoder == "upsample" else tokens
            for block in stage:
                tokens = block(tokens, scratch)
            skips.append(entering)
            tokens = merging(tokens, scratch)
        for block in self.encoder[-1]:
            tokens = block(tokens, scratch)
        for stage, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            tokens = stage(tokens, skip, scratch)
        return upsampled(self._head(tokens, scratch), self.config.patch_size)

    def _head(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        if self.head_normal is None:
            logits: Tensor = self.head(tokens)
            return logits
        logits = tokens.new_empty((self.config.out_channels, *tokens.shape[1:]))
        step = tile_planes(tokens)
        for first in range(0, tokens.shape[1], step):
            tile = logits[:, first : first + step]
            normal = self.head_normal(tokens[:, first : first + step].flatten(1), scratch)
            tile.copy_(self.head(normal).view(tile.shape))
        return logits


def shift_into(out: Tensor, hidden: Tensor, core: slice, axis: int, shift_size: int) -> None:
    """Write the axial shift of the `core` planes of (C, X, Y, Z) to `out`; zeros from outside."""
    channel = 0
    for size, displacement in channel_groups(len(out), shift_size):
        group = slice(channel, channel + size)
        source = hidden[group] if axis == 0 else hidden[group, core]
        first, length = (core.start, source.shape[1]) if axis == 0 else (0, source.shape[axis + 1])
        target, extent = out[group], out.shape[axis + 1]
        low = min(max(0, displacement - first), extent)
        high = max(low, min(extent, length + displacement - first))
        target.narrow(axis + 1, 0, low).zero_()
        target.narrow(axis + 1, high, extent - high).zero_()
        if high > low:
            moved = source.narrow(axis + 1, low + first - displacement, high - low)
            target.narrow(axis + 1, low, high - low).copy_(moved)
        channel += size


def tile_planes(tokens: Tensor) -> int:
    """Return how many planes of (C, X, Y, Z) a tile holds."""
    plane = tokens[:, 0].numel() * tokens.element_size()
    return max(1, _TILE_BYTES // plane)


def gelu_(tokens: Tensor) -> Tensor:
    """Apply GELU in place."""
    out: Tensor = torch.ops.aten.gelu_(tokens)
    return out


def upsampled(tokens: Tensor, factor: int) -> Tensor:
    """Trilinear, corners aligned: (C, X, Y, Z) -> (C, fX, fY, fZ)."""
    if factor == 1:
        return tokens
    return functional.interpolate(
        tokens[None], scale_factor=factor, mode="trilinear", align_corners=True
    )[0]
