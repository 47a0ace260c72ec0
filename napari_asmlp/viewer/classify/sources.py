"""Which image and which labels the Mixer panel is about, and the objects of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.viewer.layers import is_labels
from napari_asmlp.viewer.widgets import form_layout, shorten, show_choice

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.viewer.current import Current

_NO_IMAGE = "none: shape and size only"


class Sources(QWidget):
    """Choices of an image and of labels: the current ones, but for what only this panel offers.

    Parameters
    ----------
    viewer
        Whose layers they are.
    current
        Its current layers.

    Signals
    -------
    changed() : something is chosen that is no other current layer: no image, or a shape
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, current: Current) -> None:
        super().__init__()
        self._viewer = viewer
        self._current = current
        self._with_shapes = False
        self._instead: Any = None  # of the current image, by the user's choice
        self.image_combo = ComboBox(choices=self._images, tooltip="What is looked at")
        self.labels_combo = ComboBox(
            choices=self._labels, tooltip="Labels whose objects get a class: each value is one"
        )
        self.pick_button = QPushButton("Pick objects", checkable=True)
        self.pick_button.setToolTip(
            "While pressed: click an object in any plane to see what it is, and press the number of"
            " a class to say what it is"
        )
        self.split_button = QPushButton("Split objects")
        self.split_button.setToolTip(
            "Make a layer in which each connected object is a label of its own; the labels stay"
        )
        self._lay_out()
        for combo in (self.image_combo, self.labels_combo):
            shorten(combo)
        self.image_combo.changed.connect(self._choose_image)
        self.labels_combo.changed.connect(self._choose_labels)

    @property
    def image(self) -> Image | Labels | None:
        """The chosen image, or labels in its place."""
        chosen = self.image_combo.value
        return chosen if isinstance(chosen, Image | Labels) else None

    @property
    def labels(self) -> Labels | None:
        """The chosen labels."""
        chosen: Labels | None = self.labels_combo.value
        return chosen

    def offer_shapes(self, on: bool) -> None:
        """Let labels stand for the image, as the shape that a model looks at, or no longer."""
        if on != self._with_shapes:
            self._with_shapes = on
            self.follow()

    def follow(self) -> None:
        """Show the current layers; the user's choice of no image, or a shape, stays."""
        show_choice(self.image_combo, self._current.image)
        if self._instead in self.image_combo.choices:
            show_choice(self.image_combo, self._instead)
        else:
            self._instead = None
        show_choice(self.labels_combo, self._current.labels)

    def _lay_out(self) -> None:
        form = form_layout()
        form.addRow("Image", self.image_combo.native)
        form.addRow("Labels", self.labels_combo.native)
        row = QHBoxLayout()
        row.addWidget(self.pick_button)
        row.addWidget(self.split_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addLayout(row)

    def _images(self, _combo: Any) -> list[tuple[str, Any]]:
        layers = self._viewer.layers
        images = [(layer.name, layer) for layer in layers if isinstance(layer, Image)]
        if self._with_shapes:
            images += [(f"{name} (as a shape)", layer) for name, layer in self._labels(None)]
        return [*images, (_NO_IMAGE, _NO_IMAGE)]

    def _labels(self, _combo: Any) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in self._viewer.layers if is_labels(layer)]

    def _choose_image(self, chosen: Any) -> None:
        self._instead = None if isinstance(chosen, Image) else chosen
        if isinstance(chosen, Image):
            self._current.choose(chosen)
        self.changed.emit()

    def _choose_labels(self, chosen: Labels) -> None:
        self._current.choose(chosen)
