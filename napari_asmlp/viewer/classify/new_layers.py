"""Layers that the panel adds: maps of what spoke for a class, and labels of single objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, label_colormap

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import add_labels, image_layer_data, labels_on

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_asmlp.volume import Volume

# black in the middle adds nothing to the image below; told apart by colour-blind people too
_COLOURS = Colormap([[0.34, 0.71, 0.91], [0, 0, 0], [0.9, 0.62, 0]], name="against or for")


def add_map(viewer: ViewerModel, volume: Volume, name: str) -> Image:
    """Add a map over the image, orange for and blue against; what is selected stays selected."""
    ((data, attributes, _),) = image_layer_data(volume)
    most = float(np.abs(data).max()) or 1.0
    look = {
        "name": name,
        "colormap": _COLOURS,
        "blending": "additive",
        "contrast_limits": (-most, most),
    }
    with current_of(viewer).kept():
        layer: Image = viewer.add_image(data, **{**attributes, **look})
    return layer


def add_objects(viewer: ViewerModel, labels: Labels, objects: NDArray[Any]) -> Labels:
    """Add labels of single objects, (i, j, k), on the grid of a labels layer."""
    layer = labels_on(labels, objects, (), f"{labels.name} objects")
    layer.colormap = label_colormap()  # endless, where a table would leave most of them grey
    add_labels(viewer, layer)
    return layer
