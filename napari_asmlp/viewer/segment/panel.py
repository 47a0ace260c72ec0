"""The Segment panel: choose an image and a model, run, watch the labels appear, correct them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from napari_asmlp.errors import AsmlpError, ModelError
from napari_asmlp.model import Card
from napari_asmlp.pipeline import FieldOfViewError
from napari_asmlp.viewer.commands import export_labels_command
from napari_asmlp.viewer.layers import lies_on
from napari_asmlp.viewer.panel import Panel, open_page
from napari_asmlp.viewer.region import RegionRow
from napari_asmlp.viewer.segment.advanced import Advanced
from napari_asmlp.viewer.segment.card import card_html, sizes_html, sizes_text
from napari_asmlp.viewer.segment.live import LiveLabels, LiveRun
from napari_asmlp.viewer.segment.maps import add_maps
from napari_asmlp.viewer.segment.models import ModelChooser
from napari_asmlp.viewer.segment.request import Found, Wish, progress_text, resolve
from napari_asmlp.viewer.segment.resume import Resumption, Run, room
from napari_asmlp.viewer.settings import recall, remember
from napari_asmlp.viewer.shortcuts import hint, key_of
from napari_asmlp.viewer.widgets import breakable, form_layout, shorten, show_choice, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.pipeline import Progress

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
        self._image: Image | None = None
        self._run: LiveRun | None = None
        self._running: Run | None = None
        self._begun = False
        self._resumption = Resumption()
        self._result: Labels | None = None
        self._failure = ""
        self._notes: tuple[str, ...] = ()
        self._goes_on_whole: tuple[Any, Path | None] | None = None  # with which image and model
        self._make_fields()
        self.advanced = Advanced()
        self._make_footer()
        column = QVBoxLayout(self)
        column.addLayout(self._form())
        column.addWidget(self.advanced)
        column.addLayout(self._buttons())
        for widget in (self.bar, self.status, self.whole_button, self.kept_note, self.sizes):
            column.addWidget(widget)
        column.addStretch()
        self._show_idle("")
        for signal in (self.model.changed, self.region.field.textChanged, self.advanced.changed):
            signal.connect(lambda *_: self._offer())
        self.follow_current()

    def wish(self) -> Wish:
        """Return what the fields say now."""
        target = self.target.value
        whole = self._goes_on_whole == (self.current.image, self.model.path)
        return Wish(
            image=self.current.image,
            model=self.model.path,
            card=self.model.card,
            region=self.region.text,
            memory=self.advanced.memory.text(),
            settings=replace(self.advanced.settings(), whole=whole),
            target=None if target == _NEW_LAYER else target,
        )

    def follow_current(self) -> None:
        """Segment the current image."""
        before, self._image = self._image, self.current.image
        show_choice(self.image, self._image)
        self.target.reset_choices()
        if self._image is not before:
            self.region.follow_image()
            self._offer()

    def run(self) -> None:
        """Segment as the fields say, or go on with what was stopped; the button says which.

        Wrong input is shown as a notification.
        """
        self._begin(resume=self._resumption.is_offered(self.wish()))

    def start_over(self) -> None:
        """Segment from the first plane, whatever a stopped run has finished."""
        self._begin(resume=False)

    def segment_whole(self) -> None:
        """Segment all of a volume that is far larger than those of the training."""
        self._goes_on_whole = (self.current.image, self.model.path)
        self.run()

    def _begin(self, *, resume: bool) -> None:
        wish = self.wish()
        before = self._resumption.run_of(wish) if resume else None
        if before is not None and before.layer not in self._viewer.layers:
            before = None
        since = None if before is None else before.since
        try:
            order = resolve(wish if before is None else replace(wish, target=before.layer))
            live = LiveLabels(self._viewer, order.empty_labels(), order.target, since)
        except AsmlpError as error:
            show_error(str(error))
            if self._run is None:
                self._show_idle(str(error))
                self.whole_button.setVisible(isinstance(error, FieldOfViewError))
            return
        if self._run is not None:  # the later one counts
            self._run.cancel()
            self._run.blockSignals(True)
        self._running = Run(wish, order, room(wish, order, resume=resume), since=since)
        self._run = LiveRun(order.job(self._running.keep), live)
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
        """Take up the brush in the labels of the last run, with the page Edit."""
        layer = self._result
        if layer is None or layer not in self._viewer.layers:
            show_error("The labels of the last run are gone: run again, or select other labels")
            return
        self._viewer.layers.selection.active = layer
        layer.mode = "paint"
        open_page(self._viewer, "edit")

    def _export(self) -> None:
        export_labels_command()

    def opened(self) -> None:
        """Follow the viewer's image and region."""
        self.follow_current()
        self.region.follow()

    def closed(self) -> None:
        """Stop the run, and give the mouse back to the viewer."""
        self.cancel()
        self.region.let_go()

    def _make_fields(self) -> None:
        self.image = self._chooser(self._images, "The image layer to segment")
        self.model = ModelChooser(Card, card_html)
        path = recall(_MODEL_KEY, "")
        if path:
            with suppress(ModelError):  # the file is gone: the first of the list is as good
                self.model.add(Path(path))
        self.model.changed.connect(lambda: remember(_MODEL_KEY, str(self.model.path or "")))
        self.region = RegionRow(self._viewer, lambda: (self.current.image, self.model.card))
        self.target = ComboBox(
            choices=self._targets,
            tooltip="Where the labels go. New layer: strokes painted while it fills are kept."
            " Labels of the same grid: a preview is shown, then the result comes in as one change"
            f" that {key_of('undo')} takes back",
        )
        shorten(self.target)

    def _make_footer(self) -> None:
        self.run_button = QPushButton()
        self.run_button.clicked.connect(self.run)
        self.anew_button = QPushButton("Start over")
        self.anew_button.setToolTip("Drop what the stopped run has finished, and segment anew")
        self.anew_button.clicked.connect(self.start_over)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(
            hint("Stop after the current window; what is finished stays", "cancel")
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
        self.whole_button = QPushButton("Whole volume")
        self.whole_button.setToolTip(
            "Go on without a region. The model may find its structure where there is none"
        )
        self.whole_button.clicked.connect(self.segment_whole)
        self.bar = QProgressBar()
        self.status = text_label(Qt.TextFormat.PlainText)
        self.kept_note = text_label(Qt.TextFormat.PlainText)
        self.sizes = text_label(Qt.TextFormat.RichText)

    def _form(self) -> QFormLayout:
        form = form_layout()
        form.addRow("Image", self.image.native)
        form.addRow("Model", self.model)
        form.addRow(self.model.summary)
        form.addRow("Region", self.region)
        form.addRow("Labels to", self.target.native)
        return form

    def _buttons(self) -> QVBoxLayout:
        column = QVBoxLayout()
        for buttons in (
            (self.run_button, self.anew_button, self.cancel_button),
            (self.correct_button, self.export_button),
        ):
            row = QHBoxLayout()
            for button in buttons:
                row.addWidget(button)
            column.addLayout(row)
        return column

    def _targets(self, _combo: Any) -> list[tuple[str, Any]]:
        image = self.current.image
        return [
            (_NEW_LAYER, _NEW_LAYER),
            *((name, layer) for name, layer in self._labels() if image and lies_on(layer, image)),
        ]

    def _offer(self) -> None:
        """Offer to go on with a stopped run, or say why that cannot be."""
        self.whole_button.hide()
        if self._run is not None:
            return
        wish = self.wish()
        resumable = self._resumption.is_offered(wish)
        self.run_button.setText("Resume" if resumable else "Segment")
        tip = "Go on after what is finished" if resumable else "Labels appear while it runs"
        self.run_button.setToolTip(hint(tip, "run"))
        self.anew_button.setVisible(resumable)
        self.kept_note.setText(self._resumption.text(wish))
        self.kept_note.setVisible(bool(self.kept_note.text()))

    def _show_busy(self) -> None:
        self.run_button.setEnabled(False)
        self.anew_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.bar.setRange(0, 0)
        self.bar.show()
        self.status.setText("Loading the model…")
        self.kept_note.hide()
        self.sizes.setText("")
        self.whole_button.hide()
        self._failure, self._begun, self._notes = "", False, ()

    def _show_progress(self, progress: Progress) -> None:
        if not self._begun and progress.plan is not None and progress.plan.lacks_memory:
            show_warning(f"{progress.plan.describe()}: close other programs, or set Memory")
        self._begun = True
        name = "" if self._running is None else f"{self._running.order.image.name}: "
        for note in progress.notes[len(self._notes) :]:
            show_warning(f"{name}{note}")
        self._notes = progress.notes
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        if self._run is not None and not self._run.is_cancelled:
            self.status.setText(progress_text(progress))

    def _show_idle(self, text: str) -> None:
        self.run_button.setEnabled(True)
        self.anew_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.bar.hide()
        self.status.setText(breakable(text))
        self.sizes.setText("")
        self._offer()

    def _keep_failure(self, message: str) -> None:
        self._failure = message

    def _end(self, layer: Labels | None, found: Found | None) -> None:
        run, self._run, self._running, self._result = self._running, None, None, layer
        self.correct_button.setEnabled(layer is not None)
        if run is not None and found is not None and layer is None and not found.volumes_mm3:
            self._resumption.done()
            text = f"No label was found in {run.order.image.name!r}: no layer was added"
            self._show_idle(text)
            add_maps(self._viewer, found.maps)
            show_warning(text)
            return
        if run is None or found is None or layer is None:
            self._leave_stopped(run, layer)
            return
        self._resumption.done()
        self._show_idle("\n".join(["Done", *self._notes]))
        add_maps(self._viewer, found.maps)
        self.sizes.setText(sizes_html(found.volumes_mm3, run.order.card.labels))
        show_info(f"{layer.name}: {sizes_text(found.volumes_mm3)}")

    def _leave_stopped(self, run: Run | None, layer: Labels | None) -> None:
        """Say what is left of a run that was stopped or failed, and offer to go on."""
        if run is not None and layer is not None:
            self._resumption.stopped(run, layer)
        elif run is not None and self._failure and not self._begun:
            self._resumption.refuse(run)
        in_layer = f"; what was finished is in {layer.name!r}" if layer is not None else ""
        self._show_idle(f"{self._failure or 'Stopped'}{in_layer}")
