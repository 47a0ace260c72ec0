"""A plain 3D layer of a layer that no volume can be taken from as it is.

Taken are the finest level of a pyramid, and the point of further axes (time, say) that the viewer
shows. What turns, mirrors or stretches the layer (scale, rotation, shear, affine) becomes the grid
of a volume, which is shown as one that was read from a file: upright, with its tilt kept for the
way back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid
from napari_asmlp.viewer.layers import (
    AXIS_LABELS,
    add_labels,
    check_can_be_plain,
    image_layer_data,
    is_labels,
    labels_layer_data,
    units_mm,
)
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

_NDIM = len(AXIS_LABELS)


def add_plain(viewer: ViewerModel) -> Image | Labels:
    """Add a plain 3D layer of the selected layer, which is hidden.

    Raises
    ------
    AsmlpError
        If no image or labels are selected, or there is no volume in them; it says what to do.
    """
    layer = viewer.layers.selection.active
    if not isinstance(layer, Image) and not is_labels(layer):
        raise SettingsError("no image or labels are selected: select the layer to make plain")
    check_can_be_plain(layer)
    volume = _volume(layer, viewer.dims.point)
    added: Image | Labels
    if isinstance(layer, Labels):
        data, attributes, _ = labels_layer_data(volume)
        added = Labels(data, **attributes | {"colormap": layer.colormap})
        added.features = layer.features
        add_labels(viewer, added)
    else:
        ((data, attributes, _),) = image_layer_data(volume)
        added = viewer.add_layer(Image(data, **attributes | {"colormap": layer.colormap}))
    layer.visible = False
    return added


def _volume(layer: Image | Labels, point: tuple[float, ...]) -> Volume:
    """Return what a layer shows at a point of the viewer's world, loaded."""
    extra = layer.ndim - _NDIM
    array = layer.data[0] if layer.multiscale else layer.data
    here = np.rint(layer.world_to_data(np.asarray(point)[-layer.ndim :])).astype(int)[:extra]
    here = np.clip(here, 0, np.array(array.shape[:extra]) - 1)
    voxels = np.asarray(array[tuple(here)])
    grid = Grid(voxels.shape, _affine(layer, here))
    kind: Any = "labels" if isinstance(layer, Labels) else "image"
    return Volume(voxels, grid, kind, title=f"{layer.name} plain")


def _affine(layer: Image | Labels, here: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return the matrix (4, 4) from voxels of the last three axes to mm, (R, A, S)."""
    at = np.zeros((1 + _NDIM, layer.ndim))
    at[:, : layer.ndim - _NDIM] = here
    at[1:, -_NDIM:] = np.eye(_NDIM)
    world = np.array([layer.data_to_world(place)[-_NDIM:] for place in at]) * units_mm(layer)
    affine = np.eye(4)
    affine[:3, :3] = (world[1:] - world[0]).T[::-1]
    affine[:3, 3] = world[0][::-1]
    return affine
