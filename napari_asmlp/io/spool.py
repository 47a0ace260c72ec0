"""An array that is written to a file plane by plane while it comes into being."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import OutputError
from napari_asmlp.grid import Region
from napari_asmlp.io.stored import StoredArray


@dataclass(frozen=True)
class Spool:
    """Bare numbers in a file, first axis fastest; 0 where nothing was written.

    Memory stays free of it: what was written is read back as a `StoredArray`.

    Parameters
    ----------
    path
        The file; nothing but this array is in it.
    shape
        (i, j, k) or (i, j, k, c).
    dtype
        In this machine's byte order.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def make(self) -> None:
        """Make the file, all 0; an existing one is emptied.

        Raises
        ------
        OutputError
            If the system refuses.
        """
        try:
            with self.path.open("wb") as stream:
                stream.truncate(self.stored().nbytes)
        except OSError as error:
            raise self._refused(error) from error

    def write(self, region: Region, part: NDArray[Any]) -> None:
        """Write planes ``region.start[2]`` to ``region.stop[2]``: `part` in the region, 0 around.

        Raises
        ------
        OutputError
            If the system refuses, as it does when the disk is full.
        """
        i, j, k = region.slices
        planes = np.zeros((*self.shape[:2], k.stop - k.start), self.dtype, order="F")
        plane = planes[:, :, 0].nbytes
        channels = [part] if part.ndim == 3 else list(np.moveaxis(part, 3, 0))
        try:
            with self.path.open("r+b") as stream:
                for n, channel in enumerate(channels):
                    planes[i, j] = channel
                    stream.seek((n * self.shape[2] + k.start) * plane)
                    stream.write(planes.data if planes.flags.c_contiguous else planes.T.data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def stored(self) -> StoredArray:
        """Return what to read it back with."""
        return StoredArray(self.path, self.shape, self.dtype, 0)

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written: {error.strerror or error}")
