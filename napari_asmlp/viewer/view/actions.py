"""What the keys do: functions of the viewer, whatever panels are open."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QApplication

from napari_asmlp.edit import CopySlice, InterpolateSlices
from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer import planes
from napari_asmlp.viewer.commands import errors_shown, export_labels_command
from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.edit.request import Prepared, Wish, axis_across, resolve
from napari_asmlp.viewer.edit.table import class_names, lock, locked_values, title_of
from napari_asmlp.viewer.edit.words import change_text
from napari_asmlp.viewer.history.edits import Edits, edits_of
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.planes.show import CROSSHAIR_KEY, LETTERS_KEY
from napari_asmlp.viewer.settings import recall, remember
from napari_asmlp.viewer.tasks import Task
from napari_asmlp.viewer.view.contrast import shown_part
from napari_asmlp.viewer.view.drag import drag_meanwhile
from napari_asmlp.viewer.view.overlay import cycle_style, hide_labels_meanwhile

if TYPE_CHECKING:
    from napari.components import ViewerModel

_AnyPanel = TypeVar("_AnyPanel", bound=Panel)

_edits: WeakKeyDictionary[ViewerModel, Task] = WeakKeyDictionary()  # those that keys began


def export(_viewer: ViewerModel) -> None:
    """Write labels to a file, on the grid of their image."""
    export_labels_command()


def undo(viewer: ViewerModel) -> None:
    """Take back the last edit of the labels."""
    edits, name = _edits_meant(viewer)
    viewer.status = f"{name}: undone {edits.undo_title}" if edits.undo_title else f"{name}: no edit"
    edits.undo()


def redo(viewer: ViewerModel) -> None:
    """Do again what was taken back."""
    edits, name = _edits_meant(viewer)
    viewer.status = f"{name}: redone {edits.redo_title}" if edits.redo_title else f"{name}: no edit"
    edits.redo()


def toggle_planes(viewer: ViewerModel) -> None:
    """Show three planes, or one."""
    planes.toggle_planes(viewer)
    _refresh_panels(viewer)


def toggle_crosshair(viewer: ViewerModel) -> None:
    """Show where the planes cut one another, or do not."""
    on = not recall(CROSSHAIR_KEY, True)
    remember(CROSSHAIR_KEY, on)
    planes.show_crosshair(viewer, on)
    _refresh_panels(viewer)


def toggle_letters(viewer: ViewerModel) -> None:
    """Show which side is which, or do not."""
    on = not recall(LETTERS_KEY, True)
    remember(LETTERS_KEY, on)
    planes.show_letters(viewer, on)
    _refresh_panels(viewer)


def cycle_overlay(viewer: ViewerModel) -> None:
    """Show the labels filled, as contours, or not at all."""
    layer = _labels(viewer)
    viewer.status = f"{layer.name}: {cycle_style(layer)}"


def hide_labels(viewer: ViewerModel) -> Generator[None, None, None]:
    """Hide all labels while the key is down."""
    yield from hide_labels_meanwhile(viewer)


def drag_contrast(viewer: ViewerModel) -> Generator[None, None, None]:
    """Set window and level by dragging while the key is down."""
    yield from drag_meanwhile(viewer)


def next_label(viewer: ViewerModel) -> None:
    """Select the next label."""
    _select(viewer, 1)


def previous_label(viewer: ViewerModel) -> None:
    """Select the label before."""
    _select(viewer, -1)


def toggle_lock(viewer: ViewerModel) -> None:
    """Lock the selected label, or unlock it."""
    layer = _labels(viewer)
    value = int(layer.selected_label)
    on = value not in locked_values(layer)
    lock(layer, value, on=on)
    layer.events.features()  # the list of segments shows what is locked
    name = title_of(value, class_names(layer))
    viewer.status = f"{name} is {'locked' if on else 'unlocked'}"


def copy_forward(viewer: ViewerModel) -> None:
    """Copy the selected label to the next slice, and go there."""
    _copy_slice(viewer, 1)


def copy_back(viewer: ViewerModel) -> None:
    """Copy the selected label to the slice before, and go there."""
    _copy_slice(viewer, -1)


def interpolate(viewer: ViewerModel) -> None:
    """Fill the empty slices between painted ones of the selected label."""
    layer = _labels(viewer)
    settings = {"axis": _across(viewer)}
    _apply(viewer, Wish(layer, InterpolateSlices, settings, value=int(layer.selected_label)))


def run(viewer: ViewerModel) -> None:
    """Run the model, as the Segment panel says."""
    from napari_asmlp.viewer.segment.panel import SegmentPanel  # and with it torch

    panel = next(open_panels(viewer, SegmentPanel), None)
    if panel is None:
        raise SettingsError("open the Segment panel first: it says what to run")
    panel.run()


def toggle_focus(viewer: ViewerModel) -> None:
    """Hide napari's docks beside the canvas, or show them again."""
    if not any(panel.toggle_focus() for panel in open_panels(viewer, Panel)):
        raise SettingsError("open the AS-MLP workspace first: it has what is hidden")


