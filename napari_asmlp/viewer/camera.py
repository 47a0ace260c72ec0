"""How anatomy lies on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari

from napari_asmlp.viewer.layers import METADATA_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel

# of the axes (S, A, R): superior away from the viewer, anterior up, the patient's right on the left
RADIOLOGICAL = ("away", "up", "left")


def show_radiological(viewer: ViewerModel | None = None) -> None:
    """Turn the camera of a viewer so that anatomy is upright, the patient's right on the left.

    Layers of axes (S, A, R) then show anterior up in axial, superior up in coronal, and superior up
    with anterior on the left in sagittal planes; in 3D nothing is mirrored. A viewer that shows
    layers of somebody else is left alone.

    Readers only return data, so the reader calls this for the viewer that asked for it.

    Parameters
    ----------
    viewer
        The current one unless given; without any, nothing happens.
    """
    viewer = viewer or napari.current_viewer()
    if viewer is not None and all(METADATA_KEY in layer.metadata for layer in viewer.layers):
        viewer.scene.camera.orientation = RADIOLOGICAL
