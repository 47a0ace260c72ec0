"""Going to a place of a layer, in all planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp.viewer.layers import shown_index, volume_of
from napari_asmlp.viewer.planes import planes_shown, show_planes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels


def fly_to(viewer: ViewerModel, layer: Labels, place_mm: Sequence[float]) -> None:
    """Show the slices through a place, with it in the middle of each view.

    Parameters
    ----------
    place_mm
        In the world of the layer's volume (right, anterior, superior); a tilt of it is not shown,
        so that the viewer's world is another.
    """
    inverse = np.linalg.inv(volume_of(layer).grid.affine)
    index = inverse[:3, :3] @ np.asarray(place_mm) + inverse[:3, 3]
    position = list(viewer.dims.point)
    position[-3:] = layer.data_to_world(shown_index(layer, index.tolist()))
    views = [viewer]
    if planes_shown(viewer):
        planes = show_planes(viewer)
        planes.cursor.move(position)
        views += [view.viewer for view in planes.views]
    viewer.dims.set_point(range(len(position)), position)
    for view in views:
        centre = [position[axis] for axis in view.dims.displayed]
        view.scene.camera.center = (0.0,) * (3 - len(centre)) + tuple(centre)
