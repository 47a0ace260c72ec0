"""Labels in a file that scales its numbers: which integer each of them stands for.

Some writers turn a floating-point array into integers and a slope, though it held labels: 0, 1, 2
become 0, 127, 255 times 2/255, and 1 comes back as 0.996. How far off a value can be is known: by
half the slope, the step between two stored integers.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import VolumeError
from napari_asmlp.io.stored import StoredArray
from napari_asmlp.volume import Labels, Voxels, as_labels, exact_text

_MOST = 0.25  # plainly closer to one whole number than to any other
_ROUNDING = 1e-6  # relative; of slope and intercept, which NIfTI holds in 32 bits


def stored_labels(voxels: StoredArray, name: str) -> tuple[Labels, tuple[str, ...]]:
    """Return labels, (i, j, k), and notes for the user if they had to be rounded.

    Parameters
    ----------
    voxels
        (i, j, k), in a file.
    name
        Of that, for errors.

    Raises
    ------
    VolumeError
        If a value is not whole, nor as close to it as scaling leaves a whole number, or cannot be
        a label.
    """
    if not _is_scaled(voxels):
        return as_labels(np.asarray(voxels), name), ()
    array = voxels.unscaled()
    stored = np.unique(array)
    values = voxels.scaling[0] * stored.astype(np.float64) + voxels.scaling[1]
    whole = np.rint(values)
    off = np.abs(values - whole)
    if wrong := values[~is_whole(values, voxels)].tolist():
        raise VolumeError(
            f"{name}: {exact_text(wrong[0])} is no label: labels are whole numbers from 0 up; the"
            f" file scales its numbers (scl_slope {voxels.scaling[0]:g}, scl_inter"
            f" {voxels.scaling[1]:g}): write the labels as integers, without scaling"
        )
    table = as_labels(whole, name)
    labels = np.empty(array.shape, table.dtype, order="F")
    for k in range(array.shape[2]):
        labels[..., k] = table[np.searchsorted(stored, array[..., k])]
    if off.max() <= _ROUNDING * max(1.0, float(whole.max())):
        return labels, ()
    return labels, (
        f"{name}: scales its numbers (scl_slope {voxels.scaling[0]:g}); its labels were off by up"
        f" to {off.max():.2g}, and were rounded to whole numbers",
    )


def is_whole(values: NDArray[np.float64], voxels: Voxels) -> NDArray[np.bool_]:
    """Tell which values of some voxels are whole numbers, as far as scaling lets them be."""
    off: NDArray[np.float64] = np.abs(values - np.rint(values))
    slack: NDArray[np.float64] | float = 0.0
    if _is_scaled(voxels):
        slope, intercept = map(abs, voxels.scaling)
        slack = np.minimum(slope / 2 + _ROUNDING * (np.abs(values) + intercept), _MOST)
    close: NDArray[np.bool_] = off <= slack
    return close


def _is_scaled(voxels: Voxels) -> TypeGuard[StoredArray]:
    """Tell whether voxels are integers in a file, times a slope."""
    return isinstance(voxels, StoredArray) and voxels.is_scaled and voxels.stored.kind in "iu"
