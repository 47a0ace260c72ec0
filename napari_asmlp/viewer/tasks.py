"""Long work beside the window: one generator in one thread, and its progress.

A task runs a generator that yields `Progress`, and is stopped by closing that generator, in the
thread that runs it, between two steps. Its signals arrive in the thread of the window. Nothing
here knows what the work is.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, QThreadPool, Signal
from superqt.utils import WorkerBase

from napari_asmlp.errors import AsmlpError

_LAST_STEP_MS = 30_000  # what a step may still take when the interpreter exits


@dataclass(frozen=True)
class Job:
    """Work that has not begun.

    Parameters
    ----------
    title
        What napari calls it when it asks whether to close a window that is still busy.
    start
        Makes the generator; called in the thread that runs it.
    """

    title: str
    start: Callable[[], Generator[Any, None, Any]]

    def __str__(self) -> str:
        return self.title


class _Signals(QObject):
    """What a worker tells the window; the first six are those that superqt expects."""

    started = Signal()
    finished = Signal()
    _finished = Signal(object)
    returned = Signal(object)
    errored = Signal(object)
    warned = Signal(tuple)
    yielded = Signal(object)
    aborted = Signal()


class _Worker(WorkerBase):  # type: ignore[type-arg]  # its result is whatever the job returns
    """Runs a job's generator, and closes it in the same thread.

    superqt's own generator worker leaves a stopped generator to the garbage collector, and takes a
    RuntimeError, which torch raises for most faults, for a deleted worker and stays silent.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(SignalsClass=_Signals)
        self._job = job

    def work(self) -> Any:
        """Step through the generator until it ends or the task is cancelled."""
        steps = self._job.start()
        try:
            while not self.abort_requested:
                try:
                    step = next(steps)
                except StopIteration as end:
                    return end.value
                self.yielded.emit(step)
            self.aborted.emit()
        finally:
            steps.close()
        return None

    def stop_and_wait(self) -> None:
        """Stop for good: a thread that outlives the interpreter aborts the process."""
        self.quit()
        QThreadPool.globalInstance().waitForDone(_LAST_STEP_MS)


class Task(QObject):
    """One run of a job.

    Signals
    -------
    stepped(step) : for each value that the generator yields
    returned(result) : once, if it ends by itself
    failed(message) : once, if it raises; the message has been shown as a notification
    ended() : once, whatever happened, when the thread is done
    """

    stepped = Signal(object)
    returned = Signal(object)
    failed = Signal(str)
    ended = Signal()

    def __init__(self, job: Job, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = create_worker(
            job,
            _start_thread=False,
            _worker_class=_Worker,
            _connect={"errored": self._report},
        )
        self._worker.yielded.connect(self.stepped)
        self._worker.returned.connect(self.returned)
        self._worker.finished.connect(self.ended)
        self._worker.finished.connect(self._leave)
        self.destroyed.connect(self._worker.quit)  # the window has gone: nobody waits for it

    def start(self) -> None:
        """Begin, in a thread of Qt's pool."""
        atexit.register(self._worker.stop_and_wait)
        self._worker.start()

    def cancel(self) -> None:
        """Ask it to stop; `ended` comes after the step it is in."""
        self._worker.quit()

    def abandon(self) -> None:
        """Cancel, and stay silent from now on."""
        self.cancel()
        self.blockSignals(True)

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return bool(self._worker.abort_requested)

    def _leave(self) -> None:
        atexit.unregister(self._worker.stop_and_wait)

    def _report(self, error: Exception) -> None:
        """Show wrong input in one line; a fault of the program as napari shows its own."""
        if self.signalsBlocked():
            return
        if isinstance(error, AsmlpError):
            show_error(str(error))
        else:
            notification_manager.receive_error(type(error), error, error.__traceback__)
        self.failed.emit(str(error))
