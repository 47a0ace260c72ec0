"""Voxels that stay in their file until they are asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from napari_asmlp.errors import VolumeError

_CHUNK = 1 << 20
_GZIP_RATIO = 1032  # deflate packs no more than this many bytes into one


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, first axis fastest; reads it by index or as a whole (`np.asarray`).

    Reading the whole also finds an image of nothing but NaN.

    Parameters
    ----------
    path
        The file with the voxels.
    shape
        (i, j, k) or (i, j, k, c).
    stored
        dtype in the file, any byte order.
    offset
        Bytes before the first voxel.
    scaling
        Slope and intercept: a voxel's value is ``stored * slope + intercept``.
    compressed
        Whether the file is gzip-compressed; the offset counts uncompressed bytes.
    """

    path: Path
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    offset: int
    scaling: tuple[float, float] = (1.0, 0.0)
    compressed: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in the file, uncompressed."""
        size = self.stored.itemsize
        for n in self.shape:
            size *= int(n)  # Python's integers: a damaged header may claim more than 2**63
        return size

    @property
    def is_scaled(self) -> bool:
        """Whether the stored numbers are not yet the voxels' values."""
        return self.scaling != (1.0, 0.0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what reading returns: the stored one, or float for scaled numbers."""
        if self.is_scaled:
            exact = self.stored.itemsize <= 2 or self.stored == np.float32
            return np.dtype(np.float32 if exact else np.float64)
        if self.stored.itemsize > 8:  # long double, which not every machine has
            return np.dtype(np.float64)
        return self.stored.newbyteorder("=")

    def channel(self, index: int) -> StoredArray:
        """Return one channel of (i, j, k, c), still in the file."""
        one = replace(self, shape=self.shape[:3])
        return replace(one, offset=self.offset + index * one.nbytes)

    def unscaled(self) -> NDArray[Any]:
        """Load the numbers as they are stored, in the byte order of this machine."""
        return np.asarray(replace(self, scaling=(1.0, 0.0)))

    def check_size(self) -> None:
        """Raise a VolumeError if the file is too small to hold what its header claims."""
        size, needed = self.path.stat().st_size, self.offset + self.nbytes
        if needed > size * (_GZIP_RATIO if self.compressed else 1):
            raise VolumeError(
                f"{self.path}: truncated, or its header is wrong: {'x'.join(map(str, self.shape))} "
                f"voxels need {needed} bytes, the file has {size}; get a fresh copy"
            )

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with self._proxy() as (proxy, stream):
            part = np.asarray(proxy[key])
            check_rest(stream)
        return self.values(part)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with self._proxy() as (proxy, stream):
            array = np.asarray(proxy)
            check_rest(stream)
        values = self.values(array)
        if values.dtype.kind == "f" and not np.isfinite(values).any():
            raise VolumeError(f"{self.path}: every voxel is NaN or infinite; nothing to work on")
        return values if dtype is None else values.astype(dtype, copy=bool(copy))

    @contextmanager
    def _proxy(self) -> Iterator[tuple[ArrayProxy, gzip.GzipFile | None]]:
        """Open nibabel's reader of the unscaled numbers, and the gzip stream below it, if any."""
        spec = (self.shape, self.stored, self.offset)
        try:
            if not self.compressed:
                yield ArrayProxy(str(self.path), spec), None
                return
            # Opened here rather than by nibabel, whose optional reader does not check sums.
            with gzip.open(self.path) as stream:
                yield ArrayProxy(stream, spec), stream
        except (EOFError, zlib.error, OSError) as error:
            raise unreadable(self.path, error) from error

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn stored numbers into values, in this machine's byte order."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are dealt with later
            values = stored.astype(self.dtype, copy=self.is_scaled)
            if self.is_scaled:
                slope, intercept = self.scaling
                values *= slope
                values += intercept
        return values


def check_rest(stream: IO[bytes] | gzip.GzipFile | None) -> None:
    """Read on to the end: gzip's checksum, which is all that tells of damage, comes last."""
    while stream and stream.read(_CHUNK):
        pass


def unreadable(file: Path, error: Exception) -> VolumeError:
    """Return what to tell of a file that the system will not read, or gzip cannot unpack."""
    refusal = getattr(error, "strerror", None)
    if refusal:
        return VolumeError(f"{file}: cannot be read ({refusal}); check that you have access to it")
    reason = " ".join(str(error).split())
    return VolumeError(f"{file}: cannot be read ({reason}); get a fresh copy")
