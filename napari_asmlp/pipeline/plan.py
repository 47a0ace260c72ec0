"""What a segmentation will take, before it begins: windows, settings, memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_asmlp.devices import (
    emulation_note,
    half_precision,
    resolve_device,
    resolve_precision,
)
from napari_asmlp.errors import CHOOSE_ONE, SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region, Triple
from napari_asmlp.inference import Engine, InferenceSettings, engine_of
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled import is_compiled
from napari_asmlp.pipeline.settings import format_size
from napari_asmlp.preprocess import Placement, place, upright_grid
from napari_asmlp.provenance import free_memory, physical_memory, resident_memory
from napari_asmlp.volume import smallest_unsigned
from napari_asmlp.windows import count_windows, fitted_windows, place_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_asmlp.model import Card, Model
    from napari_asmlp.pipeline.settings import SegmentSettings
    from napari_asmlp.volume import Volume
    from napari_asmlp.windows import Box

# A field of view this many times that of the training is another task, and takes another model.
_FIELD_OF_VIEW_LIMIT = 2.0
_MOST_WINDOWS = 1_000_000
# What windows share where the user leaves it open: more where they are the card's, as those are
# small; less where they are fitted to the volume.
_OVERLAP, _LITTLE_OVERLAP = 0.25, 0.1
_FEW_VOXELS = 1 << 22  # computed in seconds: windows need no fitting
_MIRRORED_UNASKED = 1 << 20  # computed in a moment, so that running them mirrored as well is too
# Windows larger than the card's may take the run up to this much memory, beside what the process
# held before.
_AMPLE = 2_000_000_000

_TRAINED_TILT = 15.0  # degrees, where the card does not say how its crops were turned
_HARMLESS_TILT = 5.0

# Measured, rounded up: float32 numbers for each channel of the finest tokens of a window.
_ACTIVATIONS_FOLDED, _ACTIVATIONS = 10, 60
_LOGITS = 5  # copies of a window's logits: of the network, in the sums' steps, weighted, ...
_LIBRARIES = 60_000_000  # what torch and scipy take beside that, once they work
_RESAMPLING = 400_000_000  # at most, while planes are interpolated
_CONVERTING = 6 * 8  # bytes for each voxel of the few planes that are read at once
_MOVING = 8 + 4 + 1  # bytes a voxel: one channel cleaned and interpolated, and its mask
_READ_AT_ONCE = 1 << 21
_RETURNED_AT_ONCE = 1 << 24  # scores


class FieldOfViewError(SettingsError):
    """A volume is far larger than those that a model was trained on, and no region is chosen."""


@dataclass(frozen=True)
class Plan:
    """How a volume will be segmented.

    Attributes
    ----------
    region : of the volume, that is segmented
    placement : of that region, or of the upright grid, on the model grid
    window : voxels of a window
    overlap : least share of a window that its neighbour covers too
    boxes : all windows
    inference : settings of the network
    engine : how the network runs with them
    memory : planned largest size of this process in bytes
    free : memory that the system could still give when the plan was made; None where unknown
    tilt_degrees : of the volume
    upright : the grid that it is brought to first where that is too much for the model; or None
    note : what the user should know; empty if nothing
    """

    region: Region
    placement: Placement
    window: Triple
    overlap: float
    boxes: list[Box]
    inference: InferenceSettings
    engine: Engine
    memory: int
    free: int | None
    tilt_degrees: float
    upright: Grid | None = None
    note: str = ""

    @property
    def lacks_memory(self) -> bool:
        """Whether more may be needed than the system has free; it can still go well."""
        return self.free is not None and self.memory - resident_memory() > self.free

    @property
    def emulation(self) -> str | None:
        """What to say where the device only emulates the precision that was asked for."""
        return emulation_note(self.inference.precision, self.inference.device)

    def describe(self) -> str:
        """Return in a few words what it will take."""
        free = "" if self.free is None else f" ({format_size(self.free)} free)"
        shape = "x".join(map(str, self.boxes[0].shape))
        count = f"{len(self.boxes)} window{'s' * (len(self.boxes) > 1)}"
        upright = (
            "" if self.upright is None else f", upright in memory (tilt {self.tilt_degrees:.0f}°)"
        )
        return f"{count} of {shape} voxels, {format_size(self.memory)} of memory{free}{upright}"


def make_plan(volume: Volume, model: Model, settings: SegmentSettings, *, in_memory: bool) -> Plan:
    """Choose windows and settings of the network, within the memory that is allowed.

    Parameters
    ----------
    volume, model, settings : what is asked for
    in_memory : whether the results will be held in memory, not in files

    Raises
    ------
    SettingsError
        If the least that the run needs is more than `settings.memory`, or than this machine has.
    """
    if not settings.upright or not (tilt := excessive_tilt(volume.grid, model.card)):
        return _plan(volume, model, settings, in_memory=in_memory)
    try:
        plan = _plan(volume, model, settings, in_memory=in_memory, upright=True)
    except SettingsError:  # too little memory for that; if there is another reason, it comes again
        plan = None
    too_much = f"tilted by {tilt:.0f}°, more than model {model.card.name!r} was trained for"
    if plan is not None and not plan.lacks_memory:
        return replace(plan, note=f"{too_much}: brought upright for it")
    note = (
        f"{too_much}, and there is not enough memory to bring it upright: check the labels with"
        " care, or choose a region"
    )
    return replace(_plan(volume, model, settings, in_memory=in_memory), note=note)


def excessive_tilt(grid: Grid, card: Card) -> float:
    """Return the tilt of a grid in degrees where it is more than a model was trained for, else 0.

    A model was trained for the tilt of its training volumes and the rotation of its augmentation on
    top. Models of what may lie anywhere, such as cells, and those that keep the axes of the file
    know no upright.
    """
    if card.preprocessing.axis_codes is None or card.place == "anywhere":
        return 0.0
    augmentation: Any = card.recipe.get("augmentation")
    turned = augmentation.get("rotation") if isinstance(augmentation, dict) else None
    if not isinstance(turned, int | float):
        turned = _TRAINED_TILT
    known = max(_HARMLESS_TILT, card.tilt_degrees + turned)
    return grid.tilt_degrees if grid.tilt_degrees > known else 0.0


def _plan(
    volume: Volume,
    model: Model,
    settings: SegmentSettings,
    *,
    in_memory: bool,
    upright: bool = False,
) -> Plan:
    """Choose windows and settings of the network for a volume as it lies, or brought upright."""
    card, region = model.card, settings.region or Region.whole(volume.grid.shape)
    placement = place(volume.grid, card.preprocessing, region)
    raised = None
    if upright:
        raised = upright_grid(volume.grid.cropped(region), card.preprocessing)
        placement = place(raised, card.preprocessing)
    inference = _inference(model, settings, placement.model_grid.shape)
    need = _Need(volume, model, settings, placement, in_memory, resident_memory(), region, upright)
    shape = placement.model_grid.shape
    _check_machine(volume, model, placement, need.bytes(_smaller(card.window, shape), inference))
    window, overlap = _windows(need, inference)
    if settings.memory is not None:
        window, inference = _squeezed(need, window, inference, settings)
    if count_windows(shape, window, overlap) > _MOST_WINDOWS:
        raise SettingsError(
            f"{volume.name} ({placement.canonical_grid.describe()}) on the grid of model"
            f" {card.name!r} ({placement.model_grid.describe()}) takes over {_MOST_WINDOWS}"
            " windows: check its spacing, or choose a region"
        )
    boxes = place_windows(
        shape, window, overlap, placement.slab_axis, backwards=placement.slab_reversed
    )
    return Plan(
        region,
        placement,
        window,
        overlap,
        boxes,
        inference,
        engine_of(model.network, inference),
        need.bytes(window, inference),
        free_memory(),
        volume.grid.tilt_degrees,
        raised,
    )


def check_fit(volume: Volume, model: Model, settings: SegmentSettings) -> None:
    """Raise a `SettingsError` or `VolumeError` where a model is not made for a volume.

    Raises
    ------
    FieldOfViewError
        If the model knows its structure at one place, and the volume has over twice the extent
        that it was trained on: such a model finds its structure everywhere. Settings with a region,
        or `whole`, go on.
    """
    card = model.card
    if volume.kind == "labels":
        raise VolumeError(f"{volume.name}: holds labels; segment the image they belong to")
    if volume.channels != card.in_channels:
        advice = (
            CHOOSE_ONE
            if card.in_channels == 1
            else "give a file for each, by segment([FILE, FILE], ...) or --channels FILE,FILE, or"
            " name them CASE_0000, CASE_0001, ..."
        )
        raise SettingsError(
            f"{volume.name}: has {_channels(volume.channels)}, model {card.name!r} takes"
            f" {_channels(card.in_channels)}: {advice}"
        )
    if settings.region is not None:
        Region.parse(str(settings.region), volume.grid.shape)
    check_extent(volume, card, settings)


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def check_extent(volume: Volume, card: Card, settings: SegmentSettings) -> None:
    """Raise a `FieldOfViewError` where `check_fit` does."""
    if settings.whole or settings.region is not None:
        return
    if card.field_of_view_mm is None or card.place == "anywhere":
        return
    extent = place(volume.grid, card.preprocessing).canonical_grid.extent_mm
    limits = [_FIELD_OF_VIEW_LIMIT * mm for mm in card.field_of_view_mm]
    if any(mm > limit for mm, limit in zip(extent, limits, strict=True)):
        raise FieldOfViewError(
            f"{volume.name} extends over {_times(extent)} mm, over twice what model"
            f" {card.name!r} was trained on ({_times(card.field_of_view_mm)} mm): choose a"
            " region around the structure (Region in the window; --region i0:i1,j0:j1,k0:k1), or"
            " go on with all of it (Whole volume in the window; --whole)"
        )


def fits_windows(card: Card, shape: Triple) -> bool:
    """Tell whether windows are fitted to a volume, or are the card's.

    Norms over the whole window make its extent matter. Where each token is normalised by itself,
    it matters only near the border: and a small volume takes little time however it is cut.

    Parameters
    ----------
    card : of the model
    shape : of the volume, on the model grid
    """
    window = _smaller(card.window, shape)
    computed = count_windows(shape, window, _OVERLAP) * math.prod(window)
    return card.network.norm == "layer" and computed > _FEW_VOXELS


def mirror_axes(card: Card) -> tuple[int, ...]:
    """Return the axes of the model grid that windows may be mirrored along.

    Those of its training, where the card holds its recipe: a model that never saw left and right
    swapped may tell them apart.
    """
    augmentation: Any = card.recipe.get("augmentation")
    if not isinstance(augmentation, dict) or "flip_axes" not in augmentation:
        return (0, 1, 2)
    return tuple(sorted({int(axis) for axis in augmentation["flip_axes"]} & {0, 1, 2}))


@dataclass(frozen=True)
class _Need:
    """What memory a run needs; every number is an estimate, rather too high."""

    volume: Volume
    model: Model
    settings: SegmentSettings
    placement: Placement
    in_memory: bool
    already: int  # of this process, before the run
    region: Region
    upright: bool

    def bytes(self, window: Triple, inference: InferenceSettings) -> int:
        """Return the largest size of this process."""
        return (
            self.already
            + _LIBRARIES
            + self._slab(window, inference)
            + self._network(window, inference)
            + self._outputs()
            + self._raised(inference)
        )

    def _slab(self, window: Triple, inference: InferenceSettings) -> int:
        """Return that of sums and image of a layer, and of what is read and released at a time."""
        axis, shape = self.placement.slab_axis, self.placement.model_grid.shape
        plane = math.prod(shape) // shape[axis]
        outputs = self.model.card.out_channels + inference.disagreement
        sums = 4 * outputs * plane * window[axis]
        image = 2 * 4 * self.volume.channels * plane * window[axis]
        released = 3 * 4 * min(max(_RETURNED_AT_ONCE, outputs * plane), outputs * math.prod(shape))
        source = self.placement.canonical_grid.shape
        read = _CONVERTING * min(
            max(_READ_AT_ONCE, math.prod(source) // source[axis]), math.prod(source)
        )
        resampling = 0
        if self.placement.resamples:
            step = math.ceil(source[axis] / shape[axis]) + 2
            layer = 6 * 4 * outputs * math.prod(source) // source[axis]
            resampling = max(layer * min(step, 2), min(_RESAMPLING, layer * source[axis]))
        return sums + image + released + read + resampling

    def _network(self, window: Triple, inference: InferenceSettings) -> int:
        config, size = self.model.card.network, math.prod(window)
        engine = engine_of(self.model.network, inference)
        folded = engine != "as it is" and config.norm == "layer"
        numbers = _ACTIVATIONS_FOLDED if folded else _ACTIVATIONS
        each = 4 if folded or inference.precision == "fp32" else 3
        tokens = numbers * each * size // config.patch_size**3 * config.widths[0]
        logits = 4 * _LOGITS * size * config.out_channels
        return inference.batch * (tokens + logits * (2 if inference.mirror_axes else 1))

    def _raised(self, inference: InferenceSettings) -> int:
        """Return that of a volume brought upright and its probabilities, both as a whole."""
        if not self.upright:
            return 0
        channels, outputs = self.volume.channels, self.model.card.out_channels
        source = math.prod(self.region.shape)
        model = math.prod(self.placement.model_grid.shape)
        read = 0 if isinstance(self.volume.data, np.ndarray) else self.volume.data.dtype.itemsize
        moved = 4 * channels + 4 * (outputs + inference.disagreement) + _MOVING
        return source * (read * channels + _MOVING) + model * moved

    def _outputs(self) -> int:
        if not self.in_memory:
            return 0
        card, settings = self.model.card, self.settings
        highest = max(entry.value for entry in card.labels)
        each = 2 * smallest_unsigned(highest).itemsize  # once more when they are looked through
        each += 4 * card.out_channels * settings.probabilities + 2 * settings.uncertainty
        return each * math.prod(self.volume.grid.shape)


def _windows(need: _Need, inference: InferenceSettings) -> tuple[Triple, float]:
    """Return the window and the overlap.

    Fitted windows are those that compute the fewest voxels in ample memory, and in that allowed;
    they are not smaller than the card's, which it is where no other fits.
    """
    card, settings, shape = need.model.card, need.settings, need.placement.model_grid.shape
    least, fitted = _smaller(card.window, shape), fits_windows(card, shape)
    overlap = settings.overlap
    if overlap is None:
        overlap = _LITTLE_OVERLAP if fitted else _OVERLAP
    if not fitted:
        return least, overlap
    ample = max(need.already + _AMPLE, need.bytes(least, inference))
    allowed = min(ample, settings.memory or ample)
    windows = fitted_windows(shape, least, card.multiple_of, overlap)
    return next((w for w in windows if need.bytes(w, inference) <= allowed), least), overlap


def _squeezed(
    need: _Need,
    window: Triple,
    inference: InferenceSettings,
    settings: SegmentSettings,
) -> tuple[Triple, InferenceSettings]:
    """Return a window and settings that fit into the memory allowed.

    First fewer windows at once, then windows with fewer planes along the slab axis, then half
    precision, if the user left it open and the device does not emulate it.
    """
    budget, axis = settings.memory or 0, need.placement.slab_axis
    unit, half = need.model.card.multiple_of, half_precision(inference.device)
    while (needed := need.bytes(window, inference)) > budget:
        if inference.batch > 1:
            inference = replace(inference, batch=inference.batch // 2)
        elif window[axis] > unit:
            planes = max(unit, (window[axis] - 1) // unit * unit)
            most = [planes if n == axis else size for n, size in enumerate(window)]
            window = _smaller(window, most)
        elif half is not None and inference.precision == "fp32" and settings.precision == "auto":
            inference = replace(inference, precision=half)
        else:
            raise SettingsError(
                f"memory {format_size(budget)}: {need.volume.name} with model"
                f" {need.model.card.name!r} needs {format_size(needed)} at least: allow more, or"
                " choose a region"
            )
    return window, inference


def _check_machine(volume: Volume, model: Model, placement: Placement, needed: int) -> None:
    """Refuse what cannot fit: mostly a header or a spacing that is wrong by orders of magnitude."""
    available = physical_memory()
    if available is not None and needed > available:
        raise SettingsError(
            f"{volume.name} ({placement.canonical_grid.describe()}) on the grid of model"
            f" {model.card.name!r} ({placement.model_grid.describe()}) needs"
            f" {format_size(needed)}, this machine has {format_size(available)}: check its"
            " spacing, or choose a region"
        )


def _inference(model: Model, settings: SegmentSettings, shape: Triple) -> InferenceSettings:
    device, axes = resolve_device(settings.device), mirror_axes(model.card)
    precision = resolve_precision(settings.precision, device)
    compiles = device.type == "cpu" and precision != "fp16" and isinstance(model.network, Asmlp)
    compiled = compiles and (is_compiled() if settings.compiled is None else settings.compiled)
    return InferenceSettings(
        device,
        precision,
        mirror_axes=axes if _mirrors(model.card, settings, shape) else (),
        disagreement=bool(settings.mirror and settings.uncertainty and axes),
        softmax=model.card.activation == "softmax",
        compiled=compiled,
    )


def _mirrors(card: Card, settings: SegmentSettings, shape: Triple) -> bool:
    if settings.mirror is not None:
        return settings.mirror
    return "augmentation" in card.recipe and math.prod(shape) <= _MIRRORED_UNASKED


def _smaller(one: Sequence[int], other: Sequence[int]) -> Triple:
    x, y, z = (min(pair) for pair in zip(one, other, strict=True))
    return x, y, z


def _times(values: tuple[float, ...]) -> str:
    return "x".join(f"{value:.4g}" for value in values)
