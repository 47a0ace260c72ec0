"""Where the windows lie. Geometry only: no data, no network.

Words: a *window* is the box the network sees at once; neighbouring windows share the
fraction *overlap* of their length; a *layer* is all windows with the same planes along
the *slab axis*; a *slab* is planes no later window touches, so they can be decided and
released. Windows are ordered layer by layer, hence only the planes of one layer are held::

    planes along the slab axis  ->
    0         6        12        18        24
    |=========|=========|                        layer 1: planes 0-12 held
    |#########|                                  ... 0-6 finished, handed on, forgotten
              |=========|=========|              layer 2: planes 6-18 held
              |#########|                        ... 6-12 finished
                        |=========|=========|    layer 3: planes 12-24 held
                        |#########|#########|    ... 12-24 finished (last layer)

A walk may also go from the last plane to the first; then the figure is mirrored.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_asmlp.grid import Triple

MAX_OVERLAP = 0.9
# Of windows fitted to a volume. Larger ones compute hardly fewer voxels, and not faster; they take
# more memory, and longer until a run that is cancelled stops.
_LONGEST = 160
_MOST_VOXELS = 1 << 20


@dataclass(frozen=True)
class Box:
    """Axis-aligned box of voxels, half-open.

    Attributes
    ----------
    start, stop : tuple of 3 ints
        First voxel inside and first voxel outside along each axis.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return d - a, e - b, f - c

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in an array of the three axes."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return slice(a, d), slice(b, e), slice(c, f)

    def __str__(self) -> str:
        """Give the form of ``--region``: ``0:40,0:56,0:40``."""
        return ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))


def place_windows(
    shape: Sequence[int],
    window: Sequence[int],
    overlap: float,
    slab_axis: int = 2,
    *,
    backwards: bool = False,
) -> list[Box]:
    """Cover a volume with windows of one size, ordered layer by layer.

    Parameters
    ----------
    shape : 3 ints
        Voxels of the volume along each axis.
    window : 3 ints
        Voxels of a window; an axis longer than the volume shrinks to the volume.
    overlap : float
        Least fraction of a window shared with the next one, 0 to 0.9.
    slab_axis : int
        Axis that varies slowest in the order of the windows.
    backwards : bool
        Walk the slab axis from its last plane to its first.

    Returns
    -------
    list of Box
        All of one shape; along each axis evenly spread, the last flush with the border.
        Which boxes there are depends neither on `slab_axis` nor on `backwards`.

    Raises
    ------
    SettingsError
        If the overlap, the shape or the window is out of range.
    """
    if not 0 <= overlap <= MAX_OVERLAP:
        raise SettingsError(f"overlap {overlap} is not between 0 and {MAX_OVERLAP}")
    for what, lengths in (("window", window), ("volume", shape)):
        if len(lengths) != 3 or min(lengths) < 1:
            raise SettingsError(f"{what} {tuple(lengths)} needs three lengths of at least 1 voxel")
    spans = [list(_spans(n, min(n, w), overlap)) for n, w in zip(shape, window, strict=True)]
    if backwards:
        spans[slab_axis].reverse()
    order = [slab_axis, *(axis for axis in range(3) if axis != slab_axis)]
    boxes = []
    for chosen in itertools.product(*(spans[axis] for axis in order)):
        x, y, z = (chosen[order.index(axis)] for axis in range(3))
        boxes.append(Box((x[0], y[0], z[0]), (x[1], y[1], z[1])))
    return boxes


def count_windows(shape: Sequence[int], window: Sequence[int], overlap: float) -> int:
    """Return how many windows `place_windows` places, without placing them."""
    counts = [_gaps(n, min(n, w), overlap) + 1 for n, w in zip(shape, window, strict=True)]
    return math.prod(counts)


