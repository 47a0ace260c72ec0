"""How anatomy lies on screen: upright, by the radiological or the neurological convention."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import napari
from napari.layers import Image, Labels

from napari_asmlp.viewer.anatomy import Convention, camera_orientation
from napari_asmlp.viewer.layers import AXIS_LABELS
from napari_asmlp.viewer.settings import recall

if TYPE_CHECKING:
    from napari.components import ViewerModel

CONVENTION_KEY = "view.convention"  # of the remembered settings
_upright: WeakKeyDictionary[ViewerModel, Convention] = WeakKeyDictionary()


def show_upright(viewer: ViewerModel | None = None) -> None:
    """Turn the camera of a viewer so that anatomy is upright, and keep it so in all planes.

    Layers of axes (S, A, R) then show anterior up in axial, superior up in coronal, and superior up
    with anterior on the left in sagittal planes, the patient's right on the left unless
    `set_convention` said otherwise; in 3D nothing is mirrored. A viewer that shows volumes of
    somebody else is left alone.

    Readers only return data, so the reader calls this for the viewer that asked for it.

    Parameters
    ----------
    viewer
        The current one unless given; without any, nothing happens.
    """
    viewer = viewer or napari.current_viewer()
    if viewer is not None and (is_anatomical(viewer) or not viewer.layers):
        _turn(getattr(viewer, "__wrapped__", viewer))


def convention_of(viewer: ViewerModel) -> Convention:
    """Return the convention of a viewer: the one set, or the one the user chose last."""
    return _upright.get(getattr(viewer, "__wrapped__", viewer)) or _usual()


def set_convention(viewer: ViewerModel, convention: Convention) -> None:
    """Put the patient's right on the left of the screen (radiological), or on its right."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    _follow(viewer)
    _upright[viewer] = convention
    show_upright(viewer)


def is_anatomical(viewer: ViewerModel) -> bool:
    """Tell whether a viewer shows volumes, and the axes of all of them are (S, A, R)."""
    volumes = [layer for layer in viewer.layers if isinstance(layer, Image | Labels)]
    return bool(volumes) and all(tuple(v.axis_labels) == AXIS_LABELS for v in volumes)


def _turn(viewer: ViewerModel) -> None:
    _follow(viewer)
    order = viewer.dims.order if viewer.dims.ndim >= len(AXIS_LABELS) else (0, 1, 2)
    viewer.scene.camera.orientation = camera_orientation(order, convention_of(viewer))


def _follow(viewer: ViewerModel) -> None:
    """From now on turn the camera whenever other axes are shown."""
    if viewer not in _upright:
        _upright[viewer] = _usual()
        viewer.dims.events.order.connect(lambda: show_upright(viewer))


def _usual() -> Convention:
    """Return the convention that the user chose last, radiological at first."""
    chosen = recall(CONVENTION_KEY, "radiological")
    return "neurological" if chosen == "neurological" else "radiological"
