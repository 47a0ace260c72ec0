"""What the light learner should look at: what does best on annotated voxels it has not seen."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_asmlp.teaching.annotations import FOLDS, UNANNOTATED
from napari_asmlp.teaching.answer import Answer
from napari_asmlp.teaching.behind import mean_dice
from napari_asmlp.teaching.light import LightLearner, LightSettings, chosen_voxels, iter_fit
from napari_asmlp.teaching.maps import Maps
from napari_asmlp.teaching.subject import Subject

_CLEARLY = 0.02  # mean Dice
_STEPS, _VOXELS = 200, 10_000  # of a learner that only one question is asked, at most


@dataclass(frozen=True)
class Features:
    """What the light learner looks at beside filters and an earlier answer."""

    tokens: bool = False
    position: bool = False

    def __str__(self) -> str:
        return ", ".join(["filters", *["network"] * self.tokens, *["place"] * self.position])


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from in one volume.

    Attributes
    ----------
    classes : (X, Y, Z) annotated voxels, else `UNANNOTATED`
    folds : of `annotations.in_folds`, or None where they cannot be divided
    earlier : an answer that gives features too, or None
    """

    subject: Subject
    classes: NDArray[np.int16]
    folds: NDArray[np.int8] | None = None
    earlier: Answer | None = None

    def maps(self, features: Features) -> Maps:
        """Return what voxels are known by."""
        return known_by(self.subject, features, self.earlier)

    def without(self, fold: int) -> Lesson:
        """Return the lesson without the voxels of a fold."""
        if self.folds is None:
            return self
        return replace(self, classes=np.where(self.folds == fold, UNANNOTATED, self.classes))

    def only(self, fold: int, classes: NDArray[np.int16]) -> Lesson:
        """Return the voxels of some classes in a fold; none where there are no folds."""
        if self.folds is None:
            return replace(self, classes=np.full_like(self.classes, UNANNOTATED))
        asked = (self.folds == fold) & np.isin(self.classes, classes)
        return replace(self, classes=np.where(asked, self.classes, UNANNOTATED))


def known_by(subject: Subject, features: Features, earlier: Answer | None = None) -> Maps:
    """Return what voxels of a volume are known by; an earlier answer gives features too."""
    tokens = subject.tokens if features.tokens else []
    context = [] if earlier is None else [earlier.context()]
    return Maps(subject.shape, (*subject.filters, *tokens, *context), features.position)


def open_to(tokens: bool, position: bool) -> list[Features]:
    """Return what there is to choose from, the preferred first.

    That is all there is, and a voxel's place is the last to give up: what is kept back lies beside
    what is learnt from, so it shows where a place misleads, as among cells, but hardly where it
    is needed, far from all annotations, to tell organs that look alike apart.
    """
    return [
        Features(token, place)
        for place in ([True, False] if position else [False])
        for token in ([True, False] if tokens else [False])
    ]


def best_of(candidates: Sequence[Features], scores: dict[Features, float]) -> Features:
    """Return the first candidate that none is clearly better than."""
    best = max(scores[one] for one in candidates)
    return next(one for one in candidates if scores[one] >= best - _CLEARLY)


def iter_taught(
    lessons: Sequence[Lesson], count: int, features: Features, settings: LightSettings, seed: int
) -> Generator[float, None, LightLearner]:
    """Teach a light learner by the annotations of all volumes; yields the share done.

    Parameters
    ----------
    count : classes
    """
    mine = replace(
        settings, voxels=settings.voxels // len(lessons), least=settings.least // len(lessons)
    )
    seen, truth = [], []
    for lesson in lessons:
        places = chosen_voxels(lesson.classes, mine, seed)
        seen.append(lesson.maps(features).at(places))
        truth.append(lesson.classes[tuple(places.T)].astype(np.int64))
    classes = torch.from_numpy(np.concatenate(truth))
    return (yield from iter_fit(torch.cat(seen), classes, count, settings, seed))


def iter_cross_validated(
    lessons: Sequence[Lesson], count: int, features: Features, settings: LightSettings, seed: int
) -> Generator[float, None, float]:
    """Return the mean Dice where each voxel is labelled by a learner that has not seen its fold.

    Voxels of a class that their learner has not met are left out: no features would help them.
    Yields the share done of a learner.
    """
    quick = replace(
        settings, steps=min(settings.steps, _STEPS), voxels=min(settings.voxels, _VOXELS)
    )
    found, truth = [], []
    for fold in range(FOLDS):
        known = [lesson.without(fold) for lesson in lessons]
        learner = yield from iter_taught(known, count, features, quick, seed)
        met = np.unique(np.concatenate([np.unique(lesson.classes) for lesson in known]))
        for lesson in lessons:
            asked = lesson.only(fold, met)
            places = chosen_voxels(asked.classes, quick, seed)
            with torch.inference_mode():
                logits = learner(asked.maps(features).at(places).T)
            found.append(logits.argmax(dim=0).numpy())
            truth.append(asked.classes[tuple(places.T)])
    return mean_dice(np.concatenate(found), np.concatenate(truth), count)
