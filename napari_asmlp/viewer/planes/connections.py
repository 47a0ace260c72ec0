"""Connections to events that are all given up together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Connections:
    """What one object listens to."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def connect(self, emitter: Any, callback: Callable[..., Any], **settings: Any) -> None:
        """Call something whenever an event happens; settings are those of the emitter."""
        emitter.connect(callback, **settings)
        self._made.append((emitter, callback))

    def close(self) -> None:
        """Listen to nothing any more."""
        while self._made:
            emitter, callback = self._made.pop()
            emitter.disconnect(callback)
