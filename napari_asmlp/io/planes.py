"""Whole planes of a volume, in the order of the file: read forward only, a few at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.io.joined import JoinedArray
from napari_asmlp.io.stored import StoredArray, check_rest, unreadable
from napari_asmlp.volume import Voxels


class Planes(Protocol):
    """Planes k, k + 1, ... one after the other."""

    def read(self, count: int) -> NDArray[Any]:
        """Return the next planes, (i, j, count) or (i, j, count, c)."""

    def check_rest(self) -> None:
        """Read on to the end of the file, where gzip's checksum is."""

    def close(self) -> None:
        """Close the file, if there is one."""


def open_planes(data: Voxels, first: int = 0) -> Planes:
    """Begin to read voxels at plane `first` along k; closed by the caller.

    Raises
    ------
    VolumeError
        From here or from reading, if the file behind it is damaged.
    """
    if isinstance(data, StoredArray):
        return _StoredPlanes(data, first)
    if isinstance(data, JoinedArray):
        return _JoinedPlanes(data, first)
    return _ArrayPlanes(data, first)


def each_plane(data: Voxels) -> Iterator[NDArray[Any]]:
    """Yield the planes of a volume, (i, j, 1), channel after channel as files have them."""
    depth = data.shape[2]
    for channel in _channels(data):
        with closing(open_planes(channel)) as planes:
            for _ in range(depth):
                yield planes.read(1)


def _channels(data: Voxels) -> list[Voxels]:
    if len(data.shape) == 3:
        return [data]
    if isinstance(data, JoinedArray):
        return list(data.channels)
    if isinstance(data, StoredArray):
        return [data.channel(n) for n in range(data.shape[3])]
    array = np.asarray(data)
    return [array[..., n] for n in range(data.shape[3])]


class _ArrayPlanes:
    """Planes of what is in memory, or looks like it."""

    def __init__(self, data: Voxels, first: int) -> None:
        self._data, self._next = data, first

    def read(self, count: int) -> NDArray[Any]:
        start, self._next = self._next, self._next + count
        return np.asarray(self._data[:, :, start : self._next])

    def check_rest(self) -> None:
        pass

    def close(self) -> None:
        pass


class _JoinedPlanes:
    """Planes of channels that are arrays of their own."""

    def __init__(self, array: JoinedArray, first: int) -> None:
        with ExitStack() as stack:
            self._channels: list[Planes] = []
            for channel in array.channels:
                planes = open_planes(channel, first)
                stack.callback(planes.close)
                self._channels.append(planes)
            self._dtype, self._stack = array.dtype, stack.pop_all()

    def read(self, count: int) -> NDArray[Any]:
        parts = [channel.read(count) for channel in self._channels]
        return np.stack(parts, axis=-1).astype(self._dtype, copy=False)

    def check_rest(self) -> None:
        for channel in self._channels:
            channel.check_rest()

    def close(self) -> None:
        self._stack.close()


class _StoredPlanes:
    """Planes of a file; a channel is a volume of its own there, and read through its own opening.

    Copies of a compressed file are unpacked side by side, one for each channel.
    """

    def __init__(self, array: StoredArray, first: int) -> None:
        self._array, self._stack = array, ExitStack()
        count = array.shape[3] if array.ndim == 4 else 1
        channels = [array.channel(n) for n in range(count)] if array.ndim == 4 else [array]
        self._plane = channels[0].nbytes // array.shape[2]
        try:
            with self._stack as stack:
                self._streams = [self._open(channel, first, stack) for channel in channels]
                self._stack = stack.pop_all()
        except (EOFError, zlib.error, OSError) as error:
            raise unreadable(array.path, error) from error

    def _open(self, channel: StoredArray, first: int, stack: ExitStack) -> IO[bytes]:
        opened: Any = gzip.open if channel.compressed else open
        stream: IO[bytes] = stack.enter_context(opened(channel.path, "rb"))
        stream.seek(channel.offset + first * self._plane)
        return stream

    def read(self, count: int) -> NDArray[Any]:
        parts = [self._part(stream, count) for stream in self._streams]
        return self._array.values(parts[0] if self._array.ndim == 3 else np.stack(parts, axis=-1))

    def _part(self, stream: Any, count: int) -> NDArray[Any]:
        content = np.empty(count * self._plane, np.uint8)
        try:
            if stream.readinto(content) < len(content):
                raise EOFError("it ends too early")
        except (EOFError, zlib.error, OSError) as error:
            raise unreadable(self._array.path, error) from error
        shape = (*self._array.shape[:2], count)
        return content.view(self._array.stored).reshape(shape, order="F")

    def check_rest(self) -> None:
        if self._array.compressed:
            try:
                check_rest(self._streams[0])
            except (EOFError, zlib.error, OSError) as error:
                raise unreadable(self._array.path, error) from error

    def close(self) -> None:
        self._stack.close()
