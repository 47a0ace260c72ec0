"""How well a classifier does on cases it did not learn from, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, roc_auc_score

from napari_asmlp.calibration import Reliability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Integers = NDArray[np.integer[Any]]

_RESAMPLINGS = 1000
_INTERVAL = 2.5, 97.5  # percentiles
_DECIMALS = 4


def score_classes(
    chances: Floats, truth: Integers, classes: Sequence[str], how: str = "", seed: int = 0
) -> dict[str, Any]:
    """Compare probabilities with the true classes.

    Parameters
    ----------
    chances : (N, K) probabilities
    truth : (N,) place of the true class
    classes : K names
    how : in which way the cases were kept out of training, for the reader

    Returns
    -------
    dict
        ``roc_auc`` (of the second of two classes; of more, the mean of each against the rest),
        ``accuracy`` and ``balanced_accuracy`` (the mean over classes) of the likeliest class, each
        with the interval that 95 % of 1,000 resamplings of the cases fall in; ``confusion`` by
        true, then predicted class; ``ece``, the expected calibration error. None where a class
        without cases leaves a measure without meaning.
    """
    chosen, count = chances.argmax(axis=1), len(classes)
    confusion = confusion_matrix(truth, chosen, labels=range(count)).tolist()
    values = {
        "roc_auc": _roc_auc(truth, chances),
        "accuracy": float(accuracy_score(truth, chosen)) if len(truth) else None,
        "balanced_accuracy": _balanced(truth, chosen),
    }
    return {
        "cases": len(truth),
        "how": how,
        **_with_intervals(values, _Resampled(chances, truth), seed),
        "confusion": {
            name: dict(zip(classes, row, strict=True))
            for name, row in zip(classes, confusion, strict=True)
        },
        "ece": calibration_error(chances, truth),
    }


def calibration_error(chances: Floats, truth: Integers) -> float | None:
    """Return the expected calibration error of the likeliest classes."""
    reliability = Reliability()
    reliability.add(chances.max(axis=1), chances.argmax(axis=1) == truth)
    return None if reliability.error is None else round(reliability.error, _DECIMALS)


def _roc_auc(truth: Integers, chances: Floats) -> float | None:
    if len(np.unique(truth)) < chances.shape[1]:
        return None
    if chances.shape[1] == 2:
        return float(roc_auc_score(truth, chances[:, 1]))
    return float(roc_auc_score(truth, chances, multi_class="ovr"))


def _balanced(truth: Integers, chosen: Integers) -> float | None:
    """Mean recall of the classes that have cases; None where only one has."""
    present = np.unique(truth)
    if len(present) < 2:
        return None
    return float(recall_score(truth, chosen, labels=present, average="macro"))


def _with_intervals(
    values: dict[str, float | None], resampled: _Resampled, seed: int
) -> dict[str, Any]:
    random, drawn = np.random.default_rng(seed), []
    cases = len(resampled.truth)
    for _ in range(_RESAMPLINGS if cases else 0):
        counts = np.bincount(random.integers(cases, size=cases), minlength=cases)
        drawn.append(resampled.measures(counts.astype(np.float64)))
    found: dict[str, Any] = {}
    for place, (name, value) in enumerate(values.items()):
        if value is None:
            found[name] = None
            continue
        low, high = np.nanpercentile([row[place] for row in drawn], _INTERVAL).tolist()
        interval = [round(low, _DECIMALS), round(high, _DECIMALS)]
        found[name] = {"value": round(value, _DECIMALS), "interval": interval}
    return found


class _Resampled:
    """The same measures of cases that count several times or not at all, thousands a second."""

    def __init__(self, chances: Floats, truth: Integers) -> None:
        self.truth = truth
        self._right = chances.argmax(axis=1) == truth
        self._classes = range(chances.shape[1])
        # of two classes the curves of both have the same area
        self._ranks = [np.unique(chances[:, k], return_inverse=True)[1] for k in self._classes]

    def measures(self, counts: NDArray[np.float64]) -> tuple[float, float, float]:
        """Return ROC AUC, accuracy and balanced accuracy; NaN where a class is not drawn."""
        sizes = np.bincount(self.truth, counts, len(self._classes))
        hits = np.bincount(self.truth, counts * self._right, len(self._classes))
        present = sizes > 0
        balanced = float((hits[present] / sizes[present]).mean())
        areas = [self._area(k, counts) for k in self._classes] if present.all() else [np.nan]
        return float(np.mean(areas)), float(hits.sum() / sizes.sum()), balanced

    def _area(self, k: int, counts: NDArray[np.float64]) -> float:
        """Share of pairs of a case of class k and another that are in order; a tie is half."""
        ranks, of_class = self._ranks[k], self.truth == k
        inside = np.bincount(ranks, counts * of_class)
        outside = np.bincount(ranks, counts * ~of_class)
        lower = np.cumsum(outside) - outside / 2
        return float((inside * lower).sum() / (inside.sum() * outside.sum()))
