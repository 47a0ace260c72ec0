"""The Edit labels panel: the segments, what the brush may touch, and the tools, in one history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image, Labels
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_asmlp.viewer.edit.brush_row import BrushRow
from napari_asmlp.viewer.edit.painting import PaintingRow
from napari_asmlp.viewer.edit.segments import SegmentList
from napari_asmlp.viewer.edit.tools import ToolSection
from napari_asmlp.viewer.edit.undo_row import UndoRow
from napari_asmlp.viewer.history.edits import Edits
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.widgets import Scrolled, form_layout, line, show_choice

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
        self.layer = self._chooser(self._labels, "The labels to edit")
        self.image = self._chooser(
            self._images, "The image that tools and the threshold brush look at"
        )
        self.history = UndoRow()
        self.segments = SegmentList(self._viewer)
        self.painting = PaintingRow(self._viewer)
        self.brush = BrushRow(self._viewer)
        self.tools = ToolSection(self._viewer, self._chosen, lambda: self.brush.limits)
        self._lay_out()
        self.segments.listed.connect(self._note_labels)
        self._follow_viewer(on=True)
        self.follow_current()

    def follow_current(self) -> None:
        """Edit the current labels, by the current image."""
        layer, image = self.current.labels, self.current.image
        show_choice(self.layer, layer)
        show_choice(self.image, image)
        self._watch_layer(layer)
        self.brush.follow(layer, image)

    def closed(self) -> None:
        """Give up what is being computed, and let go of the layer and the sliders."""
        self.tools.cancel()
        self.brush.close_guard()
        self._watch_layer(None)
        self._follow_viewer(on=False)

    def opened(self) -> None:
        """Follow the layer and the sliders."""
        self._follow_viewer(on=True)
        self.follow_current()

    def _lay_out(self) -> None:
        layers = form_layout()
        for title, combo in (("Labels", self.layer), ("Image", self.image)):
            layers.addRow(title, combo.native)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        column.addLayout(layers)
        column.addWidget(self.segments)
        column.addWidget(self.history)
        column.addWidget(line())
        column.addWidget(self.painting)
        column.addWidget(self.brush)
        column.addWidget(line())
        column.addWidget(self.tools)
        column.addStretch()
        area = Scrolled(inside)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)

    def _chosen(self) -> tuple[Labels | None, Image | None]:
        return self.current.labels, self.current.image

    def _watch_layer(self, layer: Labels | None) -> None:
        """Follow another layer."""
        if layer is self._watched:
            return
        self._hear(on=False)
        self._watched = layer
        self.history.follow(layer)
        self._edits = self.history.edits
        self.segments.follow(layer)
        self.painting.follow(layer)
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
            (dims.order, self.painting.tell),
            (self._viewer.events.theme, self.segments.use_theme),
            (self._viewer.events.theme, self.painting.use_theme),
        ):
            event.disconnect(slot)
            if on:
                event.connect(slot)

    def _note_labels(self) -> None:
        """Bring names and locks up to date wherever they are shown."""
        self.tools.name_labels()
        self.brush.tell()
