"""What the light learner should look at: what does best on annotated voxels it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_asmlp.teaching.annotations import FOLDS, UNANNOTATED
from napari_asmlp.teaching.answer import Answer, Mixture
from napari_asmlp.teaching.behind import mean_dice
from napari_asmlp.teaching.light import LightSettings, chosen_voxels, fit_light
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


def taught_lightly(
    subject: Subject,
    classes: NDArray[np.int16],
    features: Features,
    settings: LightSettings,
    seed: int,
    earlier: Answer | None = None,
) -> Mixture:
    """Teach a light learner by some annotations (X, Y, Z); `earlier` gives features too."""
    tokens = subject.tokens if features.tokens else []
    context = [] if earlier is None else [earlier.context()]
    maps = Maps(subject.shape, (*subject.filters, *tokens, *context), features.position)
    places = chosen_voxels(classes, settings, seed)
    truth = torch.from_numpy(classes[tuple(places.T)].astype(np.int64))
    return Mixture(fit_light(maps.at(places), truth, subject.classes, settings, seed), maps)


def cross_validated(
    subject: Subject,
    folds: NDArray[np.int8],
    features: Features,
    settings: LightSettings,
    seed: int,
) -> float:
    """Return the mean Dice where each voxel is labelled by a learner that has not seen its fold.

    Voxels of a class that their learner has not met are left out: no features would help them.

    Parameters
    ----------
    folds : of `annotations.in_folds`, (X, Y, Z)
    """
    quick = replace(
        settings, steps=min(settings.steps, _STEPS), voxels=min(settings.voxels, _VOXELS)
    )
    annotated = subject.annotation.classes
    found, truth = [], []
    for fold in range(FOLDS):
        known = np.where(folds == fold, UNANNOTATED, annotated)
        asked = np.where((folds == fold) & np.isin(annotated, known), annotated, UNANNOTATED)
        places = chosen_voxels(asked, quick, seed)
        mixture = taught_lightly(subject, known, features, quick, seed)
        with torch.inference_mode():
            logits = mixture.light(mixture.maps.at(places).T)
        found.append(logits.argmax(dim=0).numpy())
        truth.append(asked[tuple(places.T)])
    return mean_dice(np.concatenate(found), np.concatenate(truth), subject.classes)
