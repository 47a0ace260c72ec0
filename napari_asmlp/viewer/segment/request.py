"""From what the panel says to what the pipeline is asked: pure functions, no window."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp import zoo
from napari_asmlp.edit.history import Layout
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.model import Card
from napari_asmlp.pipeline import Progress, Segmentation, SegmentSettings, iter_segment
from napari_asmlp.viewer.layers import (
    check_same_grid,
    labels_on,
    source_view,
    volume_with_channels,
)
from napari_asmlp.viewer.tasks import Job
from napari_asmlp.volume import Volume, smallest_unsigned

if TYPE_CHECKING:
    from napari.layers import Image, Labels

DEFAULTS = SegmentSettings()


@dataclass(frozen=True)
class Wish:
    """The state of the panel.

    Parameters
    ----------
    image, model, card
        None where nothing is chosen.
    region
        ``i0:i1,j0:j1,k0:k1`` in voxels of the file; empty for the whole volume.
    target
        The layer that the labels go into; None for a new one.
    """

    image: Image | None
    model: Path | None
    card: Card | None
    region: str = ""
    device: str = DEFAULTS.device
    overlap: float = DEFAULTS.overlap
    target: Labels | None = None


@dataclass(frozen=True)
class Order:
    """A segmentation that can begin."""

    image: Image
    volume: Volume
    model: Path
    card: Card
    settings: SegmentSettings
    target: Labels | None

    def empty_labels(self) -> Labels:
        """Return the layer that slabs are written into, on the image's grid, not yet shown."""
        grid, card = self.volume.grid, self.card
        if self.target is None:
            empty = np.zeros(grid.shape, smallest_unsigned(_highest(card)))
            name = f"{self.image.name} {card.name}"
        else:  # in the same order in memory: the two are copied and compared
            empty = Layout.of(source_view(self.target)).zeros()
            name = f"{self.target.name} (preview)"
        return labels_on(self.image, empty, card.labels, name)

    def job(self) -> Job:
        """Return the work, for a task."""
        return Job(f"segmentation of {self.image.name}", self._steps)

    def _steps(self) -> Generator[Progress, None, Segmentation]:
        model = zoo.load(self.model)
        return (yield from iter_segment(self.volume, model, self.settings))


def resolve(wish: Wish) -> Order:
    """Turn the state of the panel into an order.

    Raises
    ------
    AsmlpError
        Saying what is missing or wrong, and what to do.
    """
    if wish.image is None:
        raise SettingsError("there is no image: open a volume first")
    if wish.model is None or wish.card is None:
        raise SettingsError("there is no model: choose a model file")
    volume = volume_with_channels(wish.image, wish.card.in_channels)
    region = Region.parse(wish.region, volume.grid.shape) if wish.region.strip() else None
    settings = SegmentSettings(device=wish.device, overlap=wish.overlap, region=region)
    if wish.target is not None:
        _check_target(wish.target, wish.image, wish.card)
    return Order(wish.image, volume, wish.model, wish.card, settings, wish.target)


def progress_text(progress: Progress) -> str:
    """Return a run's progress in one line: ``12 of 48 windows · 3.1 a second · 12 s left``."""
    parts = [f"{progress.done} of {progress.total} windows"]
    if progress.rate:
        parts.append(f"{progress.rate:.1f} a second")
    if progress.seconds_left:  # neither before the first window nor after the last
        parts.append(f"{_duration(progress.seconds_left)} left")
    return " · ".join(parts)


def _check_target(target: Labels, image: Image, card: Card) -> None:
    check_same_grid(target, image)
    _check_writable(target)
    highest = _highest(card)
    if target.data.dtype.kind not in "iu" or np.iinfo(target.data.dtype).max < highest:
        raise SettingsError(
            f"labels {target.name!r} hold {target.data.dtype}, too small for label {highest} of"
            f" model {card.name!r}: choose a new layer"
        )


def _check_writable(target: Labels) -> None:
    """Refuse labels that a result cannot be brought into, or would be lost in at export.

    Raises
    ------
    SettingsError
        Naming the layer, and what is wrong with it.
    """
    data = target.data
    if not isinstance(data, np.ndarray):
        wrong = f"are not in memory ({type(data).__name__})"
    elif not data.flags.writeable:
        wrong = "are read-only"
    elif data.dtype.kind == "i" and data.min() < 0:
        wrong = f"hold the negative value {data.min()}, which no file of labels can hold"
    else:
        return
    raise SettingsError(f"labels {target.name!r} {wrong}: choose a new layer")


def _highest(card: Card) -> int:
    return max((entry.value for entry in card.labels), default=1)


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
