"""The page that opens things, and says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout

from napari_asmlp.viewer.commands import (
    VOLUME_FILTER,
    errors_shown,
    folder_of,
    new_labels,
    open_labels_command,
)
from napari_asmlp.viewer.files import SAMPLE_NAME
from napari_asmlp.viewer.history.recover import recover_command
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.widgets import main_window, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_PLUGIN, _SAMPLE = "napari-asmlp", "hippocampus"
_FIRST = "Nothing is open. Open a volume, drop its file on the window, or try the sample."
_NEXT = "Next: Segment with a model, Teach by a few strokes, or draw new labels."
_LABELLED = "Next: Edit the labels, Measure them, or Export them."


class OpenPage(Panel):
    """Opens volumes and labels.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self.next_step = text_label()
        self.open_button = self._button("Open volume…", "Files of an image", self.open_volumes)
        self.labels_button = self._button(
            "Open labels…", "A file of labels for the image", open_labels_command
        )
        self.new_button = self._button(
            "New labels", "Empty labels on the grid of the image, to paint in", self.new_labels
        )
        self.recover_button = self._button(
            "Recover edits…", "Edits of labels that were never saved", recover_command
        )
        self.sample_button = self._button(
            f"Open the sample ({SAMPLE_NAME})", "A real MRI volume to try things on", self.sample
        )
        column = QVBoxLayout(self)
        for widget in (
            self.next_step,
            self.open_button,
            self.labels_button,
            self.new_button,
            self.recover_button,
            self.sample_button,
        ):
            column.addWidget(widget)
        column.addStretch()
        self.follow_current()

    def follow_current(self) -> None:
        """Say what can be done next with what is open."""
        has_image = self.current.image is not None
        self.new_button.setEnabled(has_image)
        step = _LABELLED if self.current.labels is not None else _NEXT if has_image else _FIRST
        self.next_step.setText(step)

    def opened(self) -> None:
        """Follow what is open."""
        self.follow_current()

    def open_volumes(self) -> None:
        """Open the files that are chosen in a dialog."""
        folder = folder_of(self._viewer)
        paths, _ = QFileDialog.getOpenFileNames(
            main_window(), "Open volumes", folder, VOLUME_FILTER
        )
        with errors_shown():
            for path in paths:
                self._viewer.open(str(Path(path)), plugin=_PLUGIN)

    def new_labels(self) -> None:
        """Add empty labels, and take up the brush."""
        with errors_shown():
            new_labels(self._viewer)

    def sample(self) -> None:
        """Open the sample volume."""
        with errors_shown():
            self._viewer.open_sample(_PLUGIN, _SAMPLE)

    def _button(self, title: str, tip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(title, toolTip=tip)
        button.clicked.connect(action)
        return button
