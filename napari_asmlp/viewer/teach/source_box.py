"""Which image is looked at, with which channels, which layer holds its annotations, what else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.errors import AsmlpError
from napari_asmlp.viewer.layers import is_labels, lies_on, volume_of
from napari_asmlp.viewer.teach.looks import DOUBT_KEY
from napari_asmlp.viewer.teach.pairs import is_taught
from napari_asmlp.viewer.widgets import form_layout, shorten, show_choice

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.viewer.teach.pairs import Pair

_NONE = "none yet: press New"
_ROWS_SHOWN = 3


class SourceBox(QWidget):
    """Choices of an image, its channels, its annotations, and the volumes that are learnt from.

    Parameters
    ----------
    viewer
        Whose layers they are.
    pair_of
        Returns what the panel knows of an image.

    Signals
    -------
    image_chosen() : another image is looked at
    annotations_chosen() : another layer holds its annotations
    channels_chosen(layers) : other layers are looked at with it
    new_wanted() : it shall get an empty layer for annotations
    part_taken(pair, on) : a volume shall be learnt from, or no longer
    looked_up(pair) : a volume of the list was clicked
    """

    image_chosen = Signal()
    annotations_chosen = Signal()
    channels_chosen = Signal(object)
    new_wanted = Signal()
    part_taken = Signal(object, bool)
    looked_up = Signal(object)

    def __init__(self, viewer: ViewerModel, pair_of: Callable[[Image], Pair]) -> None:
        super().__init__()
        self._viewer = viewer
        self._pair_of = pair_of
        self._pairs: list[Pair] = []
        self.image_combo = ComboBox(choices=self._images, tooltip="The image to teach by")
        self.annotations_combo = ComboBox(
            choices=self._annotations, tooltip="The labels that you paint; 0 is not annotated"
        )
        self.channels_button = QToolButton(popupMode=QToolButton.ToolButtonPopupMode.InstantPopup)
        self.channels_button.setToolTip("Images of the same grid that are looked at together")
        self.channels_menu = QMenu(self)
        self.channels_button.setMenu(self.channels_menu)
        self.new_button = QPushButton("New")
        self.new_button.setToolTip("Add empty annotations on the image's grid, and take the brush")
        self.volumes = QListWidget()
        self.volumes.setToolTip("All volumes that are ticked are learnt from. Click one to see it")
        self._lay_out()
        self.image_combo.changed.connect(self._follow_image)
        self.annotations_combo.changed.connect(lambda _: self.annotations_chosen.emit())
        self.new_button.clicked.connect(self.new_wanted)
        self.volumes.itemChanged.connect(self._take_part)
        self.volumes.itemClicked.connect(self._look_up)
        self.show_channels()

    @property
    def images(self) -> list[Image]:
        """All images of the viewer; one that shows doubt is none."""
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        return [layer for layer in layers if DOUBT_KEY not in layer.metadata]

    @property
    def image(self) -> Image | None:
        """The image that is looked at."""
        chosen: Image | None = self.image_combo.value
        return chosen

    @property
    def annotations(self) -> Labels | None:
        """The layer of its annotations."""
        chosen = self.annotations_combo.value
        return chosen if isinstance(chosen, Labels) else None

    def choose(self, image: Image, annotations: Labels | None) -> None:
        """Choose an image and its annotations; nothing is emitted."""
        show_choice(self.image_combo, image)
        show_choice(self.annotations_combo, _NONE if annotations is None else annotations)
        self.show_channels()

    def reset(self) -> None:
        """Follow the viewer's layers."""
        for combo in (self.image_combo, self.annotations_combo):
            show_choice(combo, combo.value)
        self.show_channels()

    def show_channels(self) -> None:
        """Offer the images of the same grid, where there are any."""
        image, beside = self.image, self._beside()
        self.channels_button.setVisible(bool(beside))
        self.channels_menu.clear()
        if image is None:
            return
        ticked = self._pair_of(image).channels
        for layer in beside:
            action = self.channels_menu.addAction(layer.name)
            action.setCheckable(True)
            action.setChecked(layer in ticked)
            action.setData(layer)
            action.toggled.connect(self._tick)
        count = len(ticked)
        text = "1 channel" if count == 1 else f"{count} channels"
        self.channels_button.setText(f"{text}   ")  # beside its arrow

    def show_volumes(self, pairs: Sequence[Pair], texts: Sequence[str]) -> None:
        """List the volumes that have annotations, where there is more than one."""
        self._pairs = list(pairs)
        self.volumes.blockSignals(True)
        self.volumes.clear()
        for pair, text in zip(pairs, texts, strict=True):
            item = QListWidgetItem(text)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            on = Qt.CheckState.Checked if pair.takes_part else Qt.CheckState.Unchecked
            item.setCheckState(on)
            font = item.font()
            font.setBold(pair.image is self.image)
            item.setFont(font)
            self.volumes.addItem(item)
        self.volumes.blockSignals(False)
        self.volumes.setVisible(len(pairs) > 1)
        height = self.volumes.fontMetrics().height() + 2
        self.volumes.setFixedHeight(min(len(pairs), _ROWS_SHOWN) * height + 8)

    def _lay_out(self) -> None:
        for combo in (self.image_combo, self.annotations_combo):
            shorten(combo)
        form = form_layout()
        for title, combo, button in (
            ("Image", self.image_combo, self.channels_button),
            ("Annotations", self.annotations_combo, self.new_button),
        ):
            row = QHBoxLayout()
            row.addWidget(combo.native, stretch=1)
            row.addWidget(button)
            form.addRow(title, row)
        self.volumes.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(self.volumes)

    def _images(self, _combo: Any) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self.images]

    def _annotations(self, _combo: Any) -> list[tuple[str, Any]]:
        layers, image = self._viewer.layers, self.image
        found = [layer for layer in layers if image is not None and may_annotate(layer, image)]
        return [(_NONE, _NONE), *((layer.name, layer) for layer in found)]

    def _beside(self) -> list[Image]:
        """Return the images on the grid of the one that is looked at."""
        image = self.image
        if image is None:
            return []
        return [layer for layer in self.images if layer is not image and _same_grid(layer, image)]

    def _tick(self, _on: bool) -> None:
        image = self.image
        if image is not None:
            ticked = [each.data() for each in self.channels_menu.actions() if each.isChecked()]
            self.channels_chosen.emit((image, *ticked))

    def _follow_image(self, _image: Any) -> None:
        with self.annotations_combo.changed.blocked():
            self.annotations_combo.reset_choices()
        self.show_channels()
        self.image_chosen.emit()

    def _take_part(self, item: QListWidgetItem) -> None:
        on = item.checkState() == Qt.CheckState.Checked
        self.part_taken.emit(self._pairs[self.volumes.row(item)], on)

    def _look_up(self, item: QListWidgetItem) -> None:
        row = self.volumes.row(item)
        if 0 <= row < len(self._pairs):
            self.looked_up.emit(self._pairs[row])


def may_annotate(layer: object, image: Image) -> TypeGuard[Labels]:
    """Tell whether a layer can hold the annotations of an image; taught labels cannot."""
    return is_labels(layer) and not is_taught(layer) and lies_on(layer, image)


def _same_grid(one: Image, other: Image) -> bool:
    try:
        return volume_of(one).grid.same_as(volume_of(other).grid)
    except AsmlpError:
        return False