def cancel(viewer: ViewerModel) -> None:
    """Stop what runs: a model, or an edit that is being computed."""
    for panel in open_panels(viewer, Panel):
        panel.cancel()
    task = _edits.get(viewer)
    if task is not None:
        task.cancel()


def open_panels(viewer: ViewerModel, kind: type[_AnyPanel]) -> Iterator[_AnyPanel]:
    """Yield the panels of a kind that are open in a viewer's window."""
    for window in QApplication.topLevelWidgets():
        for panel in window.findChildren(kind):
            if panel._viewer is viewer:
                yield panel


def _refresh_panels(viewer: ViewerModel) -> None:
    from napari_asmlp.viewer.view.panel import ViewPanel  # which is not always there

    for panel in open_panels(viewer, ViewPanel):
        panel.planes.refresh()


def _edits_meant(viewer: ViewerModel) -> tuple[Edits, str]:
    """Return the history of the current labels, and their name."""
    layer = _labels(viewer)
    return edits_of(layer), layer.name


def _labels(viewer: ViewerModel) -> Labels:
    layer = current_of(viewer).labels
    if layer is None:
        raise SettingsError("there are no labels: open, paint or segment some first")
    return layer


def _across(viewer: ViewerModel) -> int:
    across = axis_across(viewer)
    if across is None:
        raise SettingsError("the viewer does not show one slice of the labels: switch it to 2D")
    return across


def _select(viewer: ViewerModel, step: int) -> None:
    """Select a neighbour among the labels that have a name or lie in the slice shown."""
    layer = _labels(viewer)
    names, now = class_names(layer), int(layer.selected_label)
    values = sorted({*names, *np.unique(shown_part(layer, viewer.dims)).tolist(), now} - {0})
    if values:
        at = values.index(now) if now in values else -min(step, 0)
        layer.selected_label = values[(at + step) % len(values)]
        viewer.status = title_of(layer.selected_label, names)


def _copy_slice(viewer: ViewerModel, step: int) -> None:
    layer, across = _labels(viewer), _across(viewer)
    axis = viewer.dims.ndim - layer.ndim + across
    here = round(float(layer.world_to_data(np.asarray(viewer.dims.point)[-layer.ndim :])[across]))
    beside = viewer.dims.point[axis] + step * layer.scale[across]

    def follow() -> None:
        viewer.dims.set_point(axis, beside)

    settings = {"axis": across, "index": here, "to": here + step}
    _apply(viewer, Wish(layer, CopySlice, settings, value=int(layer.selected_label)), follow)


def _apply(viewer: ViewerModel, wish: Wish, then: Callable[[], None] = lambda: None) -> None:
    """Compute an edit in another thread, and write it into its layer as one step.

    Raises
    ------
    SettingsError
        If it cannot be done, or one that a key began is still being computed.
    """
    if viewer in _edits:
        raise SettingsError("another edit is still being computed: wait, or press cancel")
    task = Task(resolve(wish).job())

    def commit(prepared: Prepared) -> None:
        layer = prepared.order.layer
        if layer not in viewer.layers:
            return
        with errors_shown():
            prepared.commit()
            viewer.status = change_text(prepared.change, class_names(layer), done=True)
            then()

    task.returned.connect(commit)
    task.ended.connect(lambda: _edits.pop(viewer, None))
    _edits[viewer] = task
    task.start()
