"""From what the panel says to what the pipeline is asked: pure functions, no window."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp import zoo
from napari_asmlp.edit.step import Layout
from napari_asmlp.errors import OutputError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.model import Card
from napari_asmlp.pipeline import (
    NotResumableError,
    Progress,
    Segmentation,
    SegmentSettings,
    check_extent,
    iter_segment,
    parse_size,
)
from napari_asmlp.viewer.layers import (
    check_same_grid,
    labels_on,
    source_view,
    volume_with_channels,
)
from napari_asmlp.viewer.segment.kept import held
from napari_asmlp.viewer.tasks import Job
from napari_asmlp.volume import Volume, smallest_unsigned

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_asmlp.pipeline import Partial

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
    memory
        A size such as ``2GB``; empty for no bound.
    settings
        All others; region and memory are not looked at.
    target
        The layer that the labels go into; None for a new one.
    """

    image: Image | None
    model: Path | None
    card: Card | None
    region: str = ""
    memory: str = ""
    settings: SegmentSettings = DEFAULTS
    target: Labels | None = None


@dataclass(frozen=True)
class Keep:
    """Where a run keeps what is finished, and whether it goes on with what lies there."""

    place: Path
    resume: bool = False


@dataclass(frozen=True)
class Found:
    """What a run gives beside the labels: those are in their layer by then.

    Attributes
    ----------
    volumes_mm3 : of each label that occurs, by its name
    maps : what else was asked for, each a 3D volume in memory, by the name of its layer
    """

    volumes_mm3: dict[str, float]
    maps: dict[str, Volume]


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

    def kept_bytes(self) -> int:
        """Return the size of all that a run keeps on disk until it is done."""
        labels = smallest_unsigned(_highest(self.card)).itemsize
        maps = 4 * self.card.out_channels * self.settings.probabilities
        maps += (1 + bool(self.settings.mirror)) * self.settings.uncertainty
        return (labels + maps) * math.prod(self.volume.grid.shape)

    def job(self, keep: Keep | None = None) -> Job:
        """Return the work, for a task; it returns a `Found`."""
        return Job(f"segmentation of {self.image.name}", lambda: self._steps(keep))

    def _steps(self, keep: Keep | None) -> Generator[Progress, None, Found]:
        if keep is None:
            return self._found((yield from self._segment(None)))
        with held(keep.place, resume=keep.resume) as partial:
            if partial is not None and not keep.resume:
                partial.remove()
            try:
                found = self._found((yield from self._segment(partial)))
            except NotResumableError as error:
                raise SettingsError(_why(error, self.image.name)) from error
            if partial is not None:
                with suppress(OutputError):  # the result is there; what is left is deleted later
                    partial.remove()
            return found

    def _segment(self, partial: Partial | None) -> Generator[Progress, None, Segmentation]:
        model = zoo.load_segmenter(self.model)
        # without its path: what counts is what the layer shows, not what its file holds by now
        volume = replace(self.volume, path=None, title=self.volume.name)
        return (yield from iter_segment(volume, model, self.settings, partial))

    def _found(self, result: Segmentation) -> Found:
        """Load what lies in files that are deleted next."""
        return Found(result.report["volumes_mm3"], dict(self._maps(result)))

    def _maps(self, result: Segmentation) -> Iterator[tuple[str, Volume]]:
        names = [entry.name for entry in self.card.labels]
        if len(names) < self.card.out_channels:
            names.insert(0, "background")
        for volume, channels in (
            (result.uncertainty, ["uncertainty", "disagreement"]),
            (result.probabilities, [f"probability of {name}" for name in names]),
        ):
            if volume is None:
                continue
            array = volume.array()
            array = array[..., None] if array.ndim == 3 else array
            for n in range(array.shape[3]):
                name = f"{self.image.name} {channels[n]}"
                yield name, replace(self.volume, data=array[..., n], path=None, title=name)


def resolve(wish: Wish) -> Order:
    """Turn the state of the panel into an order.

    Raises
    ------
    FieldOfViewError
        If the volume is far larger than those of the training, and no region is chosen.
    AsmlpError
        Saying what is missing or wrong, and what to do.
    """
    if wish.image is None:
        raise SettingsError("there is no image: open a volume first")
    if wish.model is None or wish.card is None:
        raise SettingsError("there is no model: choose a model file")
    volume = volume_with_channels(wish.image, wish.card.in_channels)
    settings = replace(
        wish.settings,
        region=Region.parse(wish.region, volume.grid.shape) if wish.region.strip() else None,
        memory=parse_size(wish.memory) if wish.memory.strip() else None,
    )
    check_extent(volume, wish.card, settings)
    if wish.target is not None:
        _check_target(wish.target, wish.image, wish.card)
    return Order(wish.image, volume, wish.model, wish.card, settings, wish.target)


def progress_text(progress: Progress) -> str:
    """Return a run's progress in one line: ``12 of 48 windows · 3.1 a second · 12 s left``.

    Before the first window it says what the run will take.
    """
    if progress.done == progress.first and progress.plan is not None:
        return progress.plan.describe()
    parts = [f"{progress.done} of {progress.total} windows"]
    if progress.rate:
        parts.append(f"{progress.rate:.1f} a second")
    if progress.seconds_left:  # neither before the first window nor after the last
        parts.append(f"{duration(progress.seconds_left)} left")
    return " · ".join(parts)


def _why(error: NotResumableError, image: str) -> str:
    """Return why a stopped run cannot go on, in the words of the panel."""
    if not error.what:
        return f"the stopped run of {image!r} is damaged: segment it anew"
    of_image = error.what in ("input", "voxels", "offset", "grid")
    what = f"image {image!r}" if of_image else error.what
    return f"the {what} is not what it was when the run was stopped: segment it anew"


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


def duration(seconds: float) -> str:
    """Return a time in words, such as ``12 s``."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