def fitted_windows(
    shape: Sequence[int], least: Sequence[int], unit: int, overlap: float
) -> list[Triple]:
    """Give windows that suit a volume, for a network that may take windows of any extent.

    Two windows of 136 voxels cover an axis of 256 voxels, and share 16 voxels; two of 160 would
    compute more voxels for nothing.

    Parameters
    ----------
    shape : 3 ints
        Voxels of the volume along each axis.
    least : 3 ints
        Voxels of the least window, multiples of `unit`.
    unit : int
        What the length of a window is a multiple of, but where it is that of the volume.
    overlap : float
        As `place_windows` takes it.

    Returns
    -------
    list of 3 ints
        The window that computes the fewest voxels first; of equals that of the fewest windows,
        then that of the smallest planes across the first axis, which networks tile along, and of
        the fewest along the last, the slab axis of most files. The least window is among them.
        None but that has a side of more than 160 voxels, or more than 2**20 voxels; none is
        larger than the volume.
    """
    x, y, z = (
        _fitted_lengths(n, min(n, side), unit, overlap)
        for n, side in zip(shape, least, strict=True)
    )
    windows = [
        window
        for window in itertools.product(x, y, z)
        if math.prod(window) <= _MOST_VOXELS or window == (x[0], y[0], z[0])
    ]

    def cost(window: Triple) -> tuple[int, int, int, int]:
        count = count_windows(shape, window, overlap)
        return count * math.prod(window), count, math.prod(window[1:]), window[2]

    return sorted(windows, key=cost)


def _fitted_lengths(length: int, least: int, unit: int, overlap: float) -> list[int]:
    """Give the lengths of windows that compute no more voxels than any that is shorter."""
    lengths, fewest = [], math.inf
    longer = range(least + unit, min(length, _LONGEST + 1), unit)
    for window in (least, *longer, *([length] if least < length <= _LONGEST else [])):
        computed = window * (_gaps(length, window, overlap) + 1)
        if computed <= fewest:
            lengths.append(window)
            fewest = computed
    return lengths


def _gaps(length: int, window: int, overlap: float) -> int:
    """Return how many steps lead from the first window along an axis to the last one."""
    # The small term undoes binary fractions: 40 * (1 - 0.9) is 3.9999999999999991.
    step = max(1, math.floor(window * (1 - overlap) + 1e-6))
    return math.ceil((length - window) / step)


def _spans(length: int, window: int, overlap: float) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) of the windows along one axis."""
    gaps, slack = _gaps(length, window, overlap), length - window
    for n in range(gaps + 1):
        start = n * slack // max(gaps, 1)
        yield start, start + window


def finished_planes(boxes: Sequence[Box], slab_axis: int) -> list[range]:
    """Tell which planes each window finishes.

    Parameters
    ----------
    boxes : sequence of Box
        In the order of `place_windows`, forwards or backwards.
    slab_axis : int
        The axis given to `place_windows`.

    Returns
    -------
    list of range
        For each box the planes along the slab axis that no later box touches and that
        were not finished before it: empty but for the last box of a layer.
    """
    spans = [(box.start[slab_axis], box.stop[slab_axis]) for box in boxes]
    finished = []
    for (start, stop), (next_start, next_stop) in itertools.pairwise(spans):
        if next_start >= start:
            finished.append(range(start, next_start))
        else:
            finished.append(range(next_stop, stop))
    return [*finished, range(*spans[-1])] if spans else []


def importance_profile(length: int) -> NDArray[np.float32]:
    """Weigh the voxels of a window along one axis: by how far they are from its border.

    The importance map of a window is the product of its three profiles. However much two windows
    share, one fades into the other over all of it, and neither counts at its own border, where
    it sees least.

    Parameters
    ----------
    length : int
        Voxels of the window along the axis.

    Returns
    -------
    float32 array (length,)
        1, 2, 3, ... up to the middle and down to 1 again: whole numbers, whose sums are exact.
    """
    ramp = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(ramp, ramp[::-1])


def axis_shares(boxes: Sequence[Box], axis: int) -> dict[int, NDArray[np.float32]]:
    """Give the share of each window in the voxels along one axis.

    As windows lie on a lattice, the share of a window in a voxel (its importance there,
    divided by the sum of all windows' importance there) is the product of its shares along
    the three axes; so neither sums of weights nor a division at the end are needed.

    Parameters
    ----------
    boxes : sequence of Box
        All windows of a volume, as `place_windows` gives them.
    axis : int
        The axis looked at.

    Returns
    -------
    dict of int to float32 array (window length,)
        By the start of the window along the axis. The shares in a voxel sum up to 1, and
        are exactly 1 where a single window reaches.
    """
    spans = sorted({(box.start[axis], box.stop[axis]) for box in boxes})
    total = np.zeros(spans[-1][1], np.float32)
    for start, stop in spans:
        total[start:stop] += importance_profile(stop - start)
    return {start: importance_profile(stop - start) / total[start:stop] for start, stop in spans}
