"""The settings of a tool as fields of the Edit labels panel."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit, SpinBox, create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_asmlp.edit import Tool
from napari_asmlp.edit.change import LARGEST_VALUE
from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.edit.request import AXIS_FIELD, slice_fields
from napari_asmlp.viewer.edit.words import plane_titles
from napari_asmlp.viewer.layers import volume_of
from napari_asmlp.viewer.region import current_region
from napari_asmlp.viewer.widgets import form_layout

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

_UNITS = {"mm": "mm", "mm3": "mm³"}
_TITLES = {AXIS_FIELD: "Plane", "": "Distance", "to": "New label", "other": "Other label"}
_SLICE_TITLES = {"index": "From slice", "to": "To slice"}
_REGION_FIELD = "region"


class ToolFields(QWidget):
    """The settings of one tool, a field for each of its dataclass fields.

    Signals
    -------
    changed() : a setting has another value
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self._widgets: dict[str, ValueWidget[Any]] = {}
        self._form = form_layout()
        self.setLayout(self._form)

    def show_tool(
        self, tool: type[Tool] | None, layer: Labels | None, start: dict[str, Any]
    ) -> None:
        """Show the fields of a tool.

        Parameters
        ----------
        layer
            What it will edit, whose planes the fields name.
        start
            Values to begin with in place of the defaults, for those of the names that it has.
        """
        while self._form.rowCount():
            self._form.removeRow(0)
        self._layer = layer
        self._widgets = tool_widgets(tool, plane_titles(layer)) if tool else {}
        for name, widget in self._widgets.items():
            if name in start:
                widget.value = start[name]
            widget.changed.connect(self._tell)
            field = self._with_box(widget) if name == _REGION_FIELD else widget.native
            self._form.addRow(widget.label, field)
        self.setVisible(bool(self._widgets))

    @property
    def values(self) -> dict[str, Any]:
        """The settings as they are now, by name."""
        return {name: widget.value for name, widget in self._widgets.items()}

    def set(self, **values: Any) -> None:
        """Change settings by name."""
        for name, value in values.items():
            self._widgets[name].value = value

    def take_region(self) -> None:
        """Write the region box of the viewer into the field of a region."""
        with errors_shown():
            layer = self._layer
            if layer is None:
                raise SettingsError("there are no labels: open, paint or segment some first")
            region = current_region(self._viewer, volume_of(layer).grid)
            if region is None:
                raise SettingsError(
                    f"there is no region box on the grid of {layer.name!r}: draw or type one in"
                    " the Segment panel first"
                )
            self.set(region=str(region))

    def _with_box(self, widget: ValueWidget[Any]) -> QWidget:
        """Return the field of a region, with a button that takes what is drawn."""
        button = QPushButton("Box")
        button.setToolTip("Take the region box that is shown in the image")
        button.clicked.connect(self.take_region)
        both = QWidget()
        row = QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(widget.native, stretch=1)
        row.addWidget(button)
        return both

    def _tell(self, _value: Any) -> None:
        self.changed.emit()


def tool_widgets(
    tool: type[Tool], planes: tuple[str, str, str] = plane_titles(None)
) -> dict[str, ValueWidget[Any]]:
    """Return a widget for each field of a tool, with its default and what its docstring says.

    Parameters
    ----------
    planes
        How the planes across the axes shown are called.
    """
    types, explained = get_type_hints(tool), parameter_help(tool)
    slices = slice_fields(tool)
    widgets = {}
    for each in fields(tool):  # type: ignore[arg-type]  # all are dataclasses
        widget = _widget(each.name, types[each.name], each.default, planes)
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


def _widget(name: str, kind: Any, default: Any, planes: tuple[str, str, str]) -> ValueWidget[Any]:
    if name == AXIS_FIELD:
        widget: ValueWidget[Any] = ComboBox(
            choices=[(plane, axis) for axis, plane in enumerate(planes)], value=0
        )
    elif name == _REGION_FIELD:
        widget = LineEdit(value="")
        widget.native.setPlaceholderText("i0:i1,j0:j1,k0:k1")
    elif kind is float:
        shortest = 0 if unit_of(name) else -1e6
        widget = FloatSpinBox(value=default, min=shortest, max=1e6, step=0.5)
    elif kind is int:
        widget = SpinBox(value=default, min=0, max=LARGEST_VALUE)
    else:
        widget = cast("ValueWidget[Any]", create_widget(value=default, annotation=kind))
    return widget
