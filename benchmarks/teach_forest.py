"""What ilastik and its like do: multi-scale filters and a random forest, to compare with.

scikit-image's `multiscale_basic_features` in three dimensions (intensity, edges and eigenvalues of
the Hessian matrix at each scale) and 100 trees on the annotated voxels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

MOST_VOXELS = 30_000
_ROWS = 500_000  # predicted at a time


@dataclass(frozen=True)
class ForestSettings:
    """How to learn and what to label: one of `part` voxels, drawn at random."""

    seed: int
    threads: int
    part: int = 1


def filtered(image: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """Filter an image: (X, Y, Z) -> (voxels, features)."""
    features: NDArray[np.float32] = multiscale_basic_features(
        image, sigma_min=1, sigma_max=8, workers=threads
    )
    return features.reshape(image.size, -1)


def forest(
    features: NDArray[np.float32],
    annotation: NDArray[np.int16],
    settings: ForestSettings,
    *,
    position: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.intp], float]:
    """Learn from where `annotation` (X, Y, Z) is not -1.

    Returns the labels, the (flat) voxels they are of, and the CPU seconds that labelling the
    whole volume would have taken beyond labelling those.
    """
    rng = np.random.default_rng(settings.seed)
    places = np.flatnonzero(annotation.ravel() >= 0)
    if len(places) > MOST_VOXELS:
        places = rng.choice(places, MOST_VOXELS, replace=False)
    trees = RandomForestClassifier(
        100,
        max_features="sqrt",
        n_jobs=settings.threads,
        random_state=settings.seed,
        min_samples_leaf=2,
    )

    def rows(chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        found = features[chosen]
        if position:
            where = np.stack(np.unravel_index(chosen, annotation.shape), axis=1)
            found = np.concatenate([found, where.astype(np.float32)], axis=1)
        return np.ascontiguousarray(found, np.float32)

    trees.fit(rows(places), annotation.ravel()[places])
    asked = np.arange(annotation.size)
    if settings.part > 1:
        asked = np.sort(rng.choice(asked, annotation.size // settings.part, replace=False))
    began = time.process_time()
    pieces = np.array_split(asked, -(-len(asked) // _ROWS))
    labels = np.concatenate([trees.predict(rows(piece)) for piece in pieces]).astype(np.uint8)
    return labels, asked, (time.process_time() - began) * (settings.part - 1)
