"""The region as a row of a panel: its text, its size, and the ways to set it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QGridLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import (
    check_same_grid,
    index_at,
    source_view,
    volume_of,
)
from napari_asmlp.viewer.region.box import region_box
from napari_asmlp.viewer.region.geometry import (
    axes_text,
    box_around,
    region_of_labels,
    size_text,
    with_margin,
)
from napari_asmlp.viewer.region.mouse import DrawTool, PickTool, canvas_mouse
from napari_asmlp.viewer.settings import remembered
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.widgets import text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.model import Card

_MARGIN_MM = 10.0
_WIDEST_MARGIN_MM = 500.0
_HOW = (
    "Voxels of the file as i0:i1,j0:j1,k0:k1, counted from 0 in the order of the file's axes, which"
    " is not that of the sliders. An empty end is the border, an empty field the whole volume"
)


class RegionRow(QWidget):
    """Shows and sets the region of the image that a panel works on.

    The region itself belongs to the viewer (`region_box`), so that all panels see the same.

    Parameters
    ----------
    viewer
        Where the box is shown.
    choice
        Returns the chosen image and the model's card, or None for either.
    """

    def __init__(
        self, viewer: ViewerModel, choice: Callable[[], tuple[Image | None, Card | None]]
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._choice = choice
        self._box = region_box(viewer)
        self._mouse = canvas_mouse(viewer)
        self._draw = DrawTool(self._box, lambda: self._choice()[0])
        self._pick = PickTool(self.place)
        self._search: Task | None = None
        self._make_field()
        self._make_mouse_buttons()
        self._make_labels_button()
        self._lay_out()
        self.follow()

    @property
    def text(self) -> str:
        """What is typed, drawn or placed; empty for the whole volume."""
        text: str = self.field.text()
        return text.strip()

    def place(self, position: tuple[float, ...]) -> None:
        """Put a box of the model's field of view around a world position of the viewer."""
        with errors_shown():
            image, card = self._choice()
            if image is None or card is None:
                raise SettingsError("choose an image and a model first: their sizes make the box")
            self._box.put(image, box_around(index_at(image, position), volume_of(image).grid, card))

    def put_around_labels(self, *, all_labels: bool) -> None:
        """Put the region around the selected label, or all of them, with the margin.

        They are looked for in another thread.
        """
        with errors_shown():
            image, _ = self._choice()
            if image is None:
                raise SettingsError("there is no image: open a volume first")
            layer = self._labels_on(image)
            self._stop()
            self._search = Task(_around(layer, all_labels=all_labels), self)
            self._search.returned.connect(lambda region: self._put_with_margin(image, region))
            self._search.start()

    def follow_image(self) -> None:
        """Move the region to the image that is now chosen; one that does not fit goes."""
        image, _ = self._choice()
        try:
            if image is None or not self.text:
                self._box.clear()
            else:
                self._box.put(image, Region.parse(self.text, volume_of(image).grid.shape))
        except AsmlpError:
            self._box.clear()
        self._show()

    def follow(self) -> None:
        """Show the viewer's region from now on, or again."""
        self._box.changed.disconnect(self._show, missing_ok=True)  # a second time does nothing
        self._box.changed.connect(self._show)
        self._show()

    def let_go(self) -> None:
        """Leave the viewer's mouse alone; the region stays, as a layer does."""
        self._stop()
        self._box.changed.disconnect(self._show, missing_ok=True)
        for button in (self.draw_button, self.place_button):
            button.setChecked(False)

    def _make_field(self) -> None:
        self.field = QLineEdit(placeholderText="whole volume", clearButtonEnabled=True)
        self.field.editingFinished.connect(self._take_typed)
        self.field.textChanged.connect(lambda text: None if text else self._box.clear())
        self.size_label = text_label()

    def _make_mouse_buttons(self) -> None:
        self.draw_button = QPushButton("Draw", checkable=True)
        self.draw_button.setToolTip(
            "While pressed: drag a rectangle in a slice, then drag edges or corners of the box in"
            " any plane. Across the slice the box keeps its depth, or has that of the volume"
        )
        self.draw_button.toggled.connect(self._toggle_draw)
        self.place_button = QPushButton("Place box", checkable=True)
        self.place_button.setToolTip(
            "Put a box of the model's field of view around the middle of the view; while pressed, a"
            " click in the image moves it there"
        )
        self.place_button.toggled.connect(self._toggle_place)
        self.whole_button = QPushButton("Whole")
        self.whole_button.setToolTip("Take the region away, and look at all of the volume")
        self.whole_button.clicked.connect(self.field.clear)

    def _make_labels_button(self) -> None:
        self.labels_button = QPushButton("Around labels")
        self.labels_button.setToolTip(
            "Put the region around labels that are there, with the margin beside this button"
        )
        menu = QMenu(self.labels_button)
        menu.addAction("Selected label", lambda: self.put_around_labels(all_labels=False))
        menu.addAction("All labels", lambda: self.put_around_labels(all_labels=True))
        self.labels_button.setMenu(menu)
        self.margin = QDoubleSpinBox(
            minimum=0, maximum=_WIDEST_MARGIN_MM, value=_MARGIN_MM, decimals=1, suffix=" mm"
        )
        self.margin.setToolTip("Margin on each side of the labels, in mm")
        remembered(self.margin, "region.margin_mm")

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for n, button in enumerate((self.draw_button, self.place_button, self.whole_button)):
            grid.addWidget(button, 0, 2 * n, 1, 2)
        grid.addWidget(self.labels_button, 1, 0, 1, 3)
        grid.addWidget(self.margin, 1, 3, 1, 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.field)
        column.addWidget(self.size_label)
        column.addLayout(grid)

    def _toggle_draw(self, on: bool) -> None:
        if not on:
            self._mouse.take_back(self._draw)
            return
        self.place_button.setChecked(False)
        if self._viewer.dims.ndisplay != 2:
            self.draw_button.setChecked(False)
            show_error("A region is drawn in a slice: switch the viewer to 2D first")
            return
        self._mouse.lend(self._draw)

    def _toggle_place(self, on: bool) -> None:
        if not on:
            self._mouse.take_back(self._pick)
            return
        self.draw_button.setChecked(False)
        self._mouse.lend(self._pick)
        self.place(view_centre(self._viewer))

    def _put_with_margin(self, image: Image, region: Region) -> None:
        if getattr(image, "__wrapped__", image) in self._viewer.layers:  # not deleted meanwhile
            self._box.put(image, with_margin(region, volume_of(image).grid, self.margin.value()))

    def _stop(self) -> None:
        """Give up looking for labels."""
        if self._search is not None:
            self._search.abandon()
            self._search.deleteLater()
            self._search = None

    def _take_typed(self) -> None:
        image, _ = self._choice()
        if image is None or not self.text:
            return
        with errors_shown():
            try:
                self._box.put(image, Region.parse(self.text, volume_of(image).grid.shape))
            except AsmlpError:
                typed = self.text
                self._box.clear()
                self.field.setText(typed)  # to be put right
                raise

    def _show(self) -> None:
        """Show the region, and its size."""
        image, _ = self._choice()
        region = self._box.region_on(image)
        with QSignalBlocker(self.field):  # else an empty field would clear another image's region
            self.field.setText(str(region) if region else "")
        self.field.setToolTip(_HOW)
        self.size_label.setText("")
        self.whole_button.setEnabled(region is not None)
        if image is None:
            return
        try:
            grid = volume_of(image).grid
        except AsmlpError:  # no volume, as is said when it comes to work
            return
        self.field.setToolTip(f"{_HOW}. In this file {axes_text(grid)}")
        self.size_label.setText(size_text(region.shape if region else grid.shape, grid))

    def _labels_on(self, image: Image) -> Labels:
        """Return the current labels.

        Raises
        ------
        AsmlpError
            If there are none, or they lie on another grid.
        """
        layer = current_of(self._viewer).labels
        if layer is None:
            raise SettingsError(f"there are no labels of image {image.name!r}: open or paint some")
        check_same_grid(layer, image)
        return layer


def _around(layer: Labels, *, all_labels: bool) -> Job:
    """Return the work of finding the region around labels."""
    value = None if all_labels else int(layer.selected_label)
    labels = np.asarray(source_view(layer))

    def steps() -> Generator[None, None, Region]:
        yield
        region = region_of_labels(labels, value)
        if region is None:
            what = "no label" if value is None else f"no voxel of label {value}"
            raise SettingsError(
                f"labels {layer.name!r} hold {what}: select another label or another layer"
            )
        return region

    return Job(f"region around {layer.name}", steps)


def view_centre(viewer: ViewerModel) -> tuple[float, ...]:
    """Return the world position in the middle of what the viewer shows."""
    position = list(viewer.dims.point)
    centre = viewer.scene.camera.center[-viewer.dims.ndisplay :]
    for axis, place in zip(viewer.dims.displayed, centre, strict=True):
        position[axis] = float(place)
    return tuple(position)
