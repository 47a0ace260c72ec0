"""The Edit labels panel: the segments, what the brush may touch, and the tools, in one history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_asmlp.viewer.edit.brush_row import BrushRow
from napari_asmlp.viewer.edit.segments import SegmentList
from napari_asmlp.viewer.edit.tools import ToolSection
from napari_asmlp.viewer.edit.undo_row import UndoRow
from napari_asmlp.viewer.history.edits import Edits
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.widgets import Scrolled, form_layout, line, shorten

if TYPE_CHECKING:
    from napari.components import ViewerModel

_MARGIN = 6  # pixels


class EditPanel(Panel):
    """Edits a labels layer: its label table, its painting, and one tool at a time.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._watched: Labels | None = None
        self._edits: Edits | None = None
        self.layer = ComboBox(choices=self._labels, tooltip="The labels to edit")
        self.image = ComboBox(
            choices=self._images, tooltip="The image that tools and the threshold brush look at"
        )
        self.history = UndoRow()
        self.segments = SegmentList(napari_viewer)
        self.brush = BrushRow(napari_viewer)
        self.tools = ToolSection(napari_viewer, self._chosen, lambda: self.brush.limits)
        self._lay_out()
        self.layer.changed.connect(self._watch)
        self.image.changed.connect(self._watch)
        self.segments.listed.connect(self._note_labels)
        self._follow_viewer(on=True)
        self._watch()

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        self.layer.reset_choices()
        self.image.reset_choices()
        self._watch()

    def closed(self) -> None:
        """Give up what is being computed, and let go of the layer and the sliders."""
        self.tools.cancel()
        self.brush.close_guard()
        self._watch_layer(None)
        self._follow_viewer(on=False)

    def opened(self) -> None:
        """Follow the layer and the sliders."""
        self._follow_viewer(on=True)
        self._watch()

    def _lay_out(self) -> None:
        layers = form_layout()
        for title, combo in (("Labels", self.layer), ("Image", self.image)):
            shorten(combo)
            layers.addRow(title, combo.native)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        column.addLayout(layers)
        column.addWidget(self.segments)
        column.addWidget(self.history)
        column.addWidget(line())
        column.addWidget(self.brush)
        column.addWidget(line())
        column.addWidget(self.tools)
        column.addStretch()
        area = Scrolled(inside)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)

    def _watch(self, _layer: Any = None) -> None:
        layer, image = self._chosen()
        self._watch_layer(layer)
        self.brush.follow(layer, image)

    def _chosen(self) -> tuple[Labels | None, Image | None]:
        """Return the layers chosen, themselves: a panel is given proxies, each time another."""
        layer, image = self.layer.value, self.image.value
        return getattr(layer, "__wrapped__", layer), getattr(image, "__wrapped__", image)

    def _watch_layer(self, layer: Labels | None) -> None:
        """Follow another layer."""
        if layer is self._watched:
            return
        self._hear(on=False)
        self._watched = layer
        self.history.follow(layer)
        self._edits = self.history.edits
        self.segments.follow(layer)
        self._hear(on=True)
        self.tools.name_planes()

    def _hear(self, *, on: bool) -> None:
        """Follow the edits of the layer, or no longer."""
        if self._watched is not None:
            events = self._watched.events
            for event in (events.paint, events.data):
                (event.connect if on else event.disconnect)(self.tools.outdate)
        if self._edits is not None:
            changed, finished = self._edits.changed, self._edits.finished
            (changed.connect if on else changed.disconnect)(self.tools.outdate)
            (finished.connect if on else finished.disconnect)(self.segments.rescan_soon)

    def _follow_viewer(self, *, on: bool) -> None:
        dims = self._viewer.dims.events
        for event, slot in (
            (dims.current_step, self.tools.move),
            (dims.order, self.tools.move),
            (dims.ndisplay, self.tools.move),
            (dims.order, self.brush.tell),
            (self._viewer.events.theme, self.segments.use_theme),
        ):
            event.disconnect(slot)
            if on:
                event.connect(slot)

    def _note_labels(self) -> None:
        """Bring names and locks up to date wherever they are shown."""
        self.tools.name_labels()
        self.brush.tell()
