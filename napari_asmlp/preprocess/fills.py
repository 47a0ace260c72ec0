"""Fill values: a constant, far from all other values, that stands for no measurement.

Scanners and converters write one where they measured nothing (-3024 outside the field of view of
a CT), and a damaged slice or a metal implant can look the same. Statistics that count such voxels
describe the constant instead of the anatomy. The rule, for each channel of the volume or region:

1. A fill value is the lowest or the highest finite value of the channel.
2. At least 1 in 1000 voxels hold it, and together with other fill values fewer than half of them.
   Rarer values are what the percentiles of a model clip. What most voxels hold is background.
3. The gap to the next value is larger than the range of the other values: from that next value to
   the percentile at the other end that the model clips to.
4. It is not 0. Masked and padded volumes hold 0 outside, models learn from such volumes, and 0 is
   their ordinary background.

Each fill value becomes the ordinary value next to it, before anything is interpolated, and its
voxels are left out of the statistics. A volume without one is treated bit for bit as if this module
did not exist. A volume of two values has no other values with a range, and so no fill value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_asmlp.preprocess.intensities import fill_infinite, nothing_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pair = tuple[float, float]

_LEAST_SHARE = 1 / 1000  # of the voxels
_LARGEST_SHARE = 1 / 2  # of the voxels, of all fill values together
_MOST_FILLS = 4  # of a channel; each takes a pass over the volume


@dataclass(frozen=True)
class Fill:
    """A fill value of a channel.

    Attributes
    ----------
    channel : counted from 0
    value : as in the file
    share : of the voxels looked at that hold it
    """

    channel: int
    value: float
    share: float

    def describe(self) -> str:
        """Return in a few words, for messages, what was found and what became of it."""
        return (
            f"{100 * self.share:.3g} % of the voxels are {self.value:.12g}, far from all others:"
            " taken as a fill value and left out of the statistics"
        )


class Cleaner:
    """Finds the fill values of a channel and puts ordinary values in their place.

    Values come piece by piece (`note`). After all of them `learn` says whether something was found
    that changes what `clean` gives, so that another pass is needed.

    Parameters
    ----------
    channel : counted from 0
    name : of the volume, for messages
    counts_nan : whether NaN and infinities count in the statistics, as the smallest value

    Attributes
    ----------
    fills : found so far
    lowest : ordinary value; NaN and infinities become it
    low, high : the range of ordinary values; infinite where there is no fill value
    """

    def __init__(self, channel: int, name: str, *, counts_nan: bool = True) -> None:
        self.fills: list[Fill] = []
        self.low, self.high = -math.inf, math.inf
        self.lowest = 0.0
        self._channel, self._name, self._counts_nan = channel, name, counts_nan
        self._seen = _Seen()

    @property
    def changes_nothing(self) -> bool:
        """Whether finite values stay as they are."""
        return not self.fills

    def note(self, values: NDArray[Any]) -> None:
        """Take values in, of any shape and real dtype; each voxel once a pass."""
        self._seen.add(values, self.low, self.high)

    def clean(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return values without what stands for nothing, and where they do not count.

        Whole numbers that need no change are returned as they are, others as float64. The mask is
        None where all voxels count.
        """
        if values.dtype.kind != "f" and self.changes_nothing:
            return values, None
        cleaned = values.astype(np.float64)
        left_out = None if self._counts_nan else ~np.isfinite(cleaned)
        fill_infinite(cleaned, self.lowest)
        if self.changes_nothing:
            return cleaned, left_out
        beyond = (cleaned < self.low) | (cleaned > self.high)
        np.clip(cleaned, self.low, self.high, out=cleaned)
        return cleaned, beyond if left_out is None else beyond | left_out

    def learn(self, percentiles: Callable[[], Pair]) -> bool:
        """Take in what a pass over all values found; tell whether it takes another one.

        Parameters
        ----------
        percentiles : returns those that the model clips to, over the values of this pass

        Raises
        ------
        VolumeError
            If no value is finite.
        """
        seen, self._seen = self._seen, _Seen()
        if seen.lowest.value is None:
            raise nothing_finite(self._name)
        fills = seen.fills(percentiles) if len(self.fills) < _MOST_FILLS else []
        lowest = float(seen.lowest.value)
        for end in fills:
            self.fills.append(Fill(self._channel, float(end.value), end.count / seen.count))
            if end is seen.lowest:
                self.low = lowest = float(end.next)
            else:
                self.high = float(end.next)
        again = bool(fills) or (seen.infinite and lowest != self.lowest)
        self.lowest = lowest
        return again


