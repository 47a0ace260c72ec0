"""The tools of the Edit labels panel: choose one, preview it, apply it as one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.edit import Tool
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.edit.brush import Limits
from napari_asmlp.viewer.edit.fields import ToolFields
from napari_asmlp.viewer.edit.preview import LEGEND, Preview
from napari_asmlp.viewer.edit.request import (
    Order,
    Prepared,
    Wish,
    axis_across,
    first_settings,
    has_own_slices,
    resolve,
)
from napari_asmlp.viewer.edit.table import class_names, title_of
from napari_asmlp.viewer.edit.toolbox import ToolChoice
from napari_asmlp.viewer.edit.words import change_text
from napari_asmlp.viewer.shortcuts import hint, key_of
from napari_asmlp.viewer.tasks import Task
from napari_asmlp.viewer.widgets import form_layout, shorten, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_HALF_ROW = 6  # letters
_WHERE = "Edit the whole volume, or only the slice that the viewer shows"
_OWN_SLICES = "The plane and the slices of this tool are chosen above"
_STALE = "The labels have changed: preview again"


class ToolSection(QWidget):
    """One tool at a time, and the buttons that preview, apply and cancel it.

    Parameters
    ----------
    chosen
        Returns the labels to edit and the image that tools look at, None for either.
    limits
        Returns the range of the image that the brush is set to; a tool with one begins with it.

    Signals
    -------
    tool_chosen() : another tool is shown
    """

    tool_chosen = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        chosen: Callable[[], tuple[Labels | None, Image | None]],
        limits: Callable[[], Limits],
    ) -> None:
        super().__init__()
        self._limits = limits
        self._viewer = viewer
        self._chosen = chosen
        self._task: Task | None = None
        self._applying = False
        self._prepared: Prepared | None = None
        self._preview = Preview(viewer)
        self._make_fields()
        self._make_buttons()
        self._lay_out()
        self._listen()
        self._show_idle("")
        self._show_tool()

    def wish(self) -> Wish:
        """Return what the fields and the viewer say now."""
        layer, image = self._chosen()
        return Wish(
            layer=layer,
            tool=self.tool.value,
            settings=self.settings.values,
            image=image,
            value=None if self.all_labels.value or layer is None else int(layer.selected_label),
            slice_only=self.slice_only.enabled and self.slice_only.value,
            across=axis_across(self._viewer),
            point=tuple(self._viewer.dims.point),
            overwrite=self.overwrite.value,
        )

    def preview(self) -> None:
        """Compute which voxels would change, count and outline them, and change nothing."""
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

    def forget(self, _value: Any = None) -> None:
        """Drop a preview of something else."""
        self._prepared = None
        self._preview.hide()
        if self._task is None:
            self.status.setText("")

    def outdate(self, *_event: Any) -> None:
        """Note that voxels have changed."""
        if self._prepared is not None:
            self.forget()
            self.status.setText(_STALE)

    def move(self, _event: Any = None) -> None:
        """Note that another slice is shown."""
        if self.slice_only.value and self._prepared is not None:
            self.forget()

    def name_labels(self) -> None:
        """Name the selected label as it is called now."""
        self.all_labels.reset_choices()

    def name_planes(self) -> None:
        """Name the planes as those of the layer are called."""
        self._show_tool()

    @property
    def is_busy(self) -> bool:
        """Whether a tool is being computed."""
        return self._task is not None

    def _make_fields(self) -> None:
        self.tool = ToolChoice()
        self.settings = ToolFields(self._viewer)
        self.all_labels = ComboBox(
            choices=self._whose,
            tooltip="Edit the label that is selected for painting, or every label not locked",
        )
        self.slice_only = ComboBox(
            choices=[("3D", False), ("this slice", True)],
            tooltip=_WHERE,
        )
        self.overwrite = CheckBox(
            text="May overwrite other labels",
            tooltip="Let the selected label take voxels of others that are not locked; background"
            " it may always take",
        )
        for combo in (self.all_labels, self.slice_only):
            shorten(combo)
            combo.native.setMinimumContentsLength(_HALF_ROW)  # both stand in one row

    def _make_buttons(self) -> None:
        self.preview_button = QPushButton("Preview")
        self.preview_button.setToolTip(
            f"Count and outline the voxels that would change; nothing is changed. {LEGEND}"
        )
        self.preview_button.clicked.connect(self.preview)
        self.apply_button = QPushButton("Apply")
        self.apply_button.setToolTip(
            f"Change the labels, as one step that {key_of('undo')} takes back"
        )
        self.apply_button.clicked.connect(self.apply)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(
            hint("Give up what is being computed; nothing is changed", "cancel")
        )
        self.cancel_button.clicked.connect(self.cancel)
        self.bar = QProgressBar(textVisible=False)
        self.bar.setRange(0, 0)
        self.bar.setFixedHeight(6)
        self.status = text_label()

    def _lay_out(self) -> None:
        self._fields = QWidget()
        form = form_layout()
        self._fields.setLayout(form)
        whose = QHBoxLayout()
        whose.addWidget(self.all_labels.native, stretch=3)
        whose.addWidget(self.slice_only.native, stretch=2)
        form.addRow("Tool", self.tool)
        form.addRow(self.settings)
        form.addRow("Edit", whose)
        form.addRow("", self.overwrite.native)
        buttons = QHBoxLayout()
        for button in (self.preview_button, self.apply_button, self.cancel_button):
            buttons.addWidget(button, stretch=1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._fields)
        column.addLayout(buttons)
        column.addWidget(self.bar)
        column.addWidget(self.status)

    def _listen(self) -> None:
        self.tool.changed.connect(self._show_tool)
        self.settings.changed.connect(self.forget)
        for widget in (self.all_labels, self.slice_only, self.overwrite):
            widget.changed.connect(self.forget)

    def _whose(self, _combo: Any) -> list[tuple[str, bool]]:
        layer, _ = self._chosen()
        if layer is None:
            return [("selected label", False), ("all labels", True)]
        return [(title_of(layer.selected_label, class_names(layer)), False), ("all labels", True)]

    def _show_tool(self) -> None:
        tool: type[Tool] | None = self.tool.value
        layer, _ = self._chosen()
        low, high = self._limits()
        start = {"low": low, "high": high, **first_settings(self.wish())}
        self.settings.show_tool(tool, layer, start)
        own = has_own_slices(tool)
        self.slice_only.enabled = not own
        self.slice_only.tooltip = _OWN_SLICES if own else _WHERE
        self.forget()
        self.tool_chosen.emit()

    def _start(self, order: Order, *, apply: bool) -> None:
        self.cancel()
        self.forget()
        self._applying = apply
        self._task = Task(order.job(), self)
        self._task.returned.connect(self._keep)
        self._task.ended.connect(self._end)
        self._set_busy(True)
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
        elif self._applying:
            with errors_shown():
                self._commit(prepared)
        elif prepared.is_current:
            self._show_preview(prepared)
        else:
            self._prepared = None
            self.status.setText(_STALE)

    def _show_preview(self, prepared: Prepared) -> None:
        layer = prepared.order.layer
        self._preview.show(layer, prepared.change)
        self._prepared = prepared  # whatever the new layer has set off
        self.status.setText(change_text(prepared.change, class_names(layer)))

    def _commit(self, prepared: Prepared) -> None:
        """Bring a change into its layer; raises a `SettingsError` if that has changed."""
        self.forget()
        self.status.setText("Nothing was changed")
        prepared.commit()
        names = class_names(prepared.order.layer)
        self.status.setText(change_text(prepared.change, names, done=True))

    def _set_busy(self, busy: bool) -> None:
        for widget in (self._fields, self.preview_button, self.apply_button):
            widget.setEnabled(not busy)
        self.cancel_button.setEnabled(busy)
        self.bar.setVisible(busy)

    def _show_idle(self, text: str) -> None:
        self._set_busy(False)
        self.status.setText(text)
