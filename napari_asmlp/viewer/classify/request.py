"""From what the panel says to jobs that can run beside it: pure functions, no window."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np
from napari.layers import Image, Labels

from napari_asmlp import zoo
from napari_asmlp.card import ClassifierCard
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.model import Classifier
from napari_asmlp.pipeline.by_example import ByExample, Taught
from napari_asmlp.pipeline.classification import (
    ClassifyProgress,
    ClassifySettings,
    Item,
    iter_classify,
)
from napari_asmlp.pipeline.occlusion import OcclusionSettings, iter_occlusion
from napari_asmlp.viewer.layers import check_same_grid, volume_of, volume_with_channels
from napari_asmlp.viewer.segment.request import duration
from napari_asmlp.viewer.tasks import Job
from napari_asmlp.volume import Volume, as_labels, smallest_unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.grid import Region
    from napari_asmlp.viewer.classify.lesson import Lesson

WHOLE, REGION, OBJECTS = "the whole image", "the region", "each object"


@dataclass(frozen=True)
class Wish:
    """The state of the panel.

    Parameters
    ----------
    what
        `WHOLE`, `REGION` or `OBJECTS`.
    image
        What is looked at; None where nothing is chosen. Labels are taken for a shape.
    labels
        Whose objects are looked at.
    region
        The one that is drawn on the image.
    model, card
        None where nothing is chosen.
    """

    what: str
    image: Image | Labels | None
    labels: Labels | None
    region: Region | None
    model: Path | None
    card: ClassifierCard | None


@dataclass(frozen=True, eq=False)
class Order:
    """A classification that can begin.

    Attributes
    ----------
    title : what is classified
    labels : the layer of the objects, None where there are none
    volume, objects : as for `classify`; voxels of the layers themselves
    model : a file, or a model that is in no file yet
    """

    title: str
    labels: Labels | None
    volume: Volume
    objects: Volume | None
    model: Path | Classifier
    card: ClassifierCard
    settings: ClassifySettings

    def job(self) -> Job:
        """Return the work, for a task; it yields `ClassifyProgress` and returns the items."""
        return Job(f"classification of {self.title}", self._classify)

    def why(self, item: Item) -> Job:
        """Return the work of mapping what spoke for a class; it returns a `Volume`."""
        return Job(f"map of {self.title}", lambda: self._occlude(item))

    def _classify(self) -> Generator[ClassifyProgress, None, list[Item]]:
        yield ClassifyProgress("reading", 0, 0, 0.0)
        model, objects = self._loaded(), self._objects_now()
        return (yield from iter_classify(self.volume, model, self.settings, objects))

    def _occlude(self, item: Item) -> Generator[ClassifyProgress, None, Volume]:
        yield ClassifyProgress("reading", 0, 0, 0.0)
        settings = OcclusionSettings(
            class_name=item.class_name,
            value=item.object,
            region=self.settings.region,
            device=self.settings.device,
        )
        model, objects = self._loaded(), self._objects_now()
        return (yield from iter_occlusion(self.volume, model, settings, objects))

    def _objects_now(self) -> Volume | None:
        return None if self.objects is None else _snapshot(self.objects)

    def _loaded(self) -> Classifier:
        return zoo.load_classifier(self.model) if isinstance(self.model, Path) else self.model


@dataclass(frozen=True, eq=False)
class Pupil:
    """A layer that has been taught, ready for the next lesson as long as its voxels stay."""

    labels: NDArray[Any]
    pixels: object
    by_example: ByExample


@dataclass(frozen=True, eq=False)
class School:
    """A lesson that can begin.

    Attributes
    ----------
    image : None where only shape and size count
    pixels : the array of the image's layer
    pupil : of the lesson before
    """

    layer: Labels
    objects: Volume
    image: Volume | None
    pixels: object
    lesson: Lesson
    pupil: Pupil | None

    def job(self) -> Job:
        """Return the work, for a task; it yields `ClassifyProgress`, returns `Taught`, `Pupil`."""
        return Job(f"lesson on {self.layer.name}", self._steps)

    def order(self, model: Classifier) -> Order:
        """Return the order that a model taught here answers."""
        volume = self.objects if self.image is None else self.image
        settings = ClassifySettings()
        objects = self.objects
        return Order(self.layer.name, self.layer, volume, objects, model, model.card, settings)

    def _steps(self) -> Generator[ClassifyProgress, None, tuple[Taught, Pupil]]:
        yield ClassifyProgress("reading", 0, 0, 0.0)
        pupil = self._pupil()
        known = set(pupil.by_example.values)
        gone = [value for value in self.lesson.examples if value not in known]
        if gone:
            raise SettingsError(
                f"object {gone[0]} of labels {self.layer.name!r} is gone: take it out of the"
                " examples"
            )
        taught = yield from pupil.by_example.learn(self.lesson.examples)
        return replace(taught, model=self._coloured(taught.model)), pupil

    def _pupil(self) -> Pupil:
        before = self.pupil
        if (
            before is not None
            and before.pixels is self.pixels
            and np.array_equal(before.labels, self.objects.array())
        ):
            return before
        objects = _snapshot(self.objects)
        return Pupil(objects.array(), self.pixels, ByExample(objects, self.image))

    def _coloured(self, model: Classifier) -> Classifier:
        """Return a model with the colours that its classes have in the panel."""
        entries = {entry.name: entry for entry in self.lesson.classes}
        classes = tuple(entries[name] for name in model.card.class_names)
        return replace(model, card=replace(model.card, classes=classes))


def resolve(wish: Wish) -> Order:
    """Turn the state of the panel into an order.

    Raises
    ------
    AsmlpError
        Saying what is missing or wrong, and what to do.
    """
    card, model = wish.card, wish.model
    if model is None or card is None:
        raise SettingsError("there is no model: choose a model file, or teach one by example")
    if wish.what == OBJECTS:
        return _of_objects(wish, model, card)
    if card.input.what == "object":
        raise SettingsError(
            f"model {card.name!r} classifies objects, not {wish.what}: choose {OBJECTS!r}"
        )
    volume = _image(wish.image, card)
    if wish.what == REGION and wish.region is None:
        raise SettingsError(f"{volume.name}: there is no region: draw one, or choose {WHOLE!r}")
    region = wish.region if wish.what == REGION else None
    settings = ClassifySettings(region=region)
    return Order(volume.name, None, volume, None, model, card, settings)


def resolve_lesson(
    labels: Labels | None, image: Image | None, lesson: Lesson, pupil: Pupil | None = None
) -> School:
    """Turn a lesson into work; raises an `AsmlpError` as `resolve` does.

    Parameters
    ----------
    image
        None where only shape and size count.
    pupil
        Of the lesson before, on any layer.
    """
    objects, layer = _objects(labels, image)
    if image is None:
        return School(layer, objects, None, None, lesson, pupil)
    return School(layer, objects, _named(volume_of(image), image), image.data, lesson, pupil)


def splitting(labels: Labels) -> Job:
    """Return the work of giving each connected object (26 neighbours) a value of its own.

    It returns an array (i, j, k) of unsigned numbers, whose values rise from 1.

    Raises
    ------
    AsmlpError
        If there are no labels, or they are no volume.
    """
    objects, layer = _objects(labels, None)

    def steps() -> Generator[ClassifyProgress, None, NDArray[Any]]:
        yield ClassifyProgress("reading", 0, 0, 0.0)
        found, count = cc3d.connected_components(_snapshot(objects).array(), return_N=True)
        if not count:
            raise VolumeError(f"labels {layer.name!r} hold no object: every voxel is 0")
        return np.asarray(found, smallest_unsigned(int(count)))

    return Job(f"objects of {layer.name}", steps)


def progress_text(progress: ClassifyProgress) -> str:
    """Return where work stands, in one line: ``classifying, 64 of 1,000 · 12 s left``."""
    text = progress.describe()
    left = progress.seconds_left
    return f"{text} · {duration(left)} left" if left else text


def taught_text(taught: Taught) -> str:
    """Return how well examples were told apart by networks that had not seen them."""
    if not taught.judged:
        return "Give each class a second example to see how well they are told apart"
    return (
        f"{taught.right} of {taught.judged} examples right when judged by networks that had not"
        " seen them"
    )


def _of_objects(wish: Wish, model: Path, card: ClassifierCard) -> Order:
    looks_at_image = card.input.what != "mask"
    if looks_at_image and not isinstance(wish.image, Image):
        raise SettingsError(f"model {card.name!r} looks at intensities: choose an image")
    image = wish.image if looks_at_image and isinstance(wish.image, Image) else None
    objects, layer = _objects(wish.labels, image)
    volume = objects if image is None else _image(image, card)
    return Order(layer.name, layer, volume, objects, model, card, ClassifySettings())


def _objects(labels: Labels | None, image: Image | None) -> tuple[Volume, Labels]:
    if labels is None:
        raise SettingsError("there are no labels: open, paint or segment some first")
    objects = _named(volume_of(labels), labels)
    if image is not None:
        check_same_grid(labels, image)
    return objects, labels


def _image(layer: Image | Labels | None, card: ClassifierCard) -> Volume:
    if layer is None:
        raise SettingsError("there is no image: open a volume first")
    if isinstance(layer, Labels):
        return _named(volume_of(layer), layer)
    channels = card.in_channels - card.input.shape_channels
    return _named(volume_with_channels(layer, channels), layer)


def _named(volume: Volume, layer: Image | Labels) -> Volume:
    """Return a volume under its layer's name: what counts is what that shows, not its file."""
    return replace(volume, path=None, title=layer.name)


def _snapshot(objects: Volume) -> Volume:
    """Return objects as they are now, which edits cannot change any more."""
    array = objects.array()
    labels = as_labels(array, objects.name)
    return replace(objects, data=labels.copy() if np.may_share_memory(labels, array) else labels)
