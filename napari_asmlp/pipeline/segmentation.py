"""From a volume to labels on its own grid.

Read, bring to the model grid, run windows, decide, bring back: `iter_segment` is that path.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_asmlp import zoo
from napari_asmlp.devices import resolve_device, resolve_precision
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.inference import InferenceSettings, iter_slabs
from napari_asmlp.io import read_volume
from napari_asmlp.measure import measure_labels
from napari_asmlp.model import Model
from napari_asmlp.preprocess import Placement, Slab, SourceSlabs, place, to_model_grid
from napari_asmlp.provenance import describe_run, peak_memory, physical_memory
from napari_asmlp.volume import Volume, smallest_unsigned
from napari_asmlp.windows import MAX_OVERLAP, place_windows

# A field of view this many times that of the training is another task, and takes another model.
_FIELD_OF_VIEW_LIMIT = 2.0
_BYTES_PER_VOXEL = 16  # of an image while it is normalised in float64


@dataclass(frozen=True)
class SegmentSettings:
    """How a volume is segmented.

    Attributes
    ----------
    device : ``auto``, ``cpu``, ``cuda`` or ``mps``
    precision : ``auto``, ``fp32``, ``bf16`` or ``fp16``
    overlap : share of a window that its neighbour covers too, 0 to 0.9
    region : voxels of the source grid to segment; the labels are 0 outside
    probabilities : whether to keep the probability of each class
    """

    device: str = "auto"
    precision: str = "auto"
    overlap: float = 0.25
    region: Region | None = None
    probabilities: bool = False

    def __post_init__(self) -> None:
        """Refuse an overlap that windows cannot have."""
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise SettingsError(f"overlap {self.overlap:g}: give a share from 0 to {MAX_OVERLAP}")


@dataclass(frozen=True)
class Progress:
    """Where a segmentation stands.

    Attributes
    ----------
    stage : what is being done
    done, total : windows
    seconds : since the first window began
    slab : planes that are finished with this step, or None
    """

    stage: Literal["reading", "segmenting"]
    done: int
    total: int
    seconds: float
    slab: Slab | None = None

    @property
    def fraction(self) -> float:
        """Share of the windows that is done."""
        return self.done / self.total

    @property
    def rate(self) -> float | None:
        """Windows a second, None before the first."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far, None before the first window."""
        return (self.total - self.done) / self.rate if self.rate else None

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        if not self.rate:
            return self.stage
        return f"{self.done} of {self.total} windows, {self.rate:.2g} a second"


@dataclass(frozen=True)
class Segmentation:
    """What a segmentation gives.

    Attributes
    ----------
    labels : on the grid of the volume
    probabilities : (i, j, k, K) on the same grid, where they were asked for
    report : settings, model, versions, windows, seconds and memory, as plain values
    """

    labels: Volume
    probabilities: Volume | None
    report: dict[str, Any]


def segment(
    volume: Volume | str | os.PathLike[str],
    model: Model | str | os.PathLike[str] = "hippocampus",
    settings: SegmentSettings | None = None,
) -> Volume:
    """Label a volume.

    Parameters
    ----------
    volume : a volume, or the file of one
    model : a model, its name, or its file
    settings : by default those of `SegmentSettings`

    Returns
    -------
    Volume
        Labels on the volume's own grid.

    Raises
    ------
    AsmlpError
        Where volume, model and settings do not go together, or one of them is unusable.
    """
    if not isinstance(volume, Volume):
        volume = read_volume(volume)
    if not isinstance(model, Model):
        model = zoo.load(model)
    return finish(iter_segment(volume, model, settings or SegmentSettings())).labels


