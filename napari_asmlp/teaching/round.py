"""One round: a first answer within seconds, better ones after it, until time is up.

1. Filters, the pretrained network where the package has one, and its place give each voxel its
   features. Of network and place are used what does best on annotated slices or strokes that were
   kept back (`choice`). A few trees learn from the annotated voxels and label the rest: the first
   answer. More trees give the second one.
2. An AS-MLP is taught by the annotations and by what the trees are sure of. How much it should
   count is found out, once, on annotated slices or strokes that neither has learnt from.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from napari_asmlp.card import Card
from napari_asmlp.model import Model
from napari_asmlp.provenance import now, versions
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import Annotation, in_folds
from napari_asmlp.teaching.answer import Answer, Mixture, iter_answer
from napari_asmlp.teaching.behind import Asked, shares_scored
from napari_asmlp.teaching.choice import (
    Features,
    Lesson,
    best_of,
    examples_of,
    iter_cross_validated,
    known_by,
    open_to,
    spans,
)
from napari_asmlp.teaching.learnt import Learnt, Light
from napari_asmlp.teaching.light import LightLearner, chosen_voxels
from napari_asmlp.teaching.progress import (
    Clock,
    Taught,
    TaughtAnswer,
    TeachProgress,
    TeachSettings,
)
from napari_asmlp.teaching.subject import Subject
from napari_asmlp.zoo import label_table

_FIRST_GAP, _GAPS_GROW = 15.0, 1.5  # seconds between answers of the network, and by how much
_CHECK_FROM = 8  # light answers that must fit into the time left for the network to be checked
# Of what the last light answer took: more trees, for each time as many; the network alone.
_FOR_TREES, _ALONE = 0.6, 0.3
_CHOOSE_FOR = 1 / 3  # of the time, after which nothing is tried out any more
_LARGEST_WINDOW = 160

Steps = Generator[TeachProgress, None, None]
Result = TypeVar("Result")


class Round:
    """One round of a `Teacher`.

    Parameters
    ----------
    learnt : changed in place
    subjects : volumes, all with annotations
    shown : key of the one to label
    """

    def __init__(
        self,
        learnt: Learnt,
        subjects: Mapping[str, Subject],
        shown: str,
        settings: TeachSettings,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._learnt, self._subjects, self._shown = learnt, dict(subjects), shown
        self._settings, self._count = settings, len(learnt.values)
        self._lessons: dict[str, Lesson] = {}
        self._answers: dict[str, Answer] = {}
        self._told: TaughtAnswer | None = None
        self._history: list[dict[str, Any]] = []
        self._shares: dict[float, float] = {}
        self._agreement: float | None = None
        # What one takes: a light answer, a step and a look of the network.
        self._answer_seconds = self._step_seconds = self._logits_seconds = 0.0

    def run(self) -> Generator[TeachProgress, None, Taught]:
        """Teach and label until time is up."""
        yield self._clock.progress("reading")
        for key, subject in self._subjects.items():
            for what in chain(subject.look_near(), self._look_far(subject)):
                yield self._clock.progress(what)
            self._lessons[key] = self._lesson(subject)
        later = bool(self._learnt.scores)  # a later round begins with what did best before
        if not later:
            yield from self._choose()
        light = self._settings.light
        yield from self._answer_lightly("first answer", range(light.first))
        for_all = self._answer_seconds * _FOR_TREES * light.trees / light.first
        if light.first < light.trees and self._clock.left > for_all:
            yield from self._answer_lightly("more trees", range(light.first, light.trees))
        if later:
            yield from self._choose()
        yield from self._teach_network()
        return self._taught()

    @staticmethod
    def _look_far(subject: Subject) -> Iterator[str]:
        if encoder.is_there():
            yield from subject.look_far(encoder.pretrained_network())

    def _lesson(self, subject: Subject) -> Lesson:
        classes = subject.classes(self._learnt.values)
        folds = in_folds(Annotation(classes, self._learnt.values), self._settings.seed)
        return Lesson(subject, classes, folds)

    @property
    def _checkable(self) -> bool:
        """Whether anything can be kept back."""
        return any(lesson.folds is not None for lesson in self._lessons.values())

    @property
    def _mine(self) -> Lesson:
        return self._lessons[self._shown]

    def _candidates(self) -> list[Features]:
        tokens = all(subject.tokens for subject in self._subjects.values())
        wide = any(spans(lesson.classes) for lesson in self._lessons.values())
        return open_to(tokens, self._settings.position and self._checkable and wide)

    def _features(self) -> Features:
        """Return what did best, as far as that was asked."""
        candidates, scores = self._candidates(), self._learnt.scores
        known = [one for one in candidates if one in scores]
        return best_of(known, scores) if known else candidates[0]

    def _answer_lightly(self, what: str, trees: range) -> Steps:
        """Grow some trees, beside those of this round, and label."""
        began, learnt, features = self._clock.seconds, self._learnt, self._features()
        learner = yield from self._grown(self._lessons, trees, what)
        if trees.start and learnt.light is not None:
            learner = learnt.light.learner.joined(learner)
        learnt.light, learnt.away = Light(features, learner), None
        yield from self._tell(what, Mixture(learner, known_by(self._mine.subject, features)))
        self._answer_seconds = self._clock.seconds - began

    def _choose(self) -> Steps:
        """Find the features that do best on what is kept back, if there is time for it."""
        candidates, lessons = self._candidates(), list(self._lessons.values())
        if not self._checkable or len(candidates) == 1:
            return
        for features in candidates:
            if self._clock.seconds > _CHOOSE_FOR * self._settings.seconds:
                return
            work = iter_cross_validated(
                lessons, self._count, features, self._settings.light, self._settings.seed
            )
            score = yield from followed(self._clock, "choosing features", work)
            self._learnt.scores[features] = score

    def _teach_network(self) -> Steps:
        """Teach the network for the rest of the time, and mix it in where that is better."""
        learnt = self._learnt
        enough = self._clock.left > _CHECK_FROM * self._answer_seconds
        if not learnt.shares and self._checkable and enough:
            learnt.shares = self._shares = yield from self._checked_shares()
        share = learnt.share
        last = self._answer_seconds * (1.0 if share else _ALONE) + self._logits_seconds
        yield from self._label_others()
        self._listen(self._lessons, self._answers)
        began, gap = self._clock.seconds, _FIRST_GAP
        while self._clock.left > last + self._step_seconds:
            yield self._step(began)
            if share and self._clock.seconds > began + gap and self._clock.left > 2 * last:
                yield from self._tell("with the network", self._mixed(share))
                gap = self._clock.seconds - began + gap * _GAPS_GROW
        if not share and self._clock.left < 0:
            return
        mixture = self._mixed(share)
        if share:
            yield from self._tell("with the network", mixture)
        if self._clock.left > 0:
            alone = yield from self._labelled("comparing", replace(mixture, share=1.0))
            same = alone.classes == self._answers[self._shown].classes
            self._agreement = round(float(same.mean()), 4)

    def _label_others(self) -> Steps:
        """Label the volumes that are not shown, as far as there is time: the network learns it."""
        for key, lesson in self._lessons.items():
            if key != self._shown and self._clock.left > _CHECK_FROM * self._answer_seconds:
                self._answers[key] = yield from self._labelled(
                    f"labelling {key}", self._lightly(lesson.subject)
                )

    def _lightly(self, subject: Subject) -> Mixture:
        if self._learnt.light is None:
            raise RuntimeError("there is no light learner yet")
        light = self._learnt.light
        return Mixture(light.learner, known_by(subject, light.features))

    def _checked_shares(self) -> Generator[TeachProgress, None, dict[float, float]]:
        """Let both learn without what is kept back, half of the time; return what shares reach."""
        what, features, answers = "checking the network", self._features(), {}
        known = {key: lesson.without(0) for key, lesson in self._lessons.items()}
        learner = yield from self._grown(known, range(self._settings.light.trees), what)
        mixtures = {
            key: Mixture(learner, known_by(lesson.subject, features))
            for key, lesson in known.items()
        }
        for key, mixture in mixtures.items():
            answers[key] = yield from self._labelled(what, mixture)
        self._listen(known, answers)
        began, half = self._clock.seconds, self._clock.left / 2
        while self._clock.left > half + self._step_seconds:
            yield self._step(began)
        asked = [
            self._asked(key, mixture)
            for key, mixture in mixtures.items()
            if known[key].folds is not None
        ]
        return shares_scored(asked, self._count)

    def _asked(self, key: str, mixture: Mixture) -> Asked:
        """Return the question what voxels of the first fold of a volume are."""
        subject, every = self._subjects[key], np.arange(self._count, dtype=np.int16)
        began = self._clock.seconds
        network = self._learnt.network.logits(subject)
        self._logits_seconds = self._clock.seconds - began
        truth = self._lessons[key].only(0, every).classes
        places = chosen_voxels(truth, self._settings.light, self._settings.seed)
        return Asked(replace(mixture, network=network), places, truth[tuple(places.T)])

    def _listen(self, lessons: Mapping[str, Lesson], answers: Mapping[str, Answer]) -> None:
        self._learnt.network.listen(
            [(lesson.subject, lesson.classes, answers.get(key)) for key, lesson in lessons.items()]
        )

    def _step(self, began: float) -> TeachProgress:
        """Take a step of the network in a phase that began then, and note how long one takes."""
        network, before = self._learnt.network, self._clock.seconds
        network.descend(self._clock.done_since(began))
        self._step_seconds = max(self._step_seconds, self._clock.seconds - before)
        return self._clock.progress(f"teaching the network, step {network.steps}")

    def _mixed(self, share: float) -> Mixture:
        subject = self._mine.subject
        network = self._learnt.network.logits(subject)
        return replace(self._lightly(subject), network=network, share=share)

    def _grown(
        self, lessons: Mapping[str, Lesson], trees: range, what: str
    ) -> Generator[TeachProgress, None, LightLearner]:
        light, seed, features = self._settings.light, self._settings.seed, self._features()
        examples = examples_of(list(lessons.values()), self._count, features, light, seed)
        return (yield from followed(self._clock, what, examples.iter_grown(trees, light, seed)))

    def _tell(self, what: str, mixture: Mixture) -> Steps:
        """Label the volume and tell of it."""
        answer = yield from self._labelled(what, mixture)
        self._answers[self._shown] = answer
        self._told = told(what, self._mine.subject, answer, self._learnt.values)
        self._history.append({"what": what, "seconds": round(self._clock.seconds, 2)})
        yield self._clock.progress(what, self._told)

    def _labelled(self, what: str, mixture: Mixture) -> Generator[TeachProgress, None, Answer]:
        return (yield from followed(self._clock, what, iter_answer(mixture, self._count)))

    def _taught(self) -> Taught:
        """Return what there is in the end."""
        best = self._learnt.share
        report = {
            "answers": self._history,
            "features": {str(one): round(dice, 4) for one, dice in self._learnt.scores.items()},
            "kept_back": {str(share): round(dice, 4) for share, dice in self._shares.items()},
            "labels_dice": self._shares.get(best),
            "model_dice": self._shares.get(1.0),
            "agreement": self._agreement,
            "seconds": round(self._clock.seconds, 2),
            "steps": self._learnt.network.steps,
        }
        if self._told is None:
            raise RuntimeError("there is no answer yet")
        model = taught_model(self._learnt, self._subjects, self._settings.seed)
        return Taught(self._told, model, report)


def followed(
    clock: Clock, what: str, work: Generator[float, None, Result]
) -> Generator[TeachProgress, None, Result]:
    """Do some work, telling where the round stands."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        yield clock.progress(what)


