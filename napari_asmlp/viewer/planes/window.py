"""The planes in napari's window: two more views beside the main canvas, which stays as it is.

The main canvas shows whatever plane the user turns it to, normally the axial one, or 3D; the other
two planes are shown beside it. All is undone by `Planes.close`, which also happens when the window
closes.
"""

from __future__ import annotations

from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication, QSplitter

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.anatomy import (
    CORONAL,
    SAGITTAL,
    camera_orientation,
    order_of,
    other_planes,
)
from napari_asmlp.viewer.camera import convention_of, is_anatomical
from napari_asmlp.viewer.planes.annotations import Annotations
from napari_asmlp.viewer.planes.connections import Connections
from napari_asmlp.viewer.planes.context import hold_context
from napari_asmlp.viewer.planes.cursor import Cursor
from napari_asmlp.viewer.planes.twins import Twins
from napari_asmlp.viewer.region.mouse import listen

REDRAW_MS = 50
_SHARES = (3, 2)  # of the width: main canvas, the two others
_KEYS = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)


class Planes(QObject):
    """The two other planes of one viewer, all three linked.

    Parameters
    ----------
    viewer
        Must have a window.

    Signals
    -------
    closed() : the planes have gone

    Raises
    ------
    SettingsError
        If the viewer has no window.
    """

    closed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._main = main_canvas(viewer)
        self.views = tuple(_plane_view(plane.name) for plane in (CORONAL, SAGITTAL))
        models = [view.viewer for view in self.views]
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._twins = Twins(viewer, models, self._make_due)
        self._timer.timeout.connect(self._twins.redraw)
        self._place_views()
        self.cursor = Cursor((viewer, *models))
        self._notes = [Annotations(view, self.cursor) for view in (self._main, *self.views)]
        self._events = Connections()
        self._follow_viewer()
        for view in self.views:
            view.canvas.native.installEventFilter(self)
            listen(viewer, view.viewer)
        self._main.installEventFilter(self)
        self.arrange()

    @property
    def has_crosshair(self) -> bool:
        """Whether lines show where the other planes are."""
        return self._notes[0].has_crosshair

    @has_crosshair.setter
    def has_crosshair(self, on: bool) -> None:
        for notes in self._notes:
            notes.has_crosshair = on
            notes.update()

    @property
    def has_letters(self) -> bool:
        """Whether the edges say which side is which."""
        return self._notes[0].has_letters

    @has_letters.setter
    def has_letters(self, on: bool) -> None:
        for notes in self._notes:
            notes.has_letters = on
            notes.update()

    def arrange(self) -> None:
        """Show what the main canvas does not, upright and at the cursor."""
        viewer, anatomical = self._viewer, is_anatomical(self._viewer)
        for view, plane in zip(self.views, other_planes(viewer.dims.order), strict=True):
            model = view.viewer
            model.title = plane.name
            if model.dims.ndim == viewer.dims.ndim:
                model.dims.axis_labels = viewer.dims.axis_labels
            order = order_of(plane, model.dims.ndim)
            if order != model.dims.order:
                model.dims.order = order
            model.scene.camera.orientation = (
                camera_orientation(order, convention_of(viewer))
                if anatomical
                else viewer.scene.camera.orientation
            )
        self.cursor.place()
        for notes in self._notes:
            notes.is_anatomical = anatomical
            notes.update()

    def close(self) -> None:
        """Take everything away; the window is as it was before."""
        self._main.removeEventFilter(self)
        self._events.close()
        self._timer.stop()
        for notes in self._notes:
            notes.close_all()
        self.cursor.close()
        self._twins.close()
        for view in self.views:
            view.canvas.native.removeEventFilter(self)
            view.close()  # which deletes it
        self._side.hide()
        self._side.deleteLater()
        self._main.setOrientation(Qt.Orientation.Vertical)
        self.closed.emit()
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's name
        """Go before the window does, and let all keys mean the same wherever the mouse is."""
        if watched is self._main and event.type() == QEvent.Type.Close:
            self._main.hide()  # or it would be painted, and OpenGL may crash: the layers are gone
            self.close()
        elif watched is not self._main and event.type() in _KEYS and not self._has_polygon():
            QApplication.sendEvent(self._main.canvas.native, event)
            return True
        return False

    def _has_polygon(self) -> bool:
        """Tell whether keys end a polygon, which each view draws on its own."""
        active = self._viewer.layers.selection.active
        return active is not None and str(active.mode) == "polygon"

    def _place_views(self) -> None:
        """Put the views to the right of the main canvas, one below the other."""
        self._side = QSplitter(Qt.Orientation.Vertical)
        for view in self.views:
            self._side.addWidget(view)
        width = self._main.width()
        self._main.setOrientation(Qt.Orientation.Horizontal)
        self._main.addWidget(self._side)
        self._main.setSizes([width * share // sum(_SHARES) for share in _SHARES])
        for viewer in (self._viewer, *(view.viewer for view in self.views)):
            QTimer.singleShot(0, viewer.reset_view)  # when it has its size

    def _follow_viewer(self) -> None:
        viewer = self._viewer
        layers = viewer.layers.events
        # last, when napari has done its part
        for signal in (layers.removed, viewer.dims.events.order):
            self._events.connect(signal, self._rearrange, position="last")
        self._events.connect(layers.inserted, self._added, position="last")
        self._events.connect(viewer.events.reset_view, self._reset_views)
        for view in self.views:
            self._events.connect(view.viewer.events.status, self._show_status)

    def _added(self, _event: object = None) -> None:
        if len(self._viewer.layers) == 1:  # another world
            self.cursor.go_to_viewer()
        self.arrange()

    def _rearrange(self, _event: object = None) -> None:
        self.arrange()

    def _reset_views(self, _event: object = None) -> None:
        for view in self.views:
            view.viewer.reset_view()

    def _show_status(self, event: object) -> None:
        """Say in the status bar what is under the mouse."""
        self._viewer.status = getattr(event, "value", "")

    def _make_due(self) -> None:
        if not self._timer.isActive():
            self._timer.start(REDRAW_MS)


def main_canvas(viewer: ViewerModel) -> QtViewer:
    """Return the widget that shows a viewer in its window.

    Raises
    ------
    SettingsError
        If it has no window.
    """
    for window in QApplication.topLevelWidgets():
        for canvas in window.findChildren(QtViewer):
            if canvas.viewer is viewer:
                return canvas
    raise SettingsError("this viewer has no window to show planes in")


def _plane_view(title: str) -> QtViewer:
    view = QtViewer(ViewerModel(title=title))
    hold_context(view)
    view.setAcceptDrops(False)  # the main canvas, which it lies in, opens files
    for over in (True, False):  # else napari draws its brush in a corner until the mouse comes
        view.viewer.mouse_over_canvas = over
    return view
