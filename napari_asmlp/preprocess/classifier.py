"""What a classifier sees: a volume, a region of it or one of its objects, at the network's size.

The rule, by what a model's card says of its input (`napari_asmlp.card.ClassifierInput`):

1. The box looked at is the region or the whole volume; for a shape, the smallest box around it; for
   an object, the smallest box around its voxels.
2. The network's input lies over the middle of the box, upright along the card's axes. Its voxels
   are as long as the card says in mm; or else the box, with a margin, is scaled in its proportions
   in mm until it fits in (`framing`).
3. Intensities are clipped and standardised: those of a volume by what the input shows, those of an
   object by the voxels of all objects of its volume, so that bright objects stay brighter than dark
   ones. Fill values are left out (`fills`). NaN and infinities are the lowest ordinary value, as is
   all beyond the volume. A shape is 1 inside and 0 outside, a voxel cut by its border lies between.
4. Channels are the intensities, then the shape, then how thick it is (where the card says so), then
   measurements of the shape (where it names some), repeated in each patch.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from edt import edt

from napari_asmlp.card import Measurement, Preprocessing
from napari_asmlp.errors import CHOOSE_ONE, GridError, SettingsError, VolumeError
from napari_asmlp.grid import Region
from napari_asmlp.preprocess.fills import cleaner_of
from napari_asmlp.preprocess.framing import Frame, make_frame
from napari_asmlp.preprocess.intensities import normalise, nothing_finite
from napari_asmlp.preprocess.objects import (
    INTENSITY_MEASUREMENTS,
    SHAPE_MEASUREMENTS,
    THICKNESS_MEASUREMENTS,
    grown,
    intensity_measurements,
    measure_shape,
    object_boxes,
    shape_measurements,
    standardised,
)

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from napari_asmlp.card import ClassifierInput
    from napari_asmlp.grid import Grid, Triple
    from napari_asmlp.networks.mixer import MixerConfig
    from napari_asmlp.volume import Volume

    Floats = NDArray[np.float32]

_FARTHEST = 5.0  # deviations that an intensity without percentiles may be off


@dataclass(frozen=True)
class Seen:
    """What the network sees, and where that lies.

    Attributes
    ----------
    array : (C, X, Y, Z)
    frame : over the volume; `Frame.back` brings values of the input's voxels to its own
    """

    array: Floats
    frame: Frame


def volume_input(
    volume: Volume, recipe: ClassifierInput, network: MixerConfig, region: Region | None = None
) -> Seen:
    """Bring a volume, or a region of it, to the input of a network.

    Parameters
    ----------
    volume : an image; for a recipe of shapes a shape, in one value beside 0
    recipe : from the model's card
    network : of the card, for the size of the input and its patches
    region : of the volume; None is all of it

    Raises
    ------
    SettingsError
        If the recipe is of objects, or of a shape and the volume is none.
    VolumeError
        If there is nothing to see: a constant or empty volume, or one without a finite value.
    """
    if recipe.what == "object":
        raise SettingsError(
            f"{volume.name}: this model classifies objects: give their labels (--objects)"
        )
    box = region or Region.whole(volume.grid.shape)
    array = np.asarray(volume.data[box.slices])
    grid = volume.grid.cropped(box)
    if recipe.what == "mask":
        mask = _shape_of(array, volume.name)
        frame, shown = _shape(mask, grid, recipe, network.input_size)
        if recipe.measurements:
            (found,) = object_boxes(mask.view(np.uint8)).values()
            found = grown(found, 1, mask.shape)
            measured = measure_shape(mask[found.slices], grid.spacing)
            values = standardised(measured, recipe.measurements, volume.name)
            shown = np.concatenate([shown, in_patches(values, network)])
    else:
        frame = _frame(grid, Region.whole(box.shape), recipe, network.input_size)
        channels = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[np.newaxis]
        shown = np.stack([_intensities(c, frame, recipe, volume.name) for c in channels])
    return Seen(shown, replace(frame, region=_moved(frame.region, box.start)))


class ObjectInputs:
    """The objects of a labels volume, each brought to the input of a network when asked for.

    Parameters
    ----------
    labels : each value over 0 is an object
    image : on the same grid; needed by recipes that look at intensities
    recipe : from the model's card
    network : of the card, for the size of the input and its patches

    Attributes
    ----------
    boxes : dict of label value to Region
        The smallest box around each object, in rising order of the values.

    Raises
    ------
    GridError
        If image and labels lie on different grids.
    SettingsError
        If the recipe asks for an image and there is none.
    VolumeError
        If there is no object, or no finite intensity.
    """

    def __init__(
        self, labels: Volume, image: Volume | None, recipe: ClassifierInput, network: MixerConfig
    ) -> None:
        _check_pair(labels, image)
        self._labels, self._name, self._grid = labels.array(), labels.name, labels.grid
        self._recipe, self._network = recipe, network
        self.boxes = object_boxes(self._labels)
        if not self.boxes:
            raise VolumeError(f"{labels.name}: holds no object: every voxel is 0")
        self._channels: list[_Channel] = []
        if recipe.what != "mask":
            if image is None:
                raise SettingsError(
                    f"{labels.name}: this model looks at intensities: give the image"
                )
            array = image.array()
            parts = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[np.newaxis]
            foreground = self._labels > 0
            self._channels = [_channel(part, foreground, recipe, image.name) for part in parts]

    def seen(self, value: int) -> Seen:
        """Return what the network sees of an object; raises `SettingsError` if there is none."""
        box, size = self._box(value), self._network.input_size
        if self._recipe.what == "mask":
            around = grown(box, 1, self._grid.shape)
            mask = self._labels[around.slices] == value
            frame, shown = _shape(mask, self._grid.cropped(around), self._recipe, size)
            frame = replace(frame, region=_moved(frame.region, around.start))
        else:
            frame = _frame(self._grid, box, self._recipe, size)
            shown = self._around(frame, value)
        if not self._recipe.measurements:
            return Seen(shown, frame)
        repeated = in_patches(self._standardised(value), self._network)
        return Seen(np.concatenate([shown, repeated]), frame)

    def seeing(self, measurements: tuple[Measurement, ...]) -> ObjectInputs:
        """Return the same objects for a network that sees measurements of them too."""
        other = copy(self)
        other._recipe = replace(self._recipe, measurements=measurements)
        return other

    @property
    def measurement_names(self) -> tuple[str, ...]:
        """What `measured` gives, in its order."""
        channels = len(self._channels)
        marks = [""] if channels == 1 else [f" {n + 1}" for n in range(channels)]
        return SHAPE_MEASUREMENTS + tuple(
            f"{name}{mark}" for mark in marks for name in INTENSITY_MEASUREMENTS
        )

    def measured(self, value: int) -> Floats:
        """Return the measurements of an object, (M,)."""
        box = grown(self._box(value), 1, self._grid.shape)
        mask = self._labels[box.slices] == value
        found = shape_measurements(mask, self._grid.spacing)
        for channel in self._channels:
            found += intensity_measurements(channel.part(box), mask)
        return np.array(found, np.float32)

    def _standardised(self, value: int) -> Floats:
        """Return the measurements that the recipe asks for, in deviations from their means."""
        wanted = self._recipe.measurements
        found = dict(zip(self.measurement_names, self.measured(value), strict=True))
        if any(m.name in THICKNESS_MEASUREMENTS for m in wanted):
            box = grown(self._box(value), 1, self._grid.shape)
            found |= measure_shape(self._labels[box.slices] == value, self._grid.spacing)
        return standardised(found, wanted, self._name)

    def _box(self, value: int) -> Region:
        if value not in self.boxes:
            raise SettingsError(f"{self._name}: holds no object of the value {value}")
        return self.boxes[value]

    def _around(self, frame: Frame, value: int) -> Floats:
        """Return intensities and shape within a frame, (C, X, Y, Z)."""
        mask = self._labels[frame.region.slices] == value
        shown = [frame.forth(c.part(frame.region), c.lowest) for c in self._channels]
        if self._recipe.what == "object":
            shown.append(frame.forth(mask))
        if self._recipe.thickness:
            shown.append(frame.forth(_thickness(mask, frame)))
        return np.stack(shown)


def in_patches(values: Floats, network: MixerConfig) -> Floats:
    """Repeat some values in each patch of a channel, (1, X, Y, Z); its other voxels are 0.

    The embedding of patches is linear, so that it adds the same function of the values to each
    token.
    """
    patch = np.zeros(network.patch_size**3, np.float32)
    patch[: len(values)] = values
    return np.tile(patch.reshape([network.patch_size] * 3), network.token_grid)[np.newaxis]


def _check_pair(labels: Volume, image: Volume | None) -> None:
    if image is not None and not image.grid.same_as(labels.grid):
        raise GridError(
            f"{labels.name} and {image.name} lie on different grids:"
            f" {labels.grid.difference(image.grid)}"
        )


def _frame(grid: Grid, box: Region, recipe: ClassifierInput, size: Triple) -> Frame:
    return make_frame(
        grid,
        box,
        size,
        spacing=recipe.spacing,
        axis_codes=recipe.axis_codes,
        margin=recipe.margin,
    )


def _moved(region: Region, by: Triple) -> Region:
    (a, b, c), (d, e, f), (i, j, k) = region.start, region.stop, by
    return Region((a + i, b + j, c + k), (d + i, e + j, f + k))


def _intensities(channel: NDArray[Any], frame: Frame, recipe: ClassifierInput, name: str) -> Floats:
    """Return a channel of a volume within a frame, standardised by what is shown."""
    cleaner = cleaner_of(channel, recipe.clip, name=name)
    part, beyond = cleaner.clean(channel[frame.region.slices])
    left_out = None if beyond is None else frame.forth(beyond) >= 0.5
    steps = Preprocessing(clip=recipe.clip, normalisation=recipe.normalisation)
    return normalise(frame.forth(part, cleaner.lowest), steps, name, left_out)


def _shape_of(array: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Return where a volume is not 0 (nor NaN); raises unless it has one value beside 0."""
    mask: NDArray[np.bool_] = (array != 0) & (array == array)
    if array.ndim == 4:
        raise SettingsError(f"{name}: holds {array.shape[3]} volumes: {CHOOSE_ONE}")
    inside = array[mask]
    if not inside.size:
        raise VolumeError(f"{name}: is empty: no voxel of it is set")
    if inside.min() != inside.max():
        raise SettingsError(
            f"{name}: this model looks at a shape, but there are several values beside 0"
            f" ({inside.min():g} to {inside.max():g}): give a mask, or classify each object of it"
        )
    return mask


