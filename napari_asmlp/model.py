"""The model file: weights and a card that says all one needs to use them, in one safetensors file.

Safetensors holds arrays and a JSON header, so that opening a model from a stranger runs no code
of his. Pickled checkpoints are refused here; `napari_asmlp.zoo.import_checkpoint` brings those of
the public 3D AS-MLP port over, through torch's ``weights_only`` loader.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from napari_asmlp.errors import ModelError
from napari_asmlp.io.files import replacing
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig

SUFFIX = ".safetensors"
_CARD_KEY = "napari_asmlp_card"
# What torch's weights-only unpickler raises on a damaged file, beside `pickle.UnpicklingError`.
_DAMAGED = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)

Colour = Annotated[str, pydantic.Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Percent = Annotated[float, pydantic.Field(ge=0, le=100)]
Millimetres = Annotated[float, pydantic.Field(ge=1e-4, le=1e6)]
LabelValue = Annotated[int, pydantic.Field(ge=1, le=65535)]
WindowSide = Annotated[int, pydantic.Field(ge=1, le=2048)]
AxisCodes = Annotated[str, pydantic.Field(pattern=r"^[RLAPSI]{3}$")]


@dataclass(frozen=True)
class LabelEntry:
    """One line of the label table: what an integer in the labels means."""

    value: LabelValue
    name: str
    colour: Colour


@dataclass(frozen=True)
class Intensities:
    """One scaling of a channel for all volumes, such as of CT, where a value has a meaning.

    Attributes
    ----------
    low, high : what values are clipped to
    mean, deviation : what is then taken off, and divided by
    """

    low: float
    high: float
    mean: float
    deviation: Annotated[float, pydantic.Field(gt=0)]


@dataclass(frozen=True)
class Preprocessing:
    """How a volume is brought to what the network was trained on.

    Attributes
    ----------
    spacing : mm per voxel of the model grid; None keeps that of the source
    axis_codes : orientation of the model grid, such as ``RAS``; None keeps that of the file
    clip : lower and upper percentile that intensities are clipped to; None does not clip
    normalisation : ``zscore`` (mean 0, deviation 1 over the volume or region) or ``none``
    fixed : for each channel a scaling that takes the place of clip and normalisation, or None;
        empty where no channel has one
    """

    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None
    axis_codes: AxisCodes | None = "RAS"
    clip: tuple[Percent, Percent] | None = (0.5, 99.5)
    normalisation: Literal["zscore", "none"] = "zscore"
    fixed: tuple[Intensities | None, ...] = ()

    def __post_init__(self) -> None:
        """Refuse axes that are none and percentiles the wrong way round."""
        sides = ("LR", "PA", "IS")
        codes = self.axis_codes
        if codes and not all(any(code in side for code in codes) for side in sides):
            raise ModelError(f"axis codes {codes!r}: give one each of L/R, P/A and I/S")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ModelError(f"clip {self.clip}: the lower percentile comes first")


@dataclass(frozen=True)
class Card:
    """What a model is, may be used for, and how well it did.

    Attributes
    ----------
    labels : the label table, without background; entry n belongs to the network's output n + 1
        under ``softmax`` (output 0 is background), to output n under ``sigmoid``
    window : voxels of an inference window on the model grid
    field_of_view_mm : extent of the volumes it was trained on; None means any
    temperature : what logits are divided by before the softmax, where probabilities are reported
    scores : of the cases kept out of training, in the form of `napari_asmlp.evaluate.evaluate`
    calibration : what probabilities and uncertainty were worth on these cases
    split : which images were trained on and which kept out, by content (`training.folds`)
    """

    name: str
    summary: str
    labels: tuple[LabelEntry, ...]
    network: AsmlpConfig
    window: tuple[WindowSide, WindowSide, WindowSide]
    architecture: Literal["asmlp"] = "asmlp"
    activation: Literal["softmax", "sigmoid"] = "softmax"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    field_of_view_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    licence: str = "not stated"
    attribution: str = ""
    training_data: str = ""
    temperature: Annotated[float, pydantic.Field(ge=0.01, le=100)] = 1.0
    scores: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        """Refuse a label table or a window that does not fit the network."""
        expected = self.out_channels - (self.activation == "softmax")
        if len(self.labels) != expected:
            raise ModelError(
                f"model {self.name!r}: {len(self.labels)} labels for {self.out_channels}"
                f" {self.activation} outputs, expected {expected}"
            )
        if any(n % self.multiple_of for n in self.window):
            raise ModelError(
                f"model {self.name!r}: window {self.window} is no multiple of {self.multiple_of}"
            )
        if len(self.preprocessing.fixed) not in (0, self.in_channels):
            raise ModelError(
                f"model {self.name!r}: {len(self.preprocessing.fixed)} scalings of intensities for"
                f" {self.in_channels} channels"
            )
        if len({entry.value for entry in self.labels}) != len(self.labels):
            raise ModelError(f"model {self.name!r}: a label value occurs twice in its table")

    @property
    def in_channels(self) -> int:
        """Channels of the volumes it takes."""
        return self.network.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of its logits."""
        return self.network.out_channels

    @property
    def multiple_of(self) -> int:
        """Voxels that the extent of a window must be a multiple of."""
        return self.network.multiple_of

    @property
    def mean_dice(self) -> float | None:
        """Mean Dice over labels and cases kept out of training, where it was measured."""
        found: Any = self.scores
        for key in ("mean", "all", "dice"):
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    @property
    def label_names(self) -> dict[int, str]:
        """Class name of each label value."""
        return {entry.value: entry.name for entry in self.labels}


