"""Which models exist: in the package, in the user's data folder, or given by path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from napari_asmlp.errors import ModelError
from napari_asmlp.model import (
    SUFFIX,
    AnyCard,
    AnyModel,
    Card,
    Classifier,
    ClassifierCard,
    LabelEntry,
    Model,
    Preprocessing,
    classifier,
    load_model,
    read_card,
    read_checkpoint,
    segmenter,
)
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.reference import import_reference

BUNDLED = Path(__file__).parent / "weights"
# Colours of labels that bring none: distinct for the colour-blind (Okabe and Ito, 2008).
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_REFERENCE_WINDOW = 64


@dataclass(frozen=True)
class ZooEntry:
    """A model one can name."""

    name: str
    path: Path
    card: AnyCard
    origin: Literal["bundled", "user"]


def user_folder() -> Path:
    """Where the user's own models lie; `NAPARI_ASMLP_MODELS` names another folder."""
    named = os.environ.get("NAPARI_ASMLP_MODELS")
    return Path(named) if named else platformdirs.user_data_path("napari-asmlp") / "models"


def model_paths() -> dict[str, tuple[Path, Literal["bundled", "user"]]]:
    """Name, file and origin of each model, unread; a user's model hides a bundled one."""
    found: dict[str, tuple[Path, Literal["bundled", "user"]]] = {}
    for path in sorted(BUNDLED.glob(f"*{SUFFIX}")):
        found[path.stem] = path, "bundled"
    for path in sorted(user_folder().glob(f"*{SUFFIX}")):
        found[path.stem] = path, "user"
    return found


def survey() -> tuple[list[ZooEntry], dict[str, str]]:
    """Read the cards of all models: the sound ones, and by name what is wrong with the others."""
    sound: list[ZooEntry] = []
    damaged: dict[str, str] = {}
    for name, (path, origin) in model_paths().items():
        try:
            sound.append(ZooEntry(name, path, read_card(path), origin))
        except ModelError as error:
            damaged[name] = str(error)
    return sound, damaged


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a model given by name or path; raises `ModelError` with the names."""
    text = os.fspath(name_or_path)
    known = model_paths()
    if text in known:
        return known[text][0]
    path = Path(text)
    if path.suffix or len(path.parts) > 1:
        return path
    names = ", ".join(known) or "none"
    raise ModelError(f"model {text!r}: neither a file nor one of the models here ({names})")


def load(name_or_path: str | os.PathLike[str]) -> AnyModel:
    """Load a model by name or path; raises `ModelError`."""
    return load_model(find(name_or_path))


def load_segmenter(name_or_path: str | os.PathLike[str]) -> Model:
    """Load a model that segments by name or path; raises `ModelError`, for a classifier too."""
    return segmenter(load(name_or_path))


def load_classifier(name_or_path: str | os.PathLike[str]) -> Classifier:
    """Load a model that classifies by name or path; raises `ModelError`, for a segmenter too."""
    return classifier(load(name_or_path))


def default(kind: type[Card | ClassifierCard] = Card) -> Path:
    """Return the only bundled model of a kind; raises `ModelError` with the list otherwise."""
    bundled = [path for path in sorted(BUNDLED.glob(f"*{SUFFIX}")) if _is_of(kind, path)]
    if len(bundled) == 1:
        return bundled[0]
    names = "|".join(path.stem for path in bundled)
    raise ModelError(f"say which model: --model {names or 'FILE'}")


def _is_of(kind: type[Card | ClassifierCard], path: Path) -> bool:
    """Say whether a file is a model of a kind; a damaged one is of none."""
    try:
        return isinstance(read_card(path), kind)
    except ModelError:
        return False


def import_checkpoint(path: str | os.PathLike[str], shift_size: int = 5) -> Model:
    """Bring a checkpoint of the public 3D AS-MLP port over; runs no code of the file.

    Raises
    ------
    ModelError
        Where the file is no checkpoint, holds code, or holds another network.
    """
    path = Path(path)
    state = read_checkpoint(path)
    for wrapper in ("state_dict", "model", "model_state_dict", "net"):
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    try:
        network = import_reference(state, shift_size)
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    return Model(_reference_card(network, path.stem), network)


def _reference_card(network: Asmlp, name: str) -> Card:
    side = max(_REFERENCE_WINDOW, network.config.multiple_of)
    return Card(
        name=name,
        summary="Imported from a Med_ASMLP checkpoint; its labels and training are not known.",
        labels=label_table([f"class {n}" for n in range(1, network.config.out_channels + 1)]),
        network=network.config,
        window=(side, side, side),
        activation="sigmoid",
        preprocessing=Preprocessing(spacing=None, axis_codes=None, clip=None),
    )


def label_table(
    names: Sequence[str], values: Sequence[int] | None = None
) -> tuple[LabelEntry, ...]:
    """Give names (and values 1, 2, ... unless said) colours of the palette."""
    values = values if values is not None else range(1, len(names) + 1)
    return tuple(
        LabelEntry(value, name, PALETTE[n % len(PALETTE)])
        for n, (value, name) in enumerate(zip(values, names, strict=True))
    )
