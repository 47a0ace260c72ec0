"""The keyboard: one table of all shortcuts, and how each reaches what it does.

Letters are napari key bindings of each viewer, for its canvas; none is a key of napari's own.
Keys with Ctrl (Cmd on macOS) are shortcuts of the whole window, so that they work wherever the
focus is; a text field that wants one, such as its own undo, comes first in Qt.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import napari
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QApplication, QMainWindow, QShortcut

from napari_asmlp.viewer.layers import METADATA_KEY, is_labels

_NAME = "napari-asmlp shortcuts"
_EXPORT = "Ctrl+S"


@dataclass(frozen=True)
class Shortcut:
    """A key and what it does.

    Parameters
    ----------
    key
        As Qt writes it, with Ctrl for Cmd on macOS.
    action
        Name of the function in `napari_asmlp.viewer.view.actions`.
    does, when
        What it does, and where it does so.
    is_held
        Whether the action yields, to go on when the key is released.
    """

    key: str
    action: str
    does: str
    when: str
    is_held: bool = False

    @property
    def is_window_wide(self) -> bool:
        """Whether the key works wherever the focus is, text fields apart."""
        return self.key.startswith("Ctrl+")

    @property
    def text(self) -> str:
        """The key as this system writes it."""
        return str(QKeySequence(self.key).toString(QKeySequence.SequenceFormat.NativeText))


_ANYWHERE, _CANVAS = "anywhere", "in the image"

SHORTCUTS = (
    Shortcut(_EXPORT, "export", "Export the labels", "labels are selected"),
    Shortcut("Ctrl+Z", "undo", "Undo the last edit of the labels", _ANYWHERE),
    Shortcut("Ctrl+Shift+Z", "redo", "Redo what was undone", _ANYWHERE),
    Shortcut("Ctrl+Return", "run", "Run the model", "the Segment panel is open"),
    Shortcut("Ctrl+.", "cancel", "Cancel what is being computed", _ANYWHERE),
    Shortcut("Ctrl+Shift+F", "toggle_focus", "Hide the list of layers, or show it", _ANYWHERE),
    Shortcut("Shift+T", "toggle_planes", "Three planes, or one", _CANVAS),
    Shortcut("Shift+C", "toggle_crosshair", "Crosshair of the three planes", _CANVAS),
    Shortcut("Shift+O", "toggle_letters", "Anatomical letters at the edges", _CANVAS),
    Shortcut("G", "cycle_overlay", "Labels filled, as contours, hidden", _CANVAS),
    Shortcut("H", "hide_labels", "Hold to see the image without labels", _CANVAS, True),
    Shortcut("W", "drag_contrast", "Hold and drag to set window and level", _CANVAS, True),
    Shortcut(".", "next_label", "Select the next label", _CANVAS),
    Shortcut(",", "previous_label", "Select the label before", _CANVAS),
    Shortcut("K", "toggle_lock", "Lock the selected label, or unlock it", _CANVAS),
    Shortcut("N", "copy_forward", "Copy the label to the next slice", _CANVAS),
    Shortcut("Shift+N", "copy_back", "Copy the label to the slice before", _CANVAS),
    Shortcut("Shift+I", "interpolate", "Interpolate between painted slices", _CANVAS),
)


def bind_window_keys() -> None:
    """Give every window of napari that is open the keys that work all over it."""
    for window in QApplication.topLevelWidgets():
        if isinstance(window, QMainWindow) and window.findChild(QObject, _NAME) is None:
            WindowShortcuts(window)


def bind_keys(viewer: ViewerModel) -> None:
    """Bind the keys of a viewer's canvas; other planes of it pass theirs on.

    A key that somebody has bound already stays as it is.
    """
    for shortcut in SHORTCUTS:
        key = coerce_keybinding(shortcut.key)
        if shortcut.is_window_wide or key in viewer.keymap or key in type(viewer).class_keymap:
            continue
        viewer.bind_key(key, _binding(shortcut))


class WindowShortcuts(QObject):
    """The keys of one main window, whose child it is.

    Ctrl+S is watched for, not a shortcut: napari's menu has it too, and of two equal ones Qt runs
    neither. Its dialog lists a TIFF writer first, which knows no grid, and a plugin cannot change
    that. So where the selected layer holds labels of ours, the key is taken before the menu sees
    it; with any other layer it stays napari's.
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self.setObjectName(_NAME)
        window.installEventFilter(self)
        for shortcut in SHORTCUTS:
            if shortcut.is_window_wide and shortcut.key != _EXPORT:
                key = QShortcut(QKeySequence(shortcut.key), window)
                key.activated.connect(partial(_do, shortcut.action))

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's name
        """Export instead of napari's dialog; every other event goes its way."""
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        if not event.matches(QKeySequence.StandardKey.Save) or not _labels_are_selected():
            return False
        event.accept()  # no shortcut of a menu then
        if not event.isAutoRepeat():
            QTimer.singleShot(0, partial(_do, "export"))
        return True


def hint(tip: str, action: str) -> str:
    """Return the tooltip of a button with the key that does the same."""
    return f"{tip} ({key_of(action)})"


def key_of(action: str) -> str:
    """Return the key of an action as this system writes it."""
    return next(shortcut.text for shortcut in SHORTCUTS if shortcut.action == action)


def table_markdown() -> str:
    """Return the table of all shortcuts as the README has it."""
    rows = (f"| `{each.key}` | {each.does} | {each.when} |" for each in SHORTCUTS)
    return "\n".join(("| key | does | when |", "|---|---|---|", *rows))


def _binding(shortcut: Shortcut) -> Callable[[ViewerModel], Any]:
    """Return what napari calls with the viewer."""

    def press(viewer: ViewerModel) -> None:
        _run(shortcut.action, viewer)

    def hold(viewer: ViewerModel) -> Generator[None, None, None]:
        yield from _action(shortcut.action)(viewer)

    return hold if shortcut.is_held else press


def _do(action: str) -> None:
    viewer = napari.current_viewer()
    if viewer is not None:
        _run(action, viewer)


def _run(action: str, viewer: ViewerModel) -> None:
    from napari_asmlp.viewer.commands import errors_shown  # which imports the session

    with errors_shown():
        _action(action)(viewer)


def _action(name: str) -> Callable[[ViewerModel], Any]:
    from napari_asmlp.viewer.view import actions  # not before a key is pressed: it imports much

    function: Callable[[ViewerModel], Any] = getattr(actions, name)
    return function


def _labels_are_selected() -> bool:
    viewer = napari.current_viewer()
    active = None if viewer is None else viewer.layers.selection.active
    return is_labels(active) and METADATA_KEY in active.metadata
