"""Model grid -> source grid: finished planes of scores become slabs of labels."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from napari_asmlp.calibration import tempered
from napari_asmlp.preprocess.interpolation import lerp, neighbours
from napari_asmlp.volume import smallest_unsigned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_asmlp.grid import Region
    from napari_asmlp.model import Card
    from napari_asmlp.preprocess.interpolation import Neighbours
    from napari_asmlp.preprocess.placement import Placement
    from napari_asmlp.volume import Labels

    _Turn = Callable[[NDArray[Any]], NDArray[Any]]

# Numbers: of a slab of labels to decide, of a slab of probabilities to return, and of each output
# to work on at a time, which stays in the cache.
_DECIDED_AT_ONCE, _RETURNED_AT_ONCE, _WORKED_AT_ONCE = 1 << 28, 1 << 24, 1 << 16


@dataclass(frozen=True)
class Slab:
    """Finished planes of the source grid, in the axis order of the file.

    Attributes
    ----------
    region : Region
        Where they lie on the source grid.
    labels : unsigned array (i, j, k)
        Label values.
    probabilities : float32 array (i, j, k, K), or None
        Of each output of the network (the first is background under softmax), if asked for.
    uncertainty : uint8 array (i, j, k) or (i, j, k, 2), or None
        If asked for: the entropy of the probabilities, 255 where all outputs are alike; then, with
        mirrored windows, how much of it is disagreement between these.
    """

    region: Region
    labels: Labels
    probabilities: NDArray[np.float32] | None = None
    uncertainty: NDArray[np.uint8] | None = None


class SourceSlabs:
    """Turn finished planes of scores on the model grid into slabs of labels on the source grid.

    Planes come in order along ``placement.slab_axis``, upwards or downwards. Where the model grid
    has other voxels than the source, probabilities are interpolated linearly, edges aligned, and
    decided afterwards; the planes that coming ones need are kept, and no others.

    Parameters
    ----------
    placement : from `place`
    card : of the model, for its activation and label table
    probabilities, uncertainty : whether slabs carry them

    Attributes
    ----------
    seconds : spent so far
    """

    def __init__(
        self,
        placement: Placement,
        card: Card,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
    ) -> None:
        self.seconds = 0.0
        self._placement = placement
        self._axis = placement.slab_axis
        self._softmax, self._regions = card.activation == "softmax", bool(card.regions)
        # It changes what is reported and no label, so it comes after these are decided.
        self._temperature = card.temperature if self._softmax else 1.0
        values = [0] * self._softmax + [entry.value for entry in card.labels]
        self._values = np.array(values, smallest_unsigned(max(values)))
        self._with_probabilities, self._with_uncertainty = probabilities, uncertainty
        source, model = placement.canonical_grid.shape, placement.model_grid.shape
        self._axes = [neighbours(*lengths) for lengths in zip(source, model, strict=True)]
        # First along axes that shrink. The order must not follow from how the file is turned:
        # another order rounds differently, and equal voxels would get other labels.
        self._order = sorted(range(3), key=lambda axis: source[axis] / model[axis])
        self._pending = range(source[self._axis])
        self._kept: _Planes | None = None

    def add(self, first: int, scores: NDArray[np.float32]) -> Iterator[Slab]:
        """Take finished planes and give the slabs of the source that they complete, if any.

        Parameters
        ----------
        first : int
            Lowest of the planes, along ``placement.slab_axis`` of the model grid.
        scores : float32 array (K, X, Y, Z), or (K + 1, X, Y, Z)
            Logits of whole planes of the model grid; then the mean entropy of mirrored windows.
            Not changed, nor kept when the last slab is out.

        Yields
        ------
        Slab
            In the order of the file.
        """
        started = time.monotonic()
        given = [_Planes(first, scores, 1 + self._axis)]
        if self._kept is not None:
            given.append(self._kept)
        given.sort(key=lambda planes: planes.first)
        held = range(given[0].first, given[-1].stop)
        for planes in self._split(self._completed(held), len(scores)):
            slab = self._slab(planes, given)
            self.seconds += time.monotonic() - started
            yield slab
            started = time.monotonic()
        self._kept = self._needed_later(held, given)
        self.seconds += time.monotonic() - started

    def skip(self, finished: int) -> int:
        """Leave out planes that are finished already.

        Parameters
        ----------
        finished : int
            Planes of the region, the first ones in the order of the file, but not all.

        Returns
        -------
        int
            The first plane of the model grid, in the order of the walk, that the others need.
        """
        low, high, _ = self._axes[self._axis]
        if self._placement.slab_reversed:
            self._pending = self._pending[: len(self._pending) - finished]
            return int(high[self._pending[-1]])
        self._pending = self._pending[finished:]
        return int(low[self._pending[0]])

    def _completed(self, held: range) -> range:
        """Return the pending source planes whose neighbours are here; they pend no more."""
        low, high, _ = self._axes[self._axis]
        whole = [p for p in self._pending if low[p] in held and high[p] in held]
        if not whole:
            return range(0)
        upwards = whole[0] == self._pending.start
        self._pending = self._pending[len(whole) :] if upwards else self._pending[: -len(whole)]
        return range(whole[0], whole[-1] + 1)

    def _needed_later(self, held: range, given: Sequence[_Planes]) -> _Planes | None:
        """Return a copy of the planes that pending ones of the source need."""
        if not self._pending:
            return None
        low, high, _ = self._axes[self._axis]
        start = max(held.start, int(low[self._pending[0]]))
        stop = min(held.stop, int(high[self._pending[-1]]) + 1)
        if start >= stop:
            return None
        box = [slice(0, n) for n in self._placement.model_grid.shape]
        box[self._axis] = slice(start, stop)
        return _Planes(start, _taken(given, box).copy(), 1 + self._axis)

    def _split(self, planes: range, channels: int) -> Iterator[range]:
        """Split source planes into slabs, in the order of the file."""
        shape = self._placement.canonical_grid.shape
        most = _RETURNED_AT_ONCE if self._with_probabilities else _DECIDED_AT_ONCE
        step = max(1, most * shape[self._axis] // (channels * math.prod(shape)))
        starts = range(planes.start, planes.stop, step)
        for start in reversed(starts) if self._placement.slab_reversed else starts:
            yield range(start, min(start + step, planes.stop))

    def _slab(self, planes: range, given: Sequence[_Planes]) -> Slab:
        """Work through canonical planes, a few rows at a time, and turn them as the file is."""
        across = 1 if self._axis == 0 else 0
        blocks = [self._block(box, given) for box in self._boxes(planes, across)]
        joined = [np.concatenate(part, axis=across - 3) for part in zip(*blocks, strict=True)]
        region = self._placement.source_region(planes)
        return self._made(region, joined, self._placement.orientation.undo)

    def _made(self, region: Region, found: Sequence[NDArray[Any]], undo: _Turn) -> Slab:
        """Return a slab of what `_answers` gives, turned as the file is."""
        last = (part if part.ndim == 3 else np.moveaxis(part, 0, -1) for part in found)
        labels, *maps = (np.ascontiguousarray(undo(part)) for part in last)
        probabilities = maps.pop(0) if self._with_probabilities else None
        uncertainty = maps.pop(0) if self._with_uncertainty else None
        if uncertainty is not None and uncertainty.shape[-1] == 1:
            uncertainty = uncertainty[..., 0]
        return Slab(region, labels, probabilities, uncertainty)

    def _boxes(self, planes: range, across: int) -> Iterator[list[range]]:
        """Split canonical planes into rows across them, small enough for the cache."""
        box = [range(n) for n in self._placement.canonical_grid.shape]
        box[self._axis], length = planes, len(box[across])
        rows = max(1, _WORKED_AT_ONCE * length // math.prod(map(len, box)))
        for start in range(0, length, rows):
            box[across] = range(start, min(start + rows, length))
            yield [*box]

    def _block(self, box: Sequence[range], given: Sequence[_Planes]) -> list[NDArray[Any]]:
        """Return of a box of the canonical grid the labels, and what else is asked for.

        Labels (X, Y, Z), then probabilities (K, X, Y, Z), then uncertainty (1 or 2, X, Y, Z).
        """
        cuts = [_cut_around(*pair) for pair in zip(self._axes, box, strict=True)]
        scores = _taken(given, [needed for needed, _ in cuts])
        if self._placement.resamples:
            return self._answers(
                np.stack([self._interpolated(part, cuts) for part in self._activated(scores)])
            )
        logits = scores[: len(self._values)]
        labels = self._decided(logits, above=0)
        if not (self._with_probabilities or self._with_uncertainty):
            return [labels]
        return [labels, *self._maps(self._activated(scores))]

    def _answers(self, chances: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Return labels, and what else is asked for, that follow from probabilities."""
        outputs = chances[: len(self._values)]
        labels = self._decided(outputs, above=0.5)
        return [labels, *self._maps(chances)]

    def _maps(self, chances: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Return what is asked for beside the labels: (K, X, Y, Z), then (1 or 2, X, Y, Z)."""
        found: list[NDArray[Any]] = []
        count = len(self._values)
        if self._with_probabilities:
            found.append(tempered(chances[:count], self._temperature))
        if self._with_uncertainty:
            found.append(
                uncertainty_of(chances, count, softmax=self._softmax, temperature=self._temperature)
            )
        return found

    def _decided(self, scores: NDArray[np.float32], above: float) -> Labels:
        """Choose a label for each voxel by its scores (K, X, Y, Z)."""
        if self._regions:
            return written_over(scores, self._values, above=above)
        return decide(scores, self._values, softmax=self._softmax, above=above)

    def _activated(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits to probabilities, (K, X, Y, Z); what comes after them stays."""
        chances = np.array(scores, order="C")
        outputs = chances[: len(self._values)]
        if self._softmax:
            outputs -= outputs.max(axis=0)
            np.exp(outputs, out=outputs)
            outputs /= outputs.sum(axis=0)
        else:  # the sigmoid; this form cannot overflow
            outputs[...] = 0.5 * (1 + np.tanh(0.5 * outputs))
        return chances

    def _interpolated(
        self, chances: NDArray[np.float32], cuts: Sequence[tuple[slice, Neighbours]]
    ) -> NDArray[np.float32]:
        """Interpolate the probabilities of one output, (X, Y, Z)."""
        for axis in self._order:
            chances = lerp(chances, axis, cuts[axis][1])
        return chances


def _cut_around(axis: Neighbours, wanted: range) -> tuple[slice, Neighbours]:
    """Return the planes of the model grid that some of the source need, and where in them."""
    mine = slice(wanted.start, wanted.stop)
    low, high = axis[0][mine], axis[1][mine]
    first = int(low[0])
    return slice(first, int(high[-1]) + 1), (low - first, high - first, axis[2][mine])


@dataclass(frozen=True)
class _Planes:
    """Scores (K, X, Y, Z) of planes of the model grid from `first` on, along an axis of them."""

    first: int
    scores: NDArray[np.float32]
    axis: int

    @property
    def stop(self) -> int:
        """One plane beyond the last."""
        return self.first + int(self.scores.shape[self.axis])

    def taken(self, box: Sequence[slice]) -> NDArray[np.float32]:
        """Return what of a box of the model grid is here."""
        index = [slice(None), *box]
        wanted = index[self.axis]
        start, stop = max(wanted.start - self.first, 0), max(wanted.stop - self.first, 0)
        index[self.axis] = slice(start, stop)
        return self.scores[tuple(index)]


def _taken(given: Sequence[_Planes], box: Sequence[slice]) -> NDArray[np.float32]:
    """Return the scores of a box of the model grid from planes side by side; a view if it can."""
    parts = [part for part in (planes.taken(box) for planes in given) if part.size]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=given[0].axis)


