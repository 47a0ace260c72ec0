"""What the training of a classifier is made of; the recipe files are TOML of the same."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pydantic

from napari_asmlp.errors import SettingsError
from napari_asmlp.model import ClassifierInput
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.training.recipe import Amount, BaseRecipe, Fraction, Positive, read_recipe_of


@dataclass(frozen=True)
class Variation:
    """How far an input is changed before the network sees it; all ranges are symmetric.

    Attributes
    ----------
    flip_axes : axes of the input that are mirrored half of the time; 0 is left-right in RAS
    rotation : degrees about each axis
    scaling : relative size of all axes together; 0.2 means 1/1.2 to 1.2
    stretching : the same of each axis by itself
    shift : share of the input's extent
    intensity : of intensities that are standardised: brightness and contrast, and half of it noise
    measuring : deviation of noise on measurements, which are standardised
    """

    flip_axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    rotation: Amount = 15.0
    scaling: Amount = 0.1
    stretching: Amount = 0.05
    shift: Fraction = 0.03
    intensity: Amount = 0.2
    measuring: Amount = 0.3


@dataclass(frozen=True)
class ClassifierRecipe(BaseRecipe):
    """Everything that decides what a classifier's training gives, beside its data.

    See `BaseRecipe` too. The network's channels and outputs are those of the data.

    Attributes
    ----------
    input : how volumes or objects become the network's input; None takes it from the data
    folds : 0 keeps the data's own validation cases out, or a fifth where they name none. N of 2
        and more is cross-validation: N trainings that keep out an Nth of all cases each give
        scores and temperature, and one more on all cases gives the weights
    balance : 0 counts each case the same, 1 each class, between are its powers. Probabilities
        are of the classes as they are frequent in the data, all the same
    smoothing : share of the label that is spread over all classes
    measurements : names of measurements of the shape that the network sees beside it, see
        `preprocess.objects`; `input` is given their means and deviations
    """

    network: MixerConfig = field(default_factory=MixerConfig)
    variation: Variation = field(default_factory=Variation)
    input: ClassifierInput | None = None
    epochs: Positive = 60
    batch_size: Positive = 32
    folds: Annotated[int, pydantic.Field(ge=0, le=20)] = 0
    balance: Fraction = 0.5
    smoothing: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.05
    measurements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse one fold."""
        if self.folds == 1:
            raise SettingsError("folds 1: nothing would be kept out; give 0, or 2 and more")


CLASSIFIER_RECIPE = pydantic.TypeAdapter(ClassifierRecipe)


def read_classifier_recipe(path: str | os.PathLike[str]) -> ClassifierRecipe:
    """Read a recipe file (TOML); raises `SettingsError` naming the entry that is wrong."""
    return read_recipe_of(path, CLASSIFIER_RECIPE)
