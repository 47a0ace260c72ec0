"""Kinds of arrays that files and napari layers hold: every dtype, byte order and layout.

All kinds of images hold the same whole numbers from 0 to 100, which each dtype holds exactly, so
that whatever is computed of them must agree with what is computed of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

Make = Callable[[np.ndarray], Any]

INTEGERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
FLOATS = ("f2", "f4", "f8")
SWAPPED = (">u2", ">i2", ">i4", ">i8", ">f4", ">f8")


def transposed(array: np.ndarray) -> np.ndarray:
    """Return an equal array whose first axis is the fastest in memory."""
    return np.asfortranarray(array)


def mirrored(array: np.ndarray) -> np.ndarray:
    """Return an equal array with negative strides."""
    return array[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]


def stepped(array: np.ndarray) -> np.ndarray:
    """Return an equal array with gaps between its voxels."""
    return np.repeat(array, 2, axis=1)[:, ::2]


def chunked(array: np.ndarray) -> Any:
    """Return an equal array of dask, in several chunks."""
    dask = pytest.importorskip("dask.array")  # napari brings it; the core does without
    return dask.from_array(array, chunks=tuple(max(1, n // 2) for n in array.shape))


def mapped(array: np.ndarray) -> np.ndarray:
    """Return an equal array that is read from a file, and cannot be written."""
    path = Path(mkdtemp()) / "array.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


LAYOUTS: dict[str, Make] = {
    each.__name__: each for each in (transposed, mirrored, stepped, chunked, mapped)
}


def _kinds(dtypes: tuple[str, ...], layouts_of: str) -> dict[str, Make]:
    made: dict[str, Make] = {
        np.dtype(dtype).str: lambda array, dtype=dtype: array.astype(dtype) for dtype in dtypes
    }
    for name, layout in LAYOUTS.items():
        made[f"{layouts_of} {name}"] = lambda array, layout=layout: layout(array.astype(layouts_of))
    return made


IMAGES = _kinds((*INTEGERS, *FLOATS, *SWAPPED), "u2")
LABELS = _kinds((*INTEGERS, *(each for each in SWAPPED if "f" not in each)), "u1")
