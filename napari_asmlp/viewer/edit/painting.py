"""The row of painting: brush, eraser and their like, the size in mm, a disc or a ball.

It sets and follows what napari's layer controls do, which *Focus* hides.
"""

from __future__ import annotations

from functools import partial
from math import floor, log10
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import QSize
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.viewer.edit.brush import brush_step
from napari_asmlp.viewer.icons import checked_style, icon

if TYPE_CHECKING:
    from napari.components import ViewerModel

# Mode of napari's layer: icon, and what one does in it.
MODES = {
    "pan_zoom": ("move", "Move the view; nothing is painted"),
    "paint": ("brush", "Paint the selected label"),
    "erase": ("eraser", "Erase"),
    "fill": ("fill", "Fill what hangs together and has one value"),
    "polygon": ("polygon", "Draw the corners of a polygon that is filled; double-click ends it"),
    "pick": ("pick", "Select the label under the cursor"),
}
_ICON_SIDE, _LARGEST = 18, 1000.0
_IN_3D, _IN_2D = 3, 2


class PaintingRow(QWidget):
    """Chooses what the mouse does in a labels layer, and the brush."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self.buttons = {mode: self._button(mode, tip) for mode, (_, tip) in MODES.items()}
        group = QButtonGroup(self)
        for button in self.buttons.values():
            group.addButton(button)
        self.size = QDoubleSpinBox(maximum=_LARGEST, keyboardTracking=False)
        self.size.setToolTip("Diameter of the brush")
        self.ball = QCheckBox("Ball")
        self.ball.setToolTip("Paint and erase a ball, across slices, and fill in 3D")
        self.size.valueChanged.connect(self._set_size)
        self.ball.toggled.connect(self._set_dimensions)
        self._lay_out()
        self.use_theme()
        self.follow(None)

    def follow(self, layer: Labels | None) -> None:
        """Show and set the painting of another layer."""
        for each, on in ((self._layer, False), (layer, True)):
            if each is not None:
                events = each.events
                for event in (events.mode, events.brush_size, events.n_edit_dimensions):
                    (event.connect if on else event.disconnect)(self.tell)
        self._layer = layer
        self.setEnabled(layer is not None)
        self.tell()

    def tell(self, _event: Any = None) -> None:
        """Show what the layer says."""
        layer = self._layer
        if layer is None:
            return
        button = self.buttons.get(str(layer.mode))
        if button is not None:
            button.setChecked(True)
        step, unit = brush_step(layer, self._viewer.dims)
        for widget in (self.size, self.ball):
            widget.blockSignals(True)
        self.size.setSuffix(f" {unit}")
        self.size.setDecimals(max(1, 1 - floor(log10(step))))  # two digits of a step
        self.size.setSingleStep(step)
        self.size.setMinimum(step)
        self.size.setValue(layer.brush_size * step)
        self.ball.setChecked(layer.n_edit_dimensions == _IN_3D)
        for widget in (self.size, self.ball):
            widget.blockSignals(False)

    def use_theme(self, _event: Any = None) -> None:
        """Draw the icons in the colours of the theme."""
        theme = self._viewer.theme
        self.setStyleSheet(checked_style(theme))
        for mode, button in self.buttons.items():
            button.setIcon(icon(MODES[mode][0], theme))

    def _button(self, mode: str, tip: str) -> QToolButton:
        button = QToolButton(toolTip=tip, checkable=True, autoRaise=True)
        button.setIconSize(QSize(_ICON_SIDE, _ICON_SIDE))
        button.setAccessibleName(mode)
        button.clicked.connect(partial(self._set_mode, mode))
        return button

    def _lay_out(self) -> None:
        row, below = QHBoxLayout(), QHBoxLayout()
        for button in self.buttons.values():
            row.addWidget(button)
        row.addStretch()
        below.addWidget(self.size, stretch=1)
        below.addWidget(self.ball)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addLayout(below)

    def _set_mode(self, mode: str) -> None:
        if self._layer is not None:
            self._viewer.layers.selection.active = self._layer  # the mouse is that of the selected
            self._layer.mode = mode
            self.tell()  # a layer that cannot be edited keeps its mode

    def _set_size(self, size: float) -> None:
        if self._layer is not None:
            step, _ = brush_step(self._layer, self._viewer.dims)
            self._layer.brush_size = max(1, round(size / step))
            self.tell()

    def _set_dimensions(self, ball: bool) -> None:  # of a box's signal
        if self._layer is not None:
            self._layer.n_edit_dimensions = _IN_3D if ball else _IN_2D
            self.tell()
