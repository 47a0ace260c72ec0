"""Overlap of two masks: Dice, and distances between their surfaces in mm.

A *mask* is a boolean array (i, j, k), one structure of a label array. Its *surface* is the voxels
of the mask that have a face in common with a voxel outside it; beyond the array is outside.
*Spacing* is mm per voxel along i, j and k. Distances run between centres of voxels, on axes at
right angles (oblique or not).

A measure that has no value, such as the distance to a structure that is not there, is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_asmlp.errors import GridError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Labels = NDArray[np.integer[Any]]
    Spacing = tuple[float, float, float]

ADDED, REMOVED, RELABELLED = 1, 2, 3


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from each surface voxel of one mask to the nearest of the other.

    Parameters
    ----------
    forth, back : float array (surface voxels of the first mask,), (of the second,)
        From the first mask to the second, and back. Both are empty where either mask is.
    """

    forth: NDArray[np.float64]
    back: NDArray[np.float64]

    @property
    def hausdorff95(self) -> float | None:
        """The larger of the two directed 95th percentiles, in mm."""
        if not self.forth.size:
            return None
        return float(max(np.percentile(self.forth, 95), np.percentile(self.back, 95)))

    @property
    def average(self) -> float | None:
        """The mean over the surface voxels of both masks together, in mm."""
        if not self.forth.size:
            return None
        return float((self.forth.sum() + self.back.sum()) / (self.forth.size + self.back.size))


def dice(a: Mask, b: Mask) -> float | None:
    """Dice's coefficient, 2 |a ∩ b| / (|a| + |b|).

    Parameters
    ----------
    a, b : bool array (i, j, k)

    Returns
    -------
    float or None
        From 0 (apart, or one of them empty) to 1 (equal); None where both are empty.

    Raises
    ------
    GridError
        The shapes differ.
    """
    _check_shapes(a, b)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else None


def surface_distances(a: Mask, b: Mask, spacing: Spacing) -> SurfaceDistances:
    """Distances between the surfaces of two masks, both ways.

    Parameters
    ----------
    a, b : bool array (i, j, k)
    spacing : mm per voxel along i, j, k

    Returns
    -------
    SurfaceDistances

    Raises
    ------
    GridError
        The shapes differ.
    """
    _check_shapes(a, b)
    if not (a.any() and b.any()):
        return SurfaceDistances(np.empty(0), np.empty(0))
    box = _bounding_box(a | b)  # nothing outside it can be the nearest, and it is often tiny
    surface_a, surface_b = _surface(a[box]), _surface(b[box])
    to_b = ndimage.distance_transform_edt(~surface_b, sampling=spacing)
    forth = to_b[surface_a]
    del to_b  # as large as the box in float64, and the next one is as well
    to_a = ndimage.distance_transform_edt(~surface_a, sampling=spacing)
    return SurfaceDistances(forth, to_a[surface_b])


def hausdorff95(a: Mask, b: Mask, spacing: Spacing) -> float | None:
    """Hausdorff distance in mm with the 95th percentile in place of the maximum.

    The larger of the two directed 95th percentiles (linear between ranks) over surface voxels, as
    MONAI's ``compute_hausdorff_distance(percentile=95)`` has it. DeepMind's ``surface-distance``
    takes the same maximum, but weights each piece of surface by its area. Pooling both directions
    before taking the percentile, as some tools do, gives another, often smaller number.

    Parameters
    ----------
    a, b : bool array (i, j, k)
    spacing : mm per voxel along i, j, k

    Returns
    -------
    float or None
        None where either mask is empty.

    Raises
    ------
    GridError
        The shapes differ.

    References
    ----------
    Huttenlocher, Klanderman, Rucklidge: Comparing images using the Hausdorff distance. IEEE
    TPAMI 15 (1993) 850-863. Maier-Hein, Reinke et al.: Metrics reloaded. Nature Methods 21 (2024)
    195-212.
    """
    return surface_distances(a, b, spacing).hausdorff95


def average_surface_distance(a: Mask, b: Mask, spacing: Spacing) -> float | None:
    """Average symmetric surface distance (ASSD) in mm.

    The sum of the distances both ways over the number of surface voxels of both masks, so that
    the larger surface weighs more.

    Parameters
    ----------
    a, b : bool array (i, j, k)
    spacing : mm per voxel along i, j, k

    Returns
    -------
    float or None
        None where either mask is empty.

    Raises
    ------
    GridError
        The shapes differ.

    References
    ----------
    Heimann et al.: Comparison and evaluation of methods for liver segmentation from CT datasets.
    IEEE TMI 28 (2009) 1251-1265.
    """
    return surface_distances(a, b, spacing).average


def changes(labels: Labels, before: Labels) -> NDArray[np.uint8]:
    """Return how labels differ from others of the same shape, voxel by voxel.

    Returns
    -------
    uint8 array
        `ADDED` where only the labels are above 0, `REMOVED` where only the others are, `RELABELLED`
        where both are, but not the same; else 0.

    Raises
    ------
    GridError
        The shapes differ.
    """
    _check_shapes(labels, before)
    now, then = labels > 0, before > 0
    found = np.zeros(labels.shape, np.uint8)
    found[now & ~then] = ADDED
    found[then & ~now] = REMOVED
    found[now & then & (labels != before)] = RELABELLED
    return found


def _check_shapes(a: NDArray[Any], b: NDArray[Any]) -> None:
    # numpy would stretch an axis of length 1 without a word
    if a.shape != b.shape:
        raise GridError(f"masks of shapes {a.shape} and {b.shape} cannot be compared")


def _surface(mask: Mask) -> Mask:
    # border_value=0 peels voxels at the border of the array too, as padding by one voxel would
    inside: Mask = ndimage.binary_erosion(mask, border_value=0)
    return mask & ~inside


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Smallest box around the voxels of a mask that is not empty."""
    occupied = (np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(int(along[0]), int(along[-1]) + 1) for along in occupied)
