"""Whether probabilities mean what they say, and whether uncertainty finds the errors.

A *confidence* is the probability of the label that was chosen. It is *calibrated* if of the voxels
with confidence 0.8 four in five are right. One *temperature*, which logits are divided by before
the softmax, mends most of what is wrong and changes no label (Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017). The *risk–coverage curve* gives the share of errors among the voxels
that are kept, if the most uncertain ones are left out one after the other (Geifman and El-Yaniv,
NeurIPS 2017); the smaller the area under it, the better the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

BINS = 15
LEVELS = 256  # of an uncertainty, which is a byte
_LEAST = 1e-30  # stands for a probability that float32 rounds to 0
_SPAN = np.log(20.0)  # of temperatures looked at: 1/20 to 20


def tempered(chances: Floats, temperature: float, axis: int = 0) -> Floats:
    """Return what the softmax of logits / temperature gives, from the softmax of the logits."""
    if temperature == 1:
        return chances
    sharpened = chances ** np.asarray(1 / temperature, chances.dtype)
    tempered: Floats = sharpened / sharpened.sum(axis=axis, keepdims=True)
    return tempered


def fit_temperature(chances: Floats, truth: NDArray[np.integer[Any]]) -> float:
    """Return the temperature of the least negative log-likelihood.

    Parameters
    ----------
    chances : (K, N) probabilities
    truth : (N,) which output is right; without one that is not the likeliest there is no least
        loss (the lower the temperature the better), and 1 is returned
    """
    if (chances.argmax(axis=0) == truth).all():
        return 1.0
    logs = np.log(np.maximum(chances, _LEAST).astype(np.float64))
    logs -= logs.max(axis=0)
    right = logs[truth, np.arange(truth.size)]

    def loss(log_temperature: float) -> float:
        factor = np.exp(-log_temperature)
        return float(np.mean(np.log(np.exp(factor * logs).sum(axis=0)) - factor * right))

    found = optimize.minimize_scalar(loss, bounds=(-_SPAN, _SPAN), method="bounded")
    return float(f"{np.exp(found.x):.4g}")


def refused_temperature(temperature: float) -> str:
    """Return why a fitted temperature is not to be used; empty where it is."""
    if abs(np.log(temperature)) < 0.99 * _SPAN:
        return ""
    return f"the temperature that fits best, {temperature:g}, is at the end of its range"


class VoxelSample:
    """Voxels drawn from all that come, each with the same chance, in bounded memory.

    Each voxel gets a random number, and those with the least are kept.

    Parameters
    ----------
    outputs : probabilities of a voxel
    most : voxels to keep; where no more come it is all of them

    Attributes
    ----------
    seen : how many came
    chances : float32 (K, N) probabilities
    truth : (N,) which output is right
    """

    def __init__(self, outputs: int, most: int) -> None:
        self.seen = 0
        self.chances = np.empty((outputs, 0), np.float32)
        self.truth = np.empty(0, np.intp)
        self._most, self._random = most, np.random.default_rng(0)
        self._draws = np.empty(0)

    def add(self, chances: Floats, truth: NDArray[np.integer[Any]]) -> None:
        """Take voxels in, (K, N) and (N,)."""
        self.seen += truth.size
        draws = self._random.random(truth.size)
        if self._draws.size == self._most:  # most of what comes late need not be looked at
            low = draws < self._draws.max(initial=0)
            chances, truth, draws = chances[:, low], truth[low], draws[low]
        draws = np.concatenate([self._draws, draws])
        kept: NDArray[Any] = np.arange(draws.size)
        if draws.size > self._most:
            kept = np.argpartition(draws, self._most)[: self._most]
        self._draws = draws[kept]
        self.chances = np.concatenate([self.chances, chances], axis=1)[:, kept]
        self.truth = np.concatenate([self.truth, truth])[kept]


class Reliability:
    """Confidences against how often they were right, gathered part by part."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, BINS))  # voxels, confidence, right

    def add(self, confidence: Floats, right: NDArray[np.bool_]) -> None:
        """Take voxels in, (N,) each."""
        bins = np.clip((confidence * BINS).astype(np.intp), 0, BINS - 1)
        for row, weights in zip(self._sums, (None, confidence, right), strict=True):
            row += np.bincount(bins, weights, BINS)

    @property
    def voxels(self) -> int:
        """How many were taken in."""
        return int(self._sums[0].sum())

    @property
    def error(self) -> float | None:
        """Expected calibration error: mean distance of confidence and accuracy over equal bins."""
        count, confidence, right = self._sums
        return float(np.abs(confidence - right).sum() / count.sum()) if self.voxels else None


class RiskCoverage:
    """Uncertainty against errors, gathered part by part."""

    def __init__(self) -> None:
        self._count, self._wrong = np.zeros(LEVELS), np.zeros(LEVELS)

    def add(self, uncertainty: NDArray[np.uint8], wrong: NDArray[np.bool_]) -> None:
        """Take voxels in, (N,) each."""
        self._count += np.bincount(uncertainty, minlength=LEVELS)
        self._wrong += np.bincount(uncertainty, wrong, LEVELS)

    @property
    def risk(self) -> float | None:
        """Share of errors among all: the area that an uncertainty which knows nothing has."""
        total = self._count.sum()
        return float(self._wrong.sum() / total) if total else None

    @property
    def area(self) -> float | None:
        """Area under the curve; voxels of one level come in any order, so their errors are even."""
        return self._area(self._count, self._wrong)

    @property
    def least_area(self) -> float | None:
        """Area that would be reached if every error were less certain than every right answer."""
        wrong = self._wrong.sum()
        right = self._count.sum() - wrong
        return self._area(np.array([right, wrong]), np.array([0.0, wrong]))

    @staticmethod
    def _area(count: Floats, wrong: Floats) -> float | None:
        """Sum of the risk over coverages 1/n, 2/n, ..., n/n, over n; levels from certain up.

        Within a level the k-th voxel brings the share wrong/count of an error, so the risk is
        (errors before + k * share) / (voxels before + k): a constant plus a sum of reciprocals.
        """
        total = count.sum()
        if not total:
            return None
        before = np.concatenate([[0.0], np.cumsum(count)])[:-1]
        errors = np.concatenate([[0.0], np.cumsum(wrong)])[:-1]
        filled = count > 0
        before, errors, count, wrong = (a[filled] for a in (before, errors, count, wrong))
        share = wrong / count
        reciprocals = _harmonic(before + count) - _harmonic(before)
        return float((share * count + (errors - share * before) * reciprocals).sum() / total)


def _harmonic(numbers: Floats) -> Floats:
    """1 + 1/2 + ... + 1/n for each n, 0 for 0."""
    harmonic: Floats = special.digamma(numbers + 1.0) + np.euler_gamma
    return harmonic
