"""Which part of a volume, or of an object, drove a classifier's answer.

A box of the input is blotted out, and what the probability of the class loses by it is written
where the box lay; boxes side by side, or overlapping, cover the input (Zeiler and Fergus,
"Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp.errors import SettingsError
from napari_asmlp.pipeline.classification import (
    ClassifyProgress,
    check_channels,
    probabilities_of,
)
from napari_asmlp.preprocess.classifier import ObjectInputs, Seen, volume_input
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.card import ClassifierCard
    from napari_asmlp.grid import Region
    from napari_asmlp.model import Classifier

    Floats = NDArray[np.float32]
    Corner = tuple[int, int, int]


@dataclass(frozen=True)
class OcclusionSettings:
    """How an answer is explained.

    Attributes
    ----------
    class_name : whose probability is looked at; None is the likeliest class
    box_mm : side of the box that is blotted out, None is that of the network's patches
    overlapping : whether boxes lie half a box apart: smoother, and eight times the work
    value : of the object to explain, where there are objects
    region : of the volume that was classified, where there are none
    device : ``auto``, ``cpu``, ``cuda`` or ``mps``
    batch : boxes at a time; Cancel waits for one batch
    """

    class_name: str | None = None
    box_mm: float | None = None
    overlapping: bool = False
    value: int | None = None
    region: Region | None = None
    device: str = "auto"
    batch: int = 32


def iter_occlusion(
    volume: Volume, model: Classifier, settings: OcclusionSettings, objects: Volume | None = None
) -> Generator[ClassifyProgress, None, Volume]:
    """Map what the probability of a class loses where the input is blotted out.

    Parameters
    ----------
    volume, model, objects : as for `classify`
    settings : `OcclusionSettings`; with objects, its `value` says which of them

    Yields
    ------
    ClassifyProgress
        Before the first batch of boxes and after each. Closing it stops between two batches.

    Returns
    -------
    Volume
        float32, on the volume's own grid, cropped to what the network saw. Positive where the image
        spoke for the class, negative where against it. What is blotted out becomes the lowest
        intensity shown, or the outside of a shape; measurements of an object stay.

    Raises
    ------
    SettingsError
        If there is no such class or object, or the box is no part of the input.
    """
    card = model.card
    seen = _seen(volume, model, settings, objects)
    (whole,) = probabilities_of(model, seen.array[np.newaxis], settings.device)
    output = _output(card, settings, whole)
    sides = _sides(seen, volume, settings, card)
    corners, blank = _corners(seen.array, sides, settings), _blank(seen.array, card)
    sums, counts = np.zeros((2, *seen.array.shape[1:]), np.float32)
    started = time.monotonic()
    yield ClassifyProgress("occluding", 0, len(corners), 0.0)
    for first in range(0, len(corners), settings.batch):
        batch = corners[first : first + settings.batch]
        drops = _drops(seen.array, blank, [_box(c, sides) for c in batch], model, settings)
        for corner, drop in zip(batch, whole[output] - drops[:, output], strict=True):
            box = _box(corner, sides)
            sums[box] += drop
            counts[box] += 1
        done = first + len(batch)
        yield ClassifyProgress("occluding", done, len(corners), time.monotonic() - started)
    return Volume(
        seen.frame.back(sums / np.maximum(counts, 1)),
        volume.grid.cropped(seen.frame.region),
        title=f"what spoke for {card.class_names[output]}",
    )


def _seen(
    volume: Volume, model: Classifier, settings: OcclusionSettings, objects: Volume | None
) -> Seen:
    card = model.card
    check_channels(volume, card)
    if objects is None:
        return volume_input(volume, card.input, card.network, settings.region)
    if settings.value is None:
        raise SettingsError(f"{objects.name}: say which of its objects: give its label value")
    return ObjectInputs(objects, volume, card.input, card.network).seen(settings.value)


def _output(card: ClassifierCard, settings: OcclusionSettings, chances: NDArray[np.float64]) -> int:
    if settings.class_name is None:
        return int(chances.argmax())
    if settings.class_name not in card.class_names:
        raise SettingsError(
            f"class {settings.class_name!r}: model {card.name!r} knows"
            f" {', '.join(card.class_names)}"
        )
    return card.class_names.index(settings.class_name)


def _sides(
    seen: Seen, volume: Volume, settings: OcclusionSettings, card: ClassifierCard
) -> tuple[int, ...]:
    """Return the voxels of the input that a box has along (X, Y, Z)."""
    size = seen.frame.size
    if settings.box_mm is None:
        return (card.network.patch_size,) * 3
    lengths = [
        step * volume.grid.spacing[axis]
        for step, axis in zip(seen.frame.steps, seen.frame.orientation.axes, strict=True)
    ]
    if not settings.box_mm > 0 or any(
        settings.box_mm > n * mm for n, mm in zip(size, lengths, strict=True)
    ):
        most = min(n * mm for n, mm in zip(size, lengths, strict=True))
        raise SettingsError(f"box of {settings.box_mm:g} mm: give a length up to {most:.3g} mm")
    return tuple(max(1, round(settings.box_mm / mm)) for mm in lengths)


def _corners(array: Floats, sides: tuple[int, ...], settings: OcclusionSettings) -> list[Corner]:
    """Return the first voxel of each box that covers the input."""
    axes = []
    for length, side in zip(array.shape[1:], sides, strict=True):
        step = max(1, side // 2) if settings.overlapping else side
        axes.append(sorted({*range(0, length - side, step), length - side}))
    return list(product(*axes))


def _box(corner: Corner, sides: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))


def _blank(array: Floats, card: ClassifierCard) -> Floats:
    """Return the input with everything blotted out, (C, X, Y, Z)."""
    blank = np.zeros_like(array)
    intensities = len(array) - card.input.shape_channels
    blank[:intensities] = array[:intensities].min(axis=(1, 2, 3), keepdims=True)
    if card.input.measurements:
        blank[-1] = array[-1]
    return blank


def _drops(
    array: Floats,
    blank: Floats,
    boxes: list[tuple[slice, ...]],
    model: Classifier,
    settings: OcclusionSettings,
) -> NDArray[np.float64]:
    """Return the probabilities, (B, K), with one box after the other blotted out."""
    blotted = np.repeat(array[np.newaxis], len(boxes), axis=0)
    for one, box in zip(blotted, boxes, strict=True):
        inside = (slice(None), *box)
        one[inside] = blank[inside]
    return probabilities_of(model, blotted, settings.device)
