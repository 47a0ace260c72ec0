"""A bright ball to teach on, on a grid whose axes are turned, and strokes in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_asmlp.grid import Grid
from napari_asmlp.viewer.layers import image_layer_data, shown_index
from napari_asmlp.viewer.teach.classes import BACKGROUND
from napari_asmlp.volume import Volume

SHAPE = (16, 18, 20)
AFFINE = np.array([[-1.0, 0, 0, 10], [0, 0, -1.0, 20], [0, 1.0, 0, -30], [0, 0, 0, 1]])
BALL = np.linalg.norm(np.indices(SHAPE) - np.reshape([8, 9, 10], (3, 1, 1, 1)), axis=0) < 5


def image_volume(seed: int = 0, channels: int = 1) -> Volume:
    noise = np.random.default_rng(seed).normal(0, 10, (*SHAPE, channels)[: 3 + (channels > 1)])
    bright = 100 * (BALL if channels == 1 else BALL[..., None])
    return Volume((bright + noise).astype(np.float32), Grid(SHAPE, AFFINE), title=f"ball {seed}")


def scan(seed: int = 0) -> Image:
    ((data, attributes, _),) = image_layer_data(image_volume(seed))
    return Image(data, **attributes)


def stroke(layer: Labels, index: tuple[Any, Any, Any], value: int) -> None:
    """Paint voxels of the file, as one stroke."""
    mark = np.zeros(SHAPE, bool)
    mark[index] = True
    layer.data_setitem(shown_index(layer, np.nonzero(mark)), value)


def paint_slice(layer: Labels, k: int) -> None:
    """Paint a whole slice: the ball as class 1, all else as background."""
    inside = BALL.copy()
    inside[..., np.arange(SHAPE[2]) != k] = False
    outside = ~BALL
    outside[..., np.arange(SHAPE[2]) != k] = False
    for mask, value in ((inside, 1), (outside, BACKGROUND)):
        layer.data_setitem(shown_index(layer, np.nonzero(mask)), value)
