"""The overlay of one labels layer as fields."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, FloatSlider, SpinBox
from napari.layers import Labels
from qtpy.QtWidgets import QGroupBox, QVBoxLayout

from napari_asmlp.viewer.settings import recall, remember
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.view.overlay import (
    CONTOUR_KEY,
    DEFAULT_CONTOUR,
    DEFAULT_OPACITY,
    OPACITY_KEY,
    STYLES,
    Style,
    set_style,
    style_of,
)
from napari_asmlp.viewer.widgets import form_layout, text_label

_WIDEST = 20  # voxels


class OverlayBox(QGroupBox):
    """Sets how labels lie over the image, and shows it; opacity and width are remembered."""

    def __init__(self) -> None:
        super().__init__("Overlay")
        self._layer: Labels | None = None
        self.name = text_label()
        self.style_field = ComboBox(
            choices=STYLES, tooltip=hint("How the labels are drawn", "cycle_overlay")
        )
        self.opacity_field = FloatSlider(
            min=0, max=1, step=0.05, tooltip="Opacity of the labels, 0 to 1; kept for new labels"
        )
        self.width_field = SpinBox(min=1, max=_WIDEST, tooltip="Width of contours, in voxels")
        form = form_layout()
        form.addRow("Style", self.style_field.native)
        form.addRow("Opacity", self.opacity_field.native)
        form.addRow("Contour", self.width_field.native)
        column = QVBoxLayout(self)
        column.addWidget(self.name)
        column.addLayout(form)
        self.style_field.changed.connect(self._set_style)
        self.opacity_field.changed.connect(self._set_opacity)
        self.width_field.changed.connect(self._set_width)
        self.follow(None)

    def follow(self, layer: Labels | None) -> None:
        """Show and set another layer, or none."""
        if self._layer is not None:
            for event in _looks(self._layer):
                event.disconnect(self._show)
        self._layer = layer
        self.setEnabled(layer is not None)
        if layer is not None:
            for event in _looks(layer):
                event.connect(self._show)
        self._show()

    def _show(self, _event: Any = None) -> None:
        layer = self._layer
        self.name.setText(layer.name if layer else "No labels: open, paint or segment some")
        with (
            self.style_field.changed.blocked(),
            self.opacity_field.changed.blocked(),
            self.width_field.changed.blocked(),
        ):
            self.style_field.value = style_of(layer) if layer else STYLES[0]
            usual = recall(OPACITY_KEY, DEFAULT_OPACITY)
            self.opacity_field.value = layer.opacity if layer else usual
            contour = layer.contour if layer else 0
            self.width_field.value = min(contour or recall(CONTOUR_KEY, DEFAULT_CONTOUR), _WIDEST)

    def _set_style(self, style: Style) -> None:
        if self._layer is not None:
            set_style(self._layer, style)

    def _set_opacity(self, opacity: float) -> None:
        remember(OPACITY_KEY, opacity)
        if self._layer is not None:
            self._layer.opacity = opacity

    def _set_width(self, width: int) -> None:
        remember(CONTOUR_KEY, width)
        if self._layer is not None and self._layer.contour:
            self._layer.contour = width


def _looks(layer: Labels) -> tuple[Any, ...]:
    events = layer.events
    return events.visible, events.contour, events.opacity, events.name
