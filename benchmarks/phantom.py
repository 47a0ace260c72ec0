"""A made-up abdomen: five organs in noise, the same for the same seed, to measure tools on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPE = (512, 512, 300)
SPACING = (0.7, 0.7, 1.5)  # mm
_COARSE = 4  # the organs' outlines are made on a grid so many times coarser

# centre and semi-axes of each organ as shares of the volume, its value being its place + 1
_ORGANS = (
    ((0.33, 0.42, 0.62), (0.30, 0.26, 0.28)),
    ((0.76, 0.50, 0.65), (0.15, 0.18, 0.21)),
    ((0.31, 0.74, 0.32), (0.11, 0.11, 0.19)),
    ((0.67, 0.74, 0.30), (0.11, 0.11, 0.19)),
    ((0.54, 0.46, 0.36), (0.22, 0.10, 0.12)),
)
_SPECKS = 400  # islands, and as many holes
_HU = (-80.0, 60.0, 50.0, 30.0, 35.0, 20.0)  # mean intensity of the background and the organs


def phantom(
    shape: tuple[int, int, int] = SHAPE, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return labels (i, j, k) of 0 to 5 with islands and holes, and an image of them."""
    rng = np.random.default_rng(seed)
    labels = _organs(shape, rng)
    _speckle(labels, rng)
    image = np.asarray(_HU, np.float32)[labels]
    image += 12 * rng.standard_normal(shape, np.float32)
    return labels, image


def _organs(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = tuple(-(-n // _COARSE) for n in shape)
    at = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in coarse), indexing="ij"), -1)
    best, labels = np.ones(shape, np.float32), np.zeros(shape, np.uint8)
    zoom = [n / m for n, m in zip(shape, coarse, strict=True)]
    for value, (centre, axes) in enumerate(_ORGANS, start=1):
        bumps = ndimage.gaussian_filter(rng.normal(size=coarse), 5)
        far = np.linalg.norm((at - centre) / axes, axis=-1) + 0.12 * bumps / bumps.std()
        fine = ndimage.zoom(far.astype(np.float32), zoom, order=1)
        fine += np.float32(0.01) * rng.standard_normal(shape, np.float32)  # a rough border
        closer = fine < best
        best[closer], labels[closer] = fine[closer], value
    return labels


def _speckle(labels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    for value in (0, *range(1, len(_ORGANS) + 1)):
        for _ in range(_SPECKS if value == 0 else _SPECKS // len(_ORGANS)):
            start = [int(rng.integers(0, n - 6)) for n in labels.shape]
            box = tuple(slice(a, a + int(rng.integers(1, 6))) for a in start)
            labels[box] = value
