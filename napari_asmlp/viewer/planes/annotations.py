"""What is drawn over a view: crosshair, anatomical letters, and which plane it is.

It is a light widget over the canvas, so that moving the crosshair draws two lines and no volume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QLineF, QObject, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.anatomy import PLANES, CameraOrientation, edge_letters, plane_shown
from napari_asmlp.viewer.camera import is_anatomical
from napari_asmlp.viewer.layers import AXIS_LABELS
from napari_asmlp.viewer.planes.connections import Connections

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.viewer.planes.cursor import Cursor

_MARGIN = 6  # all in pixels
_GAP = 9  # around the point, so that the crosshair does not cover what it points at
_LINE_ALPHA = 170
_TEXT, _BACKDROP = QColor("white"), QColor(0, 0, 0, 150)


class Annotations(QWidget):
    """Lies over the canvas of one view, and lets the mouse through.

    Parameters
    ----------
    canvas
        The view.
    cursor
        Where the crosshair is. Without one only letters are drawn, for anatomical volumes, as long
        as nobody else annotates the canvas.

    Signals
    -------
    closed() : it has gone, or the window is about to
    """

    closed = Signal()

    def __init__(self, canvas: QtViewer, cursor: Cursor | None = None) -> None:
        super().__init__(canvas.canvas.native)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        font = self.font()
        font.setBold(True)
        self.setFont(font)
        self.is_anatomical = False
        self.has_crosshair = True
        self.has_letters = True
        self._canvas = canvas
        self._view: ViewerModel = canvas.viewer
        self._cursor = cursor
        self._events = Connections()
        view = self._view
        for signal in (view.scene.camera.events, view.dims.events.order, view.dims.events.ndisplay):
            self._events.connect(signal, self._changed)
        if cursor is not None:
            self._events.connect(cursor.moved, self._changed)
        else:
            self._events.connect(view.layers.events, self._changed)
        canvas.installEventFilter(self)
        self.parent().installEventFilter(self)
        self.setGeometry(self.parent().rect())
        self.show()

    def close_all(self) -> None:
        """Go away for good."""
        self._events.close()
        self.parent().removeEventFilter(self)
        self._canvas.removeEventFilter(self)
        self.hide()
        self.closed.emit()
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's name
        """Stay as large as the canvas, and go before the window does."""
        if watched is self._canvas:
            if event.type() == QEvent.Type.Close and self._cursor is None:
                self.close_all()
            return False
        if event.type() == QEvent.Type.Resize and isinstance(watched, QWidget):
            self.setGeometry(watched.rect())
        return False

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802  # Qt's name
        """Draw what belongs to the plane; 3D and pictures have none."""
        view = self._view
        is_plane = view.dims.ndisplay == 2 and view.dims.ndim >= len(AXIS_LABELS)
        if not is_plane or not view.layers:
            return
        painter = QPainter(self)
        if self._cursor is None:
            if self.has_letters and is_anatomical(view) and not self._has_company():
                self._draw_letters(painter)
        elif len(self._cursor.point) == view.dims.ndim:
            if self.has_crosshair and not view.canvas.grid.enabled:
                self._draw_crosshair(painter)
            if self.has_letters and self.is_anatomical:
                self._draw_letters(painter)
            self._draw_caption(painter)
        painter.end()

    def _has_company(self) -> bool:
        """Tell whether the planes annotate this canvas."""
        return len(self.parent().findChildren(Annotations)) > 1

    def _draw_crosshair(self, painter: QPainter) -> None:
        centre = self._pixel()
        x, y = centre.x(), centre.y()
        vertical, horizontal = self._view.dims.displayed
        lines = {
            vertical: (QLineF(0, y, x - _GAP, y), QLineF(x + _GAP, y, self.width(), y)),
            horizontal: (QLineF(x, 0, x, y - _GAP), QLineF(x, y + _GAP, x, self.height())),
        }
        for axis, parts in lines.items():
            painter.setPen(QPen(_colour_of(axis, self._view.dims.ndim), 1))
            painter.drawLines(*parts)

    def _draw_letters(self, painter: QPainter) -> None:
        letters = edge_letters(self._view.dims.order, self._orientation())
        inside = QRectF(self.rect()).adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        middle = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignHCenter
        for letter, flag in (
            (letters.left, Qt.AlignmentFlag.AlignLeft | middle[0]),
            (letters.right, Qt.AlignmentFlag.AlignRight | middle[0]),
            (letters.top, Qt.AlignmentFlag.AlignTop | middle[1]),
            (letters.bottom, Qt.AlignmentFlag.AlignBottom | middle[1]),
        ):
            _draw_text(painter, inside, flag, letter, _TEXT)

    def _draw_caption(self, painter: QPainter) -> None:
        inside = QRectF(self.rect()).adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        plane = plane_shown(self._view.dims.order)
        if plane is None:
            return
        text, metrics = self.caption(), painter.fontMetrics()
        if metrics.horizontalAdvance(text) + 2 * _MARGIN > inside.width() / 2:
            inside.translate(0, metrics.height())  # below the letter in the middle
        corner = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop
        _draw_text(painter, inside, corner, text, QColor(plane.colour))

    def caption(self) -> str:
        """Return the plane's name, and where it is: in mm, or the slice's number."""
        dims = self._view.dims
        plane = plane_shown(dims.order)
        if plane is None:
            return ""
        axis = dims.ndim - len(AXIS_LABELS) + plane.sliced
        if self.is_anatomical:
            place = f"{dims.point[axis]:.1f} mm".replace("-", "\u2212")
            return f"{plane.name}  {AXIS_LABELS[plane.sliced]} {place}"
        return f"{plane.axes}  {dims.current_step[axis]}"

    def _pixel(self) -> QPointF:
        """Return where the cursor is on the canvas."""
        camera = self._view.scene.camera
        point = self._view.dims.point if self._cursor is None else self._cursor.point
        _, down, right = self._orientation()
        vertical, horizontal = self._view.dims.displayed
        away_y = (point[vertical] - camera.center[-2]) * camera.zoom
        away_x = (point[horizontal] - camera.center[-1]) * camera.zoom
        return QPointF(
            round(self.width() / 2 + (away_x if right == "right" else -away_x)),
            round(self.height() / 2 + (away_y if down == "down" else -away_y)),
        )

    def _orientation(self) -> CameraOrientation:
        depth, vertical, horizontal = map(str, self._view.scene.camera.orientation)
        return depth, vertical, horizontal

    def _changed(self, _event: object = None) -> None:
        self.update()


def _colour_of(axis: int, ndim: int) -> QColor:
    """Return the colour of the plane that is perpendicular to an axis of the world."""
    spatial = axis - (ndim - len(PLANES))
    colour = QColor(PLANES[spatial].colour if 0 <= spatial < len(PLANES) else "white")
    colour.setAlpha(_LINE_ALPHA)
    return colour


def _draw_text(
    painter: QPainter, inside: QRectF, flags: Qt.AlignmentFlag, text: str, colour: QColor
) -> None:
    """Draw text that can be read on black and on white."""
    box = painter.boundingRect(inside, flags, text).adjusted(-3, 0, 3, 0)
    painter.fillRect(box, _BACKDROP)
    painter.setPen(colour)
    painter.drawText(inside, flags, text)
