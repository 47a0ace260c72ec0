"""The Edit labels panel: choose a tool, see how many voxels would change, apply it as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from napari.layers import Labels
from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.edit import TOOLS
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.edit.fields import ToolFields
from napari_asmlp.viewer.edit.request import (
    Order,
    Prepared,
    Wish,
    axis_across,
    change_text,
    class_names,
    first_settings,
    resolve,
    title_of,
)
from napari_asmlp.viewer.edit.segments import LabelList
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.tasks import Task
from napari_asmlp.viewer.widgets import form_layout, shorten, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_STALE = "The labels have changed: preview again"


class EditPanel(Panel):
    """Edits a labels layer with one tool at a time.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._task: Task | None = None
        self._applying = False
        self._prepared: Prepared | None = None
        self._watched: Labels | None = None
        self._make_fields()
        self._make_buttons()
        column = QVBoxLayout(self)
        column.addWidget(self._form())
        column.addLayout(self._buttons())
        column.addWidget(self.bar)
        column.addWidget(self.status)
        column.addStretch()
        self._listen()
        self._show_idle("")
        self._show_tool()
        self._watch()

    def wish(self) -> Wish:
        """Return what the fields and the viewer say now."""
        layer = self.layer.value
        return Wish(
            layer=layer,
            tool=self.tool.value,
            settings=self.settings.values,
            image=self.image.value,
            value=None if self.all_labels.value or layer is None else int(layer.selected_label),
            slice_only=self.slice_only.value,
            across=axis_across(self._viewer),
            point=tuple(self._viewer.dims.point),
            overwrite=self.overwrite.value,
        )

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        self.layer.reset_choices()
        self.image.reset_choices()
        self._watch()

    def preview(self) -> None:
        """Compute how many voxels would change, and change nothing."""
        with errors_shown():
            self._start(resolve(self.wish()), apply=False)

    def apply(self) -> None:
        """Change the labels as the fields say; what was previewed is not computed again."""
        with errors_shown():
            order, prepared = resolve(self.wish()), self._prepared
            if prepared is not None and prepared.order == order and prepared.is_current:
                self._commit(prepared)
            else:
                self._start(order, apply=True)

    def cancel(self) -> None:
        """Give up what is being computed; nothing is changed."""
        if self._task is not None:
            self._task.abandon()
            self._task.deleteLater()
            self._task = None
            self._show_idle("Stopped; nothing was changed")

    def closed(self) -> None:
        """Give up what is being computed, and let go of the layer and the sliders."""
        self.cancel()
        self._watch_layer(None)
        self._follow_dims(on=False)

    def opened(self) -> None:
        """Follow the layer and the sliders."""
        self._follow_dims(on=True)
        self._watch()

    def _make_fields(self) -> None:
        self.layer = ComboBox(choices=self._labels, tooltip="The labels to edit")
        self.tool = ComboBox(
            choices=[(tool.title, tool) for tool in TOOLS], tooltip="What to do with the labels"
        )
        self.settings = ToolFields()
        self.image = ComboBox(choices=self._images, tooltip="The image that the tool looks at")
        self.all_labels = ComboBox(
            choices=self._whose,
            tooltip="Edit the label that is selected for painting, or every label not locked",
        )
        self.slice_only = ComboBox(
            choices=[("3D", False), ("this slice", True)],
            tooltip="Edit the whole volume, or only the slice that the viewer shows",
        )
        self.labels = LabelList()
        self.overwrite = CheckBox(
            text="May overwrite other labels",
            tooltip="Let the selected label take voxels of others that are not locked; background"
            " it may always take",
        )
        for combo in (self.layer, self.tool, self.image, self.all_labels, self.slice_only):
            shorten(combo)

    def _make_buttons(self) -> None:
        self.preview_button = QPushButton("Preview")
        self.preview_button.setToolTip("Count the voxels that would change; nothing is changed")
        self.preview_button.clicked.connect(self.preview)
        self.apply_button = QPushButton("Apply")
        self.apply_button.setToolTip("Change the labels, as one step that Ctrl+Z takes back")
        self.apply_button.clicked.connect(self.apply)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Give up what is being computed; nothing is changed")
        self.cancel_button.clicked.connect(self.cancel)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.status = text_label()

    def _form(self) -> QWidget:
        self._fields = QWidget()
        self._rows = form = form_layout()
        self._fields.setLayout(form)
        form.addRow("Labels", self.layer.native)
        form.addRow("Tool", self.tool.native)
        form.addRow("", self.settings)
        form.addRow("Image", self.image.native)
        form.addRow("Edit", self.all_labels.native)
        form.addRow("In", self.slice_only.native)
        form.addRow("Locked", self.labels)
        form.addRow("", self.overwrite.native)
        return self._fields

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for button in (self.preview_button, self.apply_button, self.cancel_button):
            row.addWidget(button, stretch=1)
        return row

    def _listen(self) -> None:
        self.layer.changed.connect(self._watch)
        self.tool.changed.connect(self._show_tool)
        self.settings.changed.connect(self._forget)
        self.labels.itemChanged.connect(self._forget)
        self.labels.listed.connect(self.all_labels.reset_choices)
        for widget in (self.image, self.all_labels, self.slice_only, self.overwrite):
            widget.changed.connect(self._forget)
        self._follow_dims(on=True)

    def _whose(self, _combo: Any) -> list[tuple[str, bool]]:
        layer = self.layer.value
        if layer is None:
            return [("selected label", False), ("all labels", True)]
        name = title_of(layer.selected_label, class_names(layer))
        return [(name, False), ("all labels", True)]

    def _show_tool(self, _tool: Any = None) -> None:
        tool = self.tool.value
        self.settings.show_tool(tool, first_settings(self.wish()))
        needs_image = tool is not None and tool.needs_image
        self.image.native.setVisible(needs_image)
        self._rows.labelForField(self.image.native).setVisible(needs_image)
        self.tool.tooltip = (tool.__doc__ or "").strip().partition("\n")[0] if tool else ""
        self._forget()

    def _watch(self, _layer: Any = None) -> None:
        self._watch_layer(self.layer.value)

    def _watch_layer(self, layer: Labels | None) -> None:
        """Follow another layer."""
        if layer is self._watched:
            return
        if self._watched is not None:
            self._watched.events.paint.disconnect(self._outdate)
            self._watched.events.data.disconnect(self._outdate)
        self._watched = layer
        if layer is not None:
            layer.events.paint.connect(self._outdate)
            layer.events.data.connect(self._outdate)
        self.labels.follow(layer)
        self._forget()

    def _follow_dims(self, *, on: bool) -> None:
        events = self._viewer.dims.events
        for event in (events.current_step, events.order, events.ndisplay):
            event.disconnect(self._move)
            if on:
                event.connect(self._move)

    def _outdate(self, _event: Any) -> None:
        """Note that voxels have changed."""
        if self._prepared is not None:
            self._forget()
            self.status.setText(_STALE)

    def _move(self, _event: Any) -> None:
        """Note that another slice is shown."""
        if self.slice_only.value:
            self._forget()

    def _forget(self, _value: Any = None) -> None:
        """Drop a preview of something else."""
        self._prepared = None
        if self._task is None:
            self.status.setText("")

    def _start(self, order: Order, *, apply: bool) -> None:
        self.cancel()
        self._prepared, self._applying = None, apply
        self._task = Task(order.job(), self)
        self._task.returned.connect(self._keep)
        self._task.ended.connect(self._end)
        self._fields.setEnabled(False)
        self.preview_button.setEnabled(False)
        self.apply_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.bar.show()
        self.status.setText(f"{order.tool.title}…")
        self._task.start()

    def _keep(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def _end(self) -> None:
        prepared = self._prepared
        if self._task is not None:
            self._task.deleteLater()
            self._task = None
        self._show_idle("")
        if prepared is None:  # an error, which has been shown
            return
        if prepared.order.layer not in self._viewer.layers:
            self._prepared = None
            self.status.setText("The labels were deleted; nothing was changed")
        elif not self._applying and not prepared.is_current:
            self._prepared = None
            self.status.setText(_STALE)
        elif not self._applying:
            names = class_names(prepared.order.layer)
            self.status.setText(change_text(prepared.change, names))
        else:
            with errors_shown():
                self._commit(prepared)

    def _commit(self, prepared: Prepared) -> None:
        """Bring a change into its layer; raises a `SettingsError` if that has changed."""
        self._prepared = None
        self.status.setText("Nothing was changed")
        prepared.commit()
        self.labels.add(prepared.change.gained)
        names = class_names(prepared.order.layer)
        self.status.setText(change_text(prepared.change, names, done=True))

    def _show_idle(self, text: str) -> None:
        self._fields.setEnabled(True)
        self.preview_button.setEnabled(True)
        self.apply_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.bar.hide()
        self.status.setText(text)
