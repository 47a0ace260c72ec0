"""What all panels share: the viewer, its current layers, and being closed and opened again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QDockWidget, QFormLayout, QMainWindow, QWidget

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import is_labels
from napari_asmlp.viewer.session import attend
from napari_asmlp.viewer.widgets import shorten

if TYPE_CHECKING:
    from napari.components import ViewerModel


def open_page(viewer: ViewerModel, page: str) -> None:
    """Show a page of the workspace in a viewer's window; the workspace is opened if it is not.

    Parameters
    ----------
    page
        Its name, as `viewer.app.pages` has it.
    """
    window = getattr(viewer, "window", None)
    if window is not None:
        _, workspace = window.add_plugin_dock_widget("napari-asmlp", "AS-MLP")
        workspace.show_page(page)


class Panel(QWidget):
    """A panel of ours in a dock.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        # not napari's proxy of it, whose layers are other objects at each look
        self._viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        attend(self._viewer)
        self._choosers: list[ComboBox] = []
        self._has_place = False
        self.current = current_of(self._viewer)

    def follow_current(self) -> None:
        """Turn to the current image and labels of the viewer; called when they change."""

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        self.follow_current()

    def hide_choices(self) -> None:
        """Hide the rows that choose layers, where they can be chosen above the panel."""
        for form in self.findChildren(QFormLayout):
            for combo in self._choosers:
                if (label := form.labelForField(combo.native)) is not None:
                    label.hide()
                    combo.native.hide()

    def opened(self) -> None:
        """Follow the viewer, from now on or again; called when the panel is put into a dock."""

    def closed(self) -> None:
        """Let go of the viewer and of what runs; called when the dock is closed."""

    def cancel(self) -> None:
        """Stop what runs, if the panel has anything to run."""

    def toggle_focus(self) -> bool:
        """Hide napari's docks beside the canvas, or show them again; False where it cannot."""
        return False

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802  # Qt's name
        """Notice the dock: napari closes one by taking the panel out of it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            (self.detach if self.parent() is None else self.attach)()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802  # Qt's name
        """Once napari has put the dock below those that are there, take it behind their tab."""
        super().showEvent(event)
        if not self._has_place:
            self._has_place = True
            timer = QTimer(self, singleShot=True)
            timer.timeout.connect(self._take_tab)
            timer.start(0)

    def _take_tab(self) -> None:
        """Lie behind the tab of another panel, not below it: together they outgrow the screen."""
        main, dock = self.window(), _dock_of(self)
        if dock is None or not isinstance(main, QMainWindow):
            return
        others = (_dock_of(panel) for panel in main.findChildren(Panel))
        area = main.dockWidgetArea(dock)
        for other in others:
            if other not in (None, dock) and main.dockWidgetArea(other) == area:
                main.tabifyDockWidget(other, dock)
                dock.raise_()
                return

    def attach(self) -> None:
        """Follow the viewer."""
        self.current.changed.connect(self.follow_current, unique=True)
        self.opened()

    def detach(self) -> None:
        """Let go of the viewer."""
        self.current.changed.disconnect(self.follow_current, missing_ok=True)
        self.closed()

    def _chooser(self, choices: Callable[[Any], list[tuple[str, Any]]], tip: str) -> ComboBox:
        """Return a choice of layers; the one that a user chooses becomes current."""
        combo = ComboBox(choices=choices, tooltip=tip)
        shorten(combo)
        combo.changed.connect(self._choose)
        self._choosers.append(combo)
        return combo

    def _choose(self, chosen: Any) -> None:
        if isinstance(chosen, Image | Labels):
            self.current.choose(chosen)

    def _images(self, _combo: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Image)]

    def _labels(self, _combo: Any = None) -> list[tuple[str, Labels]]:
        return [(layer.name, layer) for layer in self._viewer.layers if is_labels(layer)]


def _dock_of(panel: Panel) -> QDockWidget | None:
    """Return the dock that a panel lies in; None for a page of the workspace, or without a dock."""
    place = panel.parent()
    return place if isinstance(place, QDockWidget) else None
