"""What the window remembers from one start to the next: how it looks, and how tools are set.

One small JSON file, shared by all windows of all processes. Only habits belong in it (device,
overlap, opacity of labels), never what is true of one image alone.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QLockFile
from qtpy.QtWidgets import QAbstractButton, QComboBox, QWidget

Value = TypeVar("Value", bool, int, float, str, list[Any], dict[str, Any])
_W = TypeVar("_W", bound="ValueWidget[Any] | QWidget")

_LONGEST_WAIT = 2.0  # seconds, for another process that is writing; a write takes about 1 ms
_log = logging.getLogger(__name__)


def settings_path() -> Path:
    """Where the settings lie; `NAPARI_ASMLP_CONFIG` names another folder."""
    named = os.environ.get("NAPARI_ASMLP_CONFIG")
    folder = Path(named) if named else platformdirs.user_config_path("napari-asmlp")
    return folder / "settings.json"


def recall(key: str, default: Value) -> Value:
    """Return what was remembered under a key, or the default where that is of another type."""
    value: Any = _read().get(key)
    if type(default) is float and type(value) is int:
        return float(value)
    return value if type(value) is type(default) else default


def remember(key: str, value: bool | int | float | str | list[Any] | dict[str, Any]) -> None:
    """Keep a value for the next start.

    Where the file cannot be written the value is forgotten, and the log says so: that must not
    keep anybody from working.
    """
    path = settings_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = QLockFile(str(path.with_suffix(".lock")))
        _take(lock)
        try:
            known = _read()  # now: other windows write into the same file
            if key not in known or known[key] != value or type(known[key]) is not type(value):
                _write(path, {**known, key: value})
        finally:
            lock.unlock()
    except OSError as error:
        _log.warning("%s: setting %r is not kept: %s", path, key, error)


def remembered(widget: _W, key: str) -> _W:
    """Give a widget the value it had last time, and keep what it is set to from now on.

    Parameters
    ----------
    widget
        A value widget of magicgui, or a button, combo box (by its text), spin box or slider of Qt.
    key
        By what the value is kept, such as ``"segment.overlap"``.

    Returns
    -------
    ValueWidget or QWidget
        The same widget.
    """
    get, put, changed = _access(widget)
    start = get()
    value = recall(key, start)
    if value != start:
        try:
            put(value)
        except ValueError as error:  # magicgui: no longer among the choices, or out of range
            _log.info("setting %s: %s", key, error)
    changed.connect(lambda *_: remember(key, get()))
    return widget


def _access(widget: Any) -> tuple[Callable[[], Any], Callable[[Any], None], Any]:
    """Return how a widget's value is read, how it is set, and the signal of its changes."""
    if isinstance(widget, ValueWidget):
        return lambda: widget.value, lambda value: setattr(widget, "value", value), widget.changed
    if isinstance(widget, QAbstractButton):
        return widget.isChecked, widget.setChecked, widget.toggled
    if isinstance(widget, QComboBox):  # of an unknown text it takes no notice
        return widget.currentText, widget.setCurrentText, widget.currentTextChanged
    return widget.value, widget.setValue, widget.valueChanged


def _take(lock: QLockFile) -> None:
    """Wait for the lock; Qt's own waiting looks only every 100 ms, and another may always win."""
    end = time.monotonic() + _LONGEST_WAIT
    while not lock.tryLock(0):
        if lock.error() != QLockFile.LockError.LockFailedError:
            raise PermissionError("the folder is read-only")
        if time.monotonic() > end:
            raise TimeoutError("another process is writing it")
        time.sleep(0.001)


def _read() -> dict[str, Any]:
    """Return all settings; those of a damaged file are none, and it is kept beside."""
    path = settings_path()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no settings by name")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.warning("%s: cannot be read, defaults are used: %s", path, error)
        if isinstance(error, ValueError):
            _set_aside(path)
        return {}
    return found


def _set_aside(path: Path) -> None:
    try:
        path.replace(path.with_name("settings.damaged.json"))
    except OSError as error:
        _log.warning("%s: cannot be renamed: %s", path, error)


def _write(path: Path, settings: dict[str, Any]) -> None:
    """Write the file so that nobody meets half of it.

    It is not forced to disk as an export is: a slider writes here at each step, and what a power
    cut could cost is a habit.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}.json")
    try:
        temporary.write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
