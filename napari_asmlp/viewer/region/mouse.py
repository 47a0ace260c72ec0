"""Drawing and placing a region with the mouse, in a viewer's canvas and in its linked planes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from napari.layers import Image

from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.region.box import RegionBox, outline_of, region_in
from napari_asmlp.viewer.region.geometry import grabbed_faces

if TYPE_CHECKING:
    from napari.components import ViewerModel

GRAB_PIXELS = 6  # how near to an edge of the box the mouse must be to take hold of it
_LEFT = 1
_AXES = 3

Tool = Callable[[Any], Generator[None, None, None]]


class CanvasMouse:
    """The mouse of a viewer, lent to one tool at a time.

    While it is lent, each press of the left button in the canvas starts the tool, as napari starts
    its drag callbacks. A brush that the user takes up meanwhile comes first.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._models: WeakSet[ViewerModel] = WeakSet([viewer])
        self._tool: Tool | None = None

    def listen(self, model: ViewerModel) -> None:
        """Hear another model, too: that of a linked plane."""
        self._models.add(model)
        if self._tool is not None:
            self._connect(model)

    def lend(self, tool: Tool) -> None:
        """Give the mouse to a tool; whichever had it loses it. Brushes are put away."""
        self._tool = tool
        for model in self._models:
            self._connect(model)
            active = model.layers.selection.active
            if active is not None:
                active.mode = "pan_zoom"

    def take_back(self, tool: Tool) -> None:
        """Leave the mouse to napari, if this tool has it."""
        if self._tool == tool:
            self._tool = None
            for model in self._models:
                if self._follow in model.mouse_drag_callbacks:
                    model.mouse_drag_callbacks.remove(self._follow)

    def _connect(self, model: ViewerModel) -> None:
        if self._follow not in model.mouse_drag_callbacks:
            model.mouse_drag_callbacks.append(self._follow)

    def _follow(self, model: ViewerModel, event: Any) -> Generator[None, None, None]:
        active = model.layers.selection.active
        is_free = active is None or active.mode == "pan_zoom"
        if self._tool is not None and is_free and event.button == _LEFT and not event.modifiers:
            yield from self._tool(event)


_mice: WeakKeyDictionary[ViewerModel, CanvasMouse] = WeakKeyDictionary()


def canvas_mouse(viewer: ViewerModel) -> CanvasMouse:
    """Return the mouse of a viewer, whoever asks."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # panels are given a proxy of it
    if viewer not in _mice:
        _mice[viewer] = CanvasMouse(viewer)
    return _mice[viewer]


def listen(viewer: ViewerModel, model: ViewerModel) -> None:
    """Let regions of a viewer be drawn in a linked plane of it as well.

    Parameters
    ----------
    model
        Of the plane, in the same world as the viewer; weakly held.
    """
    canvas_mouse(viewer).listen(model)


class DrawTool:
    """Draws a region by dragging, or moves faces of the one that is there.

    A drag that begins near an edge or a corner of the box moves that; any other one draws a new
    rectangle. Across the plane the region keeps its extent, or has the whole depth.

    Parameters
    ----------
    box
        Where the region goes.
    image
        Returns the image that it is to be a part of.
    """

    def __init__(self, box: RegionBox, image: Callable[[], Image | None]) -> None:
        self._box = box
        self._image = image

    def __call__(self, event: Any) -> Generator[None, None, None]:
        """Follow one drag."""
        image, press = self._image(), np.array(event.position[-_AXES:])
        axes = [axis - len(event.position) + _AXES for axis in event.dims_displayed]
        if image is None or len(axes) != 2 or min(axes) < 0:
            return
        region = self._box.region_on(image)
        with errors_shown():
            start = outline_of(image, region)
            sides = (
                (0, 0)
                if region is None
                else grabbed_faces(
                    press[axes], start.low[axes], start.high[axes], GRAB_PIXELS / event.camera_zoom
                )
            )
            event.handled = True  # else the view would move
            yield
            while event.type == "mouse_move":
                point = np.array(event.position[-_AXES:])
                if any(sides):
                    outline = start.moved(axes, sides, point)
                else:
                    outline = start.drawn(axes, press, point)
                self._box.put(image, region_in(image, outline))
                event.handled = True
                yield


class PickTool:
    """Passes on clicks as world positions; drags stay napari's."""

    def __init__(self, picked: Callable[[tuple[float, ...]], None]) -> None:
        self._picked = picked

    def __call__(self, event: Any) -> Generator[None, None, None]:
        """Follow one press."""
        yield
        if event.type == "mouse_release":  # else it is a drag, which moves the view
            self._picked(tuple(event.position))
