"""Ctrl+S writes labels on their source grid.

napari's own dialog lists its TIFF writer first, which knows no grid, and a plugin cannot change
that order. So where the selected layer holds labels of ours, the key is taken before napari's menu
sees it; with any other layer it stays napari's.
"""

from __future__ import annotations

import napari
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_asmlp.viewer.layers import METADATA_KEY, is_labels

_NAME = "napari-asmlp save shortcut"


class SaveShortcut(QObject):
    """Watches a main window, whose child it is, for Ctrl+S."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self.setObjectName(_NAME)
        window.installEventFilter(self)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's name
        """Export instead of napari's dialog; every other event goes its way."""
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        if not event.matches(QKeySequence.StandardKey.Save) or not _labels_are_selected():
            return False
        event.accept()  # no shortcut of a menu then
        if not event.isAutoRepeat():
            QTimer.singleShot(0, _export)
        return True


def take_save_shortcut() -> None:
    """Let Ctrl+S export labels in every window of napari that is open."""
    for window in QApplication.topLevelWidgets():
        if isinstance(window, QMainWindow) and window.findChild(QObject, _NAME) is None:
            SaveShortcut(window)


def _export() -> None:
    from napari_asmlp.viewer import commands  # which imports the readers, which import this

    commands.export_labels_command()


def _labels_are_selected() -> bool:
    viewer = napari.current_viewer()
    active = None if viewer is None else viewer.layers.selection.active
    return is_labels(active) and METADATA_KEY in active.metadata
