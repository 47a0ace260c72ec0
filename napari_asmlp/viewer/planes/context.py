"""Works around two faults that end the process when layers leave a viewer.

1. napari 0.9 frees GPU objects in whichever GL context is current. When layers leave, its
   ``_clean_and_update_scenegraph`` deletes their programs, buffers and textures at once
   (``context.finish()``), outside ``paintGL`` and without making the context of its canvas current.
   Qt's own context, which puts the window together, is current then. With Mesa, the next frames
   draw with what the canvas's context still holds of a deleted program: a segmentation fault.
2. vispy 0.17 enables the vertex arrays of a program before it draws, and never disables them. An
   array whose buffer has been deleted stays enabled, and the next draw of a program with fewer
   arrays reads from address 0 (vispy issue 1611).

Here the context of a canvas is made current before napari frees anything, and no array is left
enabled in it: vispy enables those that it needs at each draw. This holds for layers of any kind,
whoever made them. `docs/upstream.md` has the shortest script for each fault.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vispy.gloo import gl  # type: ignore[import-untyped]  # vispy has no types

if TYPE_CHECKING:
    from napari.qt import QtViewer

_CLEAN = "_clean_and_update_scenegraph"  # napari's own events come before ours, so it is wrapped
_MAX_VERTEX_ATTRIBS = 0x8869  # GL_MAX_VERTEX_ATTRIBS, which vispy does not name


def hold_context(view: QtViewer) -> None:
    """Protect the canvas of a view from the faults.

    A napari without the method that frees GPU objects at once has no such fault.
    """
    canvas = view.canvas
    clean = getattr(canvas, _CLEAN, None)
    if clean is not None:
        setattr(canvas, _CLEAN, partial(_clean_in_context, canvas.native, clean))


def _clean_in_context(native: Any, clean: Callable[[], None]) -> None:
    """Free what a layer had on the GPU, in the context where it was made."""
    if native.isValid():  # one that was never shown has no context
        native.makeCurrent()
        for index in range(gl.glGetParameter(_MAX_VERTEX_ATTRIBS)):
            gl.glDisableVertexAttribArray(index)
    clean()
