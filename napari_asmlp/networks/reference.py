"""Reading checkpoints of the public 3D AS-MLP port (`Med_ASMLP`, Dootmaan, 2022).

The port's parts, by the keys of its state dict, beside ours:

==============================  ======================================
``patch_embed.proj/norm``       ``embedding.projection/norm``
``layers.N.blocks.M``           ``encoder.N.M``
``layers.N.downsample``         ``merging.N``
``dlayers.N`` (coarsest first)  ``decoder.L-N`` (finest first)
``head.0``, ``head.1``          ``head``, folded into one linear
==============================  ======================================

Patch size, embedding, depths, channels and classes are read off the shapes. The shift size leaves
no trace in them and has to be told. ``axial_shift.norm3`` is in the files and used by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from napari_asmlp.errors import ModelError
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig

_BLOCK_PARTS = {
    "norm1": "norm_mixer",
    "axial_shift.conv1": "mixer.linear_in",
    "axial_shift.norm1": "mixer.norm_in",
    "axial_shift.conv2_1": "mixer.branches.0",
    "axial_shift.conv2_2": "mixer.branches.1",
    "axial_shift.conv2_3": "mixer.branches.2",
    "axial_shift.norm2": "mixer.norm_out",
    "axial_shift.conv3": "mixer.linear_out",
    "norm2": "norm_mlp",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}
_UNUSED = "axial_shift.norm3"


def import_reference(state: Mapping[str, Any], shift_size: int = 5) -> Asmlp:
    """Build the network of a reference checkpoint and fill it with its weights.

    Parameters
    ----------
    state : the checkpoint's state dict; a ``module.`` prefix of data-parallel training is ignored
    shift_size : extent of the axial shift in tokens that it was trained with

    Raises
    ------
    ModelError
        where a key is missing, unknown or of another shape than the network's
    """
    tensors = _tensors(state)
    config = read_config(tensors, shift_size)
    network = Asmlp(config)
    renamed = _fold_head(tensors)
    for key, tensor in tensors.items():
        if _UNUSED not in key and not key.startswith("head."):
            renamed[rename(key, len(config.widths))] = _squeeze(key, tensor)
    expected = network.state_dict()
    if differing := set(expected) ^ set(renamed):
        raise ModelError(
            f"not a Med_ASMLP checkpoint: {len(differing)} keys such as"
            f" {min(differing)!r} are missing or unknown"
        )
    for key, tensor in renamed.items():
        if tensor.shape != expected[key].shape:
            raise ModelError(
                f"not a Med_ASMLP checkpoint: {key} is {tuple(tensor.shape)},"
                f" expected {tuple(expected[key].shape)}"
            )
    network.load_state_dict(renamed)
    return network.eval()


def read_config(tensors: Mapping[str, Tensor], shift_size: int) -> AsmlpConfig:
    """Read the sizes of the network off the shapes of its weights."""
    try:
        projection = tensors["patch_embed.proj.weight"]
        classes = tensors["head.1.weight"].shape[0]
        width, channels, patch, *_ = projection.shape
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"not a Med_ASMLP checkpoint: no usable {error}") from error
    encoder = _depths(tensors, "layers")
    decoder = _depths(tensors, "dlayers")
    return AsmlpConfig(
        in_channels=channels,
        out_channels=classes,
        patch_size=patch,  # type: ignore[arg-type]  # AsmlpConfig checks the value
        stem_size=patch,
        widths=tuple(width * 2**stage for stage in range(len(encoder))),
        encoder_blocks=encoder,
        decoder_blocks=decoder[::-1],
        shift_size=shift_size,
        norm="group",
        decoder="upsample",
    )


def rename(key: str, stages: int) -> str:
    """Return our name of one of the port's parameters; unknown names come back unchanged."""
    if match := re.fullmatch(r"patch_embed\.proj\.(\w+)", key):
        return f"embedding.projection.{match[1]}"
    if match := re.fullmatch(r"patch_embed\.norm\.(\w+)", key):
        return f"embedding.norm.{match[1]}"
    if match := re.fullmatch(r"layers\.(\d+)\.downsample\.(\w+)\.(\w+)", key):
        return f"merging.{match[1]}.{match[2]}.{match[3]}"
    if match := re.fullmatch(r"dlayers\.(\d+)\.squeeze([12])\.(\w+)", key):
        side = {"1": "squeeze_in", "2": "squeeze_out"}[match[2]]
        return f"decoder.{stages - 2 - int(match[1])}.{side}.{match[3]}"
    if match := re.fullmatch(r"(d?)layers\.(\d+)\.blocks\.(\d+)\.(.+)\.(\w+)", key):
        stage, part = int(match[2]), _BLOCK_PARTS.get(match[4], match[4])
        room = f"decoder.{stages - 2 - stage}.blocks" if match[1] else f"encoder.{stage}"
        return f"{room}.{match[3]}.{part}.{match[5]}"
    return key


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    plain = {str(key).removeprefix("module."): value for key, value in state.items()}
    for key, value in plain.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(f"not a state dict of this network: {key!r} holds {kind}")
        if not value.isfinite().all():
            raise ModelError(f"damaged: {key} holds NaN or infinity")
    return {key: value.float() for key, value in plain.items()}


def _depths(tensors: Mapping[str, Tensor], stack: str) -> tuple[int, ...]:
    pattern = re.compile(rf"{stack}\.(\d+)\.blocks\.(\d+)\.")
    found = {(int(m[1]), int(m[2])) for m in map(pattern.match, tensors) if m}
    stages = max((stage for stage, _ in found), default=-1) + 1
    return tuple(sum(stage == n for stage, _ in found) for n in range(stages))


def _squeeze(key: str, tensor: Tensor) -> Tensor:
    """Make 1x1x1 convolutions linear layers; the embedding stays what it is."""
    return (
        tensor
        if key.startswith("patch_embed")
        else tensor.flatten(1)
        if tensor.ndim > 1
        else tensor
    )


def _fold_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold head.0 and head.1, which have nothing between them, into one linear layer."""
    try:
        first, second = tensors["head.0.weight"].flatten(1), tensors["head.1.weight"].flatten(1)
        bias = second @ tensors["head.0.bias"] + tensors["head.1.bias"]
        return {"head.weight": second @ first, "head.bias": bias}
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"not a Med_ASMLP checkpoint: its head is not usable: {error}") from error
