"""Layers on channels-first tokens, computed a few planes at a time in buffers made once.

What `napari_asmlp.networks.folded` is built of; it tells why. Tokens of a volume are
``(C, X, Y, Z)``, the rows of a tile of it ``(C, N)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from napari_asmlp.networks.asmlp import AxialShiftBlock, Norm, WindowNorm
from napari_asmlp.networks.shift import channel_groups

M = TypeVar("M", bound=nn.Module)

# Of the tokens in a tile, for each thread, as each takes its share of a tile: the few buffers of
# that share then fit a core's second cache. With less, threads wait for each other too often.
_TILE_BYTES = 1 << 20
_MOST_THREADS = 8  # that a tile grows with


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
        self, linear: nn.Linear, norm: Norm | None = None, *, centred: bool = False
    ) -> None:
        super().__init__()
        weight = linear.weight.double()
        bias = weight.new_zeros(len(weight))
        if "bias" in dict(linear.named_parameters()):
            bias = linear.bias.double()
        if norm is not None:
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


class WindowNormaliser(nn.Module):
    """Mean 0 and variance 1 over all tokens and channels: a `WindowNorm` without gain, offset."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, N) -> a buffer of the same shape."""
        variance, mean = torch.var_mean(tokens.float(), correction=0)
        centred = torch.sub(tokens, mean, out=scratch.take("normal", *tokens.shape))
        return centred.mul_((variance + self.eps).rsqrt())


def normaliser(norm: Norm, channels: int) -> Normaliser | WindowNormaliser:
    """Return what normalises as a norm does, but for gain and offset."""
    whole = isinstance(norm, WindowNorm)
    return WindowNormaliser(norm.eps) if whole else Normaliser(channels, norm.eps)


class FoldedBlock(nn.Module):
    """An `AxialShiftBlock`, in place, tile by tile where norms look at one token at a time."""

    def __init__(self, block: AxialShiftBlock) -> None:
        super().__init__()
        mixer = block.mixer
        widen, narrow = each(block.mlp, nn.Linear)
        self.shift_size = mixer.shift_size
        self.normal = normaliser(block.norm_mixer, mixer.linear_in.in_features)
        self.whole = isinstance(self.normal, WindowNormaliser)
        self.linear_in = FoldedLinear(mixer.linear_in, block.norm_mixer, centred=not self.whole)
        self.gain = nn.Buffer(mixer.norm_in.weight.detach()[:, None].clone())
        self.offset = nn.Buffer(mixer.norm_in.bias.detach()[:, None].clone())
        self.branches = nn.ModuleList(
            FoldedLinear(branch) for branch in each(mixer.branches, nn.Linear)
        )
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
        step = length if self.whole else tile_planes(tokens)
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
        norm = self.normal  # where it looks at one token, the linear layer took the mean off
        inner = norm.scale if isinstance(norm, Normaliser) else norm
        hidden = inner(hidden, scratch).mul_(self.gain).add_(self.offset)
        out.copy_(gelu_(hidden).view(out.shape))

    def _mix(self, hidden: Tensor, core: slice, tile: Tensor, scratch: Scratch) -> Tensor:
        """Return x + AS(norm x) of a tile, (C, N)."""
        rows = tile.flatten(1)
        total = scratch.take("total", *rows.shape)
        for axis, branch in enumerate(each(self.branches, FoldedLinear)):
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


class FoldedBlocks(nn.Module):
    """The blocks of a stage."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FoldedBlock(block) for block in each(blocks, AxialShiftBlock))

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """(C, X, Y, Z) -> the same tensor, overwritten."""
        for block in self.blocks:
            tokens = block(tokens, scratch)
        return tokens


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


def tile_bytes() -> int:
    """Return how large the tokens of a tile are, with the threads that torch has now."""
    return _TILE_BYTES * min(torch.get_num_threads(), _MOST_THREADS)


def tile_planes(tokens: Tensor) -> int:
    """Return how many planes of (C, X, Y, Z) a tile holds."""
    plane = tokens[:, 0].numel() * tokens.element_size()
    return max(1, tile_bytes() // plane)


def gelu_(tokens: Tensor) -> Tensor:
    """Apply GELU in place."""
    out: Tensor = torch.ops.aten.gelu_(tokens)
    return out


def each(modules: nn.Module, kind: type[M]) -> list[M]:
    """Return those of a module's children that are of a kind, in their order."""
    return [child for child in modules.children() if isinstance(child, kind)]
