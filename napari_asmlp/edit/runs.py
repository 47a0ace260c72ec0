"""Runs: neighbouring voxels that change alike, and how they are packed into few bytes.

Voxels are counted along the memory of the array: their number is their *place*. A run is its first
place, its length, and the value its voxels had and get. Runs are cut at the end of a row, so they
are short, and coded in parts of about `PART` voxels, so that one can be written at a time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import VolumeError

Order = Literal["C", "F"]
Box = tuple[slice, ...]
Labels = NDArray[np.integer[Any]]
Places = NDArray[np.int64]

PART = 2**17  # voxels
_BLOCK = 2**22  # voxels that are compared at once
_LEVEL = 1  # of zlib: more takes far longer and saves little after the shuffle
_HEAD = struct.Struct("<QQQBB")  # runs, voxels, bytes; bytes of a gap and of a length


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs in ascending order of place; four 1D arrays of one length."""

    start: Places
    length: Places
    old: Labels
    new: Labels

    def __getitem__(self, part: slice) -> Runs:
        return Runs(self.start[part], self.length[part], self.old[part], self.new[part])

    def places(self) -> Places:
        """Return the place of every voxel."""
        before = np.cumsum(self.length) - self.length
        return np.repeat(self.start - before, self.length) + np.arange(self.length.sum())


@dataclass(frozen=True)
class Coded:
    """Some runs, compressed.

    Parameters
    ----------
    runs, voxels
        How many it holds.
    gap_bytes, length_bytes
        Width of the numbers that say where a run is and how long.
    """

    runs: int
    voxels: int
    gap_bytes: int
    length_bytes: int
    data: bytes

    def to_bytes(self) -> bytes:
        """Return it with a head, for a file."""
        widths = self.gap_bytes, self.length_bytes
        return _HEAD.pack(self.runs, self.voxels, len(self.data), *widths) + self.data


def runs_of_places(places: Places, old: Labels, new: Labels) -> Runs:
    """Return runs of single voxels, given in the order of time.

    Where a place occurs again, its first old and its last new value count; a voxel that ends as it
    began is left out.
    """
    order = np.argsort(places, kind="stable")
    places, old, new = places[order], old[order], new[order]
    first = _changes(places)
    last = np.r_[first[1:], True][: len(first)]
    places, old, new = places[first], old[first], new[last]
    kept = old != new
    places, old, new = places[kept], old[kept], new[kept]
    cut = np.r_[True, np.diff(places) != 1][: len(places)] | _changes(old) | _changes(new)
    starts = np.flatnonzero(cut)
    length = np.diff(np.r_[starts, len(places)])
    return Runs(places[starts], length, old[starts], new[starts])