def _shape(
    mask: NDArray[np.bool_], grid: Grid, recipe: ClassifierInput, size: Triple
) -> tuple[Frame, Floats]:
    """Return the frame around a shape, and the shape in it, (1 or 2, X, Y, Z)."""
    (box,) = object_boxes(mask.view(np.uint8)).values()
    frame = _frame(grid, box, recipe, size)
    shown = [frame.forth(mask[frame.region.slices])]
    if recipe.thickness:
        shown.append(frame.forth(_thickness(mask, frame)[frame.region.slices]))
    return frame, np.stack(shown)


def _thickness(mask: NDArray[np.bool_], frame: Frame) -> Floats:
    """Return how far each voxel of a shape lies from the outside, in voxels of the input."""
    lengths = [0.0, 0.0, 0.0]
    for axis, step in zip(frame.orientation.axes, frame.steps, strict=True):
        lengths[axis] = 1 / step
    far: Floats = edt(mask, anisotropy=tuple(lengths))
    return np.where(np.isfinite(far), far, 0)  # infinite where all is inside


@dataclass(frozen=True)
class _Channel:
    """A channel of an image, and how it is standardised."""

    array: NDArray[Any]
    low: float
    high: float
    mean: float
    deviation: float

    @property
    def lowest(self) -> float:
        """What is darkest, standardised."""
        return (self.low - self.mean) / self.deviation

    def part(self, region: Region) -> Floats:
        """Return the intensities of a region, standardised and finite."""
        part = self.array[region.slices].astype(np.float64)
        part[~np.isfinite(part)] = self.low
        scaled = (part.clip(self.low, self.high) - self.mean) / self.deviation
        return scaled.astype(np.float32)


def _channel(
    array: NDArray[Any], foreground: NDArray[np.bool_], recipe: ClassifierInput, name: str
) -> _Channel:
    """Standardise by the voxels of all objects; a recipe without percentiles cuts at the ends."""
    inside = array[foreground].astype(np.float64)
    cleaner = cleaner_of(array, recipe.clip, name=name)
    inside = inside[np.isfinite(inside) & (inside >= cleaner.low) & (inside <= cleaner.high)]
    if not inside.size:
        raise nothing_finite(name)
    low, high = np.percentile(inside, recipe.clip or (0, 100)).tolist()
    inside = inside.clip(low, high)
    if recipe.normalisation == "none":
        return _Channel(array, low, high, 0.0, 1.0)
    mean, deviation = float(inside.mean()), float(inside.std()) or 1.0
    if recipe.clip is None:  # what lies around the objects may be darker and brighter than these
        low = max(cleaner.lowest, mean - _FARTHEST * deviation)
        high = mean + _FARTHEST * deviation
    return _Channel(array, low, high, mean, deviation)
