"""From the source grid to the model grid, and back, side by side.

Words: the *source grid* is that of the file, in the axis order of the file; the *canonical grid*
is the same voxels (of the region asked for) turned to the model's axis codes; the *model grid* is
the canonical one at the model's spacing, over the same field of view edge to edge::

    source, region  -- turn -->  canonical  -- resample, normalise -->  model      `to_model_grid`
    source, region  <-- turn --  canonical  <-- interpolate, decide --  model      `SourceSlabs`

Equal voxels give equal labels in whatever orientation they are stored, bit for bit: what is
computed here either runs on the canonical array, or voxel by voxel in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import transform

from napari_asmlp.errors import VolumeError
from napari_asmlp.grid import Grid, Orientation, Region
from napari_asmlp.volume import smallest_unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.model import Card, Preprocessing
    from napari_asmlp.volume import Labels, Volume

    _Neighbours = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]

_SLOWEST = 2  # the file axis that varies slowest: k in NIfTI, z elsewhere
_AS_IT_IS = Orientation((0, 1, 2), (False, False, False))


@dataclass(frozen=True)
class Placement:
    """How a region of a source grid lies on the model grid; made by `place`.

    Attributes
    ----------
    source_grid : of the file
    region : the voxels of the source grid that are looked at
    orientation : turns the region into canonical axes
    canonical_grid : of the turned region
    model_grid : the same field of view at the model's spacing
    """

    source_grid: Grid
    region: Region
    orientation: Orientation
    canonical_grid: Grid
    model_grid: Grid

    @property
    def resamples(self) -> bool:
        """Whether canonical and model grid have different voxels."""
        return self.canonical_grid.shape != self.model_grid.shape

    @property
    def slab_axis(self) -> int:
        """Axis of the canonical and the model grid that is the slowest one of the file."""
        return self.orientation.axes.index(_SLOWEST)

    @property
    def slab_reversed(self) -> bool:
        """Whether the file's planes run backwards along `slab_axis`.

        Windows are then walked backwards (`windows.place_windows`), so that planes are finished
        in the order of the file.
        """
        return self.orientation.flips[self.slab_axis]

    def source_region(self, planes: range) -> Region:
        """Return where canonical planes along `slab_axis` lie on the source grid."""
        first, last = planes.start, planes.stop
        if self.slab_reversed:
            depth = self.region.shape[_SLOWEST]
            first, last = depth - last, depth - first
        (i, j, k), (i_stop, j_stop, _) = self.region.start, self.region.stop
        return Region((i, j, k + first), (i_stop, j_stop, k + last))


def place(grid: Grid, preprocessing: Preprocessing, region: Region | None = None) -> Placement:
    """Find the model grid for a region of a source grid, or for all of it.

    Raises
    ------
    GridError
        If the region reaches outside the grid.
    """
    cropped = grid.cropped(region := region or Region.whole(grid.shape))
    codes, spacing = preprocessing.axis_codes, preprocessing.spacing
    orientation = _AS_IT_IS if codes is None else cropped.orientation(codes)
    canonical = cropped.reoriented(orientation)
    model = canonical if spacing is None else canonical.resampled(spacing)
    return Placement(grid, region, orientation, canonical, model)


def to_model_grid(
    volume: Volume, placement: Placement, preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Bring the voxels of a region to what the network takes.

    Parameters
    ----------
    volume : Volume
        On ``placement.source_grid``; only the region is read, and gives the statistics.
    placement : Placement
        From `place`.
    preprocessing : Preprocessing
        The recipe given to `place`.

    Returns
    -------
    float32 array (C, X, Y, Z)
        On ``placement.model_grid``, C-contiguous.

    Raises
    ------
    VolumeError
        If a channel is constant or holds no finite value.
    """
    voxels = np.asarray(volume.data[placement.region.slices])
    voxels = voxels.reshape(*voxels.shape[:3], -1)
    turned = np.moveaxis(placement.orientation.apply(voxels), 3, 0)
    image = np.empty((volume.channels, *placement.model_grid.shape), np.float32)
    for source, target in zip(turned, image, strict=True):
        channel = source
        if placement.resamples:
            channel = _resize(_finite(source, volume.name), target.shape)
        target[...] = normalise(channel, preprocessing, volume.name)
    return image


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
    values = _finite(channel, name)
    if preprocessing.clip is not None:
        low, high = np.percentile(values, preprocessing.clip)
        if low < high:  # else the volume is sparse, and clipping would leave nothing of it
            np.clip(values, low, high, out=values)
    if preprocessing.normalisation == "none":
        return values.astype(np.float32)
    low, high = values.min(), values.max()
    if low == high:
        raise VolumeError(f"{name}: every voxel is {low:g}; there is nothing to see in it")
    # To 0..1 first: squares of large numbers (1e200) would overflow, and small differences on a
    # large offset lose their digits in the mean.
    values -= low
    values /= values.max()
    values -= values.mean()
    values /= values.std()
    return values.astype(np.float32)


