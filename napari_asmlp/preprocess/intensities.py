"""Clipping and standardising intensities, with statistics of values that come piece by piece.

Percentiles are exact: a `Survey` keeps the values beyond them, which are few, and sums up the
others. The result does not depend on the order of the values: mean and deviation are rounded, to
far below float32, so that sums which differ in their last digits give the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_asmlp.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_asmlp.model import Preprocessing

_ROUNDING = 2.0**32


@dataclass(frozen=True)
class Scaling:
    """What is done to the intensities of a channel.

    Attributes
    ----------
    clip : smallest and largest value, or None
    offset, span : what is taken off first, and divided by, to reach 0..1: squares of large numbers
        (1e200) would overflow, and small differences on a large offset lose their digits
    mean, deviation : of the values after that
    """

    clip: tuple[float, float] | None
    offset: float = 0.0
    span: float = 1.0
    mean: float = 0.0
    deviation: float = 1.0

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale values in place."""
        if self.clip is not None:
            np.clip(values, *self.clip, out=values)
        if self != Scaling(self.clip):
            values -= self.offset
            values /= self.span
            values -= self.mean
            values /= self.deviation
        return values


class Survey:
    """What there is to know of the intensities of a channel.

    Parameters
    ----------
    count : of all values that will come
    preprocessing : its clip and normalisation
    """

    def __init__(self, count: int, preprocessing: Preprocessing) -> None:
        low, high = preprocessing.clip or (0.0, 100.0)
        self._preprocessing = preprocessing
        self._ranks = (count - 1) * (low / 100), (count - 1) * (high / 100)
        self._below = int(self._ranks[0]) + 2  # values kept: up to the one above the percentile
        self._above = count - int(self._ranks[1])
        self._low: NDArray[Any] | None = None
        self._high: NDArray[Any] | None = None
        self._between = _Moments()

    def add(self, values: NDArray[Any]) -> None:
        """Take finite values, of any shape and always of one dtype."""
        flat = values.ravel(order="K")
        kept = [part for part in (self._low, self._high) if part is not None]
        merged = np.concatenate([*kept, flat])
        first, stop = self._below, len(merged) - self._above
        if first >= stop:
            self._low, self._high = merged, None
            return
        merged.partition((first, stop))
        self._low, self._high = merged[:first].copy(), merged[stop:].copy()
        self._between.add(merged[first:stop])

    def scaling(self, name: str) -> Scaling:
        """Return what follows from all values; `name` is of the volume, for messages.

        Raises
        ------
        VolumeError
            If all are equal, and to be standardised.
        """
        low, high = self._percentiles()
        wants_clip = self._preprocessing.clip is not None
        # Else the volume is sparse, and clipping would leave nothing of it.
        clip = (low, high) if wants_clip and low < high else None
        if self._preprocessing.normalisation == "none":
            return Scaling(clip)
        tails = self._tails()
        offset, top = clip or (float(tails.min()), float(tails.max()))
        if offset == top:
            raise VolumeError(f"{name}: every voxel is {low:g}; there is nothing to see in it")
        self._between.add(tails if clip is None else tails.clip(*clip))
        span = top - offset
        deviation = _rounded(self._between.deviation / span)
        mean = (self._between.mean - offset) / span
        mean = round(mean / deviation * _ROUNDING) / _ROUNDING * deviation
        return Scaling(clip, offset, span, mean, deviation)

    def _tails(self) -> NDArray[np.float64]:
        parts = [part for part in (self._low, self._high) if part is not None]
        return np.concatenate(parts).astype(np.float64)

    def _percentiles(self) -> tuple[float, float]:
        tails = np.sort(self._tails())
        low, high = self._ranks
        return _at(tails, low), _at(tails, high - self._between.count)


def scalings(surveys: Sequence[Survey], preprocessing: Preprocessing, name: str) -> list[Scaling]:
    """Return how each channel is scaled: as the model has it for all volumes, or as it follows."""
    fixed = preprocessing.fixed or (None,) * len(surveys)
    return [
        survey.scaling(name)
        if one is None
        else Scaling((one.low, one.high), mean=one.mean, deviation=one.deviation)
        for survey, one in zip(surveys, fixed, strict=True)
    ]


class _Moments:
    """Number, mean and deviation of values, which neither overflow nor cancel."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._norm = 0.0  # root of the summed squares of differences from the mean

    @property
    def deviation(self) -> float:
        return self._norm / math.sqrt(self.count)

    def add(self, values: NDArray[Any]) -> None:
        """Take values of any shape in; the parallel form of Chan, Golub and LeVeque (1979)."""
        apart = values.astype(np.float64)
        count, first = apart.size, float(apart.flat[0])
        apart -= first
        shift = float(apart.mean())
        apart -= shift
        largest = max(float(apart.max()), -float(apart.min())) or 1.0
        apart /= largest
        norm = largest * math.sqrt(float(np.vdot(apart, apart)))
        total, difference = self.count + count, first + shift - self.mean
        self._norm = math.hypot(
            self._norm, norm, difference * math.sqrt(self.count * count / total)
        )
        self.mean += difference * (count / total)
        self.count = total


def normalise(
    channel: NDArray[Any], preprocessing: Preprocessing, name: str = "volume"
) -> NDArray[np.float32]:
    """Clip and standardise the intensities of one channel, in training and inference alike.

    The result does not depend on the unit of the intensities: to rounding, ``a * channel + b``
    with a > 0 gives the same. NaN and infinities become the smallest finite value.

    Parameters
    ----------
    channel : array (X, Y, Z)
        Of any real type; not changed. Returned as C-contiguous float32.
    preprocessing : Preprocessing
        Its clip and normalisation, with statistics over all voxels.
    name : str
        Of the volume, for messages.

    Raises
    ------
    VolumeError
        If no value is finite, or the channel is constant and to be standardised.
    """
    values = np.array(channel, dtype=np.float64, order="C")
    lowest = lowest_finite(values)
    if lowest is None:
        raise nothing_finite(name)
    fill_infinite(values, lowest)
    survey = Survey(values.size, preprocessing)
    survey.add(values)
    return survey.scaling(name).apply(values).astype(np.float32)


def lowest_finite(values: NDArray[Any]) -> float | None:
    """Return the smallest finite value; None where there is none."""
    if values.dtype.kind != "f":  # whole numbers are finite, and infinity is none of them
        return float(values.min()) if values.size else None
    lowest = np.min(values, where=np.isfinite(values), initial=np.inf)
    return None if np.isinf(lowest) else float(lowest)


def fill_infinite(values: NDArray[np.float64], lowest: float) -> bool:
    """Put a value in place of NaN and infinities; tell whether there were any."""
    finite = np.isfinite(values)
    if finite.all():
        return False
    values[~finite] = lowest
    return True


def nothing_finite(name: str) -> VolumeError:
    """Return what to tell of a volume of nothing but NaN."""
    return VolumeError(f"{name}: no voxel is finite; there is nothing to see in it")


def _at(ordered: NDArray[np.float64], rank: float) -> float:
    """Interpolate between ordered values, in the very steps of `numpy.percentile`."""
    below = math.floor(rank)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    part = rank - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def _rounded(value: float) -> float:
    """Round to 32 bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * _ROUNDING) / _ROUNDING, exponent)
