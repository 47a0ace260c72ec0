"""The cursor that all planes share: one point of the world, in the middle of the crosshairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_asmlp.viewer.planes.connections import Connections

if TYPE_CHECKING:
    from napari.components import ViewerModel


class Cursor:
    """Keeps the slices of all views at one point.

    A view is only told where it is cut: napari slices all layers of a view again whenever its point
    moves, even along the axes it shows. So the point is kept here.

    Parameters
    ----------
    views
        The viewer itself first.

    Attributes
    ----------
    moved
        Emitted when the point has changed.
    point
        In the viewer's world.
    """

    moved = Signal()

    def __init__(self, views: Sequence[ViewerModel]) -> None:
        self._views = tuple(views)
        self.point = tuple(views[0].dims.point)
        self._is_busy = False
        self._events = Connections()
        self._watched: list[tuple[list[Any], Any]] = []
        for view in self._views:
            self._events.connect(view.dims.events.point, partial(self._follow, view))
            for signal in (view.dims.events.order, view.dims.events.ndisplay):
                self._events.connect(signal, partial(self._place, view))
            self._watch(view.mouse_drag_callbacks, self._click)
            self._watch(view.mouse_move_callbacks, self._hover)

    def move(self, position: Sequence[float]) -> None:
        """Go to the voxel nearest to a position; all views show its slices."""
        spans = self._views[0].dims.range
        if len(position) != len(spans):
            return
        self._set(tuple(map(_nearest, position, spans)))

    def go_to_viewer(self) -> None:
        """Take the point from the viewer, in all axes, as for the first layer."""
        self.point = tuple(self._views[0].dims.point)
        self.place()

    def place(self) -> None:
        """Show the slices of the point in all views, whatever has happened to them."""
        dims = self._views[0].dims
        if len(self.point) != dims.ndim:
            self.point = tuple(dims.point)
        for view in self._views:
            self._place(view)
        self.moved.emit()

    def close(self) -> None:
        """Leave the views alone."""
        self._events.close()
        for callbacks, callback in self._watched:
            callbacks.remove(callback)
        self._watched.clear()

    def _watch(self, callbacks: list[Any], callback: Any) -> None:
        callbacks.append(callback)
        self._watched.append((callbacks, callback))

    def _set(self, point: tuple[float, ...]) -> None:
        if point == self.point:
            return
        self.point = point
        for view in self._views:
            self._place(view)
        self.moved.emit()

    def _place(self, view: ViewerModel, _event: Any = None) -> None:
        dims = view.dims
        if self._is_busy or len(self.point) != dims.ndim:
            return
        moved = [axis for axis in dims.not_displayed if dims.point[axis] != self.point[axis]]
        if not moved:
            return
        self._is_busy = True
        try:
            dims.set_point(moved, [self.point[axis] for axis in moved])
        finally:
            self._is_busy = False

    def _follow(self, view: ViewerModel, _event: Any = None) -> None:
        """Go where a view was sliced, by its slider or by a program."""
        dims = view.dims
        if self._is_busy or len(self.point) != dims.ndim:
            return
        point = list(self.point)
        for axis in dims.not_displayed:
            point[axis] = dims.point[axis]
        self._set(tuple(point))

    def _click(self, view: ViewerModel, event: Any) -> Iterator[None]:
        yield
        is_click = event.type == "mouse_release" and event.button == 1  # else it is a drag
        if is_click and not event.modifiers and _is_panning(view):
            self.move(event.position)

    def _hover(self, view: ViewerModel, event: Any) -> None:
        if view.dims.ndisplay == 2 and tuple(event.modifiers) == ("Shift",):
            self.move(event.position)


def _is_panning(view: ViewerModel) -> bool:
    """Tell whether a click has no other meaning."""
    active = view.layers.selection.active
    return view.dims.ndisplay == 2 and (active is None or str(active.mode) == "pan_zoom")


def _nearest(place: float, span: tuple[float, float, float]) -> float:
    """Return the nearest voxel centre of an axis, given as first centre, last centre, step."""
    first, last, step = span
    return float(min(max(first + round((place - first) / step) * step, first), last))