def runs_between(
    before: Labels, after: Labels, box: Box, shape: tuple[int, ...], order: Order
) -> Iterator[Runs]:
    """Compare two arrays that are a box of a larger one, block by block.

    Parameters
    ----------
    before, after
        Of the shape of the box.
    box
        Where they lie in an array of `shape`, whose voxels are counted along `order`.

    Yields
    ------
    Runs
        In ascending order.
    """
    if not before.size:
        return
    if order == "F":  # the voxels of an array in F order are those of its transpose in C order
        before, after, box, shape = before.T, after.T, box[::-1], shape[::-1]
    planes = max(1, _BLOCK * len(before) // before.size)
    for first in range(0, len(before), planes):
        block = slice(first, min(first + planes, len(before)))
        inside = (slice(box[0].start + block.start, box[0].start + block.stop), *box[1:])
        found = _block_runs(before[block], after[block], inside, shape)
        if len(found.start):
            yield found


def code(runs: Iterable[Runs], dtype: np.dtype[Any]) -> Iterator[Coded]:
    """Compress runs, in parts."""
    for block in runs:
        ends = np.cumsum(block.length)
        first = 0
        while first < len(ends):
            done = ends[first - 1] if first else 0
            stop = max(first + 1, int(np.searchsorted(ends, done + PART, side="right")))
            yield _coded(block[first:stop], dtype)
            first = stop


def decode(coded: Coded, dtype: np.dtype[Any]) -> Runs:
    """Return the runs of a part.

    Raises
    ------
    VolumeError
        If its bytes are damaged.
    """
    dtypes = [np.dtype(f"u{coded.gap_bytes}"), np.dtype(f"u{coded.length_bytes}"), dtype, dtype]
    expected = coded.runs * sum(each.itemsize for each in dtypes)
    unzip = zlib.decompressobj()
    try:
        data = unzip.decompress(coded.data, expected + 1)  # never more, whatever it claims to be
    except zlib.error as error:
        raise VolumeError(f"an edit in it is damaged ({error})") from error
    if len(data) != expected or not unzip.eof:
        raise VolumeError("an edit in it is damaged (it has another length)")
    streams = []
    for each in dtypes:
        size = coded.runs * each.itemsize
        streams.append(_unshuffled(data[:size], each))
        data = data[size:]
    gaps, length = (stream.astype(np.int64) for stream in streams[:2])
    start = np.cumsum(gaps + length) - length
    return Runs(start, length, streams[2], streams[3])


def unpack(data: bytes, dtype: np.dtype[Any], size: int) -> Iterator[Coded]:
    """Read parts that were written one after the other, and check each.

    Parameters
    ----------
    size
        Number of voxels of the array.

    Raises
    ------
    VolumeError
        If a part is damaged, or speaks of voxels that the array does not have.
    """
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise VolumeError("an edit in it is cut off")
        runs, voxels, nbytes, gap_bytes, length_bytes = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if (
            nbytes > len(data) - at
            or not runs <= voxels <= size
            or not {
                gap_bytes,
                length_bytes,
            }
            <= {1, 2, 4, 8}
        ):
            raise VolumeError("an edit in it is damaged")
        coded = Coded(runs, voxels, gap_bytes, length_bytes, data[at : at + nbytes])
        _check(decode(coded, dtype), voxels, size)
        yield coded
        at += nbytes


def _check(runs: Runs, voxels: int, size: int) -> None:
    lengths_right = (runs.length > 0).all() and (runs.length <= size).all()
    if not lengths_right or runs.length.sum() != voxels:
        raise VolumeError("an edit in it is damaged (it does not add up)")
    if (runs.start < 0).any() or (runs.start + runs.length > size).any():
        raise VolumeError("an edit in it lies outside the labels")


def _block_runs(before: Labels, after: Labels, box: Box, shape: tuple[int, ...]) -> Runs:
    """Return the runs of a box of an array in C order."""
    rows = (-1, before.shape[-1])
    old, new = before.reshape(rows), after.reshape(rows)
    differs = old != new
    cut = differs.copy()  # a run begins where voxels differ and the one before is not its like
    alike = (old[:, 1:] == old[:, :-1]) & (new[:, 1:] == new[:, :-1])
    cut[:, 1:] &= ~alike
    end = differs
    end[:, :-1] &= ~alike
    starts, ends = np.flatnonzero(cut), np.flatnonzero(end)
    row, column = np.divmod(starts, rows[1])
    first_places = _first_places(box, shape)
    values = row, column
    return Runs(first_places[row] + column, ends - starts + 1, old[values], new[values])


def _first_places(box: Box, shape: tuple[int, ...]) -> Places:
    """Return the place of the first voxel of each row of a box, in C order."""
    places = np.array(box[-1].start, np.int64)
    step = shape[-1]
    for axis in reversed(range(len(shape) - 1)):
        along = np.arange(box[axis].start, box[axis].stop, dtype=np.int64) * step
        places = along.reshape(-1, *(1,) * places.ndim) + places
        step *= shape[axis]
    return places.reshape(-1)


def _coded(runs: Runs, dtype: np.dtype[Any]) -> Coded:
    ends = runs.start + runs.length
    gaps = runs.start - np.r_[0, ends[:-1]]
    streams = [_narrow(gaps), _narrow(runs.length), runs.old.astype(dtype), runs.new.astype(dtype)]
    data = zlib.compress(b"".join(map(_shuffled, streams)), _LEVEL)
    widths = streams[0].itemsize, streams[1].itemsize
    return Coded(len(gaps), int(runs.length.sum()), *widths, data)


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a value differs from the one before it; the first one does."""
    differs = np.ones(len(values), bool)
    differs[1:] = values[1:] != values[:-1]
    return differs


def _narrow(numbers: Places) -> NDArray[np.unsignedinteger[Any]]:
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _shuffled(stream: NDArray[Any]) -> bytes:
    """Return all first bytes, then all second ones ...: those alike lie together."""
    return stream.view(np.uint8).reshape(-1, stream.itemsize).T.tobytes()


def _unshuffled(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    width = dtype.itemsize
    planes = np.frombuffer(data, np.uint8).reshape(width, -1)
    return np.ascontiguousarray(planes.T).reshape(-1).view(dtype)
