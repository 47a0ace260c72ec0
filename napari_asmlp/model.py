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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, cast

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from typing_extensions import TypeVar

from napari_asmlp.card import (
    AnyCard,
    Card,
    ClassEntry,
    ClassifierCard,
    ClassifierInput,
    Intensities,
    LabelEntry,
    Measurement,
    Millimetres,
    Preprocessing,
)
from napari_asmlp.errors import ModelError
from napari_asmlp.io.files import replacing
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.mixer import Mixer

# The kinds of cards are asked for here, where models are.
__all__ = [
    "SUFFIX",
    "AnyCard",
    "AnyModel",
    "Card",
    "ClassEntry",
    "Classifier",
    "ClassifierCard",
    "ClassifierInput",
    "Intensities",
    "LabelEntry",
    "Measurement",
    "Millimetres",
    "Model",
    "Preprocessing",
    "classifier",
    "load_model",
    "not_finite",
    "read_card",
    "read_checkpoint",
    "save_model",
    "segmenter",
    "wrong_kind",
]

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

C = TypeVar("C", bound=AnyCard, default=Card)
_CARD: pydantic.TypeAdapter[AnyCard] = pydantic.TypeAdapter(
    Annotated[AnyCard, pydantic.Field(discriminator="architecture")]
)


@dataclass
class Model(Generic[C]):
    """A network ready to run, and its card: a segmenter, unless its type says otherwise.

    Attributes
    ----------
    network : (B, C, X, Y, Z) float32 -> logits (B, K, X, Y, Z); of a classifier (B, K)
    """

    card: C
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


Classifier = Model[ClassifierCard]
AnyModel = Model[Card] | Model[ClassifierCard]


def segmenter(model: AnyModel) -> Model:
    """Return a model that segments; raises `ModelError` where it classifies."""
    if isinstance(model.card, ClassifierCard):
        raise wrong_kind(model.card)
    return model


def classifier(model: AnyModel) -> Classifier:
    """Return a model that classifies; raises `ModelError` where it segments."""
    if isinstance(model.card, Card):
        raise wrong_kind(model.card)
    return model


def wrong_kind(card: AnyCard) -> ModelError:
    """Return the error of a model that was asked for what only the other kind can do."""
    if isinstance(card, ClassifierCard):
        classes = ", ".join(card.class_names)
        return ModelError(f"model {card.name!r} is a classifier ({classes}), not a segmenter")
    labels = ", ".join(entry.name for entry in card.labels)
    return ModelError(f"model {card.name!r} is a segmenter ({labels}), not a classifier")


def read_card(path: str | os.PathLike[str]) -> AnyCard:
    """Read the card of a model file without its weights; raises `ModelError`."""
    card, _ = _open(Path(path), with_weights=False)
    return card


def load_model(path: str | os.PathLike[str]) -> AnyModel:
    """Read a model file; raises `ModelError` naming the file and what is wrong with it."""
    path = Path(path)
    card, tensors = _open(path, with_weights=True)
    try:
        # On the meta device a card that claims a huge network allocates nothing.
        with torch.device("meta"):
            network = _network(card)
        weights = {key: tensor.float() for key, tensor in tensors.items()}
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path.name}: the weights do not fit the card: {reason}") from error
    if broken := not_finite(weights):
        raise ModelError(f"{path.name}: damaged: {broken} holds NaN or infinity")
    return cast(AnyModel, Model(card, network.eval(), path))


def _network(card: AnyCard) -> nn.Module:
    return Asmlp(card.network) if isinstance(card, Card) else Mixer(card.network)


def save_model(
    model: AnyModel, path: str | os.PathLike[str], *, overwrite: bool = False, half: bool = True
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


def _open(path: Path, *, with_weights: bool) -> tuple[AnyCard, dict[str, Tensor]]:
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


def _parse_card(text: str, name: str) -> AnyCard:
    try:
        return _CARD.validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        # what is wrong within a card of either kind begins with its architecture
        place = ".".join(str(part) for part in first["loc"][1:])
        place = place or ("architecture" if first["type"].startswith("union_tag") else "card")
        raise ModelError(f"{name}: its card is wrong at {place}: {first['msg']}") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
