"""The Segment panel: choose an image and a model, run, watch the labels appear, correct them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, FloatSpinBox
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_asmlp.devices import DEVICES
from napari_asmlp.errors import AsmlpError, ModelError
from napari_asmlp.viewer.commands import export_labels_command
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.region import RegionRow
from napari_asmlp.viewer.region.row import lies_on
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
from napari_asmlp.viewer.settings import recall, remember, remembered
from napari_asmlp.viewer.shortcuts import hint, key_of
from napari_asmlp.viewer.widgets import breakable, form_layout, shorten, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.pipeline import Progress, Segmentation

_NEW_LAYER = "new layer"
_MODEL_KEY = "segment.model"


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
        self._result: Labels | None = None
        self._failure = ""
        self._make_fields()
        self._make_advanced()
        self._make_footer()
        column = QVBoxLayout(self)
        column.addLayout(self._form())
        column.addWidget(self.advanced)
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

    def correct(self) -> None:
        """Take up the brush in the labels of the last run, with the Edit labels panel beside."""
        layer = self._result
        if layer is None or layer not in self._viewer.layers:
            show_error("The labels of the last run are gone: run again, or select other labels")
            return
        self._viewer.layers.selection.active = layer
        layer.mode = "paint"
        window = getattr(self._viewer, "window", None)
        if window is not None:
            window.add_plugin_dock_widget("napari-asmlp", "Edit labels", tabify=True)

    def _export(self) -> None:
        export_labels_command()

    def opened(self) -> None:
        """Follow the viewer's region."""
        self.region.follow()

    def closed(self) -> None:
        """Stop the run, and give the mouse back to the viewer."""
        self.cancel()
        self.region.let_go()

    def _make_fields(self) -> None:
        self.image = ComboBox(choices=self._images, tooltip="The image layer to segment")
        self.model = ModelChooser()
        path = recall(_MODEL_KEY, "")
        if path:
            with suppress(ModelError):  # the file is gone: the first of the list is as good
                self.model.add(Path(path))
        self.model.changed.connect(lambda: remember(_MODEL_KEY, str(self.model.path or "")))
        self.region = RegionRow(self._viewer, lambda: (self.image.value, self.model.card))
        self.target = ComboBox(
            choices=self._targets,
            tooltip="Where the labels go. New layer: strokes painted while it fills are kept."
            " Labels of the same grid: a preview is shown, then the result comes in as one change"
            f" that {key_of('undo')} takes back",
        )
        self.image.changed.connect(lambda _: self.target.reset_choices())
        self.image.changed.connect(lambda _: self.region.follow_image())
        for combo in (self.image, self.target):
            shorten(combo)

    def _make_advanced(self) -> None:
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
            tooltip="Fraction of its length that a window shares with the next one along each"
            " axis, 0 to 0.75; more is smoother and slower",
        )
        remembered(self.device, "segment.device")
        remembered(self.overlap, "segment.overlap")
        form = form_layout()
        form.addRow("Device", self.device.native)
        form.addRow("Overlap", self.overlap.native)
        content = QWidget()
        content.setLayout(form)
        self.advanced = QCollapsible("Advanced")
        self.advanced.setContent(content)
        self.advanced.setDuration(0)  # no animation: the dock below it would twitch
        self.advanced.collapse(animate=False)

    def _make_footer(self) -> None:
        self.run_button = QPushButton("Run")
        self.run_button.setToolTip(hint("Segment; labels appear while it runs", "run"))
        self.run_button.clicked.connect(self.run)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(
            hint("Stop after the current window; finished slices stay", "cancel")
        )
        self.cancel_button.clicked.connect(self.cancel)
        self.correct_button = QPushButton("Correct…")
        self.correct_button.setToolTip(
            "Take up the brush in the labels of this run, and open the Edit labels panel"
        )
        self.correct_button.clicked.connect(self.correct)
        self.correct_button.setEnabled(False)
        self.export_button = QPushButton("Export labels…")
        self.export_button.setToolTip(
            hint("Save the selected labels on the grid of the image file", "export")
        )
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
        return form

    def _buttons(self) -> QGridLayout:
        grid = QGridLayout()
        buttons = (
            self.run_button, self.cancel_button, self.correct_button, self.export_button,
        )  # fmt: skip
        for n, button in enumerate(buttons):
            grid.addWidget(button, *divmod(n, 2))
        return grid

    def _targets(self, _combo: Any) -> list[tuple[str, Any]]:
        image = self.image.value
        return [
            (_NEW_LAYER, _NEW_LAYER),
            *((name, layer) for name, layer in self._labels() if image and lies_on(layer, image)),
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
        self._run, self._result = None, layer
        self.correct_button.setEnabled(layer is not None)
        if result is None or layer is None:
            kept = f"; what was finished is in {layer.name!r}" if layer is not None else ""
            self._show_idle(f"{self._failure or 'Stopped'}{kept}")
            return
        self._show_idle("Done")
        volumes = result.report["volumes_mm3"]
        if self._order is not None:
            self.sizes.setText(sizes_html(volumes, self._order.card.labels))
        show_info(f"{layer.name}: {sizes_text(volumes)}")
