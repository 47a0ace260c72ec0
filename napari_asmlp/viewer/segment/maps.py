"""What a run gives beside labels, as image layers: uncertainty, probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import image_layer_data

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.volume import Volume

_MOST_SHOWN = 2  # more, such as a probability for each class, would light each other up


def add_maps(viewer: ViewerModel, maps: Mapping[str, Volume]) -> None:
    """Add volumes as layers that brighten the image below; what is selected stays so."""
    with current_of(viewer).kept():
        for name, volume in maps.items():
            ((data, attributes, _),) = image_layer_data(volume)
            look = {"name": name, "colormap": "magma", "blending": "additive"}
            viewer.add_image(data, **{**attributes, **look}, visible=len(maps) <= _MOST_SHOWN)
