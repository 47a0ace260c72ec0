"""A volume in another format: the same values on the same grid, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import OutputError
from napari_asmlp.io import check_output
from napari_asmlp.io.formats import AnyPath, format_of
from napari_asmlp.io.nifti import MGH_NUMBERS, Stored, write_file
from napari_asmlp.io.planes import each_plane
from napari_asmlp.io.scaled import is_whole
from napari_asmlp.volume import Kind, Volume

MOST_LABELS = 256  # different values that are taken for labels


def guess_kind(volume: Volume) -> Kind:
    """Take few different whole numbers from 0 up for labels, anything else for an image.

    Raises
    ------
    VolumeError
        If the voxels cannot be read.
    """
    if volume.channels > 1:
        return "image"
    seen = np.empty(0)
    for plane in each_plane(volume.data):
        seen = np.union1d(seen, plane)
        negative = np.rint(seen[0]) < 0
        if seen.size > MOST_LABELS or negative or not is_whole(seen, volume.data).all():
            return "image"
    return "labels"


def write_exact(image: Volume, path: AnyPath, *, overwrite: bool = False) -> np.dtype[Any]:
    """Write an image in the type of its values, or in the format's first that holds each of them.

    Returns
    -------
    numpy.dtype
        In which they are stored.

    Raises
    ------
    OutputError
        If the format has no such type, or the file cannot or must not be written.
    VolumeError
        If the voxels cannot be read.
    """
    inputs = [] if image.path is None else [image.path]
    checked = check_output(path, overwrite=overwrite, inputs=inputs)
    dtype = _exact_dtype(image, checked)
    write_file(image.data, image, checked, Stored(dtype), overwrite=overwrite)
    return dtype


def _exact_dtype(image: Volume, path: Path) -> np.dtype[Any]:
    own, format_ = image.data.dtype, format_of(path)
    if format_ is None or format_.family != "mgh" or own in MGH_NUMBERS:
        return own
    for dtype in map(np.dtype, MGH_NUMBERS):
        if all(_holds(dtype, plane) for plane in each_plane(image.data)):
            return dtype
    raise OutputError(f"{path}: MGH cannot hold its {own} values exactly; write .nii.gz instead")


def _holds(dtype: np.dtype[Any], values: NDArray[Any]) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):  # NaN as an integer: it is not equal, then
        stored = values.astype(dtype)
        back = stored.astype(values.dtype)
    return bool(np.array_equal(back, values, equal_nan=values.dtype.kind == "f"))
