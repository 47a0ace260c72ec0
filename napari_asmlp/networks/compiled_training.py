"""Training by compiled layers: the logits of an `Asmlp` with their gradients, several times faster.

Autograd's backward pass reads and writes every intermediate result of a block, at the speed of
memory. `training_block.cpp` keeps a block's tokens and what it shifts, and computes the rest again
in the backward pass, a few tokens at a time through all layers. `training_dense.cpp` does the same
for the layers between blocks. Tokens are channels-first here, ``(B, C, X, Y, Z)``, of float32 or
bfloat16; weights and their gradients are float32, in bfloat16 only products round.

Gains and offsets of norms are folded into the linear layers after them, as in
`napari_asmlp.networks.tiles`, by calls of torch: their gradients follow by themselves.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

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
    Norm,
    pad_end,
)
from napari_asmlp.networks.compiled import built, is_compiled
from napari_asmlp.networks.tiles import each

_SUFFIX = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_Shape = ctypes.c_int64 * 3


class CompiledTraining:
    """(B, C, X, Y, Z) -> logits (B, K, X, Y, Z), on the CPU, with gradients for a network.

    Parameters
    ----------
    network : Asmlp
        It keeps its parameters; whatever changes them is seen at the next call.
    dtype : torch.dtype
        Of the tokens: float32 or bfloat16.

    Raises
    ------
    ModelError
        If the network is none of those that `is_trainable` tells of.
    AsmlpError
        If there is no C++ compiler, or it cannot compile the layers.
    """

    def __init__(self, network: Asmlp, dtype: torch.dtype) -> None:
        if not is_trainable(network):
            raise ModelError(
                "compiled training has networks with norm='layer' and decoder='expand',"
                f" not {network.config.norm!r} and {network.config.decoder!r}: train without it"
            )
        training_library()
        self.network = network
        self.dtype = dtype

    def __call__(self, volume: Tensor) -> Tensor:
        """Return the logits, in the precision of the tokens."""
        logits = self.token_logits(volume)
        if self.network.config.patch_size > 1:
            logits = functional.interpolate(
                logits.float(),
                scale_factor=self.network.config.patch_size,
                mode="trilinear",
                align_corners=True,
            )
        x, y, z = volume.shape[2:]
        return logits[:, :, :x, :y, :z]

    def token_logits(self, volume: Tensor) -> Tensor:
        """Return the logits before they are upsampled, one for each token of the padded volume."""
        with torch.autocast(volume.device.type, enabled=False):  # weights are folded in float32
            return self._logits(pad_end(volume, self.network.config).to(self.dtype))

    def _logits(self, volume: Tensor) -> Tensor:
        network = self.network
        tokens = _embed(network.embedding, volume)
        skips = []
        for stage, merging in zip(network.encoder, each(network.merging, Merging), strict=False):
            tokens = _through_blocks(stage, tokens)
            skips.append(tokens)
            tokens = _merge(merging, tokens)
        tokens = _through_blocks(network.encoder[-1], tokens)
        decoder = each(network.decoder, ExpandStage)
        for expanding, skip in zip(reversed(decoder), reversed(skips), strict=True):
            tokens = _through_blocks(expanding.blocks, _expand(expanding, tokens, skip))
        (norm,), (linear,) = each(network.head, nn.LayerNorm), each(network.head, nn.Linear)
        return _dense(tokens, *_folded(linear, norm), _Use(normalises=norm.eps))


def is_trainable(network: nn.Module) -> bool:
    """Tell whether `CompiledTraining` has this network: norms look at one token at a time."""
    config = network.config if isinstance(network, Asmlp) else None
    return config is not None and (config.norm, config.decoder) == ("layer", "expand")


def is_training_compiled() -> bool:
    """Tell whether the layers lie in the cache and load, so that they take no compiling."""
    return is_compiled("training_block.cpp", "training_dense.cpp")


@functools.cache
def training_library() -> ctypes.CDLL:
    """Return the compiled layers, from the cache where they are there.

    Raises
    ------
    AsmlpError
        If there is no C++ compiler, or it cannot compile them.
    """
    library = built("training_block.cpp", "training_dense.cpp")
    library.kept_size.restype = ctypes.c_int64
    return library


def _embed(embedding: Embedding, volume: Tensor) -> Tensor:
    """(B, C, X, Y, Z) -> (B, W, X/p, Y/p, Z/p): the convolution as a linear layer, and norm."""
    convolution, norm = embedding.projection, embedding.norm
    size, step = convolution.kernel_size[0], convolution.stride[0]
    seen = functional.pad(volume, ((size - step) // 2,) * 6)
    for axis in (2, 3, 4):
        seen = seen.unfold(axis, size, step)
    seen = seen.permute(0, 1, 5, 6, 7, 2, 3, 4).flatten(1, 4)
    bias = torch.as_tensor(convolution.bias)
    tokens = _dense(seen, convolution.weight.flatten(1), bias, _Use())
    return _dense(tokens, torch.diag(norm.weight), norm.bias, _Use(normalises=norm.eps))


def _through_blocks(stage: nn.Module, tokens: Tensor) -> Tensor:
    """(B, C, X, Y, Z) -> the same shape."""
    for block in each(stage, AxialShiftBlock):
        sizes = block.mixer.shift_size, block.norm_mixer.eps
        tokens = _Block.apply(tokens, _parameters(block), *sizes)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return tokens


def _merge(merging: Merging, tokens: Tensor) -> Tensor:
    """(B, C, X, Y, Z) -> (B, C', X/2, Y/2, Z/2)."""
    weight, norm = merging.reduction.weight, merging.norm
    use = _Use(merges=True, normalises=norm.eps)
    return _dense(tokens, weight * norm.weight, weight @ norm.bias, use)


def _expand(stage: ExpandStage, tokens: Tensor, skip: Tensor) -> Tensor:
    """(B, C, X, Y, Z) and (B, C', 2X, 2Y, 2Z) -> the latter; as in `FoldedExpandStage`."""
    finer = stage.fuse.out_features
    from_coarse, from_skip = torch.split(stage.fuse.weight, finer, dim=1)
    fused = _dense(skip, from_skip, stage.fuse.bias, _Use())
    weight = from_coarse @ stage.expand.weight.view(8, finer, -1)
    bias = from_coarse @ stage.expand.bias.view(8, finer, 1)
    return _dense(tokens, weight.flatten(0, 1), bias.flatten(), _Use(splits=True), fused)


def _folded(
    linear: nn.Linear, norm: Norm | None = None, *, centred: bool = False
) -> tuple[Tensor, Tensor]:
    """Return weight and bias, with the affine part of a norm before it; see `FoldedLinear`."""
    weight: Tensor = linear.weight
    bias: Tensor = linear.bias
    if norm is not None:
        weight, bias = weight * norm.weight, torch.addmv(bias, weight, norm.bias)
    if centred:
        weight, bias = weight - weight.mean(0), bias - bias.mean()
    return weight, bias


def _parameters(block: AxialShiftBlock) -> Tensor:
    """Return all numbers of a block in a row, as `Block` of training_block.cpp takes them."""
    mixer, (widen, narrow) = block.mixer, each(block.mlp, nn.Linear)
    layers = (
        _folded(mixer.linear_in, block.norm_mixer, centred=True),
        *map(_folded, each(mixer.branches, nn.Linear)),
        _folded(mixer.linear_out, mixer.norm_out),
        _folded(widen, block.norm_mlp),
        _folded(narrow),
    )
    numbers = [number.flatten() for layer in layers for number in layer]
    return torch.cat([mixer.norm_in.weight, mixer.norm_in.bias, *numbers])


class _BlockCall(ctypes.Structure):
    """`Call` of training_block.cpp."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("shift_size", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("shape", _Shape),
        ("eps", ctypes.c_float),
        ("parameters", ctypes.c_void_p),
    )


class _Block(torch.autograd.Function):
    """An axial-shift block: (B, C, X, Y, Z) and its parameters -> (B, C, X, Y, Z)."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, parameters: Tensor, shift_size: int, eps: float
    ) -> Tensor:
        batch, channels, *shape = tokens.shape
        sizes = batch, channels, shift_size, torch.get_num_threads(), _Shape(*shape), eps
        call = _BlockCall(*sizes, parameters.data_ptr())
        kept = tokens.new_zeros(training_library().kept_size(ctypes.byref(call)))
        out = torch.empty_like(tokens)
        _run("forward", call, out, kept, tokens)
        ctx.sizes = sizes
        ctx.save_for_backward(tokens, parameters, kept)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        tokens, parameters, kept = ctx.saved_tensors
        call = _BlockCall(*ctx.sizes, parameters.data_ptr())
        of_tokens, of_parameters = torch.empty_like(tokens), torch.zeros_like(parameters)
        _run("backward", call, of_tokens, of_parameters, gradients[0].contiguous(), kept, tokens)
        return of_tokens, of_parameters, None, None


