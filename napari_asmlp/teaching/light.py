"""The light learner: trees over the features of single voxels, grown in seconds.

Extremely randomised trees (Geurts, Ernst and Wehenkel, Machine Learning 63, 2006). A few are
enough for a first answer; more are grown beside them for a better one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from torch import Tensor

_AT_ONCE = 5  # trees that are grown without a word
_LEAST_CHANCE = 1e-3  # of any class: few trees know nothing for certain


@dataclass(frozen=True)
class LightSettings:
    """How it learns.

    Attributes
    ----------
    voxels : annotated ones that are looked at, at most
    least : of them of each class, where there are so many
    first, trees : how many there are for the first answer, and for those after it
    asked : share of the features that a tree considers at each fork
    leaf : voxels that a leaf holds at least
    """

    voxels: int = 30_000
    least: int = 1_000
    first: int = 10
    trees: int = 40
    asked: float = 0.3
    leaf: int = 2


@dataclass(frozen=True)
class LightLearner:
    """(F, N) features -> (K, N) log-probabilities.

    Attributes
    ----------
    forests : a few trees each
    count : classes, K
    """

    forests: tuple[ExtraTreesClassifier, ...]
    count: int

    def __call__(self, features: Tensor) -> Tensor:
        """Return the mean of all trees."""
        rows = np.ascontiguousarray(features.T.numpy(), np.float32)
        chances = np.zeros((self.count, len(rows)), np.float32)
        for forest in self.forests:
            forest.n_jobs = torch.get_num_threads()
            chances[forest.classes_] += forest.predict_proba(rows).T
        chances /= len(self.forests)
        return torch.from_numpy(chances).clamp_(min=_LEAST_CHANCE).log_()

    def joined(self, other: LightLearner) -> LightLearner:
        """Return a learner with the trees of both."""
        return LightLearner(self.forests + other.forests, self.count)


def chosen_voxels(
    classes: NDArray[np.int16], settings: LightSettings, seed: int
) -> NDArray[np.int64]:
    """Choose annotated voxels to learn from: some of each class, the rest at random; (N, 3)."""
    places = np.argwhere(classes >= 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(places))
    if len(places) > settings.voxels:
        of_class = classes[tuple(places[order].T)]
        rank = np.zeros(len(order), np.int64)
        for value in np.unique(of_class):
            mine = of_class == value
            rank[mine] = np.arange(np.count_nonzero(mine))
        first = rank < settings.least
        order = np.concatenate([order[first], order[~first]])[: settings.voxels]
    return places[order].astype(np.int64)


@dataclass(frozen=True)
class Examples:
    """Annotated voxels: features (N, F) float32, and classes (N,) below `count`."""

    features: Tensor
    classes: NDArray[np.int16]
    count: int

    def iter_grown(
        self, trees: range, settings: LightSettings, seed: int
    ) -> Generator[float, None, LightLearner]:
        """Grow trees; those of one number and seed are the same always. Yields the share done."""
        rows, forests = self.features.numpy(), []
        for first in trees[::_AT_ONCE]:
            forest = ExtraTreesClassifier(
                min(_AT_ONCE, trees.stop - first),
                max_features=settings.asked,
                min_samples_leaf=settings.leaf,
                random_state=(seed * 1_000_003 + first) % 2**32,
                n_jobs=torch.get_num_threads(),
            )
            forests.append(forest.fit(rows, self.classes))
            yield (first - trees.start) / len(trees)
        return LightLearner(tuple(forests), self.count)
