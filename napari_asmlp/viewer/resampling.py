"""The dialog that resamples a volume onto the grid of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from napari.layers import Image, Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.resample import Interpolation, iter_resample
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.layers import (
    add_labels,
    image_layer_data,
    is_labels,
    labels_on,
    volume_of,
)
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.tilt import angle_between
from napari_asmlp.viewer.widgets import breakable, form_layout, main_window, text_label
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

_WIDTH = 520  # pixels


def open_resampling(viewer: ViewerModel, moving: Image | Labels | None = None) -> None:
    """Open the dialog that resamples a volume onto another.

    Parameters
    ----------
    moving
        What is chosen first, to be resampled onto the first volume of the viewer.

    Raises
    ------
    SettingsError
        If no two volumes are open.
    """
    ResampleDialog(viewer, moving, main_window()).open()


class ResampleDialog(QDialog):
    """Asks which volume goes onto which, and adds the result as a layer.

    Parameters
    ----------
    moving
        What is chosen first.

    Raises
    ------
    SettingsError
        If no two volumes are open.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        moving: Image | Labels | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Resample onto another image")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._viewer = viewer
        self._task: Task | None = None
        self._moving = [v for v in viewer.layers if isinstance(v, Image) or is_labels(v)]
        self._onto = [layer for layer in self._moving if isinstance(layer, Image)]
        if not self._onto or len(self._moving) < 2:
            raise SettingsError("open two volumes: one to resample, and an image to resample onto")
        chosen = moving if moving in self._moving else self._moving[-1]
        self.moving = _names(self._moving, "What is resampled; the layer itself stays as it is")
        self.onto = _names(self._onto, "Whose grid the result gets: shape, spacing and tilt")
        self.moving.setCurrentIndex(self._moving.index(chosen))
        self.onto.setCurrentIndex(next((n for n, v in enumerate(self._onto) if v != chosen), 0))
        self.interpolation = QComboBox(
            toolTip="Between the voxels of an image; labels take the nearest voxel's"
        )
        self.interpolation.addItems(get_args(Interpolation))
        self.interpolation.setCurrentText("linear")
        self._lay_out()
        for box in (self.moving, self.onto):
            box.currentIndexChanged.connect(self._update)
        self._update()

    def accept(self) -> None:
        """Resample in another thread; the dialog closes when the result is there."""
        moving, onto = self._chosen()
        try:
            volume, reference = volume_of(moving), volume_of(onto)
        except AsmlpError as error:
            self.text.setText(breakable(f"Not yet: {error}."))
            return
        kind: Interpolation = next(
            k for k in get_args(Interpolation) if k == self.interpolation.currentText()
        )
        self.form.setEnabled(False)
        self._ok.setEnabled(False)
        self.progress.show()
        job = Job(
            f"resampling of {moving.name}", lambda: iter_resample(volume, reference.grid, kind)
        )
        self._task = Task(job, self)
        self._task.stepped.connect(lambda done: self.progress.setValue(round(100 * done)))
        self._task.returned.connect(lambda result: self._add(result, moving, onto))
        self._task.ended.connect(self._ended)
        self._task.start()

    def reject(self) -> None:
        """Close; a running computation is stopped first."""
        if self._task is None:
            super().reject()
        else:
            self._task.cancel()

    def _lay_out(self) -> None:
        self.form = QWidget()
        form = form_layout()
        form.addRow("Resample", self.moving)
        form.addRow("Onto", self.onto)
        form.addRow("Interpolation", self.interpolation)
        self.form.setLayout(form)
        self.text = text_label()
        self.progress = QProgressBar(minimum=0, maximum=100, visible=False)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self._ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._ok.setText("Resample")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        for widget in (self.form, self.text, self.progress, buttons):
            column.addWidget(widget)
        self.resize(_WIDTH, self.minimumSizeHint().height())

    def _chosen(self) -> tuple[Image | Labels, Image]:
        return self._moving[self.moving.currentIndex()], self._onto[self.onto.currentIndex()]

    def _update(self) -> None:
        """Say what will be computed, or why nothing can be."""
        moving, onto = self._chosen()
        ready = False
        try:
            here, there = volume_of(moving).grid, volume_of(onto).grid
            ready = not here.same_as(there)
            text = f"From {here.describe()} to {there.describe()}"
            text += f", turned by {angle_between(here, there):.1f}°. A new layer is added."
            if not ready:
                text = "Both lie on one grid: there is nothing to resample."
        except AsmlpError as error:
            text = f"Not yet: {error}."
        self.interpolation.setEnabled(isinstance(moving, Image))
        self._ok.setEnabled(ready)
        self.text.setText(breakable(text))

    def _add(self, result: Volume, moving: Image | Labels, onto: Image) -> None:
        """Show the result in place of the layer it was made from, which is hidden."""
        super().accept()
        if onto not in self._viewer.layers:
            show_info(f"{onto.name!r} is closed: the result was dropped")
            return
        name = f"{moving.name} on {onto.name}"
        # the header of the grid's file: what is drawn on the result is written with it
        volume = Volume(
            result.array(), result.grid, result.kind, header=volume_of(onto).header, title=name
        )
        if isinstance(moving, Labels):
            layer = labels_on(onto, volume.array(), name=name)
            layer.colormap = moving.colormap
            if class_names(moving):
                layer.features = moving.features
            add_labels(self._viewer, layer)
        else:
            data, attributes, _ = image_layer_data(volume)[0]
            attributes["colormap"] = moving.colormap
            attributes["contrast_limits"] = moving.contrast_limits
            self._viewer.add_image(data, **{**attributes, "name": name})
        moving.visible = False

    def _ended(self) -> None:
        """Close if it was stopped; after an error, which has been shown, all can be tried again."""
        task, self._task = self._task, None
        self.progress.hide()
        self.form.setEnabled(True)
        if task is not None and task.is_cancelled:
            super().reject()
        elif self.isVisible():
            self._update()


def _names(layers: list[Any], tip: str) -> QComboBox:
    box = QComboBox(toolTip=tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    box.addItems([layer.name for layer in layers])
    return box
