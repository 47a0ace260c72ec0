"""The objects of a label array: where they lie, and what can be measured of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edt import edt
from scipy import ndimage

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from napari_asmlp.card import Measurement
    from napari_asmlp.grid import Triple

    Mask = NDArray[np.bool_]

_FARTHEST = 5.0  # deviations that a measurement may be off
# `find_objects` keeps an entry for every value up to the largest.
_FEW = 1 << 20

SHAPE_MEASUREMENTS = ("volume", "long axis", "middle axis", "short axis", "surface", "fill")
_DEPTHS = (50, 75, 90, 95, 99)  # percentiles
THICKNESS_MEASUREMENTS = ("mean depth", *(f"depth p{q}" for q in _DEPTHS), "largest depth")
INTENSITY_MEASUREMENTS = ("mean", "deviation", "low", "middle", "high", "contrast", "roughness")


def object_boxes(labels: NDArray[np.integer[Any]]) -> dict[int, Region]:
    """Return the smallest box around each object, by label value in rising order.

    Parameters
    ----------
    labels : unsigned array (i, j, k)
        0 is background. All voxels of a value are one object, in one piece or in several.
    """
    if not labels.size or not (largest := int(labels.max())):
        return {}
    if largest <= _FEW:
        return _boxes(labels, range(1, largest + 1))
    values = np.unique(labels)
    values = values[values > 0]
    numbered = np.where(labels > 0, np.searchsorted(values, labels) + 1, 0).astype(np.int32)
    return _boxes(numbered, values.tolist())


def _boxes(labels: NDArray[np.integer[Any]], values: list[int] | range) -> dict[int, Region]:
    found = ndimage.find_objects(labels, max_label=len(values))
    return {
        value: Region(
            (box[0].start, box[1].start, box[2].start), (box[0].stop, box[1].stop, box[2].stop)
        )
        for value, box in zip(values, found, strict=True)
        if box is not None
    }


def grown(box: Region, voxels: int, shape: Triple) -> Region:
    """Return a box with some voxels more on each side, as far as the volume goes."""
    (a, b, c), (d, e, f) = box.start, box.stop
    wider = Region((a - voxels, b - voxels, c - voxels), (d + voxels, e + voxels, f + voxels))
    return wider.clipped(shape)


def shape_measurements(mask: Mask, spacing: tuple[float, float, float]) -> list[float]:
    """Return the values of `SHAPE_MEASUREMENTS`: logarithms, but for the last.

    Parameters
    ----------
    mask : bool array (i, j, k)
        The object within a box around it; it holds a voxel at least.
    spacing : mm

    Returns
    -------
    list of float
        Volume in mm³; deviations of its voxels along its principal axes in mm, that of a single
        voxel included; surface against that of a ball of the same volume (of voxel faces, with no
        face at the border of the box); the share of the smallest box around it that it fills.
    """
    where = np.nonzero(mask)
    count = len(where[0])
    places = np.stack([axis * mm for axis, mm in zip(where, spacing, strict=True)])
    # A voxel is a box, not a point: it spreads over spacing² / 12.
    spread = np.cov(places, bias=True) + np.diag(np.square(spacing) / 12)
    axes = np.sqrt(np.linalg.eigvalsh(spread)[::-1])
    volume = count * float(np.prod(spacing))
    faces = sum(
        np.count_nonzero(np.diff(mask, axis=axis)) * volume / count / mm
        for axis, mm in enumerate(spacing)
    )
    ball = (36 * np.pi * volume**2) ** (1 / 3)
    box = np.prod([axis.max() - axis.min() + 1 for axis in where])
    return [
        np.log(volume),
        *np.log(axes),
        np.log(max(faces, ball / 2) / ball),
        count / float(box),
    ]


def thickness_measurements(mask: Mask, spacing: tuple[float, float, float]) -> list[float]:
    """Return the values of `THICKNESS_MEASUREMENTS`, logarithms of mm.

    The depth of a voxel is how far it is from the outside, beyond the box being outside; of all
    voxels of the object these are mean, percentiles and the largest.

    Parameters
    ----------
    mask, spacing : as of `shape_measurements`
    """
    depths = edt(np.pad(mask, 1), anisotropy=spacing)[1:-1, 1:-1, 1:-1][mask]
    found = [depths.mean(), *np.percentile(depths, _DEPTHS), depths.max()]
    return [float(np.log(depth)) for depth in found]


def measure_shape(mask: Mask, spacing: tuple[float, float, float]) -> dict[str, float]:
    """Return all that is measured of a shape, by name; see `shape_measurements`."""
    return {
        **dict(zip(SHAPE_MEASUREMENTS, shape_measurements(mask, spacing), strict=True)),
        **dict(zip(THICKNESS_MEASUREMENTS, thickness_measurements(mask, spacing), strict=True)),
    }


def standardised(
    found: Mapping[str, float], wanted: tuple[Measurement, ...], name: str
) -> NDArray[np.float32]:
    """Return the measurements that a card asks for, in deviations from their means, (M,).

    Raises
    ------
    SettingsError
        Naming one that was not measured of the volume called `name`.
    """
    if missing := [m.name for m in wanted if m.name not in found]:
        raise SettingsError(
            f"{name}: this model asks for the {missing[0]!r} of an object: give an image"
            " of as many channels as it was taught on"
        )
    apart = [(found[m.name] - m.mean) / m.deviation for m in wanted]
    return np.clip(np.array(apart, np.float32), -_FARTHEST, _FARTHEST)


def intensity_measurements(image: NDArray[np.float32], mask: Mask) -> list[float]:
    """Return the values of `INTENSITY_MEASUREMENTS`.

    Parameters
    ----------
    image : float32 array (i, j, k)
        Finite, within a box around the object and a little more.
    mask : bool array (i, j, k)

    Returns
    -------
    list of float
        Mean, deviation and the 10th, 50th and 90th percentile inside; the mean inside less that of
        the rest of the box; the mean difference of neighbours inside.
    """
    inside, beside = image[mask], image[~mask]
    mean = float(inside.mean())
    low, middle, high = (float(q) for q in np.percentile(inside, (10, 50, 90)))
    steps, pairs = 0.0, 0
    for axis in range(3):
        near, far = (slice(None, -1), slice(1, None))
        one, other = ((slice(None),) * axis + (side,) for side in (near, far))
        both = mask[one] & mask[other]
        steps += float(np.abs(image[one] - image[other])[both].sum())
        pairs += int(np.count_nonzero(both))
    contrast = mean - float(beside.mean()) if beside.size else 0.0
    return [mean, float(inside.std()), low, middle, high, contrast, steps / max(pairs, 1)]
