"""Undo and Redo, with what they would take back or repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_asmlp.viewer.history.edits import Edits, edits_of
from napari_asmlp.viewer.shortcuts import hint

_ELIDE = Qt.TextElideMode.ElideRight
_TITLE_WIDTH = 90  # pixels: two buttons fit a narrow dock


class UndoRow(QWidget):
    """The buttons Undo and Redo of one layer's history."""

    def __init__(self) -> None:
        super().__init__()
        self.edits: Edits | None = None
        self.undo = QPushButton("Undo")
        self.redo = QPushButton("Redo")
        self.undo.clicked.connect(lambda: self._step(undo=True))
        self.redo.clicked.connect(lambda: self._step(undo=False))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.undo, stretch=1)
        row.addWidget(self.redo, stretch=1)
        self._show()

    def follow(self, layer: Labels | None) -> None:
        """Undo and redo in another layer; one that is not in memory has no history."""
        if self.edits is not None:
            self.edits.changed.disconnect(self._show)
        in_memory = layer is not None and isinstance(layer.data, np.ndarray)
        self.edits = edits_of(layer) if in_memory else None
        if self.edits is not None:
            self.edits.changed.connect(self._show)
        self._show()

    def _step(self, *, undo: bool) -> None:
        if self.edits is not None:
            (self.edits.undo if undo else self.edits.redo)()

    def _show(self, *_event: Any) -> None:
        edits = self.edits
        for button, verb, action, title in (
            (self.undo, "Undo", "undo", edits.undo_title if edits else ""),
            (self.redo, "Redo", "redo", edits.redo_title if edits else ""),
        ):
            button.setEnabled(bool(title))
            text = button.fontMetrics().elidedText(title, _ELIDE, _TITLE_WIDTH)
            button.setText(f"{verb}: {text}" if title else verb)
            button.setToolTip(
                hint(f"{verb} {title!r}", action) if title else f"Nothing to {verb.lower()}"
            )
