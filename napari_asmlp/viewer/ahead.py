"""Slow imports ahead of time, beside the window instead of in front of it.

A panel needs torch and the first labels with class names need pandas: together seconds in which a
window that imports them itself stands still. A person who has opened a volume will want both.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from threading import Thread

import napari

_SLOW = ("torch", "pandas")


def import_ahead() -> None:
    """Begin to import what the window will soon need; without a window, nothing happens."""
    if napari.current_viewer() is not None:
        _begin()


@cache  # once is enough
def _begin() -> Thread:
    thread = Thread(target=_import_all, name="napari-asmlp imports")
    thread.start()
    return thread


def _import_all() -> None:
    for name in _SLOW:
        import_module(name)