def cleaner_of(
    values: NDArray[Any], clip: Pair | None, channel: int = 0, name: str = "volume"
) -> Cleaner:
    """Return what cleans a channel that is in memory.

    Parameters
    ----------
    values : of any shape and real dtype
    clip : percentiles that the model clips to, or None
    channel, name : as of `Cleaner`

    Raises
    ------
    VolumeError
        If no value is finite.
    """
    cleaner = Cleaner(channel, name)

    def percentiles() -> Pair:
        cleaned, _ = cleaner.clean(values)
        if cleaned.dtype.kind == "b":
            cleaned = cleaned.view(np.uint8)
        low, high = np.percentile(cleaned, clip or (0, 100)).tolist()
        return low, high

    again = True
    while again:
        cleaner.note(values)
        again = cleaner.learn(percentiles)
    return cleaner


class _End:
    """One end of the values of a channel: the most extreme one, how many hold it, and the next."""

    def __init__(self, *, highest: bool) -> None:
        self.value: Any = None
        self.next: Any = None
        self.count = 0
        self._of_array: Callable[[NDArray[Any]], Any] = np.max if highest else np.min
        self._of_few: Callable[..., Any] = max if highest else min

    def add(self, values: NDArray[Any]) -> None:
        """Take finite values in, at least one."""
        best = self._of_array(values).item()
        extreme = best if self.value is None else self._of_few(best, self.value)
        near = [] if self.next is None else [self.next]
        if self.value is not None and self.value != extreme:
            near.append(self.value)
            self.count = 0
        if best != extreme:
            near.append(best)
        elif best:  # 0 is no fill value: how many hold it does not matter
            others = values[values != best]
            self.count += values.size - others.size
            if others.size:
                near.append(self._of_array(others).item())
        self.value, self.next = extreme, self._of_few(near, default=None)


class _Seen:
    """What a pass over the values of a channel has seen."""

    def __init__(self) -> None:
        self.lowest, self.highest = _End(highest=False), _End(highest=True)
        self.count = self._beyond = 0
        self.infinite = False

    def add(self, values: NDArray[Any], low: float, high: float) -> None:
        flat = values.ravel(order="K")
        if flat.dtype.kind == "b":
            flat = flat.view(np.uint8)
        self.count += flat.size
        if flat.dtype.kind == "f":
            finite = np.isfinite(flat)
            if not finite.all():
                flat, self.infinite = flat[finite], True
        if math.isfinite(low) or math.isfinite(high):
            within = (flat >= low) & (flat <= high)
            self._beyond += flat.size - int(np.count_nonzero(within))
            flat = flat[within]
        if flat.size:
            self.lowest.add(flat)
            self.highest.add(flat)

    def fills(self, percentiles: Callable[[], Pair]) -> list[_End]:
        """Return which ends are fill values, by the rule of this module."""
        low, high = self.lowest, self.highest
        plateaus = self._is_plateau(low), self._is_plateau(high)
        if not any(plateaus):
            return []
        bottom, top = percentiles()
        if all(plateaus):  # each must not make the other look near
            between = high.next - low.next
            if 0 < between < low.next - low.value:
                bottom = max(bottom, low.next)
            if 0 < between < high.value - high.next:
                top = min(top, high.next)
        found = []
        if plateaus[0] and low.next - low.value > top - low.next > 0:
            found.append(low)
        if plateaus[1] and high.value - high.next > high.next - bottom > 0:
            found.append(high)
        return found

    def _is_plateau(self, end: _End) -> bool:
        """Tell whether a constant is held by so many voxels as a fill value is (rules 2 and 4)."""
        return (
            bool(end.value)
            and end.next is not None
            and end.count >= _LEAST_SHARE * self.count
            and end.count + self._beyond < _LARGEST_SHARE * self.count
        )
