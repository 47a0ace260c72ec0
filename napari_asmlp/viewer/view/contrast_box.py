"""Window and level of one image as fields and buttons."""

from __future__ import annotations

from functools import partial
from math import floor, log10
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
)

from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.view.contrast import (
    CT_PRESETS,
    Preset,
    Window,
    automatic,
    full_range,
    looks_like_hu,
    sample,
    shown_part,
)
from napari_asmlp.viewer.view.drag import ContrastDrag
from napari_asmlp.viewer.widgets import form_layout, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_DIGITS = 3  # of the window that can be set
_NO_CT = "The row above is for CT in HU: air is −1000. Here the lowest value is {:g}"


class ContrastBox(QGroupBox):
    """Sets the intensities of an image that are shown from black to white, and shows them.

    Parameters
    ----------
    viewer
        Of the image; drags are taken in its canvas.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__("Window and level")
        self._viewer = viewer
        self._image: Image | None = None
        self._search: Task | None = None
        self._drag = ContrastDrag(viewer)
        self.name = text_label()
        self.window_field = _spin_box("Width of the shown range of intensities")
        self.window_field.setMinimum(0)
        self.level_field = _spin_box("Middle of the shown range of intensities")
        self.no_ct = text_label()
        self._make_buttons()
        column = QVBoxLayout(self)
        column.addWidget(self.name)
        column.addLayout(_row(self.auto_button, self.slice_button, self.full_button))
        column.addLayout(_row(*self.ct_buttons))
        column.addWidget(self.no_ct)
        form = form_layout()
        form.addRow("Window", self.window_field)
        form.addRow("Level", self.level_field)
        column.addLayout(form)
        column.addWidget(self.drag_button)
        self.window_field.valueChanged.connect(lambda width: self._change(width=width))
        self.level_field.valueChanged.connect(lambda level: self._change(level=level))
        self.follow(None)

    def follow(self, image: Image | None) -> None:
        """Show and set another image, or none."""
        if image is self._image and image is not None:
            return
        if self._image is not None:
            self._image.events.contrast_limits.disconnect(self._show)
            self._image.events.name.disconnect(self._show)
        self._stop()
        self.drag_button.setChecked(False)
        self._image = image
        self.setEnabled(image is not None)
        self.no_ct.hide()
        self.name.setText("" if image else "No image: open one")
        if image is not None:
            image.events.contrast_limits.connect(self._show)
            image.events.name.connect(self._show)
            self._show_unit(image)
            self._show()

    def set(self, window: Window) -> None:
        """Show a window of the image."""
        if self._image is not None and window.width > 0:
            self._image.contrast_limits = window.limits

    def set_automatic(self) -> None:
        """Show nearly all intensities of the volume."""
        if self._image is not None:
            self.set(automatic(_array(self._image)))

    def set_by_slice(self) -> None:
        """Show nearly all intensities of the slice that the viewer shows."""
        if self._image is not None:
            self.set(automatic(shown_part(self._image, self._viewer.dims)))

    def set_full(self) -> None:
        """Show all intensities of the volume, once they have been looked through."""
        image = self._image
        if image is None:
            return
        self._stop()
        array = _array(image)
        self._search = Task(Job(f"range of {image.name}", lambda: full_range(array)), self)
        self._search.returned.connect(self._take_range)
        self._search.start()

    def _take_range(self, limits: tuple[float, float] | None) -> None:
        if limits is not None:
            self.set(Window.of(limits))

    def _make_buttons(self) -> None:
        self.auto_button = _button(
            "Automatic", "From the lowest to the highest intensities of the volume, extremes apart"
        )
        self.slice_button = _button("This slice", "The same, of the slice that is shown")
        self.full_button = _button("Full range", "From the lowest to the highest intensity")
        self.ct_buttons = [_preset_button(preset) for preset in CT_PRESETS]
        for button, preset in zip(self.ct_buttons, CT_PRESETS, strict=True):
            button.clicked.connect(partial(self._use_preset, preset))
        self.auto_button.clicked.connect(self.set_automatic)
        self.slice_button.clicked.connect(self.set_by_slice)
        self.full_button.clicked.connect(self.set_full)
        tip = "Drag in the image: right for a wider window, down for a higher level (darker)"
        self.drag_button = _button("Set by dragging", hint(tip, "drag_contrast"))
        self.drag_button.setCheckable(True)
        self.drag_button.toggled.connect(lambda on: self._drag.turn(on=on))

    def _use_preset(self, preset: Preset) -> None:
        self.set(preset.window)

    def _change(self, width: float | None = None, level: float | None = None) -> None:
        """Set what was typed; what was not keeps the digits that its field does not show."""
        if self._image is None:
            return
        now = Window.of(self._image.contrast_limits)
        window = Window(
            now.width if width is None else width, now.level if level is None else level
        )
        self.set(window)

    def _show(self, _event: Any = None) -> None:
        image = self._image
        if image is None:
            return
        self.name.setText(image.name)
        window = Window.of(image.contrast_limits)
        digits = max(0, _DIGITS - 1 - floor(log10(window.width)))
        for field, value in ((self.window_field, window.width), (self.level_field, window.level)):
            blocker = QSignalBlocker(field)
            field.setDecimals(digits)
            field.setValue(value)
            blocker.unblock()

    def _show_unit(self, image: Image) -> None:
        values = sample(_array(image))
        is_ct = bool(values.size) and looks_like_hu(values.min())
        for field in (self.window_field, self.level_field):
            field.setSuffix(" HU" if is_ct else "")
        self.no_ct.setVisible(not is_ct)
        self.no_ct.setText(_NO_CT.format(values.min()) if values.size else "")

    def _stop(self) -> None:
        if self._search is not None:
            self._search.abandon()
            self._search.deleteLater()
            self._search = None


def _array(image: Image) -> Any:
    """Return the voxels of an image, of several resolutions the coarsest."""
    return image.data[-1] if image.multiscale else image.data


def _spin_box(tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox(minimum=-1e9, maximum=1e9)
    box.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
    box.setKeyboardTracking(False)  # a number half typed is no wish
    box.setToolTip(f"{tip}, in the units of the image (HU in CT)")
    return box


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button


def _preset_button(preset: Preset) -> QPushButton:
    width, level = preset.window
    return _button(preset.name, f"CT, {preset.shows}: window {width:g} HU, level {level:g} HU")


def _row(*buttons: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout()
    for button in buttons:
        row.addWidget(button, stretch=1)
    return row
