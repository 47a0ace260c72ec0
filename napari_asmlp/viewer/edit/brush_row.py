"""The threshold brush's row: a switch, a range of the image, and how large the brush is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.edit.brush import (
    Limits,
    PaintGuard,
    brush_text,
    lock_text,
    percentiles_within,
)
from napari_asmlp.viewer.edit.range_shown import RangeShown
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import check_same_grid
from napari_asmlp.viewer.settings import remembered
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.widgets import text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_FURTHEST = 1e9  # what can be typed
_NOTHING = "There are no labels: segment an image, open labels, or draw new ones (page Open)"
_STEPS = 100  # that a range is divided into, at least


class BrushRow(QWidget):
    """Binds painting in a layer to a range of an image, and shows the size of the brush."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self._image: Image | None = None
        self._search: Task | None = None
        self._tint = RangeShown(viewer)
        self._make_widgets()
        self._lay_out()
        self.switch.toggled.connect(self._turn)
        self.shown.toggled.connect(self._show_tint)
        self.slider.valueChanged.connect(self._slide)
        self.low.valueChanged.connect(self._type)
        self.high.valueChanged.connect(self._type)
        self.from_label.clicked.connect(self.take_from_label)
        self._turn(False)

    @property
    def limits(self) -> Limits:
        """The lowest and the highest intensity that is painted on."""
        return self.low.value(), self.high.value()

    @limits.setter
    def limits(self, limits: Limits) -> None:
        low, high = limits
        for box, value in ((self.low, low), (self.high, max(low, high))):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        self._type()

    def follow(self, layer: Labels | None, image: Image | None) -> None:
        """Guard the painting in another layer, or by another image."""
        _stop(self._search)
        self._search = None
        if layer is not self._layer:
            self._hear(on=False)
            self._loosen()
            self._layer = layer
            self._hear(on=True)
        if image is not self._image:
            self._image = image
            self._show_range()
        self._guard()
        self._tell()

    def close_guard(self) -> None:
        """Let painting be free again where the row can no longer be seen; locks stay."""
        self.switch.setChecked(False)
        self._hear(on=False)
        self._layer = None
        self._show_tint()

    def take_from_label(self) -> None:
        """Set the range to what most of the selected label has in the image."""
        with errors_shown():
            layer, image = self._layer, self._image
            if layer is None or image is None:
                raise SettingsError("choose labels and an image first")
            check_same_grid(layer, image)
            value, labels, voxels = int(layer.selected_label), layer.data, image.data
            _stop(self._search)
            job = Job("range of a label", lambda: percentiles_within(voxels, labels, value))
            self._search = Task(job, self)
            self._search.returned.connect(self._found)
            self._search.start()

    def tell(self, _event: Any = None) -> None:
        """Show the size of the brush anew."""
        self._tell()

    def tint(self, _event: Any = None) -> None:
        """Show the range anew."""
        self._show_tint()

    def _make_widgets(self) -> None:
        self.switch = QCheckBox("Paint only where the image is between")
        self.switch.setToolTip(
            "Brush, fill and polygon change only voxels whose intensity in the image lies in this"
            " range, both ends included"
        )
        self.low, self.high = QDoubleSpinBox(), QDoubleSpinBox()
        for box, end in ((self.low, "Lowest"), (self.high, "Highest")):
            box.setRange(-_FURTHEST, _FURTHEST)
            box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
            box.setKeyboardTracking(False)
            box.setMaximumWidth(72)
            box.setToolTip(f"{end} intensity painted on, in the unit of the image")
        across = Qt.Orientation.Horizontal
        self.slider = QDoubleRangeSlider(across)  # type: ignore[no-untyped-call]  # superqt's
        self.slider.setToolTip("Intensities painted on, in the unit of the image")
        self.from_label = QPushButton("Range of the label")
        self.from_label.setToolTip(
            "Take the intensities between the 5th and the 95th percentile of the image within the"
            " selected label"
        )
        self.shown = QCheckBox("Show it")
        self.shown.setToolTip("Tint what lies in the range, in the slice shown; it is never saved")
        remembered(self.shown, "edit.show_range")
        self.text = text_label()

    def _lay_out(self) -> None:
        self.range = QWidget()
        row = QHBoxLayout(self.range)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.low)
        row.addWidget(self.slider, stretch=1)
        row.addWidget(self.high)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addWidget(self.switch)
        column.addWidget(self.range)
        below = QHBoxLayout()
        below.addWidget(self.from_label, stretch=1)
        below.addWidget(self.shown)
        column.addLayout(below)

    def _hear(self, *, on: bool) -> None:
        dims = self._viewer.dims.events
        dims.ndisplay.disconnect(self.tint)
        if on:
            dims.ndisplay.connect(self.tint)
        listened = [dims.order]
        if self._layer is not None:
            events = self._layer.events
            listened += [events.brush_size, events.n_edit_dimensions, events.selected_label]
        for event in listened:
            event.disconnect(self.tell)
            if on:
                event.connect(self.tell)

    def _turn(self, on: bool) -> None:
        self.range.setVisible(on)
        self.from_label.setVisible(on)
        self.shown.setVisible(on)
        self._guard()

    def _show_tint(self, _on: bool = False) -> None:
        """Tint the range in the image, or do not; in 3D that would take the whole volume."""
        wanted = self.switch.isChecked() and self.shown.isChecked() and self._layer is not None
        if wanted and self._image in self._viewer.layers and self._viewer.dims.ndisplay == 2:
            self._tint.show(self._image, self.limits)
        else:
            self._tint.hide()

    def _guard(self) -> None:
        """Guard the layer's painting as the row says; what is impossible turns the switch off."""
        self._show_tint()
        layer = self._layer
        if layer is None or not isinstance(layer.data, np.ndarray):
            return
        try:
            limits = self.limits if self.switch.isChecked() else None
            guard = PaintGuard.of(layer, self._image, limits)
        except AsmlpError:
            self.switch.setChecked(False)  # which comes here once more
            with errors_shown():
                raise
        else:
            edits_of(layer).guard = guard

    def _loosen(self) -> None:
        """Let the layer that was followed keep its locks only."""
        if self._layer is not None and isinstance(self._layer.data, np.ndarray):
            edits_of(self._layer).guard = PaintGuard(self._layer)

    def _show_range(self) -> None:
        """Offer the range of an image, and begin with what it shows between black and white."""
        if self._image is None:
            return
        low, high = (float(end) for end in self._image.contrast_limits_range)
        span = high - low if high > low else 1.0
        whole = np.dtype(self._image.dtype).kind in "ui" and span >= _STEPS
        for box in (self.low, self.high):
            box.setDecimals(0 if whole else _decimals(span))
            box.setSingleStep(1 if whole else span / _STEPS)
        self.slider.blockSignals(True)
        self.slider.setRange(low, low + span)
        self.slider.blockSignals(False)
        black, white = self._image.contrast_limits
        self.limits = float(black), float(white)

    def _slide(self, ends: Limits) -> None:
        self.low.blockSignals(True)
        self.high.blockSignals(True)
        self.low.setValue(ends[0])
        self.high.setValue(ends[1])
        self.low.blockSignals(False)
        self.high.blockSignals(False)
        self._guard()

    def _type(self, _value: float = 0) -> None:
        self.slider.blockSignals(True)
        low, high = self.limits
        self.slider.setValue((low, max(low, high)))
        self.slider.blockSignals(False)
        self._guard()

    def _found(self, limits: Limits) -> None:
        self.limits = limits

    def _tell(self) -> None:
        layer = self._layer
        self.text.setText(_NOTHING if layer is None else lock_text(layer) or self._brush(layer))

    def _brush(self, layer: Labels) -> str:
        return brush_text(layer, self._viewer.dims)


def _decimals(span: float) -> int:
    """Return how many decimals tell a range's steps apart."""
    return int(np.clip(np.ceil(-np.log10(span / _STEPS)), 0, 9))


def _stop(task: Task | None) -> None:
    if task is not None:
        task.abandon()
        task.deleteLater()