def _finite(channel: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return a contiguous copy without NaN and infinities."""
    values = np.array(channel, dtype=np.float64, order="C")
    finite = np.isfinite(values)
    if not finite.any():
        raise VolumeError(f"{name}: no voxel is finite; there is nothing to see in it")
    if not finite.all():
        values[~finite] = values[finite].min()
    return values


def _resize(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Interpolate linearly, edges aligned, after a low-pass filter along axes that shrink."""
    resized: NDArray[np.float64] = transform.resize(
        values, shape, order=1, mode="edge", anti_aliasing=True
    )
    return resized


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
    """

    region: Region
    labels: Labels
    probabilities: NDArray[np.float32] | None = None


class SourceSlabs:
    """Turn finished planes of scores on the model grid into slabs of labels on the source grid.

    Planes come in order along ``placement.slab_axis``, upwards or downwards. Where the model grid
    has other voxels than the source, probabilities are interpolated linearly, edges aligned, and
    decided afterwards; the planes that coming ones need are kept, and no others.

    Parameters
    ----------
    placement : from `place`
    card : of the model, for its activation and label table
    probabilities : whether slabs carry probabilities
    """

    def __init__(self, placement: Placement, card: Card, *, probabilities: bool = False) -> None:
        self._placement = placement
        self._axis = placement.slab_axis
        self._softmax = card.activation == "softmax"
        values = [0] * self._softmax + [entry.value for entry in card.labels]
        self._values = np.array(values, smallest_unsigned(max(values)))
        self._with_probabilities = probabilities
        source, model = placement.canonical_grid.shape, placement.model_grid.shape
        self._axes = [_neighbours(*lengths) for lengths in zip(source, model, strict=True)]
        self._pending = range(source[self._axis])
        self._kept: dict[int, NDArray[np.float32]] = {}  # planes of the model grid, (K, n, m)

    def add(self, first: int, scores: NDArray[np.float32]) -> Slab | None:
        """Take finished planes and give those of the source that they complete, if any.

        Parameters
        ----------
        first : int
            Lowest of the planes, along ``placement.slab_axis`` of the model grid.
        scores : float32 array (K, X, Y, Z)
            Logits; whole planes of the model grid.
        """
        thickness = scores.shape[1 + self._axis]
        if not self._placement.resamples:
            labels = decide(scores, self._values, softmax=self._softmax, above=0)
            chances = self._activate(scores) if self._with_probabilities else None
            return self._slab(range(first, first + thickness), labels, chances)
        chances = self._activate(scores)
        for n in range(thickness):
            self._kept[first + n] = np.take(chances, n, axis=1 + self._axis)
        planes = self._completed()
        if not planes:
            return None
        chances = self._interpolated(planes)
        labels = decide(chances, self._values, softmax=self._softmax, above=0.5)
        return self._slab(planes, labels, chances if self._with_probabilities else None)

    def _activate(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits to probabilities, (K, X, Y, Z)."""
        chances: NDArray[np.float32]
        if self._softmax:
            chances = np.exp(scores - scores.max(axis=0))
            chances /= chances.sum(axis=0)
        else:
            chances = 0.5 * (1 + np.tanh(0.5 * scores))  # the sigmoid; this form cannot overflow
        return chances

    def _completed(self) -> range:
        """Return the pending source planes whose neighbours are here; they pend no more."""
        low, high, _ = self._axes[self._axis]
        whole = [p for p in self._pending if low[p] in self._kept and high[p] in self._kept]
        if not whole:
            return range(0)
        upwards = whole[0] == self._pending.start
        self._pending = self._pending[len(whole) :] if upwards else self._pending[: -len(whole)]
        return range(whole[0], whole[-1] + 1)

    def _interpolated(self, planes: range) -> NDArray[np.float32]:
        """Return probabilities of source planes, (K, X, Y, Z), and forget what they alone need."""
        low, high, weight = self._axes[self._axis]
        mine = slice(planes.start, planes.stop)
        needed = np.union1d(low[mine], high[mine])
        chances = np.stack([self._kept[n] for n in needed.tolist()], axis=1 + self._axis)
        near, far = needed.searchsorted(low[mine]), needed.searchsorted(high[mine])
        axes = [*self._axes]
        axes[self._axis] = (near, far, weight[mine])
        # Always axis 0, 1, 2, whichever the planes lie along: another order rounds differently,
        # and the same voxels stored in another orientation would get other labels.
        for axis, neighbours in enumerate(axes, start=1):
            chances = _lerp(chances, axis, neighbours)
        coming = {int(n) for p in self._pending for n in (low[p], high[p])}
        self._kept = {n: plane for n, plane in self._kept.items() if n in coming}
        return chances

    def _slab(self, planes: range, labels: Labels, chances: NDArray[np.float32] | None) -> Slab:
        """Turn canonical planes back into the axis order of the file."""
        undo = self._placement.orientation.undo
        if chances is not None:
            chances = np.ascontiguousarray(undo(np.moveaxis(chances, 0, -1)))
        region = self._placement.source_region(planes)
        return Slab(region, np.ascontiguousarray(undo(labels)), chances)


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
    labels: Labels = values[scores.argmax(axis=0)]
    if not softmax:
        labels[scores.max(axis=0) <= above] = 0
    return labels


def _neighbours(n_source: int, n_model: int) -> _Neighbours:
    """Return for each source plane the model planes around it and the weight of the upper one.

    With aligned edges source plane p lies at ``(p + 0.5) * n_model / n_source - 0.5``.
    """
    position = (np.arange(n_source) + 0.5) * n_model / n_source - 0.5
    position = position.clip(0, n_model - 1)
    low = np.floor(position).astype(np.intp)
    return low, np.minimum(low + 1, n_model - 1), (position - low).astype(np.float32)


def _lerp(values: NDArray[np.float32], axis: int, neighbours: _Neighbours) -> NDArray[np.float32]:
    """Interpolate along one axis; exact where neighbours are equal or the weight is 0."""
    low, high, weight = neighbours
    near = values.take(low, axis)
    far = values.take(high, axis)
    far -= near
    far *= weight.reshape(-1, *[1] * (values.ndim - 1 - axis))
    near += far
    return near