def finish(work: Generator[Progress, None, Segmentation]) -> Segmentation:
    """Run a segmentation to its end."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Segmentation = stop.value
            return result


def iter_segment(
    volume: Volume, model: Model, settings: SegmentSettings
) -> Generator[Progress, None, Segmentation]:
    """Label a volume window by window; see `segment`.

    Yields
    ------
    Progress
        Before the first and after each window.
    """
    check_fit(volume, model, settings)
    card, started = model.card, time.monotonic()
    inference = _inference_settings(model, settings)
    placement = place(volume.grid, card.preprocessing, settings.region)
    boxes = place_windows(
        placement.model_grid.shape,
        card.window,
        settings.overlap,
        placement.slab_axis,
        backwards=placement.slab_reversed,
    )
    yield Progress("reading", 0, len(boxes), 0.0)
    image = to_model_grid(volume, placement, card.preprocessing)
    outputs = _Outputs(volume, model, settings)
    slabs = SourceSlabs(placement, card, probabilities=settings.probabilities)
    network_started = time.monotonic()
    steps = iter_slabs(model.network, image, boxes, placement.slab_axis, inference)
    with closing(steps):
        for step in steps:
            slab = slabs.add(*step.finished) if step.finished else None
            outputs.take(slab)
            seconds = time.monotonic() - network_started
            yield Progress("segmenting", step.done, step.total, seconds, slab)
    run = {
        "windows": {"run": step.total - step.skipped, "skipped": step.skipped},
        "seconds": {
            "read": round(network_started - started, 3),
            "segment": round(time.monotonic() - network_started, 3),
        },
        "device": step.settings.device.type,
        "precision": step.settings.precision,
        "peak_memory_bytes": peak_memory(),
    }
    return outputs.finish(placement, run)


def check_fit(volume: Volume, model: Model, settings: SegmentSettings) -> None:
    """Raise a `SettingsError` or `VolumeError` where a model is not made for a volume.

    A volume of over twice the extent that the model was trained on is refused unless a region is
    given: such a model finds its organ everywhere.
    """
    card = model.card
    if volume.kind == "labels":
        raise VolumeError(f"{volume.name}: holds labels; segment the image they belong to")
    if volume.channels != card.in_channels:
        raise SettingsError(
            f"{volume.name} has {volume.channels} channels, model {card.name!r} takes"
            f" {card.in_channels}: choose one of a 4D file with --volume N"
        )
    if settings.region is not None:
        Region.parse(str(settings.region), volume.grid.shape)
    _check_memory(volume, model, settings)
    if settings.region is None and card.field_of_view_mm is not None:
        extent = extent_for(volume.grid, model)
        limits = [_FIELD_OF_VIEW_LIMIT * mm for mm in card.field_of_view_mm]
        if any(mm > limit for mm, limit in zip(extent, limits, strict=True)):
            raise SettingsError(
                f"{volume.name} extends over {_times(extent)} mm, over twice what model"
                f" {card.name!r} was trained on ({_times(card.field_of_view_mm)} mm): choose a"
                " region around the structure (Region in the window; --region i0:i1,j0:j1,k0:k1)"
            )


def _check_memory(volume: Volume, model: Model, settings: SegmentSettings) -> None:
    """Refuse what cannot fit: mostly a header or a spacing that is wrong by orders of magnitude."""
    placement = place(volume.grid, model.card.preprocessing, settings.region)
    source, target = placement.canonical_grid, placement.model_grid
    needed = math.prod(source.shape) * _BYTES_PER_VOXEL * volume.channels
    needed += math.prod(target.shape) * _BYTES_PER_VOXEL * volume.channels
    available = physical_memory()
    if available is not None and needed > available:
        raise SettingsError(
            f"{volume.name} ({source.describe()}) on the grid of model {model.card.name!r}"
            f" ({target.describe()}) needs {needed / 1e9:.3g} GB, this machine has"
            f" {available / 1e9:.3g} GB: check its spacing, or choose a region"
        )


def extent_for(grid: Grid, model: Model) -> tuple[float, float, float]:
    """Extent in mm of a source grid along the axes of the model grid."""
    return place(grid, model.card.preprocessing).canonical_grid.extent_mm


def _inference_settings(model: Model, settings: SegmentSettings) -> InferenceSettings:
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    return InferenceSettings(device, precision, multiple_of=model.card.multiple_of)


class _Outputs:
    """The arrays on the source grid that finished slabs are written to."""

    def __init__(self, volume: Volume, model: Model, settings: SegmentSettings) -> None:
        self._volume, self._model, self._settings = volume, model, settings
        card, shape = model.card, volume.grid.shape
        largest = max(entry.value for entry in card.labels)
        self._labels = np.zeros(shape, smallest_unsigned(largest))
        self._chances = None
        if settings.probabilities:
            self._chances = np.zeros((*shape, card.out_channels), np.float32)

    def take(self, slab: Slab | None) -> None:
        """Copy a slab to its place."""
        if slab is None:
            return
        self._labels[slab.region.slices] = slab.labels
        if self._chances is not None:
            self._chances[slab.region.slices] = slab.probabilities

    def finish(self, placement: Placement, run: dict[str, Any]) -> Segmentation:
        """Wrap the arrays up and write the report."""
        volume, card = self._volume, self._model.card
        names = card.label_names
        labels = volume.with_labels(self._labels, names)
        chances = None
        if self._chances is not None:
            chances = Volume(self._chances, volume.grid, path=volume.path, header=volume.header)
        measures = measure_labels(self._labels, volume.grid.affine, names)
        report = describe_run(volume, self._model, self._settings) | run
        report["model_grid"] = placement.model_grid.describe()
        report["volumes_mm3"] = {row.name: round(row.volume_mm3, 3) for row in measures}
        return Segmentation(labels, chances, report)


def _times(values: tuple[float, ...]) -> str:
    return "x".join(f"{value:.4g}" for value in values)
