"""What a training run is made of, in one frozen value; the recipe files are TOML of the same."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pydantic

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.model import Millimetres
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.training.folds import parse_fold

Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[int, pydantic.Field(ge=1)]
Amount = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Augmentation:
    """How far a crop is changed before the network sees it; all ranges are symmetric.

    Attributes
    ----------
    flip_axes : axes of the model grid that are mirrored half of the time; 0 is left-right in RAS
    rotation : degrees about each axis
    scaling : relative size; 0.2 means 1/1.2 to 1.2
    elastic : voxels, standard deviation of a smooth random displacement
    intensity : how often each of gamma, contrast, bias field, noise and low resolution is applied
    noise : its largest standard deviation, in normalised intensities
    """

    flip_axes: tuple[Literal[0, 1, 2], ...] = (0,)
    rotation: Amount = 15.0
    scaling: Amount = 0.2
    elastic: Amount = 1.0
    intensity: Fraction = 0.3
    noise: Amount = 0.15


@dataclass(frozen=True, kw_only=True)
class BaseRecipe:
    """What all recipes have: the card's words, and how weights are learnt.

    Attributes
    ----------
    epochs : passes over the training cases, with a cosine decay of the learning rate over them
    minutes : where given, the run and its decay follow the clock instead of `epochs`, and what it
        gives depends on the machine's speed
    optimiser : ``adamw``, or ``muon`` for the weights between hidden channels (Jordan et al.,
        2024) and AdamW for the others
    muon_learning_rate, muon_weight_decay : of those; the others are AdamW's. A step takes the
        product of both off a weight
    ema : decay of a moving average of the weights, which is then scored and shipped; 0 for none.
        In the first steps n it is (1 + n) / (10 + n) where that is less
    """

    name: str = ""
    summary: str = ""
    licence: str = "not stated"
    attribution: str = ""
    training_data: str = ""
    epochs: Positive = 50
    minutes: Rate | None = None
    batch_size: Positive = 2
    learning_rate: Rate = 2e-3
    weight_decay: Amount = 1e-2
    optimiser: Literal["adamw", "muon"] = "muon"
    muon_learning_rate: Rate = 0.02
    muon_weight_decay: Amount = 0.3
    ema: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.99
    warmup: Fraction = 0.03
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Annotated[int, pydantic.Field(ge=0, le=2**32 - 1)] = 0

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Recipe(BaseRecipe):
    """Everything that decides what a training run gives, beside its data; see `BaseRecipe` too.

    Attributes
    ----------
    spacing, crop : mm and voxels of the model grid; None takes them from the data's medians
    memory_gib : what a training step may take, about; bounds a `crop` that is taken from the data
    compiled : on a CPU, whether steps run in C++, compiled by the user's compiler: faster, and for
        networks with ``layer`` norms and ``expand`` decoder
    fold : ``K/N``: part K of N, by the cases' content, is held out of training; ``all`` trains on
        everything; ``auto`` holds out one of five parts, one of three or four cases, none of fewer
    foreground : how often a crop is centred on a labelled voxel, each label as often as the others
    place : ``fixed`` for a structure at one place in volumes such as those of the training: one of
        over twice their extent then needs a region; ``anywhere`` for what may lie anywhere in
        larger volumes, as cells do; ``auto`` decides by the labels (`training.layout`)
    patience : epochs without a better Dice on the cases held out, after which the run stops; the
        best weights are then shipped. None runs to the end and ships the last
    """

    network: AsmlpConfig = field(default_factory=AsmlpConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None
    crop: tuple[Positive, Positive, Positive] | None = None
    memory_gib: Rate = 4.0
    foreground: Fraction = 0.33
    validate_every: Positive = 2
    patience: Positive | None = None
    compiled: bool = False
    place: Literal["auto", "fixed", "anywhere"] = "auto"
    fold: str = "auto"

    def __post_init__(self) -> None:
        """Refuse a fold that is none, and patience with nothing to be patient about."""
        if self.fold not in ("auto", "all"):
            parse_fold(self.fold)
        if self.fold == "all" and self.patience is not None:
            raise SettingsError("patience: needs cases held out to score, but fold is 'all'")


RECIPE = pydantic.TypeAdapter(Recipe)
R = TypeVar("R", bound=BaseRecipe)


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe file (TOML); raises `SettingsError` naming the entry that is wrong."""
    return read_recipe_of(path, RECIPE)


def read_recipe_of(path: str | os.PathLike[str], kind: pydantic.TypeAdapter[R]) -> R:
    """Read a recipe file of a kind; raises `SettingsError` naming the entry that is wrong."""
    path = Path(path)
    try:
        return kind.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: the recipe cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path.name}: not a TOML recipe: {error}") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path.name}: {place}: {first['msg']}") from error
    except AsmlpError as error:
        raise SettingsError(f"{path.name}: {error}") from error