class _DenseCall(ctypes.Structure):
    """`Call` of training_dense.cpp."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("merges", ctypes.c_int64),
        ("splits", ctypes.c_int64),
        ("normalises", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("shape", _Shape),
        ("eps", ctypes.c_float),
        ("parameters", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class _Use:
    """What a linear layer is applied to.

    Attributes
    ----------
    merges : of the channels of a cell of eight tokens, as `merge_octants` lays them
    splits : gives those of such a cell
    normalises : eps of the norm before it; 0 where there is none
    """

    merges: bool = False
    splits: bool = False
    normalises: float = 0.0


def _dense(
    tokens: Tensor, weight: Tensor, bias: Tensor, use: _Use, residual: Tensor | None = None
) -> Tensor:
    """(B, C, X, Y, Z) -> (B, C', X', Y', Z'), plus a residual of that shape."""
    out: Tensor = _Dense.apply(tokens, weight, bias, use, residual)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return out


class _Dense(torch.autograd.Function):
    """A linear layer between blocks, see `_dense`."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor, use: _Use, residual: Tensor | None
    ) -> Tensor:
        tokens = tokens.contiguous()
        coarse = [n // 2 if use.merges else n for n in tokens.shape[2:]]
        batch, inputs, outputs = *tokens.shape[:2], len(weight) // (8 if use.splits else 1)
        switches = use.merges, use.splits, use.normalises > 0
        sizes = (*switches, torch.get_num_threads(), _Shape(*coarse), use.normalises)
        ctx.sizes = (batch, inputs, outputs, *sizes)
        parameters = torch.cat([weight.flatten(), bias])
        fine = [2 * n if use.splits else n for n in coarse]
        out = tokens.new_empty((batch, outputs, *fine))
        _run("dense_forward", _DenseCall(*ctx.sizes, parameters.data_ptr()), out, tokens, residual)
        ctx.weight_shape = weight.shape
        ctx.save_for_backward(tokens, parameters)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tokens, parameters = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_tokens = torch.empty_like(tokens) if ctx.needs_input_grad[0] else None
        of_parameters = torch.zeros_like(parameters)
        call = _DenseCall(*ctx.sizes, parameters.data_ptr())
        _run("dense_backward", call, of_tokens, of_parameters, gradient, tokens)
        of_weight = of_parameters[: ctx.weight_shape.numel()].view(ctx.weight_shape)
        of_bias = of_parameters[ctx.weight_shape.numel() :]
        residual = gradient if ctx.needs_input_grad[4] else None
        return of_tokens, of_weight, of_bias, None, residual


def _run(name: str, call: ctypes.Structure, *tensors: Tensor | None) -> None:
    """Call the library's function for the dtype of the last tensor, on contiguous ones."""
    there = [tensor for tensor in tensors if tensor is not None]
    if not all(tensor.is_contiguous() for tensor in there):
        raise ValueError(f"{name} takes contiguous tensors")
    function = getattr(training_library(), f"{name}_{_SUFFIX[there[-1].dtype]}")
    addresses = [None if t is None else ctypes.c_void_p(t.data_ptr()) for t in tensors]
    function(ctypes.byref(call), *addresses)
