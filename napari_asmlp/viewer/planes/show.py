"""Showing and hiding the planes of a viewer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer import camera
from napari_asmlp.viewer.anatomy import Convention
from napari_asmlp.viewer.planes.annotations import Annotations
from napari_asmlp.viewer.planes.context import hold_context
from napari_asmlp.viewer.planes.window import Planes, main_canvas
from napari_asmlp.viewer.settings import recall

if TYPE_CHECKING:
    from napari.components import ViewerModel

CROSSHAIR_KEY = "view.crosshair"  # of the remembered settings
LETTERS_KEY = "view.letters"
_shown: WeakKeyDictionary[ViewerModel, Planes] = WeakKeyDictionary()
_alone: WeakKeyDictionary[ViewerModel, Annotations] = WeakKeyDictionary()  # over main canvases


def show_planes(viewer: ViewerModel) -> Planes:
    """Show the other two planes beside the main canvas; a second call does nothing.

    Raises
    ------
    SettingsError
        If the viewer has no window.
    """
    viewer = _bare(viewer)
    if viewer not in _shown:
        _shown[viewer] = Planes(viewer)
        _shown[viewer].closed.connect(partial(_forget, viewer))
        _shown[viewer].has_crosshair = recall(CROSSHAIR_KEY, True)
        _shown[viewer].has_letters = recall(LETTERS_KEY, True)
    return _shown[viewer]


def hide_planes(viewer: ViewerModel) -> None:
    """Take the other planes away, if they are shown."""
    if planes_shown(viewer):
        _shown[_bare(viewer)].close()


def planes_shown(viewer: ViewerModel) -> bool:
    """Tell whether the planes of a viewer are shown."""
    return _bare(viewer) in _shown


def toggle_planes(viewer: ViewerModel) -> None:
    """Show the planes, or hide them.

    Raises
    ------
    SettingsError
        If the viewer has no window.
    """
    (hide_planes if planes_shown(viewer) else show_planes)(viewer)


def show_crosshair(viewer: ViewerModel, on: bool = True) -> None:
    """Draw or hide the lines that show where the other planes are."""
    if planes_shown(viewer):
        _shown[_bare(viewer)].has_crosshair = on


def show_letters(viewer: ViewerModel, on: bool = True) -> None:
    """Say at the edges of each view of anatomy which side is which, or do not."""
    viewer = _bare(viewer)
    if viewer in _shown:
        _shown[viewer].has_letters = on
    if viewer in _alone:
        _alone[viewer].has_letters = on
        _alone[viewer].update()


def annotate(viewer: ViewerModel) -> None:
    """Draw letters over the main canvas of a viewer that has a window, planes or not.

    The canvas is protected from a fault of napari's as well.
    """
    viewer = _bare(viewer)
    if viewer in _alone:
        return
    try:
        canvas = main_canvas(viewer)
    except SettingsError:  # no window, nothing to draw on
        return
    hold_context(canvas)
    notes = _alone[viewer] = Annotations(canvas)
    notes.has_letters = recall(LETTERS_KEY, True)
    notes.closed.connect(partial(_alone.pop, viewer, None))


def set_convention(viewer: ViewerModel, convention: Convention) -> None:
    """Put the patient's right on the left of the screen (radiological), or on its right."""
    camera.set_convention(viewer, convention)
    if planes_shown(viewer):
        _shown[_bare(viewer)].arrange()


def _forget(viewer: ViewerModel) -> None:
    del _shown[viewer]


def _bare(viewer: ViewerModel) -> ViewerModel:
    bare: ViewerModel = getattr(viewer, "__wrapped__", viewer)  # panels are given a proxy of it
    return bare
