"""The thread that writes journals: nothing of it happens in the thread of the window."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import IO

from napari.utils.notifications import show_warning

from napari_asmlp.viewer.history.records import MAGIC, frame

_SYNC_SECONDS = 3.0  # what a power cut may lose; a killed process loses nothing that was written
_EXIT_SECONDS = 60.0


class File:
    """A journal's file, which only the writer touches.

    Parameters
    ----------
    path
        Made when the first record is written.
    keep
        How many bytes of an existing file are sound.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self._keep = keep
        self._stream: IO[bytes] | None = None
        self._failed = False

    def append(self, kind: bytes, payload: bytes) -> None:
        """Write a record; after a failure nothing more is written, and the user has been told."""
        if self._failed:
            return
        try:
            stream = self._stream = self._stream or self._opened()
            data = memoryview(frame(kind, payload))
            while data:
                data = data[stream.write(data) :]
        except OSError as error:
            self._failed = True
            show_warning(
                f"Edits are not being backed up ({self.path.parent}: {error.strerror or error}):"
                " export the labels often"
            )

    def sync(self) -> None:
        """Force what has been written to disk."""
        if self._stream is not None and not self._failed:
            os.fsync(self._stream.fileno())

    def close(self, *, delete: bool = False) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if delete:
            with suppress(OSError):  # the thread must live on; `recover` removes what is left
                self.path.unlink(missing_ok=True)

    def _opened(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._keep:
            stream = self.path.open("r+b", buffering=0)
            stream.truncate(self._keep)
            stream.seek(self._keep)
        else:
            stream = self.path.open("xb", buffering=0)
            stream.write(MAGIC)
        return stream


class Writer:
    """Writes records in the order in which they were given, in a thread of its own."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._unsynced: set[File] = set()
        self._thread: Thread | None = None
        self._starting = Lock()

    def append(self, file: File, kind: bytes, payload: Callable[[], bytes]) -> None:
        """Have a record written; `payload` is called in the writer's thread."""

        def write() -> None:
            file.append(kind, payload())
            self._unsynced.add(file)

        self._put(write)

    def close(self, file: File, *, delete: bool = False) -> None:
        """Have a file closed, and perhaps deleted."""

        def close() -> None:
            self._unsynced.discard(file)
            if not delete:
                file.sync()
            file.close(delete=delete)

        self._put(close)

    def flush(self) -> None:
        """Wait until everything given so far is written."""
        if self._thread is not None:
            done = Event()
            self._put(done.set)
            done.wait(_EXIT_SECONDS)

    def _put(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        synced = time.monotonic()
        while True:
            with suppress(Empty):
                self._tasks.get(timeout=_SYNC_SECONDS if self._unsynced else None)()
            if time.monotonic() - synced > _SYNC_SECONDS:
                synced = time.monotonic()
                for file in self._unsynced:
                    file.sync()
                self._unsynced.clear()