def decide(scores: NDArray[np.float32], values: Labels, *, softmax: bool, above: float) -> Labels:
    """Choose a label for each voxel; of equal scores the first output wins.

    Parameters
    ----------
    scores : float32 array (K, X, Y, Z)
        Logits or probabilities.
    values : unsigned array (K,)
        Label value of each output; background is the first one under softmax, and under
        sigmoid (``softmax=False``) wins unless a score is `above` 0 (logits) or 0.5.
    """
    # Output by output, without masks or index arrays: numpy's argmax over the first axis copies
    # everything, and what is masked is not vectorised.
    best = np.array(scores[0], order="C")
    score, better = np.empty_like(best), np.empty(best.shape, bool)
    chosen = np.zeros(best.shape, smallest_unsigned(len(values)))
    for n in range(1, len(values)):
        np.copyto(score, scores[n])
        np.greater(score, best, out=better)
        np.maximum(score, best, out=best)
        # Outputs are gone through upwards, so that the last one that was better is the largest.
        np.maximum(chosen, better.view(np.uint8) * chosen.dtype.type(n), out=chosen)
    labels: Labels = values[chosen]
    if not softmax:
        labels[best <= above] = 0
    return labels


def written_over(scores: NDArray[np.float32], values: Labels, *, above: float) -> Labels:
    """Write each region where its score is high enough, a later one over an earlier.

    Parameters
    ----------
    scores : float32 array (K, X, Y, Z)
        Logits or probabilities.
    values : unsigned array (K,)
        Label value of each region.
    """
    labels: Labels = np.zeros(scores.shape[1:], values.dtype)
    for region, value in zip(scores, values, strict=True):
        labels[region > above] = value
    return labels