_CARD = pydantic.TypeAdapter(Card)


@dataclass
class Model:
    """A network ready to run, and its card.

    Attributes
    ----------
    network : (B, C, X, Y, Z) float32 -> logits (B, K, X, Y, Z)
    """

    card: Card
    network: nn.Module
    path: Path | None = None

    @cached_property
    def hash(self) -> str:
        """``sha256:...`` of the file; of the weights for a model that has none yet."""
        if self.path is not None:
            return "sha256:" + hashlib.sha256(self.path.read_bytes()).hexdigest()
        digest = hashlib.sha256()
        for key, tensor in sorted(self.network.state_dict().items()):
            digest.update(key.encode() + tensor.cpu().numpy().tobytes())
        return "sha256:" + digest.hexdigest()


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card of a model file without its weights; raises `ModelError`."""
    card, _ = _open(Path(path), with_weights=False)
    return card


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file; raises `ModelError` naming the file and what is wrong with it."""
    path = Path(path)
    card, tensors = _open(path, with_weights=True)
    try:
        # On the meta device a card that claims a huge network allocates nothing.
        with torch.device("meta"):
            network = Asmlp(card.network)
        weights = {key: tensor.float() for key, tensor in tensors.items()}
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path.name}: the weights do not fit the card: {reason}") from error
    if broken := not_finite(weights):
        raise ModelError(f"{path.name}: damaged: {broken} holds NaN or infinity")
    return Model(card, network.eval(), path)


def save_model(
    model: Model, path: str | os.PathLike[str], *, overwrite: bool = False, half: bool = True
) -> Path:
    """Write a model file, weights as float16 or else float32; it appears whole or not at all."""
    path, dtype = Path(path), torch.float16 if half else torch.float32
    if path.suffix != SUFFIX:
        raise ModelError(f"{path.name}: a model file ends in {SUFFIX}")
    state = model.network.state_dict()
    tensors = {key: tensor.to("cpu", dtype).contiguous() for key, tensor in state.items()}
    if broken := not_finite(tensors):
        raise ModelError(f"{path.name}: {broken} holds numbers that {dtype} cannot")
    metadata = {_CARD_KEY: _CARD.dump_json(model.card).decode()}
    content = save(tensors, metadata=metadata)  # `save_file` to a full disk raises no OSError
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    return path


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of a tensor with NaN or infinity in it, if there is one."""
    return next((key for key, tensor in tensors.items() if not tensor.isfinite().all()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of ``torch.save`` that holds plain values and weights; runs no code of it.

    Raises
    ------
    ModelError
        Where the file is missing or damaged, or holds anything else.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there is no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path.name}: holds more than weights (pickled code?) and is not opened;"
            " save its state_dict alone"
        ) from error
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"{path.name}: not a whole PyTorch checkpoint: {reason}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path.name}: holds a {type(content).__name__}, not a state dict")
    return content


def _open(path: Path, *, with_weights: bool) -> tuple[Card, dict[str, Tensor]]:
    if path.suffix != SUFFIX:
        raise ModelError(
            f"{path.name}: a model file ends in {SUFFIX}; a checkpoint of the public"
            " 3D AS-MLP port is brought over by `napari-asmlp models import`"
        )
    if not path.is_file():
        raise ModelError(f"{path}: there is no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = file.keys() if with_weights else ()
            tensors = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path.name}: not a whole safetensors file: {error}") from error
    if _CARD_KEY not in metadata:
        raise ModelError(f"{path.name}: a safetensors file, but not a napari-asmlp model (no card)")
    return _parse_card(metadata[_CARD_KEY], path.name), tensors


def _parse_card(text: str, name: str) -> Card:
    try:
        return _CARD.validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "card"
        raise ModelError(f"{name}: its card is wrong at {place}: {first['msg']}") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
