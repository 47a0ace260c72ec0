"""Filters of several scales: brightness, edges, roughness and curvature around a voxel.

The narrow ones see every voxel: the border of a cell lies within two of them. The wide ones see a
pyramid, each level of which has half the resolution of the one before it, so that a filter as wide
as an organ costs no more than one as wide as a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_asmlp.teaching.maps import Map

Image = NDArray[np.float32]

_LEAST = 4  # voxels along each axis of what is still halved
# Of Gaussians, in voxels of each level: 0.7, 1, 2, 2.8 and 8 voxels of the image.
DEVIATIONS = ((0.7, 1.0, 2.0), (1.4,), (), (1.0,))


def filter_maps(channel: Image, deviations: Sequence[Sequence[float]] = DEVIATIONS) -> list[Map]:
    """Filter a standardised channel (X, Y, Z).

    Parameters
    ----------
    deviations : of the Gaussians at each level of the pyramid, in its own voxels

    Returns
    -------
    list of Map
        For each level that has any: of each Gaussian the smoothed image, the length of its
        gradient, the deviation around a voxel and the eigenvalues of the Hessian matrix, the
        largest first, which tell sheets, tubes and blobs apart. At the first level the image
        itself comes first.
    """
    maps, size, image = [], 1.0, channel
    for level, widths in enumerate(deviations):
        features = [image.astype(np.float16)] if level == 0 else []
        for width in widths:
            features += [one.astype(np.float16) for one in _filtered(image, width)]
        if features:
            maps.append(Map(torch.from_numpy(np.stack(features)), (size, size, size)))
        if min(image.shape) < _LEAST:
            break
        image, size = _halved(image), 2 * size
    return maps


def _filtered(image: Image, deviation: float) -> list[Image]:
    """Return what a Gaussian shows of an image."""
    smooth = _smoothed(image, deviation)
    gradient = _gradient(smooth)
    slope = np.sqrt(sum(part * part for part in gradient))
    roughness = np.sqrt((_smoothed(image * image, deviation) - smooth * smooth).clip(min=0))
    return [smooth, slope, roughness, *_curvatures(gradient)]


def _smoothed(image: Image, deviation: float) -> Image:
    found: Image = ndimage.gaussian_filter(image, deviation, truncate=3.0)
    return found


def _gradient(image: Image) -> list[Image]:
    """Central differences along each axis; 0 along one with a single voxel."""
    return [
        np.gradient(image, axis=axis) if image.shape[axis] > 1 else np.zeros_like(image)
        for axis in range(3)
    ]


def _curvatures(gradient: list[Image]) -> list[Image]:
    """Eigenvalues of the Hessian matrix, the largest first."""
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = (_gradient(part) for part in gradient)
    return symmetric_eigenvalues((xx, yy, zz), (xy, xz, yz))


def symmetric_eigenvalues(
    diagonal: tuple[Image, Image, Image], beside: tuple[Image, Image, Image]
) -> list[Image]:
    """Eigenvalues of symmetric 3x3 matrices, the largest first.

    By the trigonometric solution of the characteristic polynomial (Smith, "Eigenvalues of a
    symmetric 3x3 matrix", Communications of the ACM, 1961).

    Parameters
    ----------
    diagonal : (1, 1), (2, 2) and (3, 3) of each matrix, arrays of one shape
    beside : (1, 2), (1, 3) and (2, 3)
    """
    mean = (diagonal[0] + diagonal[1] + diagonal[2]) / 3
    a, b, c = (part - mean for part in diagonal)
    d, e, f = beside
    radius = np.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6)
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
    cube = np.maximum(radius**3, np.finfo(np.float32).tiny)
    angle = np.arccos(np.clip(half / cube, -1, 1)) / 3
    largest = mean + 2 * radius * np.cos(angle)
    least = mean + 2 * radius * np.cos(angle + np.float32(2 * np.pi / 3))
    return [largest, 3 * mean - largest - least, least]


def _halved(image: Image) -> Image:
    """Average eight voxels; an odd plane at the end is repeated first."""
    whole: Tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    odd = [n % 2 for n in image.shape]
    if any(odd):
        whole = functional.pad(whole, (0, odd[2], 0, odd[1], 0, odd[0]), mode="replicate")
    halved: Image = functional.avg_pool3d(whole, 2)[0, 0].numpy()
    return halved
