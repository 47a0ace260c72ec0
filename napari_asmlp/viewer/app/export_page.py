"""The page that saves labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout

from napari_asmlp.viewer.commands import export_labels_command
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.widgets import breakable, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_NOTHING = "There are no labels to export. Segment an image, paint, or open labels first."
_SOMETHING = (
    "{name} will be saved on the grid of the file that its image came from. A dialog asks which"
    " labels, under which name, and for which program their names are written."
)


class ExportPage(Panel):
    """Exports the current labels.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self.text = text_label()
        self.button = QPushButton("Export labels…", toolTip=hint("Save the labels", "export"))
        self.button.clicked.connect(export_labels_command)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.button)
        column.addStretch()
        self.follow_current()

    def follow_current(self) -> None:
        """Say what would be exported."""
        labels = self.current.labels
        self.button.setEnabled(labels is not None)
        name = "" if labels is None else breakable(labels.name)
        self.text.setText(_NOTHING if labels is None else _SOMETHING.format(name=name))

    def opened(self) -> None:
        """Follow the current labels."""
        self.follow_current()
