"""From a volume, or the objects of a label file, to classes with calibrated probabilities."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch

from napari_asmlp import zoo
from napari_asmlp.devices import resolve_device
from napari_asmlp.errors import CHOOSE_ONE, SettingsError
from napari_asmlp.inference import enough_memory
from napari_asmlp.io import read_volume
from napari_asmlp.model import Classifier, ClassifierCard
from napari_asmlp.preprocess.classifier import ObjectInputs, volume_input
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.grid import Region

Result = TypeVar("Result")


@dataclass(frozen=True)
class ClassifySettings:
    """How volumes and objects are classified.

    Attributes
    ----------
    device : ``auto``, ``cpu``, ``cuda`` or ``mps``
    region : of the volume that is looked at, where there are no objects; None is all of it
    values : of the objects to classify; None is all of them
    batch : inputs that go through the network at a time; Cancel waits for one batch
    """

    device: str = "auto"
    region: Region | None = None
    values: tuple[int, ...] | None = None
    batch: int = 64

    def __post_init__(self) -> None:
        """Refuse a batch of nothing."""
        if self.batch < 1:
            raise SettingsError(f"batch {self.batch}: give at least 1")


@dataclass(frozen=True)
class Item:
    """What one volume, or one object, is.

    Attributes
    ----------
    input : path of the volume, or its name
    object : label value of the object; None for a volume
    class_name : the likeliest class
    probabilities : calibrated, of each class in the order of the model's outputs; they sum up to 1
    """

    input: str
    object: int | None
    class_name: str
    probabilities: dict[str, float]

    @property
    def confidence(self) -> float:
        """Probability of the likeliest class."""
        return self.probabilities[self.class_name]


@dataclass(frozen=True)
class ClassifyProgress:
    """Where a classification, or another walk over inputs, stands.

    Attributes
    ----------
    stage : what is being done
    done, total : inputs of the network
    seconds : since the first of them
    items : that became known with this step
    """

    stage: Literal["reading", "classifying", "occluding", "measuring", "learning"]
    done: int
    total: int
    seconds: float
    items: tuple[Item, ...] = ()

    @property
    def fraction(self) -> float:
        """Share that is done."""
        return self.done / self.total if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far, None before the first input."""
        return self.seconds * (self.total - self.done) / self.done if self.done else None

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        return f"{self.stage}, {self.done:,} of {self.total:,}" if self.done else self.stage


@dataclass(frozen=True)
class Objects:
    """Objects to classify.

    Attributes
    ----------
    name : of the input they are in
    values : their label values
    array_of : gives the input of the network, (C, X, Y, Z), for a value
    """

    name: str
    values: Sequence[int]
    array_of: Callable[[int], NDArray[np.float32]]


def classify(
    volume: Volume | str | os.PathLike[str],
    model: Classifier | str | os.PathLike[str] | None = None,
    settings: ClassifySettings | None = None,
    objects: Volume | str | os.PathLike[str] | None = None,
) -> list[Item]:
    """Classify a volume, or each object of a label file.

    Parameters
    ----------
    volume : a volume, or the file of one; a shape (mask) for a model that looks at shapes
    model : a classifier, its name, or its file; by default the only bundled one
    settings : by default those of `ClassifySettings`
    objects : labels on the grid of the volume; each value over 0 is an object

    Returns
    -------
    list of Item
        One, or one an object in rising order of the label values.

    Raises
    ------
    AsmlpError
        Where volume, objects and model do not go together, or one of them is unusable.
    """
    if not isinstance(volume, Volume):
        volume = read_volume(volume)
    if objects is not None and not isinstance(objects, Volume):
        objects = read_volume(objects, kind="labels")
    if model is None:
        model = zoo.default(ClassifierCard)
    loaded = zoo.load_classifier(model) if isinstance(model, str | os.PathLike) else model
    return finish(iter_classify(volume, loaded, settings or ClassifySettings(), objects))


def finish(work: Generator[object, None, Result]) -> Result:
    """Run long work to its end."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def iter_classify(
    volume: Volume, model: Classifier, settings: ClassifySettings, objects: Volume | None = None
) -> Generator[ClassifyProgress, None, list[Item]]:
    """Classify a volume or its objects, batch by batch; see `classify`.

    Yields
    ------
    ClassifyProgress
        Before the first batch and after each, with the items it brought. Closing it stops between
        two batches, and these items stay true.
    """
    name = str(volume.path or volume.name)
    check_channels(volume, model.card)
    if objects is None:
        yield ClassifyProgress("reading", 0, 1, 0.0)
        with enough_memory("the volume"):
            seen = volume_input(volume, model.card.input, model.card.network, settings.region)
            chances = probabilities_of(model, seen.array[np.newaxis], settings.device)
        return [_item(model.card, name, None, chances[0])]
    inputs = ObjectInputs(objects, volume, model.card.input, model.card.network)
    values = list(inputs.boxes) if settings.values is None else list(settings.values)
    given = Objects(name, values, lambda value: inputs.seen(value).array)
    return (yield from iter_objects(model, given, settings))


def iter_objects(
    model: Classifier, objects: Objects, settings: ClassifySettings
) -> Generator[ClassifyProgress, None, list[Item]]:
    """Classify objects batch by batch; see `iter_classify`."""
    items: list[Item] = []
    values = objects.values
    started = time.monotonic()
    yield ClassifyProgress("classifying", 0, len(values), 0.0)
    for first in range(0, len(values), settings.batch):
        batch = values[first : first + settings.batch]
        with enough_memory("a batch of objects"):
            arrays = np.stack([objects.array_of(value) for value in batch])
            chances = probabilities_of(model, arrays, settings.device)
        found = [
            _item(model.card, objects.name, value, row)
            for value, row in zip(batch, chances, strict=True)
        ]
        items += found
        passed = time.monotonic() - started
        yield ClassifyProgress("classifying", len(items), len(values), passed, tuple(found))
    return items


def probabilities_of(
    model: Classifier, arrays: NDArray[np.float32], device: str = "auto"
) -> NDArray[np.float64]:
    """Return calibrated probabilities, (B, K), of inputs (B, C, X, Y, Z)."""
    place = resolve_device(device)
    network = model.network.to(place).eval()
    with torch.inference_mode():
        logits = network(torch.from_numpy(arrays).to(place)).double().cpu()
    chances: NDArray[np.float64] = (logits / model.card.temperature).softmax(dim=1).numpy()
    return chances


def check_channels(volume: Volume, card: ClassifierCard) -> None:
    """Raise a `SettingsError` where an image has more or fewer channels than a model takes."""
    expected = card.in_channels - card.input.shape_channels
    if card.input.what != "mask" and volume.channels != expected:
        raise SettingsError(
            f"{volume.name}: has {volume.channels} channels, model {card.name!r} takes {expected}:"
            f" {CHOOSE_ONE if expected == 1 else 'put all of them into one 4D file'}"
        )


def _item(card: ClassifierCard, name: str, value: int | None, chances: Sequence[float]) -> Item:
    names = card.class_names
    probabilities = {n: float(p) for n, p in zip(names, chances, strict=True)}
    return Item(name, value, names[int(np.argmax(chances))], probabilities)
