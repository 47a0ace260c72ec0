"""Fields of the Edit labels panel: the settings of a tool, and the list of labels with locks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, cast, get_type_hints

import numpy as np
from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit, SpinBox, create_widget
from magicgui.widgets.bases import ValueWidget
from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QFormLayout, QListWidget, QListWidgetItem, QWidget

from napari_asmlp.edit import Tool
from napari_asmlp.viewer.edit_request import (
    AXIS_FIELD,
    PLANES,
    class_names,
    lock,
    locked_values,
    slice_fields,
    title_of,
    values_in,
)
from napari_asmlp.viewer.tasks import Job, Task

_UNITS = {"mm": "mm", "mm3": "mm³"}
_TITLES = {AXIS_FIELD: "Plane", "": "Distance", "to": "New label", "other": "Other label"}
_SLICE_TITLES = {"index": "From slice", "to": "To slice"}
_LARGEST = 65_535
_MOST_ROWS = 1000  # more would take seconds to list
_ROWS_SHOWN = 4
_SWATCH = 12  # pixels


class ToolFields(QWidget):
    """The settings of one tool, a field for each of its dataclass fields.

    Signals
    -------
    changed() : a setting has another value
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._widgets: dict[str, ValueWidget[Any]] = {}
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)

    def show_tool(self, tool: type[Tool] | None, start: dict[str, Any]) -> None:
        """Show the fields of a tool.

        Parameters
        ----------
        start
            Values to begin with in place of the defaults, for those of the names that it has.
        """
        while self._form.rowCount():
            self._form.removeRow(0)
        self._widgets = tool_widgets(tool) if tool else {}
        for name, widget in self._widgets.items():
            if name in start:
                widget.value = start[name]
            widget.changed.connect(self._tell)
            self._form.addRow(widget.label, widget.native)
        self.setVisible(bool(self._widgets))

    @property
    def values(self) -> dict[str, Any]:
        """The settings as they are now, by name."""
        return {name: widget.value for name, widget in self._widgets.items()}

    def set(self, **values: Any) -> None:
        """Change settings by name."""
        for name, value in values.items():
            self._widgets[name].value = value

    def _tell(self, _value: Any) -> None:
        self.changed.emit()


def tool_widgets(tool: type[Tool]) -> dict[str, ValueWidget[Any]]:
    """Return a widget for each field of a tool, with its default and what its docstring says."""
    types, explained = get_type_hints(tool), parameter_help(tool)
    slices = slice_fields(tool)
    widgets = {}
    for each in fields(tool):  # type: ignore[arg-type]  # all are dataclasses
        widget = _widget(each.name, types[each.name], each.default)
        help_text = explained.get(each.name, "")
        if each.name in slices:
            help_text += " Counted as the slider counts."
        unit = unit_of(each.name)
        widget.tooltip = f"{help_text} In {unit}." if unit else help_text
        widget.label = field_title(each.name, counts_slices=each.name in slices)
        widgets[each.name] = widget
    return widgets


def unit_of(name: str) -> str:
    """Return the unit that the name of a field ends in, or nothing."""
    return _UNITS.get(name.rpartition("_")[2], "")


def field_title(name: str, counts_slices: bool = False) -> str:
    """Return how a field is called on screen: ``smallest_mm3`` is ``Smallest (mm³)``."""
    unit = unit_of(name)
    words = name.removesuffix(name.rpartition("_")[2]).strip("_") if unit else name
    titles = _SLICE_TITLES if counts_slices else _TITLES
    title = titles.get(words, words.replace("_", " ").capitalize())
    return f"{title} ({unit})" if unit else title


def parameter_help(tool: type[Tool]) -> dict[str, str]:
    """Return what the docstring of a tool says of each of its fields."""
    doc = inspect.getdoc(tool) or ""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n\S+\n-+\n|\Z)", doc, re.S | re.M)
    if section is None:
        return {}
    found = re.findall(r"^(\S.*)\n((?:[ ]+.*\n?)+)", section[1], re.M)
    return {
        name.strip(): " ".join(text.split()) for names, text in found for name in names.split(",")
    }