def told(what: str, subject: Subject, answer: Answer, values: tuple[int, ...]) -> TaughtAnswer:
    """Return an answer on the volume's own grid."""
    return TaughtAnswer(what, subject.labels(answer.classes, values), subject.undone(answer.doubt))


def taught_model(learnt: Learnt, subjects: Mapping[str, Subject], seed: int) -> Model:
    """Return the network as it is now as a model."""
    learner = learnt.network.kept()
    network, some = learner.network.eval(), next(iter(subjects.values()))
    annotated = [one.annotation for one in subjects.values() if one.annotation is not None]
    voxels = sum(int(one.counts.sum()) for one in annotated)
    values, unit = learnt.values[1:], network.config.multiple_of
    x, y, z = (min(_LARGEST_WINDOW, -(-n // unit) * unit) for n in some.seen().shape[1:])
    volumes = "one volume" if len(annotated) == 1 else f"{len(annotated)} volumes"
    card = Card(
        name="taught",
        summary=f"Taught by {voxels} annotated voxels of {volumes}",
        labels=label_table([f"label {value}" for value in values], values),
        network=network.config,
        window=(x, y, z),
        preprocessing=some.preprocessing,
        tilt_degrees=round(max(one.volume.grid.tilt_degrees for one in subjects.values()), 2),
        recipe={"seed": seed, "steps": learner.steps},
        created=now(),
        versions=versions(),
    )
    return Model(card, network)
