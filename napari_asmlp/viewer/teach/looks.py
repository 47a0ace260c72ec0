"""Layers that the panel adds beside the taught labels: doubt, and labels of other images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import image_layer_data, labels_on, volume_of
from napari_asmlp.viewer.teach.taught import add_beneath

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_asmlp.model import LabelEntry
    from napari_asmlp.volume import Volume

DOUBT_KEY = "napari_asmlp_doubt"  # in the metadata of a layer that shows it, and is no image
_MOST = 255
# nothing where there is none, so that the image is seen; unlike the first colours of classes
_DOUBT = Colormap([[0.86, 0.15, 0.5, 0], [0.86, 0.15, 0.5, 0.9]], name="doubt")


def add_doubt(viewer: ViewerModel, image: Image, doubt: NDArray[np.uint8]) -> Image:
    """Show doubt (i, j, k) over an image, red where it is great; what is selected stays so."""
    data, attributes = _shown(image, doubt)
    look = {
        "name": f"doubt: {image.name}",
        "colormap": _DOUBT,
        "blending": "translucent",
        "contrast_limits": (0, _MOST),
    }
    attributes["metadata"][DOUBT_KEY] = True
    with current_of(viewer).kept():
        layer: Image = viewer.add_image(data, **{**attributes, **look})
        viewer.layers.move(viewer.layers.index(layer), viewer.layers.index(image) + 1)
    return layer


def renew_doubt(layer: Image, image: Image, doubt: NDArray[np.uint8]) -> None:
    """Show other doubt in a layer."""
    layer.data, _ = _shown(image, doubt)


def add_applied(
    viewer: ViewerModel, image: Image, labels: Volume, entries: Sequence[LabelEntry]
) -> Labels:
    """Add labels of an image that nobody has annotated."""
    layer = labels_on(image, labels.array(), entries, f"taught: {image.name}")
    add_beneath(viewer, layer, None)
    return layer


def ask_image(viewer: ViewerModel, parent: QWidget) -> Image | None:
    """Open a file that the user chooses; returns its first layer, None if he chooses none."""
    path, _ = QFileDialog.getOpenFileName(parent, "Image to label", str(Path.home()))
    if not path:
        return None
    before = set(viewer.layers)
    viewer.open(path, plugin="napari-asmlp")
    new = [layer for layer in viewer.layers if layer not in before]
    return next((layer for layer in new if isinstance(layer, Image)), None)


def _shown(image: Image, doubt: NDArray[np.uint8]) -> tuple[Any, dict[str, Any]]:
    ((data, attributes, _),) = image_layer_data(replace(volume_of(image), data=doubt))
    return data, attributes
