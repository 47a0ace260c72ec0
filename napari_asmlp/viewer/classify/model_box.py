"""Classifying with a model: what of the image, by which model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_asmlp.card import ClassifierCard
from napari_asmlp.errors import ModelError
from napari_asmlp.viewer.classify.card import classifier_html
from napari_asmlp.viewer.classify.request import OBJECTS, REGION, WHOLE
from napari_asmlp.viewer.region import RegionRow
from napari_asmlp.viewer.segment.models import ModelChooser
from napari_asmlp.viewer.settings import recall, remember
from napari_asmlp.viewer.widgets import form_layout, shorten

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

_MODEL_KEY = "classify.model"


class ModelBox(QWidget):
    """The fields of a classification with a model.

    Parameters
    ----------
    viewer
        Whose region is meant.
    image
        Returns the chosen image.

    Signals
    -------
    changed() : something else is to be classified, or by another model
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, image: Callable[[], Image | None]) -> None:
        super().__init__()
        self.model = ModelChooser(ClassifierCard, classifier_html)
        self.what = ComboBox(
            choices=[WHOLE, REGION, OBJECTS],
            tooltip="What gets a class: the image, a part of it, or every object of the labels",
        )
        self.region = RegionRow(viewer, lambda: (image(), None))
        self.region.place_button.hide()  # the box that it places is a segmenter's
        self.run_button = QPushButton("Classify")
        self._recall_model()
        self._lay_out()
        self.model.changed.connect(self._suit_model)
        self.what.changed.connect(self._show_region)
        self._suit_model()

    def choose(self, path: Path) -> None:
        """Add a model file to the list and choose it; raises `ModelError`."""
        self.model.add(path)

    def _recall_model(self) -> None:
        path = recall(_MODEL_KEY, "")
        if path:
            with suppress(ModelError):  # the file is gone: the first of the list is as good
                self.model.add(Path(path))
        self.model.changed.connect(lambda: remember(_MODEL_KEY, str(self.model.path or "")))

    def _lay_out(self) -> None:
        shorten(self.what)
        form = form_layout()
        form.addRow("Model", self.model)
        form.addRow(self.model.summary)
        form.addRow("Classify", self.what.native)
        form.addRow(self.region)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.run_button)
        column.addStretch()

    def _suit_model(self) -> None:
        """Choose objects for a model that knows nothing else."""
        card = self.model.card
        if card is not None and card.input.what == "object":
            self.what.value = OBJECTS
        self._show_region()

    def _show_region(self) -> None:
        self.region.setVisible(self.what.value == REGION)
        self.changed.emit()
