"""The card of a model: all that one needs to know to use it, checked when it is read.

There are two kinds: a segmenter's and a classifier's. `napari_asmlp.model` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic

from napari_asmlp.errors import ModelError
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.volume import RGB

Colour = Annotated[str, pydantic.Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Percent = Annotated[float, pydantic.Field(ge=0, le=100)]
Millimetres = Annotated[float, pydantic.Field(ge=1e-4, le=1e6)]
LabelValue = Annotated[int, pydantic.Field(ge=1, le=65535)]
WindowSide = Annotated[int, pydantic.Field(ge=1, le=2048)]
AxisCodes = Annotated[str, pydantic.Field(pattern=r"^[RLAPSI]{3}$")]
Place = Literal["fixed", "anywhere"]
Activation = Literal["softmax", "sigmoid"]  # of labels that exclude each other, or overlap
Margin = Annotated[float, pydantic.Field(ge=0, le=2)]


@dataclass(frozen=True)
class LabelEntry:
    """One line of the label table: what an integer in the labels means."""

    value: LabelValue
    name: str
    colour: Colour

    @property
    def rgb(self) -> RGB:
        """The colour as red, green and blue, 0 to 255."""
        red, green, blue = bytes.fromhex(self.colour.removeprefix("#"))
        return red, green, blue


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
        _check_recipe(self.axis_codes, self.clip)


@dataclass(frozen=True)
class ClassEntry:
    """What an output of a classifier means."""

    name: str
    colour: Colour


@dataclass(frozen=True)
class Measurement:
    """A measurement of an object that a classifier sees, and how it is standardised."""

    name: str
    mean: float
    deviation: Annotated[float, pydantic.Field(gt=0)]


@dataclass(frozen=True)
class ClassifierInput:
    """How a volume, or an object of a label file, becomes the input of a classifier.

    The volume is turned to `axis_codes`; of the box that is looked at, the input shows the part
    around its centre. A voxel of the input is the mean over the part of the source that it covers.

    Attributes
    ----------
    what : ``volume``: intensities of the whole volume, one channel for each of its own;
        ``mask``: a shape, which is all voxels that are not 0; its box bounds these;
        ``object``: both, of one object: intensities around it, then its shape
    spacing : mm per voxel of the input; None scales each box, in its proportions in mm and with
        its `margin`, to fill the input
    axis_codes : orientation, such as ``RAS``; None keeps that of the file
    clip, normalisation : of intensities, as in `Preprocessing`; outside the volume they are the
        lowest of what is shown. A shape is 1 inside and 0 outside
    margin : share of the box's longest side that is added on each side, where `spacing` is None
    thickness : whether a shape has a second channel: how far from the outside each of its voxels
        is, measured on the source, in voxels of the input
    measurements : of an object, those of `preprocess.objects`; a last channel repeats them in each
        patch
    """

    what: Literal["volume", "mask", "object"] = "volume"
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None
    axis_codes: AxisCodes | None = "RAS"
    clip: tuple[Percent, Percent] | None = (0.5, 99.5)
    normalisation: Literal["zscore", "none"] = "zscore"
    margin: Margin = 0.0
    thickness: bool = False
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        """Refuse axes that are none, percentiles the wrong way round, thickness of no shape."""
        _check_recipe(self.axis_codes, self.clip)
        if (self.thickness or self.measurements) and self.what == "volume":
            raise ModelError("thickness and measurements: only a shape has them, no volume")

    @property
    def shape_channels(self) -> int:
        """Channels that the shape and its measurements take, the last of the input."""
        return 0 if self.what == "volume" else 1 + self.thickness + bool(self.measurements)


def _check_recipe(codes: str | None, clip: tuple[float, float] | None) -> None:
    sides = ("LR", "PA", "IS")
    if codes and not all(any(code in side for code in codes) for side in sides):
        raise ModelError(f"axis codes {codes!r}: give one each of L/R, P/A and I/S")
    if clip is not None and not clip[0] < clip[1]:
        raise ModelError(f"clip {clip}: the lower percentile comes first")


@dataclass(frozen=True, kw_only=True)
class BaseCard:
    """What the cards of all models have.

    Attributes
    ----------
    temperature : what logits are divided by before the softmax, where probabilities are reported
    scores : of the cases kept out of training
    calibration : what probabilities were worth on these cases
    split : which cases were trained on and which kept out
    """

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


@dataclass(frozen=True)
class Card(BaseCard):
    """What a segmenter is, may be used for, and how well it did; see `BaseCard` for the rest.

    Attributes
    ----------
    labels : the label table, without background; entry n belongs to the network's output n + 1
        under ``softmax`` (output 0 is background), to output n under ``sigmoid``
    regions : for each label the label values that it comprises, where labels overlap (a whole
        tumour and its core); its outputs are then written in the order of `labels`, a later one
        over an earlier. Empty where a voxel gets its likeliest label
    window : voxels of an inference window on the model grid
    field_of_view_mm : extent of the volumes it was trained on; None means any
    place : whether its labels are of a structure that lies at a fixed place in volumes of that
        extent, or may lie anywhere in larger ones, as cells do
    tilt_degrees : the strongest tilt of the volumes it was trained on; augmentation comes on top
    scores : in the form of `napari_asmlp.evaluate.evaluate`
    split : by content (`training.folds`)
    """

    name: str
    summary: str
    labels: tuple[LabelEntry, ...]
    network: AsmlpConfig
    window: tuple[WindowSide, WindowSide, WindowSide]
    architecture: Literal["asmlp"] = "asmlp"
    activation: Activation = "softmax"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    field_of_view_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    place: Place = "fixed"
    tilt_degrees: Annotated[float, pydantic.Field(ge=0, le=90)] = 0.0
    regions: tuple[tuple[LabelValue, ...], ...] = ()

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
        if self.regions and (
            self.activation != "sigmoid"
            or len(self.regions) != len(self.labels)
            or not all(self.regions)
        ):
            raise ModelError(
                f"model {self.name!r}: {len(self.regions)} regions for {len(self.labels)}"
                f" {self.activation} labels; give each of sigmoid outputs its own"
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

    @property
    def label_colours(self) -> dict[int, RGB]:
        """Colour of each label value."""
        return {entry.value: entry.rgb for entry in self.labels}


@dataclass(frozen=True)
class ClassifierCard(BaseCard):
    """What a classifier is, may be used for, and how well it did; see `BaseCard` for the rest.

    Attributes
    ----------
    classes : in the order of the network's outputs
    input : how a volume or an object becomes what the network sees
    scores : as of `training.classifier.report`
    """

    name: str
    summary: str
    classes: tuple[ClassEntry, ...]
    network: MixerConfig
    input: ClassifierInput = field(default_factory=ClassifierInput)
    architecture: Literal["mixer"] = "mixer"

    def __post_init__(self) -> None:
        """Refuse classes or an input that do not fit the network."""
        outputs, channels = self.network.out_channels, self.network.in_channels
        if len(self.classes) != outputs or outputs < 2:
            raise ModelError(
                f"model {self.name!r}: {len(self.classes)} classes for {outputs} outputs; there"
                " are at least 2, one for each"
            )
        if len(set(self.class_names)) != outputs:
            raise ModelError(f"model {self.name!r}: a class name occurs twice")
        shape = self.input.shape_channels
        if channels < shape or (self.input.what == "mask") != (channels == shape):
            raise ModelError(
                f"model {self.name!r}: {channels} channels for an input of kind {self.input.what!r}"
            )
        mirrored = self.network.mirror_axes and not self.network.fixed_channels
        if self.input.measurements and mirrored:
            raise ModelError(
                f"model {self.name!r}: would mirror its measurements; fix their channel"
            )
        if len(self.input.measurements) > self.network.patch_size**3:
            raise ModelError(f"model {self.name!r}: more measurements than a patch has voxels")

    @property
    def in_channels(self) -> int:
        """Channels that the network takes, those of the shape included."""
        return self.network.in_channels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each output."""
        return tuple(entry.name for entry in self.classes)


AnyCard = Card | ClassifierCard
