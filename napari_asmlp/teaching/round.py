"""One round: a first answer within seconds, better ones after it, until time is up.

1. Filters and its place give each voxel its features; the light learner learns from the annotated
   ones and labels the rest: the first answer.
2. The pretrained network's tokens become features too, where the package has one. A second light
   learner also sees the first one's probabilities around each voxel. Of tokens and place are used
   what does best on annotated slices or strokes that were kept back (`choice`).
3. An AS-MLP is taught by the annotations and by what the light learner is sure of. How much it
   should count is found out, once, on annotated slices or strokes that neither has learnt from.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
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
    iter_cross_validated,
    iter_taught,
    open_to,
)
from napari_asmlp.teaching.learnt import Learnt, Light, Look
from napari_asmlp.teaching.light import chosen_voxels
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
    ) -> None:
        self._clock = Clock(settings.seconds)
        self._learnt, self._subjects, self._shown = learnt, dict(subjects), shown
        self._settings, self._count = settings, len(learnt.values)
        self._lessons: dict[str, Lesson] = {}
        self._answers: dict[str, Answer] = {}
        self._mixture: Mixture | None = None
        self._told: TaughtAnswer | None = None
        self._history: list[dict[str, Any]] = []
        self._shares: dict[float, float] = {}
        # What one takes: a light answer, a step and a look of the network.
        self._answer_seconds = self._step_seconds = self._logits_seconds = 0.0

    def run(self) -> Generator[TeachProgress, None, Taught]:
        """Teach and label until time is up."""
        yield self._clock.progress("reading")
        for key, subject in self._subjects.items():
            for what in subject.look_near():
                yield self._clock.progress(what)
            self._lessons[key] = self._lesson(subject)
        began = self._clock.seconds
        yield from self._look_first(self._features_so_far())
        self._answer_seconds = self._clock.seconds - began
        if self._clock.left > 2 * self._answer_seconds:
            yield from self._look_again()
        yield from self._teach_network()
        return self._taught()

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

    def _features_so_far(self) -> Features:
        """Return what did best in the last round, else what is usual."""
        tokens = all(subject.tokens for subject in self._subjects.values())
        candidates = open_to(tokens, self._settings.position and self._checkable)
        known = [one for one in candidates if one in self._learnt.scores]
        return best_of(known, self._learnt.scores) if known else candidates[0]

    def _look_first(self, features: Features) -> Steps:
        what = "first answer"
        learner = yield from self._taught_by(self._lessons, features, what)
        self._learnt.light, self._learnt.away = Light(Look(features, learner)), None
        self._mixture = Mixture(learner, self._mine.maps(features))
        yield from self._tell(what, self._mixture)

    def _look_again(self) -> Steps:
        if encoder.is_there():
            for subject in self._subjects.values():
                for what in subject.look_far(encoder.pretrained_network()):
                    yield self._clock.progress(what)
        yield from self._choose()
        if self._learnt.light is None:
            raise RuntimeError("there was no first look")
        first, features = self._learnt.light.first, self._features_so_far()
        for key, lesson in self._lessons.items():
            if key != self._shown:
                mixture = Mixture(first.learner, lesson.maps(first.features))
                self._answers[key] = yield from self._labelled("second look", mixture)
        second = self._with_answers(self._lessons)
        learner = yield from self._taught_by(second, features, "second look")
        self._learnt.light = Light(first, Look(features, learner))
        self._mixture = Mixture(learner, second[self._shown].maps(features))
        yield from self._tell("second look", self._mixture)

    def _choose(self) -> Steps:
        """Find the features that do best on what is kept back, if there is time for it."""
        tokens = all(subject.tokens for subject in self._subjects.values())
        candidates, scores = open_to(tokens, self._settings.position), self._learnt.scores
        scores.clear()
        if not self._checkable or len(candidates) == 1:
            return
        for features in candidates:
            if self._clock.seconds > _CHOOSE_FOR * self._settings.seconds:
                return
            work = iter_cross_validated(
                list(self._lessons.values()),
                self._count,
                features,
                self._settings.light,
                self._settings.seed,
            )
            scores[features] = yield from self._following("choosing features", work)

    def _teach_network(self) -> Steps:
        """Teach the network for the rest of the time, and mix it in where that is better."""
        learnt = self._learnt
        enough = self._clock.left > _CHECK_FROM * self._answer_seconds
        if learnt.share is None and self._checkable and enough:
            learnt.share = yield from self._checked_share()
        share = learnt.share or 0.0
        last = self._answer_seconds + self._logits_seconds if share else 0.0
        self._listen(self._lessons, self._answers)
        began, gap = self._clock.seconds, _FIRST_GAP
        while self._clock.left > last + self._step_seconds:
            yield self._step(began)
            if share and self._clock.seconds > began + gap and self._clock.left > 2 * last:
                yield from self._tell("with the network", self._mixed(share))
                gap = self._clock.seconds - began + gap * _GAPS_GROW
        if share:
            yield from self._tell("with the network", self._mixed(share))

    def _checked_share(self) -> Generator[TeachProgress, None, float]:
        """Let both learn without what is kept back, half of the time; return the better share."""
        what, features = "checking the network", self._features_so_far()
        known = {key: lesson.without(0) for key, lesson in self._lessons.items()}
        first = yield from self._taught_by(known, features, what)
        answers = {}
        for key, lesson in known.items():
            mixture = Mixture(first, lesson.maps(features))
            answers[key] = yield from self._labelled(what, mixture)
        again = {key: replace(lesson, earlier=answers[key]) for key, lesson in known.items()}
        second = yield from self._taught_by(again, features, what)
        self._listen(known, answers)
        began, half = self._clock.seconds, self._clock.left / 2
        while self._clock.left > half + self._step_seconds:
            yield self._step(began)
        asked = [
            self._asked(key, Mixture(second, lesson.maps(features)))
            for key, lesson in again.items()
            if lesson.folds is not None
        ]
        self._shares = shares_scored(asked, self._count)
        return max(self._shares, key=lambda share: self._shares[share])

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
            [
                (lesson.subject, lesson.classes, answers[key])
                for key, lesson in lessons.items()
                if key in answers
            ]
        )

    def _step(self, began: float) -> TeachProgress:
        """Take a step of the network in a phase that began then, and note how long one takes."""
        network, before = self._learnt.network, self._clock.seconds
        network.descend(self._clock.done_since(began))
        self._step_seconds = max(self._step_seconds, self._clock.seconds - before)
        return self._clock.progress(f"teaching the network, step {network.steps}")

    def _mixed(self, share: float) -> Mixture:
        if self._mixture is None:
            raise RuntimeError("there is no light learner yet")
        network = self._learnt.network.logits(self._mine.subject)
        return replace(self._mixture, network=network, share=share)

    def _with_answers(self, lessons: Mapping[str, Lesson]) -> dict[str, Lesson]:
        return {key: replace(one, earlier=self._answers[key]) for key, one in lessons.items()}

    def _taught_by(
        self, lessons: Mapping[str, Lesson], features: Features, what: str
    ) -> Generator[TeachProgress, None, Any]:
        settings = self._settings
        work = iter_taught(
            list(lessons.values()), self._count, features, settings.light, settings.seed
        )
        return (yield from self._following(what, work))

    def _tell(self, what: str, mixture: Mixture) -> Steps:
        """Label the volume and tell of it."""
        answer = yield from self._labelled(what, mixture)
        self._answers[self._shown] = answer
        self._told = told(what, self._mine.subject, answer, self._learnt.values)
        self._history.append({"what": what, "seconds": round(self._clock.seconds, 2)})
        yield self._clock.progress(what, self._told)

    def _labelled(self, what: str, mixture: Mixture) -> Generator[TeachProgress, None, Answer]:
        return (yield from self._following(what, iter_answer(mixture, self._count)))

    def _following(
        self, what: str, work: Generator[float, None, Result]
    ) -> Generator[TeachProgress, None, Result]:
        return (yield from followed(self._clock, what, work))

    def _taught(self) -> Taught:
        """Return what there is in the end."""
        report = {
            "answers": self._history,
            "features": {str(one): round(dice, 4) for one, dice in self._learnt.scores.items()},
            "kept_back": {str(share): round(dice, 4) for share, dice in self._shares.items()},
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
        recipe={"seed": seed, "steps": learner.steps},
        created=now(),
        versions=versions(),
    )
    return Model(card, network)
