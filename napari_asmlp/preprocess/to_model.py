"""Source grid -> model grid: planes are read, turned, resampled and standardised as asked for."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_asmlp.io.planes import Planes, open_planes
from napari_asmlp.preprocess.fills import Cleaner, Fill
from napari_asmlp.preprocess.intensities import Scaling, Survey, scalings
from napari_asmlp.preprocess.interpolation import Resampler

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_asmlp.model import Preprocessing
    from napari_asmlp.preprocess.placement import Placement
    from napari_asmlp.volume import Volume

_SLAB_VOXELS = 1 << 21  # of the source, in float64 at a time


def to_model_grid(
    volume: Volume, placement: Placement, preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Bring the voxels of a region to what the network takes, all at once.

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
    with closing(ModelImage(volume, placement, preprocessing)) as image:
        for _ in image.survey():
            pass
        return image.planes(range(image.shape[1 + placement.slab_axis]))


class ModelImage:
    """A volume on the model grid, whose planes are computed when they are asked for.

    Planes lie along ``placement.slab_axis``. First comes `survey`, a pass over all of them for
    the statistics; then `planes`, in the order of the file.

    Parameters
    ----------
    volume, placement, preprocessing : as for `to_model_grid`
    counts_nan : whether NaN and infinities count in the statistics, as the smallest value

    Attributes
    ----------
    shape : (C, X, Y, Z)
    seconds : spent so far
    """

    def __init__(
        self,
        volume: Volume,
        placement: Placement,
        preprocessing: Preprocessing,
        *,
        counts_nan: bool = True,
    ) -> None:
        self.shape = (volume.channels, *placement.model_grid.shape)
        self.seconds = 0.0
        self._name, self._preprocessing = volume.name, preprocessing
        self._axis, self._backwards = placement.slab_axis, placement.slab_reversed
        self._source = _SourcePlanes(volume, placement)
        self._resampler = None
        if placement.resamples:
            given, wanted = placement.canonical_grid.shape, placement.model_grid.shape
            self._resampler = Resampler(given, wanted, self._axis)
        self._scalings: list[Scaling] = []
        self._cleaners = [
            Cleaner(n, volume.name, counts_nan=counts_nan) for n in range(volume.channels)
        ]

    @property
    def fills(self) -> list[Fill]:
        """Fill values, once the survey is done."""
        return [fill for cleaner in self._cleaners for fill in cleaner.fills]

    def survey(self) -> Iterator[float]:
        """Find out how to scale each channel.

        Yields
        ------
        float
            The fraction that is done, before each few planes.

        Raises
        ------
        VolumeError
            If a channel is constant or holds no finite value, or the file is damaged.
        """
        # Where something stands for no value: again, with an ordinary value in its place.
        while (yield from self._pass()):
            pass
        self._source.check_rest()

    def _pass(self) -> Generator[float, None, bool]:
        """Go over all planes; tell whether that has to be done again."""
        count = int(np.prod(self.shape[1:]))
        surveys = [Survey(count, self._preprocessing) for _ in self._cleaners]
        noted = range(0)
        whole = range(self.shape[1 + self._axis])
        for done, planes in enumerate(parts := list(self._split(whole))):
            yield done / len(parts)
            started = time.monotonic()
            raw = self._source.take(needed := self._needed(planes))
            fresh = self._fresh(needed, noted)
            for cleaner, survey, channel in zip(self._cleaners, surveys, raw, strict=True):
                cleaner.note(channel[fresh])
                values, left_out = cleaner.clean(channel)
                values = self._resampled(values, planes)
                survey.add(values if left_out is None else values[self._counts(left_out, planes)])
            noted = needed
            self.seconds += time.monotonic() - started
        again = [c.learn(s.percentiles) for c, s in zip(self._cleaners, surveys, strict=True)]
        if not any(again):
            self._scalings = scalings(surveys, self._preprocessing, self._name)
        return any(again)

    def _fresh(self, needed: range, noted: range) -> tuple[slice, ...]:
        """Return which of the planes needed were not among those of the part before."""
        start, stop = needed.start, needed.stop
        if noted and self._backwards:
            stop = min(stop, noted.start)
        elif noted:
            start = max(start, noted.stop)
        index = [slice(None)] * 3
        index[self._axis] = slice(start - needed.start, max(start, stop) - needed.start)
        return tuple(index)

    def _counts(self, left_out: NDArray[np.bool_], planes: range) -> NDArray[np.bool_]:
        """Return which voxels of the model grid count in the statistics."""
        counts: NDArray[np.bool_] = self._resampled(left_out.astype(np.float64), planes) < 0.5
        return counts

    def planes(self, wanted: range) -> NDArray[np.float32]:
        """Return planes on the model grid, (C, ...), in the order of the file from call to call.

        Whole planes: the axis `slab_axis` of the result is as long as the range.

        Raises
        ------
        VolumeError
            If the file is damaged.
        """
        started = time.monotonic()
        shape = [*self.shape]
        shape[1 + self._axis] = len(wanted)
        image = np.empty(shape, np.float32)
        for part in self._split(wanted):
            index = [slice(None)] * 3
            index[self._axis] = slice(part.start - wanted.start, part.stop - wanted.start)
            raw = self._source.take(self._needed(part))
            for n, channel in enumerate(raw):
                cleaned, _ = self._cleaners[n].clean(channel)
                values = self._resampled(cleaned.astype(np.float64, order="C", copy=False), part)
                image[n][tuple(index)] = self._scalings[n].apply(values)
        self.seconds += time.monotonic() - started
        return image

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _split(self, planes: range) -> Iterator[range]:
        """Split planes into parts that are small in memory, in the order of the file."""
        whole = self._source.shape
        most = _SLAB_VOXELS * whole[self._axis] // int(np.prod(whole))
        step = max(1, most * self.shape[1 + self._axis] // whole[self._axis])
        starts = range(planes.start, planes.stop, step)
        for start in reversed(starts) if self._backwards else starts:
            yield range(start, min(start + step, planes.stop))

    def _needed(self, planes: range) -> range:
        return planes if self._resampler is None else self._resampler.needed(planes)

    def _resampled(self, channel: NDArray[Any], planes: range) -> NDArray[Any]:
        if self._resampler is None:
            return channel
        return self._resampler(channel.astype(np.float64, order="C", copy=False), planes)


class _SourcePlanes:
    """The region of a volume, turned; read forward, and what may be needed again is kept.

    Attributes
    ----------
    shape : of the canonical grid
    """

    def __init__(self, volume: Volume, placement: Placement) -> None:
        self.shape = placement.canonical_grid.shape
        self._data, self._placement = volume.data, placement
        self._planes: Planes | None = None
        self._next = 0  # the plane of the file that would be read next
        self._held = np.empty((0, 0, 0, 0))  # (i, j, k, c), those just before it

    def take(self, planes: range) -> NDArray[Any]:
        """Return canonical planes, (C, X, Y, Z): a view, in the dtype of the volume."""
        region = self._placement.source_region(planes)
        start, stop = region.start[2], region.stop[2]
        first = self._next - self._held.shape[2]
        if self._planes is None or not first <= start <= self._next:
            self._reopen(start)
            first = start
        held = self._held[:, :, start - first :]
        if stop > self._next:
            fresh = self._read(stop - self._next)[region.slices[:2]]
            held = fresh if not held.shape[2] else np.concatenate([held, fresh], axis=2)
        self._held = held
        self._next = max(stop, self._next)
        turned = self._placement.orientation.apply(held[:, :, : stop - start])
        return np.moveaxis(turned, 3, 0)

    def check_rest(self) -> None:
        """Read on to the end of the file; see `napari_asmlp.io.planes`."""
        if self._planes is not None:
            self._planes.check_rest()
        self.close()

    def close(self) -> None:
        """Close the file; the next planes open it again."""
        if self._planes is not None:
            self._planes.close()
        self._planes = None

    def _reopen(self, start: int) -> None:
        self.close()
        self._planes = open_planes(self._data, start)
        self._next = start
        self._held = self._held[:, :, :0]

    def _read(self, count: int) -> NDArray[Any]:
        if self._planes is None:
            self._planes = open_planes(self._data, self._next)
        voxels = self._planes.read(count)
        return voxels if voxels.ndim == 4 else voxels[..., np.newaxis]
