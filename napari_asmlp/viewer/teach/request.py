"""From what the panel says to what the teacher is asked: pure functions, no window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.teaching.annotations import Annotation, read_annotation
from napari_asmlp.teaching.loop import TeachSettings
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.history.edits import edits_of, is_editable
from napari_asmlp.viewer.layers import check_same_grid, source_view, volume_of
from napari_asmlp.viewer.segment.request import duration
from napari_asmlp.viewer.teach.classes import background_of
from napari_asmlp.viewer.teach.tally import Painted, Tally, merged, missing
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_asmlp.teaching.loop import TeachProgress

DEFAULTS = TeachSettings()


@dataclass(frozen=True, eq=False)
class Source:
    """A volume of the wish.

    Attributes
    ----------
    key : what the teacher calls it
    channels : image layers that are looked at together; the first gives its name
    annotations, taught : None where there are none
    """

    key: str
    channels: tuple[Image, ...]
    annotations: Labels | None
    taught: Labels | None = None


@dataclass(frozen=True)
class Wish:
    """The state of the panel.

    Attributes
    ----------
    shown : the volume that is looked at, None where no image is chosen
    others : volumes that are learnt from beside it
    seconds : of a round
    """

    shown: Source | None
    others: tuple[Source, ...] = ()
    seconds: float = DEFAULTS.seconds


@dataclass(frozen=True, eq=False)
class Subject:
    """A volume that can be taught.

    Attributes
    ----------
    volume : of the image's channels
    pixels : the arrays that it looks at: as long as they are the same, so is the volume
    annotations, taught : layers on its grid
    """

    key: str
    volume: Volume
    pixels: tuple[Any, ...]
    annotations: Labels
    taught: Labels | None

    def painted(self) -> Painted:
        """Return what is annotated and corrected by now; reads the layers, in any thread."""
        return painted_in(self.annotations, self.taught)

    def annotation(self, painted: Painted, found: Tally) -> Annotation:
        """Return it as the teacher takes it.

        Raises
        ------
        AsmlpError
            If nothing can be learnt from it.
        """
        reason = missing(found, class_names(self.annotations))
        if reason:
            raise VolumeError(f"{self.volume.name}: {reason}")
        labels = Volume(painted.array, self.volume.grid, "labels", title=self.annotations.name)
        return read_annotation(self.volume, labels, 0, painted.background)


@dataclass(frozen=True, eq=False)
class Order:
    """A round that can begin.

    Attributes
    ----------
    shown : key of the volume that is labelled
    subjects : all that are learnt from, that one among them
    """

    shown: str
    subjects: tuple[Subject, ...]
    seconds: float

    @property
    def channels(self) -> int:
        """Of each volume."""
        return self.subjects[0].volume.channels

    @property
    def title(self) -> str:
        """Name of the volume that is labelled."""
        return next(each.volume.name for each in self.subjects if each.key == self.shown)


class Channels:
    """Arrays (i, j, k) as the channels of one; put together only when they are read."""

    def __init__(self, arrays: tuple[Any, ...]) -> None:
        self._arrays = arrays
        self.shape = (*arrays[0].shape, len(arrays))
        self.dtype = np.result_type(*arrays)

    def __getitem__(self, key: Any, /) -> Any:
        """Return a part."""
        return self.__array__()[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of it, channels last."""
        return np.stack(self._arrays, axis=-1).astype(dtype or self.dtype, copy=False)


def resolve(wish: Wish) -> Order:
    """Turn the state of the panel into an order.

    Raises
    ------
    AsmlpError
        Saying what is missing or wrong, and what to do.
    """
    if wish.shown is None:
        raise SettingsError("there is no image: open a volume first")
    subjects = tuple(_subject(source) for source in (wish.shown, *wish.others))
    first = subjects[0].volume
    for subject in subjects[1:]:
        if subject.volume.channels != first.channels:
            raise SettingsError(
                f"{subject.volume.name} has {subject.volume.channels} channels, {first.name}"
                f" {first.channels}: tick as many of each, or take one out of the list"
            )
    return Order(wish.shown.key, subjects, wish.seconds)


def volume_with(channels: tuple[Image, ...]) -> Volume:
    """Return the volume whose channels are image layers of one grid; no voxels are copied.

    Raises
    ------
    SettingsError
        If a layer is no volume.
    GridError
        If they lie on different grids.
    """
    volumes = [volume_of(layer) for layer in channels]
    # without its path: what counts is what the layer shows, not what its file holds by now
    first = replace(volumes[0], path=None, title=channels[0].name)
    if len(volumes) == 1:
        return first
    for layer, volume in zip(channels, volumes, strict=True):
        if not volume.grid.same_as(first.grid):
            raise GridError(
                f"channel {layer.name!r} does not lie on the grid of {first.title!r}"
                f" ({volume.grid.difference(first.grid)}): untick it, or resample it"
            )
    return replace(first, data=Channels(tuple(volume.data for volume in volumes)))


def painted_in(annotations: Labels, taught: Labels | None) -> Painted:
    """Return what is annotated in a layer, and corrected in taught labels of the same grid."""
    array, background = source_view(annotations), background_of(annotations)
    if taught is None:
        return merged(array, background)
    return merged(array, background, source_view(taught), edits_of(taught).corrected())


def progress_text(progress: TeachProgress) -> str:
    """Return where a round stands, in one line: ``second look · 12 s left``."""
    text = progress.describe().capitalize()
    return f"{text} · {duration(progress.seconds_left)} left" if progress.seconds_left else text


def _subject(source: Source) -> Subject:
    if source.annotations is None:
        raise SettingsError(
            f"image {source.channels[0].name!r} has no annotations: press New, and paint"
        )
    volume = volume_with(source.channels)
    check_same_grid(source.annotations, source.channels[0])
    if not is_editable(source.annotations):
        raise SettingsError(
            f"annotations {source.annotations.name!r} are not in memory: save them, and open the"
            " file you saved"
        )
    pixels = tuple(layer.data for layer in source.channels)
    return Subject(source.key, volume, pixels, source.annotations, source.taught)