def uncertainty_of(
    chances: NDArray[np.float32], outputs: int, *, softmax: bool, temperature: float = 1.0
) -> NDArray[np.uint8]:
    """Return the entropy of probabilities, and how much of it is disagreement.

    Parameters
    ----------
    chances : float32 array (K, X, Y, Z), or (K + 1, X, Y, Z)
        Probabilities; then the mean entropy of mirrored windows, as a share of the largest.
    outputs : int
        K.
    temperature : float
        Of the entropy that is reported; disagreement is of the probabilities as they are.

    Returns
    -------
    uint8 array (1 or 2, X, Y, Z)
        255 is the largest entropy there can be. Disagreement is the entropy of the mean less the
        mean of the entropies (mutual information; Houlsby et al., arXiv 1112.5745).
    """
    shares = chances[:outputs]
    entropy = reported = _entropy(shares, softmax=softmax)
    if temperature != 1:
        reported = _entropy(tempered(shares, temperature), softmax=softmax)
    found = [reported, *(entropy - mean for mean in chances[outputs:])]
    levels: NDArray[np.uint8] = np.rint(255 * np.stack(found).clip(0, 1)).astype(np.uint8)
    return levels


def _entropy(shares: NDArray[np.float32], *, softmax: bool) -> NDArray[np.float32]:
    """Return it as a share of the largest."""
    entropy: NDArray[np.float32]
    if softmax:
        entropy = special.entr(shares).sum(axis=0) / np.log(max(2, len(shares)))
    else:
        entropy = (special.entr(shares) + special.entr(1 - shares)).mean(axis=0) / np.log(2)
    return entropy
