"""Filters of several scales: brightness, edges, roughness and curvature around a voxel.

Scales are those of a pyramid: each level has half the resolution of the one before it, so that a
filter as wide as an organ costs no more than one as wide as a voxel.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_asmlp.teaching.maps import Map

Image = NDArray[np.float32]

LEVELS = 4
_DEVIATION = 1.0  # of the Gaussian at each level, in its own voxels


def filter_maps(channel: Image, levels: int = LEVELS) -> list[Map]:
    """Filter a standardised channel (X, Y, Z).

    Returns
    -------
    list of Map
        For each level of the pyramid the smoothed image, the length of its gradient, the
        deviation around a voxel and the eigenvalues of the Hessian matrix, the largest first,
        which tell sheets, tubes and blobs apart. At the first level the image itself comes first.
    """
    maps, size = [], np.ones(3)
    image = channel
    for level in range(levels):
        smooth = ndimage.gaussian_filter(image, _DEVIATION, truncate=3.0)
        gradient = _gradient(smooth)
        slope = np.sqrt(sum(part * part for part in gradient))
        features = [smooth, slope, _roughness(image, smooth), *_curvatures(gradient)]
        if level == 0:
            features = [image, *features]
        values = torch.from_numpy(np.stack([f.astype(np.float16) for f in features]))
        maps.append(Map(values, (float(size[0]), float(size[1]), float(size[2]))))
        if min(image.shape) < 4:
            break
        image = _halved(image)
        size = size * 2
    return maps


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


def _roughness(image: Image, smooth: Image) -> Image:
    """Deviation of the intensities around a voxel."""
    square = ndimage.gaussian_filter(image * image, _DEVIATION, truncate=3.0)
    deviation: Image = np.sqrt((square - smooth * smooth).clip(min=0))
    return deviation


def _halved(image: Image) -> Image:
    """Average eight voxels; an odd plane at the end is repeated first."""
    whole: Tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    odd = [n % 2 for n in image.shape]
    if any(odd):
        whole = functional.pad(whole, (0, odd[2], 0, odd[1], 0, odd[0]), mode="replicate")
    halved: Image = functional.avg_pool3d(whole, 2)[0, 0].numpy()
    return halved
