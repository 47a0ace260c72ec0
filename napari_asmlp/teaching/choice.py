"""What the light learner should look at: what does best on annotated voxels it has not seen."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_asmlp.teaching.annotations import FOLDS, UNANNOTATED
from napari_asmlp.teaching.behind import mean_dice
from napari_asmlp.teaching.light import Examples, LightSettings, chosen_voxels
from napari_asmlp.teaching.maps import Maps
from napari_asmlp.teaching.subject import Subject

# Mean Dice that is lost by it, from which a voxel's place, or else the network, is given up.
_PLACE_HARMS, _NETWORK_HARMS = 0.02, 0.005
_WIDE, _AXES = 0.6, 2  # share of an axis that annotations reach over, and of how many
_TREES, _VOXELS = 30, 6_000  # of a learner that only one question is asked, at most


@dataclass(frozen=True)
class Features:
    """What the light learner looks at beside filters."""

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
    """

    subject: Subject
    classes: NDArray[np.int16]
    folds: NDArray[np.int8] | None = None

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


def known_by(subject: Subject, features: Features) -> Maps:
    """Return what voxels of a volume are known by."""
    tokens = subject.tokens if features.tokens else []
    return Maps(subject.shape, (*subject.filters, *tokens), features.position)


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


def spans(classes: NDArray[np.int16]) -> bool:
    """Tell whether annotated voxels (X, Y, Z) reach over most of a volume along two axes.

    If they do not, as those of one box, most voxels lie at places that nobody told anything of.
    """
    places = np.nonzero(classes != UNANNOTATED)
    reach = [int(np.ptp(at)) + 1 if len(at) else 0 for at in places]
    wide = [bool(far >= _WIDE * n) for far, n in zip(reach, classes.shape, strict=True)]
    return wide.count(True) >= _AXES


def best_of(candidates: Sequence[Features], scores: dict[Features, float]) -> Features:
    """Return the first candidate that none which looks at less is clearly better than."""

    def beaten(mine: Features, other: Features) -> bool:
        margin = _PLACE_HARMS if mine.position > other.position else _NETWORK_HARMS
        return scores[other] > scores[mine] + margin

    return next(one for one in candidates if not any(beaten(one, other) for other in candidates))


def examples_of(
    lessons: Sequence[Lesson], count: int, features: Features, settings: LightSettings, seed: int
) -> Examples:
    """Return annotated voxels of all volumes; none of them counts more than another one.

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
        seen.append(known_by(lesson.subject, features).at(places))
        truth.append(lesson.classes[tuple(places.T)])
    return Examples(torch.cat(seen), np.concatenate(truth), count)


def iter_cross_validated(
    lessons: Sequence[Lesson], count: int, features: Features, settings: LightSettings, seed: int
) -> Generator[float, None, float]:
    """Return the mean Dice where each voxel is labelled by a learner that has not seen its fold.

    Voxels of a class that their learner has not met are left out: no features would help them.
    Yields the share done of a learner.
    """
    quick = replace(
        settings, trees=min(settings.trees, _TREES), voxels=min(settings.voxels, _VOXELS)
    )
    found, truth = [], []
    for fold in range(FOLDS):
        known = [lesson.without(fold) for lesson in lessons]
        examples = examples_of(known, count, features, quick, seed)
        learner = yield from examples.iter_grown(range(quick.trees), quick, seed)
        met = np.unique(examples.classes)
        asked = [lesson.only(fold, met) for lesson in lessons]
        questions = examples_of(asked, count, features, quick, seed)
        if len(questions.classes):
            found.append(learner(questions.features.T).argmax(dim=0).numpy())
            truth.append(questions.classes)
    return mean_dice(np.concatenate(found), np.concatenate(truth), count)
