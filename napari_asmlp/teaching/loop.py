"""The loop: a first answer within seconds, better ones after it, until time is up or it is closed.

1. Filters and its place give each voxel its features; the light learner learns from the annotated
   ones and labels the rest: the first answer.
2. The pretrained network's tokens become features too, where the package has one. A second light
   learner also sees the first one's probabilities around each voxel. Of tokens and place are used
   what does best on annotated slices or strokes that were kept back (`choice`).
3. An AS-MLP is taught by the annotations and by what the light learner is sure of. How
   much it should count is found out on annotated slices or strokes that neither has learnt from.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.card import Card, Preprocessing
from napari_asmlp.errors import ModelError
from napari_asmlp.model import Model, segmenter
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.provenance import now, versions
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation, in_folds
from napari_asmlp.teaching.answer import Answer, Mixture, iter_answer
from napari_asmlp.teaching.behind import NetworkLearner, shares_scored
from napari_asmlp.teaching.choice import (
    Features,
    best_of,
    cross_validated,
    open_to,
    taught_lightly,
)
from napari_asmlp.teaching.finetune import FinetuneSettings, new_network
from napari_asmlp.teaching.light import LightSettings, chosen_voxels
from napari_asmlp.teaching.subject import Subject
from napari_asmlp.volume import Volume
from napari_asmlp.zoo import label_table

_FIRST_GAP, _GAPS_GROW = 15.0, 1.5  # seconds between answers of the network, and by how much
_CHECK_FROM = 8  # light answers that must fit into the time left for the network to be checked
_CHOOSE_FOR = 1 / 3  # of the time, after which nothing is tried out any more
_LARGEST_WINDOW = 160


@dataclass(frozen=True)
class TeachSettings:
    """How to teach.

    Attributes
    ----------
    seconds : for learning and predicting together
    position : whether a voxel's place may be a feature: what is labelled is this very volume
    """

    seconds: float = 60.0
    seed: int = 0
    position: bool = True
    light: LightSettings = field(default_factory=LightSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)


@dataclass(frozen=True)
class TaughtAnswer:
    """Labels of all voxels on the volume's own grid.

    Attributes
    ----------
    what : is new about it
    labels : values; annotated voxels keep what they were given
    doubt : (i, j, k) uint8, 255 where two classes are equally likely
    """

    what: str
    labels: Volume
    doubt: NDArray[np.uint8]


@dataclass(frozen=True)
class TeachProgress:
    """Where teaching stands.

    Attributes
    ----------
    what : is being done
    answer : a new one, or None
    """

    what: str
    fraction: float
    seconds: float
    seconds_left: float
    answer: TaughtAnswer | None = None

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        return self.what


@dataclass(frozen=True)
class Taught:
    """What teaching gives in the end: the last answer, the network, and what happened."""

    answer: TaughtAnswer
    model: Model
    report: dict[str, Any]


Steps = Generator[TeachProgress, None, None]


def iter_teach(
    volume: Volume, annotation: Annotation, settings: TeachSettings, start: Model | None = None
) -> Generator[TeachProgress, None, Taught]:
    """Learn from annotations of a volume and label all of it, better and better.

    Parameters
    ----------
    volume : image
    annotation : from `annotations.read_annotation`, on the volume's grid
    settings : when to stop, and how to learn
    start : model whose weights the network begins with; the package's own encoder if None

    Yields
    ------
    TeachProgress
        Often; some with a new answer. It may be closed after any.

    Raises
    ------
    VolumeError
        If the image has a constant channel, or no finite voxel.
    ModelError
        If `start` is of another architecture.
    """
    run = _Run(volume, annotation, settings, start)
    yield run.progress("reading")
    for what in run.subject.look_near():
        yield run.progress(what)
    yield from run.choose_features()
    yield from run.answer_lightly("first answer")
    if run.left > 2 * run.answer_seconds:
        for what in run.subject.look_far():
            yield run.progress(what)
        yield from run.choose_features()
        yield from run.answer_lightly("second look")
    yield from run.teach_network()
    return run.taught()


class _Run:
    """The clock, the learners and the last answer of one call of `iter_teach`."""

    def __init__(
        self, volume: Volume, annotation: Annotation, settings: TeachSettings, start: Model | None
    ) -> None:
        self._began = time.monotonic()
        self._settings = settings
        network = _network(start, volume.channels, len(annotation.values), settings.seed)
        spacing = encoder.working_spacing(volume.grid, encoder.TAUGHT_MM)
        preprocessing = start.card.preprocessing if start else Preprocessing(spacing=spacing)
        self.subject = Subject(volume, annotation, preprocessing)
        self._learner = NetworkLearner(self.subject, network, settings.finetune, settings.seed)
        self._mixture: Mixture | None = None
        self._answer: Answer | None = None
        self._told: TaughtAnswer | None = None
        self._answers: list[dict[str, Any]] = []
        self._shares: dict[float, float] = {}
        self._scores: dict[Features, float] = {}
        self._folds = in_folds(self.subject.annotation, settings.seed)
        self._features = Features(position=settings.position and self._folds is not None)
        # What one takes: a light answer, a step and a look of the network.
        self.answer_seconds = self._step_seconds = self._logits_seconds = 0.0

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until time is up."""
        return self._settings.seconds - self.seconds

    def progress(self, what: str, answer: TaughtAnswer | None = None) -> TeachProgress:
        """Return where it stands."""
        fraction = min(1.0, self.seconds / self._settings.seconds)
        return TeachProgress(what, fraction, self.seconds, max(0.0, self.left), answer)

    def answer_lightly(self, what: str) -> Steps:
        """Teach the light learner, which sees the last answer if there is one, and label."""
        began = self.seconds
        self._mixture = self._light(self._classes, self._answer)
        yield self.progress(what)
        yield from self._tell(what, self._mixture)
        self.answer_seconds = self.seconds - began

    def choose_features(self) -> Steps:
        """Find the features that do best on what is kept back, if there is time for it."""
        candidates = open_to(bool(self.subject.tokens), self._settings.position)
        self._features = replace(self._features, tokens=bool(self.subject.tokens))
        if self._folds is None or len(candidates) == 1:
            return
        for features in (one for one in candidates if one not in self._scores):
            if self.seconds > _CHOOSE_FOR * self._settings.seconds:
                return
            self._scores[features] = cross_validated(
                self.subject, self._folds, features, self._settings.light, self._settings.seed
            )
            yield self.progress("choosing features")
        self._features = best_of(candidates, self._scores)

    def teach_network(self) -> Steps:
        """Teach the network for the rest of the time, and mix it in where that is better."""
        share = 0.0
        if self._folds is not None and self.left > _CHECK_FROM * self.answer_seconds:
            share = yield from self._checked_share()
        last = self.answer_seconds + self._logits_seconds if share else 0.0
        self._learner.listen(self._classes, self._last)
        began, gap = self.seconds, _FIRST_GAP
        while self.left > last + self._step_seconds:
            yield self._step(began)
            if share and self.seconds > began + gap and self.left > 2 * last:
                yield from self._tell("with the network", self._mixed(share))
                gap = self.seconds - began + gap * _GAPS_GROW
        if share:
            yield from self._tell("with the network", self._mixed(share))

    def taught(self) -> Taught:
        """Return what there is in the end."""
        network = self._learner.network.eval()
        report = {
            "answers": self._answers,
            "features": {str(one): round(dice, 4) for one, dice in self._scores.items()},
            "kept_back": {str(share): round(dice, 4) for share, dice in self._shares.items()},
            "seconds": round(self.seconds, 2),
            "steps": self._learner.steps,
        }
        if self._told is None:
            raise RuntimeError("there is no answer yet")
        return Taught(self._told, Model(self._card(network), network), report)

    @property
    def _last(self) -> Answer:
        if self._answer is None:
            raise RuntimeError("there is no answer yet")
        return self._answer

    @property
    def _classes(self) -> NDArray[np.int16]:
        return self.subject.annotation.classes

    def _split(self) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Return the annotations without what is kept back, and voxels (N, 3) of that."""
        back = self._folds == 0
        known = np.where(back, UNANNOTATED, self._classes)
        truth = np.where(back, self._classes, UNANNOTATED)
        return known, chosen_voxels(truth, self._settings.light, self._settings.seed)

    def _light(self, classes: NDArray[np.int16], earlier: Answer | None) -> Mixture:
        settings = self._settings
        return taught_lightly(
            self.subject, classes, self._features, settings.light, settings.seed, earlier
        )

    def _tell(self, what: str, mixture: Mixture) -> Steps:
        """Label the volume and tell of it."""
        self._answer = yield from self._labelled(what, mixture)
        subject = self.subject
        labels, doubt = subject.labels(self._answer.classes), subject.undone(self._answer.doubt)
        self._told = TaughtAnswer(what, labels, doubt)
        self._answers.append({"what": what, "seconds": round(self.seconds, 2)})
        yield self.progress(what, self._told)

    def _labelled(self, what: str, mixture: Mixture) -> Generator[TeachProgress, None, Answer]:
        for found in iter_answer(mixture, self.subject.classes):
            if isinstance(found, Answer):
                return found
            yield self.progress(what)
        raise RuntimeError("the volume has no planes")

    def _checked_share(self) -> Generator[TeachProgress, None, float]:
        """Let both learn without what is kept back, half of the time; return the better share."""
        known, places = self._split()
        first = self._light(known, None)
        answer = yield from self._labelled("checking the network", first)
        light = self._light(known, answer)
        self._learner.listen(known, answer)
        began, half = self.seconds, self.left / 2
        while self.left > half + self._step_seconds:
            yield self._step(began)
        finished = self.seconds
        mixture = replace(light, network=self._learner.logits())
        self._logits_seconds = self.seconds - finished
        self._shares = shares_scored(mixture, self._classes, places, self.subject.classes)
        return max(self._shares, key=lambda share: self._shares[share])

    def _step(self, began: float) -> TeachProgress:
        """Take a step of the network in a phase that began then, and note how long one takes."""
        before = self.seconds
        self._learner.descend((before - began) / (self._settings.seconds - began))
        self._step_seconds = max(self._step_seconds, self.seconds - before)
        return self.progress(f"teaching the network, step {self._learner.steps}")

    def _mixed(self, share: float) -> Mixture:
        if self._mixture is None:
            raise RuntimeError("there is no light learner yet")
        return replace(self._mixture, network=self._learner.logits(), share=share)

    def _card(self, network: Asmlp) -> Card:
        annotation, unit = self.subject.annotation, network.config.multiple_of
        values = annotation.values[1:]
        x, y, z = (min(_LARGEST_WINDOW, -(-n // unit) * unit) for n in self.subject.seen.shape[1:])
        return Card(
            name="taught",
            summary=f"Taught by {int(annotation.counts.sum())} annotated voxels of one volume",
            labels=label_table([f"label {value}" for value in values], values),
            network=network.config,
            window=(x, y, z),
            preprocessing=self.subject.preprocessing,
            recipe={"seed": self._settings.seed, "steps": self._learner.steps},
            created=now(),
            versions=versions(),
        )


def _network(start: Model | None, channels: int, classes: int, seed: int) -> Asmlp:
    """Return the network to teach, with the weights of `start` or of the encoder."""
    known = encoder.pretrained_network() if start is None and encoder.is_there() else None
    if start is not None:
        network = segmenter(start).network
        if not isinstance(network, Asmlp):
            raise ModelError(f"{start.card.name}: only an AS-MLP can be taught")
        known = network
    return new_network(known, channels, classes, seed)
