"""Spacing, crop and intensities that follow from a data set's own statistics.

The rules are those of nnU-Net (Isensee et al., Nature Methods 2021) where it has one, and so is
the name of such statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.grid import Grid
from napari_asmlp.model import Intensities
from napari_asmlp.preprocess.fills import cleaner_of
from napari_asmlp.training.dataset import Case, read_case
from napari_asmlp.training.recipe import Recipe

_ANISOTROPIC = 3.0  # ratio of spacings beyond which an axis counts as coarse
_COARSE_PERCENTILE = 10
_CT_PERCENTILES = 0.5, 99.5
_LARGEST_CROP = 128
_VOXELS_PER_CASE = 10_000
# Measured with the AS-MLP of four stages: 390 in float32, 200 under bf16 autocast.
_BYTES_PER_VOXEL_AND_WIDTH = 400


def target_spacing(grids: Sequence[Grid], axis_codes: str) -> tuple[float, float, float]:
    """Return the spacing of the model grid in mm: the median along each axis.

    Where one axis is over three times as coarse as the next, its 10th percentile is taken instead
    of its median, so that the finer volumes are not blurred; but nothing finer than the others.
    """
    spacings = np.array([grid.reoriented(grid.orientation(axis_codes)).spacing for grid in grids])
    target = np.median(spacings, axis=0)
    coarse = int(target.argmax())
    others = float(np.delete(target, coarse).max())
    if target[coarse] > _ANISOTROPIC * others:
        target[coarse] = max(others, np.percentile(spacings[:, coarse], _COARSE_PERCENTILE))
    x, y, z = (float(f"{mm:.5g}") for mm in target)  # not decimals: voxels may be of nanometres
    return x, y, z


def crop_shape(grids: Sequence[Grid], recipe: Recipe) -> tuple[int, int, int]:
    """Return the median extent in voxels, as far as memory allows, in multiples of what is needed.

    Parameters
    ----------
    grids : of the cases to train on, on the model grid
    """
    unit = recipe.network.multiple_of
    median = np.median([grid.shape for grid in grids], axis=0)
    shape = [min(_LARGEST_CROP, math.ceil(n / unit) * unit) for n in median.tolist()]
    bytes_per_voxel = _BYTES_PER_VOXEL_AND_WIDTH * recipe.network.widths[0] * recipe.batch_size
    most = recipe.memory_gib * 2**30 / bytes_per_voxel
    while math.prod(shape) > most and max(shape) > unit:
        shape[shape.index(max(shape))] -= unit
    return shape[0], shape[1], shape[2]


def fixed_intensities(
    cases: Sequence[Case], channel_names: Sequence[str], ignore: int | None = None
) -> tuple[Intensities | None, ...]:
    """Return one scaling for all volumes for each channel that is called CT, and None for others.

    Hounsfield units mean the same in every volume: they are clipped to the 0.5 and 99.5 percentiles
    of the labelled voxels of all cases, and standardised with these voxels' mean and deviation.

    Parameters
    ----------
    ignore : label value of voxels that nobody annotated

    Returns
    -------
    empty where no channel is a CT, or the labelled voxels are all alike
    """
    is_ct = [name.strip().casefold() == "ct" for name in channel_names]
    if not any(is_ct):
        return ()
    voxels = np.concatenate([_labelled_voxels(case, ignore) for case in cases])
    if voxels.shape[1] != len(is_ct) or not len(voxels):
        return ()
    scalings = [
        _scaling(channel) if ct else None for ct, channel in zip(is_ct, voxels.T, strict=True)
    ]
    return tuple(scalings) if any(scalings) else ()


def _labelled_voxels(case: Case, ignore: int | None) -> NDArray[np.float64]:
    """Return intensities of up to so many voxels, spread evenly over those with a label: (N, C).

    Voxels of a fill value are left out.
    """
    image, labels = read_case(case)
    array = labels.array()
    found = np.flatnonzero(array if ignore is None else (array > 0) & (array != ignore))
    some = found[np.linspace(0, len(found) - 1, min(len(found), _VOXELS_PER_CASE)).astype(np.intp)]
    channels = image.array().reshape(math.prod(labels.grid.shape), -1)
    voxels = channels[some].astype(np.float64)
    measured = np.ones(len(voxels), bool)
    for n, values in enumerate(voxels.T):
        cleaner = cleaner_of(channels[:, n], _CT_PERCENTILES, n, image.name)
        measured &= (values >= cleaner.low) & (values <= cleaner.high)
    return voxels[measured]


def _scaling(values: NDArray[np.float64]) -> Intensities | None:
    low, high = np.percentile(values, _CT_PERCENTILES).tolist()
    clipped = values.clip(low, high)
    mean, deviation = float(clipped.mean()), float(clipped.std())
    if not deviation:
        return None
    return Intensities(*(float(f"{value:.6g}") for value in (low, high, mean, deviation)))
