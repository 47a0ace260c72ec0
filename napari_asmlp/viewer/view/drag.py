"""Window and level by dragging in the image, as at a radiology workstation."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.planes import planes_shown, show_planes
from napari_asmlp.viewer.view.contrast import Window

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ContrastDrag:
    """While it is on, drags set window and level of one image instead of moving the view.

    The image is selected meanwhile, since a selected Labels layer would paint; the layer that was
    selected before is afterwards.

    Parameters
    ----------
    viewer
        Whose current image is meant; drags are taken in all planes that it shows.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._canvases: tuple[ViewerModel, ...] = ()
        self._image: Image | None = None
        self._before: Any = None

    @property
    def is_on(self) -> bool:
        """Whether drags are taken."""
        return self._image is not None

    def turn(self, *, on: bool) -> None:
        """Start or stop; there must be an image to start with."""
        image = current_of(self._viewer).image if on else None
        if image is not None and image.rgb:  # which has no window
            image = None
        for canvas in self._canvases:
            canvas.mouse_drag_callbacks.remove(self._follow)
        self._canvases = () if image is None else canvases_of(self._viewer)
        for canvas in self._canvases:
            canvas.mouse_drag_callbacks.append(self._follow)
        if image is not None:
            self._before = self._viewer.layers.selection.active
            self._viewer.layers.selection.active = image
        elif self._image is not None and self._viewer.layers.selection.active is self._image:
            if self._before in self._viewer.layers:
                self._viewer.layers.selection.active = self._before
            self._before = None
        self._image = image

    def _follow(self, _canvas: ViewerModel, event: Any) -> Generator[None, None, None]:
        image = self._image
        if image is None or image is not self._viewer.layers.selection.active or event.button != 1:
            return
        start, (x, y) = Window.of(image.contrast_limits), event.pos
        event.handled = True
        yield
        while event.type == "mouse_move":
            image.contrast_limits = start.dragged(event.pos[0] - x, event.pos[1] - y).limits
            event.handled = True
            yield


def canvases_of(viewer: ViewerModel) -> tuple[ViewerModel, ...]:
    """Return a viewer and the other planes that are shown beside it."""
    if not planes_shown(viewer):
        return (viewer,)
    return (viewer, *(view.viewer for view in show_planes(viewer).views))


def drag_meanwhile(viewer: ViewerModel) -> Generator[None, None, None]:
    """Let drags set window and level until the generator goes on."""
    drag = ContrastDrag(viewer)
    drag.turn(on=True)
    yield
    drag.turn(on=False)
