"""Teach classes of objects by example: a few of a layer are named, all others follow.

>>> lesson = ByExample(labels, image)                               # doctest: +SKIP
>>> taught = finish(lesson.learn({3: "round", 8: "long", 9: "round", 12: "long"}))
>>> taught.items[0].class_name, taught.items[0].confidence          # of each object
>>> save_model(taught.model, "cells.safetensors")
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp.card import ClassEntry, ClassifierInput, Measurement
from napari_asmlp.errors import SettingsError
from napari_asmlp.model import Classifier, ClassifierCard, Model
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.pipeline.classification import (
    ClassifyProgress,
    ClassifySettings,
    Item,
    Objects,
    iter_objects,
)
from napari_asmlp.preprocess.classifier import ObjectInputs
from napari_asmlp.provenance import now, versions
from napari_asmlp.training.by_example import Examples, FitSettings, Fitted, iter_fit
from napari_asmlp.zoo import PALETTE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.volume import Volume

_SAMPLE = 1000  # objects whose measurements say what is usual
_KEPT = 1 << 29  # bytes of inputs that are kept for the next lesson
_AT_ONCE = 64


@dataclass(frozen=True)
class ByExampleSettings:
    """How objects are looked at, and learnt.

    Attributes
    ----------
    size, patch : voxels of a side of the network's input, and of a patch
    width, depth : channels of a token, and blocks
    margin : around an object, as a share of its longest side
    fit : how the network learns
    device : that all objects are classified on; it learns on the CPU
    """

    size: int = 16
    patch: int = 4
    width: int = 64
    depth: int = 2
    margin: float = 0.1
    fit: FitSettings = field(default_factory=FitSettings)
    device: str = "auto"


@dataclass(frozen=True)
class Taught:
    """What a lesson gives.

    Attributes
    ----------
    items : class and probabilities of every object, in rising order of the label values
    model : ready to be saved, and to classify objects of other label files
    right, judged : how many examples were right when judged by a network that had not seen them, of
        how many; ``judged`` is 0 where a class has a single example
    """

    items: list[Item]
    model: Classifier
    right: int
    judged: int


class ByExample:
    """A label layer, ready to be taught, again and again.

    Parameters
    ----------
    labels : each value over 0 is an object
    image : on the same grid; without one, only shape and size count
    settings : by default those of `ByExampleSettings`

    Raises
    ------
    GridError
        If the grids differ.
    VolumeError
        If there is no object.
    """

    def __init__(
        self,
        labels: Volume,
        image: Volume | None = None,
        settings: ByExampleSettings | None = None,
    ) -> None:
        self._settings = settings or ByExampleSettings()
        self._recipe = ClassifierInput(
            what="mask" if image is None else "object", clip=None, margin=self._settings.margin
        )
        self._intensities = 0 if image is None else image.channels
        self._inputs = ObjectInputs(labels, image, self._recipe, self._config(2))
        self._measurements: tuple[Measurement, ...] = ()
        self._kept: dict[int, NDArray[np.float16]] = {}
        self._labels_name = labels.name
        source = labels if image is None else image
        self._name = str(source.path or source.name)

    @property
    def values(self) -> list[int]:
        """Label values of all objects, rising."""
        return list(self._inputs.boxes)

    def learn(self, examples: Mapping[int, str]) -> Generator[ClassifyProgress, None, Taught]:
        """Learn from examples, and classify all objects.

        Parameters
        ----------
        examples : class name by label value; two classes at least, with one example each at least

        Yields
        ------
        ClassifyProgress
            While measuring (the first time), after each step of learning, and after each batch of
            objects, with what they are. Closing it stops there; what was taught before is kept.

        Raises
        ------
        SettingsError
            If there is one class only, a name is empty, or a value is no object.
        """
        names = self._checked(examples)
        if not self._measurements:
            yield from self._survey()
        fitted = yield from self._fit(examples, names)
        card = self._card(examples, names, fitted)
        model = Model(card, fitted.network)
        objects = Objects(self._name, self.values, self._array)
        items = yield from iter_objects(
            model, objects, ClassifySettings(device=self._settings.device, batch=_AT_ONCE)
        )
        return Taught(items, model, fitted.right, fitted.judged)

    def _checked(self, examples: Mapping[int, str]) -> list[str]:
        """Return the class names in the order of their first example."""
        if unknown := [value for value in examples if value not in self._inputs.boxes]:
            raise SettingsError(
                f"{self._labels_name}: holds no object of the value {unknown[0]}:"
                " choose examples that are there"
            )
        names = list(dict.fromkeys(examples.values()))
        if any(not name.strip() for name in names):
            raise SettingsError("a class without a name: name the class of each example")
        if len(names) < 2:
            known = f"all {len(examples)} are {names[0]!r}" if names else "there is none"
            raise SettingsError(f"examples of two classes at least are needed, and {known}")
        return names

    def _survey(self) -> Generator[ClassifyProgress, None, None]:
        """Learn from objects spread over the layer what is usual."""
        values = self.values[:: max(1, len(self.values) // _SAMPLE)]
        rows, started = [], time.monotonic()
        for first in range(0, len(values), _AT_ONCE):
            yield ClassifyProgress("measuring", first, len(values), time.monotonic() - started)
            rows += [self._inputs.measured(v) for v in values[first : first + _AT_ONCE]]
        table = np.array(rows, np.float64)
        self._measurements = tuple(
            Measurement(name, float(mean), float(deviation) or 1.0)
            for name, mean, deviation in zip(
                self._inputs.measurement_names, table.mean(axis=0), table.std(axis=0), strict=True
            )
        )
        self._inputs = self._inputs.seeing(self._measurements)

    def _fit(
        self, examples: Mapping[int, str], names: list[str]
    ) -> Generator[ClassifyProgress, None, Fitted]:
        arrays = np.stack([self._array(value) for value in examples])
        targets = np.array([names.index(name) for name in examples.values()])
        given = Examples(arrays, targets, self._intensities, turned=arrays.shape[1] - 1)
        started = time.monotonic()
        steps = iter_fit(self._config(len(names)), given, self._settings.fit)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as stop:
                fitted: Fitted = stop.value
                return fitted
            yield ClassifyProgress("learning", done, total, time.monotonic() - started)

    def _array(self, value: int) -> NDArray[np.float32]:
        """Return the input of an object, kept in half precision as long as there is room."""
        kept = self._kept.get(value)
        if kept is None:
            kept = self._inputs.seen(value).array.astype(np.float16)
            if (len(self._kept) + 1) * kept.nbytes <= _KEPT:
                self._kept[value] = kept
        return kept.astype(np.float32)

    def _config(self, classes: int) -> MixerConfig:
        chosen = self._settings
        return MixerConfig(
            input_size=(chosen.size, chosen.size, chosen.size),
            patch_size=chosen.patch,
            in_channels=self._intensities + 2,
            out_channels=classes,
            width=chosen.width,
            depth=chosen.depth,
            token_width=chosen.width,
            channel_width=2 * chosen.width,
        )

    def _card(
        self, examples: Mapping[int, str], names: list[str], fitted: Fitted
    ) -> ClassifierCard:
        counts = Counter(examples.values())
        classes = [ClassEntry(name, PALETTE[n % len(PALETTE)]) for n, name in enumerate(names)]
        return ClassifierCard(
            name="taught by example",
            summary=f"Objects of {len(names)} classes, taught by {len(examples)} examples.",
            classes=tuple(classes),
            network=fitted.network.config,
            input=replace(self._recipe, measurements=self._measurements),
            training_data=f"{len(examples)} objects of {self._labels_name}",
            temperature=fitted.temperature,
            scores={"kept_out": {"right": fitted.right, "judged": fitted.judged}},
            recipe={"examples": dict(counts), "settings": asdict(self._settings)},
            created=now(),
            versions=versions(),
        )
