"""The Segment panel: choose an image and a model, run, watch the labels appear, correct them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, FloatSpinBox
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from napari_asmlp.devices import DEVICES
from napari_asmlp.errors import AsmlpError
from napari_asmlp.viewer.commands import export_labels_command
from napari_asmlp.viewer.layers import check_same_grid
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.region import RegionRow
from napari_asmlp.viewer.segment.card import sizes_html, sizes_text
from napari_asmlp.viewer.segment.live import LiveLabels, LiveRun
from napari_asmlp.viewer.segment.models import ModelChooser
from napari_asmlp.viewer.segment.request import (
    DEFAULTS,
    Order,
    Wish,
    progress_text,
    resolve,
)
from napari_asmlp.viewer.widgets import breakable, form_layout, shorten, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.pipeline import Progress, Segmentation

_NEW_LAYER = "new layer"


class SegmentPanel(Panel):
    """Segments an image layer; labels appear plane by plane.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._run: LiveRun | None = None
        self._order: Order | None = None
        self._failure = ""
        self._make_fields()
        self._make_footer()
        column = QVBoxLayout(self)
        column.addLayout(self._form())
        column.addLayout(self._buttons())
        for widget in (self.bar, self.status, self.sizes):
            column.addWidget(widget)
        column.addStretch()
        self._show_idle("")

    def wish(self) -> Wish:
        """Return what the fields say now."""
        target = self.target.value
        return Wish(
            image=self.image.value,
            model=self.model.path,
            card=self.model.card,
            region=self.region.text,
            device=self.device.value,
            overlap=self.overlap.value,
            target=None if target == _NEW_LAYER else target,
        )

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        self.image.reset_choices()
        self.target.reset_choices()

    def run(self) -> None:
        """Segment as the fields say; wrong input is shown as a notification."""
        try:
            order = resolve(self.wish())
            live = LiveLabels(self._viewer, order.empty_labels(), order.target)
        except AsmlpError as error:
            show_error(str(error))
            if self._run is None:
                self._show_idle(str(error))
            return
        if self._run is not None:  # the later one counts
            self._run.cancel()
            self._run.blockSignals(True)
        self._run, self._order = LiveRun(order.job(), live), order
        self._run.progressed.connect(self._show_progress)
        self._run.failed.connect(self._keep_failure)
        self._run.ended.connect(self._end)
        self._show_busy()
        self._run.start()

    def cancel(self) -> None:
        """Stop the run; what is finished stays."""
        if self._run is not None:
            self._run.cancel()
            self.cancel_button.setEnabled(False)
            self.status.setText("Stopping after this window…")

    def _export(self) -> None:
        export_labels_command()

    def closed(self) -> None:
        """Stop the run, and take the region's box away."""
        self.cancel()
        self.region.close_box()

    def _make_fields(self) -> None:
        self.image = ComboBox(choices=self._images, tooltip="The image layer to segment")
        self.model = ModelChooser()
        self.region = RegionRow(self._viewer, lambda: (self.image.value, self.model.card))
        self.target = ComboBox(
            choices=self._targets,
            tooltip="Where the labels go: into a new layer, or into labels of the same grid, as one"
            " change that Ctrl+Z takes back",
        )
        self.device = ComboBox(
            choices=DEVICES,
            value=DEFAULTS.device,
            tooltip="Where the network runs; auto takes a GPU where there is one",
        )
        self.overlap = FloatSpinBox(
            value=DEFAULTS.overlap,
            min=0,
            max=0.75,
            step=0.05,
            tooltip="Fraction that neighbouring windows share along each axis, 0 to 0.75; more is"
            " slower",
        )
        self.image.changed.connect(lambda _: self.target.reset_choices())
        self.image.changed.connect(lambda _: self.region.follow_image())
        for combo in (self.image, self.target):
            shorten(combo)

    def _make_footer(self) -> None:
        self.run_button = QPushButton("Run")
        self.run_button.setToolTip("Segment; labels appear while it runs")
        self.run_button.clicked.connect(self.run)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop after the current window; finished planes stay")
        self.cancel_button.clicked.connect(self.cancel)
        self.export_button = QPushButton("Export labels…")
        self.export_button.setToolTip("Save the selected labels on the grid of the image file")
        self.export_button.clicked.connect(self._export)
        self.bar = QProgressBar()
        self.status = text_label(Qt.TextFormat.PlainText)
        self.sizes = text_label(Qt.TextFormat.RichText)

    def _form(self) -> QFormLayout:
        form = form_layout()
        form.addRow("Image", self.image.native)
        form.addRow("Model", self.model)
        form.addRow(self.model.summary)
        form.addRow("Region", self.region)
        form.addRow("Labels to", self.target.native)
        form.addRow("Device", self.device.native)
        form.addRow("Overlap", self.overlap.native)
        return form

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.run_button, stretch=1)
        row.addWidget(self.cancel_button)
        row.addWidget(self.export_button)
        return row

    def _targets(self, _combo: Any) -> list[tuple[str, Any]]:
        image = self.image.value
        return [
            (_NEW_LAYER, _NEW_LAYER),
            *((name, layer) for name, layer in self._labels() if image and _fits(layer, image)),
        ]

    def _show_busy(self) -> None:
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.bar.setRange(0, 0)
        self.bar.show()
        self.status.setText("Loading the model…")
        self.sizes.setText("")
        self._failure = ""

    def _show_progress(self, progress: Progress) -> None:
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        if self._run is not None and not self._run.is_cancelled:
            self.status.setText(progress_text(progress))

    def _show_idle(self, text: str) -> None:
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.bar.hide()
        self.status.setText(breakable(text))
        self.sizes.setText("")

    def _keep_failure(self, message: str) -> None:
        self._failure = message

    def _end(self, layer: Labels | None, result: Segmentation | None) -> None:
        self._run = None
        if result is None or layer is None:
            kept = f"; what was finished is in {layer.name!r}" if layer is not None else ""
            self._show_idle(f"{self._failure or 'Stopped'}{kept}")
            return
        self._show_idle("Done")
        volumes = result.report["volumes_mm3"]
        if self._order is not None:
            self.sizes.setText(sizes_html(volumes, self._order.card.labels))
        show_info(f"{layer.name}: {sizes_text(volumes)}")


def _fits(labels: Labels, image: Image) -> bool:
    """Tell whether labels lie on an image's grid."""
    try:
        check_same_grid(labels, image)
    except AsmlpError:
        return False
    return True
