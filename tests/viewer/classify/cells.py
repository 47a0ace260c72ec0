"""Labels to classify: round and long objects on a small grid, and models that look at them."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Labels

from napari_asmlp.card import ClassEntry, ClassifierInput
from napari_asmlp.grid import Grid
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.viewer.layers import image_layer_data, labels_layer_data
from napari_asmlp.volume import Volume
from tests.models import small_classifier

SHAPE = (12, 16, 20)
AFFINE = np.array([[-1.0, 0, 0, 10], [0, 0, -3.0, 20], [0, 2.0, 0, -30], [0, 0, 0, 1]])
ROUND, LONG = (1, 3, 5), (2, 4, 6)
CLASSES = (ClassEntry("round", "#e69f00"), ClassEntry("long", "#56b4e9"))


def labels_volume() -> Volume:
    """Three cubes, 1, 3 and 5, and three rods, 2, 4 and 6: value n begins at (1, 1, 3 n - 2)."""
    array = np.zeros(SHAPE, np.uint8)
    for value in ROUND:
        array[1:3, 1:3, 3 * value - 2 : 3 * value] = value
    for value in LONG:
        array[1:11, 1, 3 * value - 2] = value
    return Volume(array, Grid(SHAPE, AFFINE), "labels", title="cells")


def image_volume() -> Volume:
    """Bright where there are objects."""
    noise = np.random.default_rng(0).normal(0, 1, SHAPE)
    bright = (100 * (labels_volume().array() > 0) + noise).astype(np.float32)
    return Volume(bright, Grid(SHAPE, AFFINE), title="scan")


def cells() -> Labels:
    data, attributes, _ = labels_layer_data(labels_volume(), name="cells")
    return Labels(data, **attributes)


def scan() -> Image:
    ((data, attributes, _),) = image_layer_data(image_volume())
    return Image(data, **attributes)


def model(what="object", **changes):
    """An untrained classifier of objects, of shapes or of whole volumes."""
    channels = {"object": 2, "mask": 1, "volume": 1}[what]
    config = MixerConfig((8, 8, 8), 4, channels, width=6, depth=1, token_width=5, channel_width=7)
    entries = {"name": what, "classes": CLASSES, "input": ClassifierInput(what)}
    return small_classifier(config, **(entries | changes))
