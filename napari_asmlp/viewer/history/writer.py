"""The thread that writes journals: nothing of it happens in the thread of the window."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import IO

from napari.utils.notifications import show_warning

from napari_asmlp.viewer.history.records import MAGIC, frame

_SYNC_SECONDS = 3.0  # what a power cut may lose; a killed process loses nothing that was written
_EXIT_SECONDS = 60.0
_LOOK_SECONDS = 0.1
NO_MEMORY = "not enough memory"


class File:
    """A journal's file, which only the writer's thread touches.

    Nothing is written after a failure: a journal with a record missing would restore what never
    was. The user is told, once, and the other journals go on.

    Parameters
    ----------
    path
        Made when the first record is written.
    title
        What the user knows it by: the name of the layer.
    keep
        How many bytes of an existing file are sound.
    """

    def __init__(self, path: Path, title: str, keep: int = 0) -> None:
        self.path = path
        self._title = title
        self._keep = keep
        self._stream: IO[bytes] | None = None
        self._failed = False

    def append(self, kind: bytes, payload: Callable[[], bytes]) -> None:
        """Write a record."""
        self._attempt(lambda: self._write(frame(kind, payload())))

    def sync(self) -> None:
        """Force what has been written to disk."""
        if self._stream is not None:
            self._attempt(partial(os.fsync, self._stream.fileno()))

    def close(self, *, delete: bool = False) -> None:
        """Let go of the file."""
        if self._stream is not None:
            with suppress(OSError):  # whatever could not be written, `sync` has told
                self._stream.close()
            self._stream = None
        if delete:
            with suppress(OSError):  # `recover` removes what is left
                self.path.unlink(missing_ok=True)

    def give_up(self, reason: str) -> None:
        """Write nothing any more, and tell the user."""
        self._failed = True
        show_warning(
            f"Edits of labels {self._title!r} are not being backed up any more ({reason}; in"
            f" {self.path.parent}): export them now, and free space"
        )

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._failed:
            return
        self._failed = True  # whatever the error
        try:
            action()
        except OSError as error:
            self.give_up(error.strerror or str(error))
        except MemoryError:
            self.give_up(NO_MEMORY)
        else:
            self._failed = False

    def _write(self, record: bytes) -> None:
        stream = self._stream = self._stream or self._opened()
        data = memoryview(record)
        while data:
            data = data[stream.write(data) :]

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
            file.append(kind, payload)
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

    def give_up(self, file: File, reason: str) -> None:
        """Have nothing more written to a file."""
        self._put(lambda: file.give_up(reason))

    def flush(self) -> None:
        """Wait until everything given so far is written."""
        if self._thread is None:
            return
        done = Event()
        self._put(done.set)
        end = time.monotonic() + _EXIT_SECONDS
        while not done.wait(_LOOK_SECONDS) and self._thread.is_alive():
            if time.monotonic() > end:
                return

    def _put(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
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
