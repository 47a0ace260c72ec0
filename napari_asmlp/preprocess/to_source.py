"""Model grid -> source grid: finished planes of scores become slabs of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from napari_asmlp.grid import Region
from napari_asmlp.preprocess.interpolation import lerp, neighbours
from napari_asmlp.volume import smallest_unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.model import Card
    from napari_asmlp.preprocess.placement import Placement
    from napari_asmlp.volume import Labels

_SCORES_AT_ONCE = 1 << 24  # numbers interpolated at a time


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
    """

    def __init__(
        self,
        placement: Placement,
        card: Card,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
    ) -> None:
        self._placement = placement
        self._axis = placement.slab_axis
        self._softmax = card.activation == "softmax"
        values = [0] * self._softmax + [entry.value for entry in card.labels]
        self._values = np.array(values, smallest_unsigned(max(values)))
        self._with_probabilities, self._with_uncertainty = probabilities, uncertainty
        source, model = placement.canonical_grid.shape, placement.model_grid.shape
        self._axes = [neighbours(*lengths) for lengths in zip(source, model, strict=True)]
        self._pending = range(source[self._axis])
        self._kept: dict[int, NDArray[np.float32]] = {}  # planes of the model grid, (K, n, m)

    def add(self, first: int, scores: NDArray[np.float32]) -> Slab | None:
        """Take finished planes and give those of the source that they complete, if any.

        Parameters
        ----------
        first : int
            Lowest of the planes, along ``placement.slab_axis`` of the model grid.
        scores : float32 array (K, X, Y, Z), or (K + 1, X, Y, Z)
            Logits of whole planes of the model grid; then the mean entropy of mirrored windows.
        """
        thickness = scores.shape[1 + self._axis]
        if not self._placement.resamples:
            return self._unresampled(range(first, first + thickness), scores)
        chances = self._activated(scores)
        for n in range(thickness):
            self._kept[first + n] = np.take(chances, n, axis=1 + self._axis)
        planes = self._completed()
        if not planes:
            return None
        slabs = []
        for part in self._split(planes, len(scores)):
            chances = self._interpolated(part)
            slabs.append(self._slab(part, self._decided(chances, above=0.5), chances))
        coming = {int(n) for p in self._pending for n in self._around(p)}
        self._kept = {n: plane for n, plane in self._kept.items() if n in coming}
        return _joined(slabs)

    def _unresampled(self, planes: range, scores: NDArray[np.float32]) -> Slab | None:
        """Decide planes of the model grid that are those of the source."""
        new = range(max(planes.start, self._pending.start), min(planes.stop, self._pending.stop))
        if not new:
            return None
        index = [slice(None)] * 4
        index[1 + self._axis] = slice(new.start - planes.start, new.stop - planes.start)
        scores = scores[tuple(index)]
        wanted = self._with_probabilities or self._with_uncertainty
        chances = self._activated(scores) if wanted else None
        return self._slab(new, self._decided(scores, above=0), chances)

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
        if self._placement.slab_reversed:
            self._pending = self._pending[: len(self._pending) - finished]
            plane, side = self._pending[-1], 1
        else:
            self._pending = self._pending[finished:]
            plane, side = self._pending[0], 0
        return self._around(plane)[side]

    def _around(self, plane: int) -> tuple[int, int]:
        low, high, _ = self._axes[self._axis]
        return int(low[plane]), int(high[plane])

    def _decided(self, scores: NDArray[np.float32], *, above: float) -> Labels:
        scores = scores[: len(self._values)]
        return decide(scores, self._values, softmax=self._softmax, above=above)

    def _activated(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits to probabilities, (K, X, Y, Z); what comes after them stays."""
        chances = scores.copy()
        outputs = chances[: len(self._values)]
        if self._softmax:
            outputs -= outputs.max(axis=0)
            np.exp(outputs, out=outputs)
            outputs /= outputs.sum(axis=0)
        else:  # the sigmoid; this form cannot overflow
            outputs[...] = 0.5 * (1 + np.tanh(0.5 * outputs))
        return chances

    def _completed(self) -> range:
        """Return the pending source planes whose neighbours are here; they pend no more."""
        whole = [p for p in self._pending if all(n in self._kept for n in self._around(p))]
        if not whole:
            return range(0)
        upwards = whole[0] == self._pending.start
        self._pending = self._pending[len(whole) :] if upwards else self._pending[: -len(whole)]
        return range(whole[0], whole[-1] + 1)

    def _split(self, planes: range, channels: int) -> list[range]:
        """Split source planes into parts that are small in memory while they are interpolated."""
        shape = self._placement.canonical_grid.shape
        plane = channels * int(np.prod(shape)) // shape[self._axis]
        step = max(1, _SCORES_AT_ONCE // plane)
        return [planes[n : n + step] for n in range(0, len(planes), step)]

    def _interpolated(self, planes: range) -> NDArray[np.float32]:
        """Return probabilities of source planes, (K, X, Y, Z)."""
        low, high, weight = self._axes[self._axis]
        mine = slice(planes.start, planes.stop)
        needed = np.union1d(low[mine], high[mine])
        chances = np.stack([self._kept[n] for n in needed.tolist()], axis=1 + self._axis)
        near, far = needed.searchsorted(low[mine]), needed.searchsorted(high[mine])
        axes = [*self._axes]
        axes[self._axis] = (near, far, weight[mine])
        # Always axis 0, 1, 2, whichever the planes lie along: another order rounds differently,
        # and the same voxels stored in another orientation would get other labels.
        for axis, around in enumerate(axes, start=1):
            chances = lerp(chances, axis, around)
        return chances

    def _slab(self, planes: range, labels: Labels, chances: NDArray[np.float32] | None) -> Slab:
        """Turn canonical planes back into the axis order of the file."""
        undo = self._placement.orientation.undo
        probabilities = uncertainty = None
        if chances is not None and self._with_uncertainty:
            found = uncertainty_of(chances, len(self._values), softmax=self._softmax)
            found = found[0] if len(found) == 1 else np.moveaxis(found, 0, -1)
            uncertainty = np.ascontiguousarray(undo(found))
        if chances is not None and self._with_probabilities:
            outputs = np.moveaxis(chances[: len(self._values)], 0, -1)
            probabilities = np.ascontiguousarray(undo(outputs))
        region = self._placement.source_region(planes)
        return Slab(region, np.ascontiguousarray(undo(labels)), probabilities, uncertainty)


def _joined(slabs: list[Slab]) -> Slab:
    """Return slabs side by side, in either order, as one."""
    if len(slabs) == 1:
        return slabs[0]
    slabs = sorted(slabs, key=lambda slab: slab.region.start[2])

    def join(name: str) -> Any:
        parts = [getattr(slab, name) for slab in slabs]
        return None if parts[0] is None else np.concatenate(parts, axis=2)

    region = Region(slabs[0].region.start, slabs[-1].region.stop)
    return Slab(region, join("labels"), join("probabilities"), join("uncertainty"))


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
    # Output by output: numpy's argmax over the first axis copies everything, and is slower.
    best = scores[0].copy()
    labels: Labels = np.full(best.shape, values[0])
    for score, value in zip(scores[1:], values[1:], strict=True):
        better = score > best
        np.copyto(best, score, where=better)
        np.copyto(labels, value, where=better)
    if not softmax:
        labels[best <= above] = 0
    return labels


def uncertainty_of(
    chances: NDArray[np.float32], outputs: int, *, softmax: bool
) -> NDArray[np.uint8]:
    """Return the entropy of probabilities, and how much of it is disagreement.

    Parameters
    ----------
    chances : float32 array (K, X, Y, Z), or (K + 1, X, Y, Z)
        Probabilities; then the mean entropy of mirrored windows, as a share of the largest.
    outputs : int
        K.

    Returns
    -------
    uint8 array (1 or 2, X, Y, Z)
        255 is the largest entropy there can be. Disagreement is the entropy of the mean less the
        mean of the entropies (mutual information; Houlsby et al., arXiv 1112.5745).
    """
    shares = chances[:outputs]
    if softmax:
        entropy = special.entr(shares).sum(axis=0) / np.log(max(2, outputs))
    else:
        entropy = (special.entr(shares) + special.entr(1 - shares)).mean(axis=0) / np.log(2)
    found = [entropy, *(entropy - mean for mean in chances[outputs:])]
    levels: NDArray[np.uint8] = np.rint(255 * np.stack(found).clip(0, 1)).astype(np.uint8)
    return levels