class LabelList(QListWidget):
    """The labels of a layer by colour and name; a tick locks one, a click selects it.

    Listed are the values that have a name, that lie in the voxels, or that are painted with.

    Signals
    -------
    listed() : the labels, their names or the selected one may be others now
    """

    listed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layer: Labels | None = None
        self._values: set[int] = set()
        self._scan: Task | None = None
        self.setToolTip(
            "Ticked labels are locked: no tool gives to or takes from them. Click a name to select"
            " the label"
        )
        row = self.fontMetrics().height() + 8
        self.setFixedHeight(_ROWS_SHOWN * row)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.itemChanged.connect(self._lock)
        self.itemClicked.connect(self._select)

    def follow(self, layer: Labels | None) -> None:
        """List the labels of another layer, and keep to them as they change."""
        if self._layer is not None:
            for event in self._looks(self._layer):
                event.disconnect(self._relist)
            self._layer.events.data.disconnect(self._rescan)
        self._layer = layer
        if layer is not None:
            for event in self._looks(layer):
                event.connect(self._relist)
            layer.events.data.connect(self._rescan)
        self._rescan()

    def add(self, values: Iterable[int]) -> None:
        """List values that now lie in the voxels too."""
        self._values.update(values)
        self._relist()

    def _rescan(self, _event: Any = None) -> None:
        """Look for the values in the voxels, in another thread; they are listed when found."""
        if self._scan is not None:
            self._scan.abandon()
            self._scan.deleteLater()
            self._scan = None
        self._values = set()
        self._relist()
        layer = self._layer
        if layer is None or not isinstance(layer.data, np.ndarray):
            return
        array = layer.data
        self._scan = Task(Job(f"labels of {layer.name}", lambda: values_in(array)), self)
        self._scan.returned.connect(self.add)
        self._scan.start()

    def _relist(self, _event: Any = None) -> None:
        layer = self._layer
        self.blockSignals(True)
        self.clear()
        if layer is not None:
            self._values.add(int(layer.selected_label))
            names, locked = class_names(layer), locked_values(layer)
            values = sorted({*self._values, *names, *locked} - {0})
            for value in values[:_MOST_ROWS]:
                self.addItem(_row(layer, value, names, value in locked))
            if len(values) > _MOST_ROWS:
                more = QListWidgetItem(f"and {len(values) - _MOST_ROWS} more")
                more.setFlags(Qt.ItemFlag.NoItemFlags)
                self.addItem(more)
        self._mark_selected()
        self.blockSignals(False)
        self.listed.emit()

    @staticmethod
    def _looks(layer: Labels) -> tuple[Any, ...]:
        return layer.events.selected_label, layer.events.features, layer.events.colormap

    def _mark_selected(self) -> None:
        """Highlight the layer's selected label."""
        for n in range(self.count()):
            value = self.item(n).data(Qt.ItemDataRole.UserRole)
            if self._layer is not None and value == self._layer.selected_label:
                self.setCurrentRow(n)
                return
        self.setCurrentRow(-1)

    def _lock(self, item: QListWidgetItem) -> None:
        if self._layer is not None:
            on = item.checkState() == Qt.CheckState.Checked
            lock(self._layer, item.data(Qt.ItemDataRole.UserRole), on=on)

    def _select(self, item: QListWidgetItem) -> None:
        value = item.data(Qt.ItemDataRole.UserRole)
        if self._layer is not None and value is not None:
            self._layer.selected_label = value


def _row(layer: Labels, value: int, names: dict[int, str], locked: bool) -> QListWidgetItem:
    swatch = QPixmap(_SWATCH, _SWATCH)
    colour = layer.get_color(value)  # None where only the selected label is shown
    swatch.fill(QColor.fromRgbF(*(float(c) for c in colour)) if colour is not None else QColor(0))
    icon = QIcon(swatch)
    icon.addPixmap(swatch, QIcon.Mode.Selected)  # or Qt tints it
    name = title_of(value, names)
    item = QListWidgetItem(icon, f"{value} {name}" if value in names else name)
    item.setToolTip(item.text())
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if locked else Qt.CheckState.Unchecked)
    item.setData(Qt.ItemDataRole.UserRole, value)
    return item


def _widget(name: str, kind: Any, default: Any) -> ValueWidget[Any]:
    if name == AXIS_FIELD:
        widget: ValueWidget[Any] = ComboBox(
            choices=[(plane, axis) for axis, plane in enumerate(PLANES)], value=0
        )
    elif name == "region":
        widget = LineEdit(value="")
        widget.native.setPlaceholderText("i0:i1,j0:j1,k0:k1")
    elif kind is float:
        shortest = 0 if unit_of(name) else -1e6
        widget = FloatSpinBox(value=default, min=shortest, max=1e6, step=0.5)
    elif kind is int:
        widget = SpinBox(value=default, min=0, max=_LARGEST)
    else:
        widget = cast("ValueWidget[Any]", create_widget(value=default, annotation=kind))
    return widget
