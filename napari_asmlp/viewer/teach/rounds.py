"""Rounds of teaching beside the window: one at a time, paused, stopped, and gone back from."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, TypeVar

from qtpy.QtCore import QObject, Signal

from napari_asmlp.model import Model
from napari_asmlp.teaching.loop import Taught, TaughtAnswer, TeachProgress, TeachSettings
from napari_asmlp.teaching.teacher import Teacher
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.teach.request import DEFAULTS, Order, Subject
from napari_asmlp.viewer.teach.tally import Tally, tally
from napari_asmlp.volume import Volume

_LOOK_SECONDS = 0.1  # between looks at whether a paused round shall go on
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Read:
    """What a round learns from in a volume."""

    key: str
    tally: Tally


Steps = Generator[TeachProgress | Read | None, None, R]


class Rounds(QObject):
    """A teacher, and the round that runs.

    Parameters
    ----------
    settings : of all rounds; each has its own seconds

    Signals
    -------
    read(key, tally) : what a round learns from, volume by volume
    began(is_anew) : a round begins; whether all that had been learnt is forgotten
    changed() : a round has begun, ended, been paused or gone on
    progressed(progress) : often
    answered(key, answer) : labels of a volume have come
    taught(taught) : a round has come to its end by itself
    failed(message) : it has failed; the message has been shown
    ended() : it is over, whatever happened; nothing runs now
    """

    read = Signal(str, object)
    began = Signal(bool)
    changed = Signal()
    progressed = Signal(object)
    answered = Signal(str, object)
    taught = Signal(object)
    failed = Signal(str)
    ended = Signal()

    def __init__(self, parent: QObject, settings: TeachSettings = DEFAULTS) -> None:
        super().__init__(parent)
        self._settings = settings
        self._teacher = Teacher(settings)
        self._channels: int | None = None  # of what is learnt
        self._volumes: dict[str, Subject] = {}
        self._task: Task | None = None
        self._then: list[Callable[[], None]] = []
        self._may_go = Event()
        self._may_go.set()

    @property
    def is_busy(self) -> bool:
        """Whether a round runs, or is paused."""
        return self._task is not None

    @property
    def is_paused(self) -> bool:
        """Whether a round waits."""
        return self.is_busy and not self._may_go.is_set()

    @property
    def is_stopping(self) -> bool:
        """Whether the round that runs was asked to end."""
        return self._task is not None and self._task.is_cancelled

    @property
    def teacher(self) -> Teacher:
        """What is learnt; to be asked only while nothing runs."""
        return self._teacher

    def begin_anew(self, start: Model | None = None) -> None:
        """Forget what was learnt, and begin with a model; while nothing runs.

        Raises
        ------
        ModelError
            If it cannot be taught.
        """
        self._teacher = Teacher(self._settings, start)
        self._volumes.clear()
        self._channels = None if start is None else start.card.in_channels

    def start(self, order: Order) -> None:
        """Begin a round, after the one that runs, which is stopped."""
        self.when_idle(lambda: self._start(order))

    def apply(self, key: str, volume: Volume) -> None:
        """Label a volume without annotations by what is learnt; `answered` comes under a key."""
        self.when_idle(lambda: self._apply(key, volume))

    def when_idle(self, do: Callable[[], None]) -> None:
        """Stop what runs, and then do something; of what waits to be done, the latest is."""
        if self._task is None:
            do()
            return
        self.stop()
        self._then = [do]

    def pause(self) -> None:
        """Let the round wait before its next step."""
        self._may_go.clear()
        self.changed.emit()

    def go_on(self) -> None:
        """Let a paused round go on."""
        self._may_go.set()
        self.changed.emit()

    def stop(self) -> None:
        """Ask the round to end; what it has learnt and answered stays."""
        self._then = []
        if self._task is not None:
            self._task.cancel()
            self.go_on()

    def _start(self, order: Order) -> None:
        is_anew = self._channels not in (None, order.channels)
        if is_anew:  # what was learnt of others cannot look at these
            self.begin_anew()
        self._channels = order.channels
        self.began.emit(is_anew)
        self._run(Job(f"teaching of {order.title}", lambda: self._round(order)), order.shown)

    def _apply(self, key: str, volume: Volume) -> None:
        def steps() -> Steps[TaughtAnswer]:
            return (yield from self._held(self._teacher.iter_apply(volume)))

        self._run(Job(f"labels of {volume.name}", steps), key)

    def _run(self, job: Job, key: str) -> None:
        self._may_go.set()
        self._task = task = Task(job, self)
        task.stepped.connect(lambda step: self._step(key, step))
        task.returned.connect(lambda result: self._take(key, result))
        task.failed.connect(self.failed)
        task.ended.connect(self._end)
        task.start()
        self.changed.emit()

    def _round(self, order: Order) -> Steps[Taught]:
        """Give the teacher what is annotated by now, and let it learn."""
        teacher = self._teacher
        yield None
        for key in set(teacher.keys).difference(subject.key for subject in order.subjects):
            teacher.remove(key)
            self._volumes.pop(key, None)
        for subject in order.subjects:
            painted = subject.painted()
            found = tally(painted)
            yield Read(subject.key, found)
            annotation = subject.annotation(painted, found)
            teacher.set_volume(subject.key, self._known(subject), annotation)
            yield None
        teacher.settings = replace(self._settings, seconds=order.seconds)
        return (yield from self._held(teacher.iter_round(order.shown)))

    def _held(self, steps: Generator[TeachProgress, None, R]) -> Steps[R]:
        """Go through a generator, and wait between its steps while that is paused."""
        with closing(steps):
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    result: R = end.value
                    return result
                yield step
                while not self._may_go.wait(_LOOK_SECONDS):
                    yield None  # so that it can be stopped

    def _known(self, subject: Subject) -> Volume:
        """Return the volume that the teacher knows already, as long as it shows the same."""
        before = self._volumes.get(subject.key)
        if before is None or not _same(before, subject):
            self._volumes[subject.key] = before = subject
        return before.volume

    def _step(self, key: str, step: TeachProgress | Read | None) -> None:
        if isinstance(step, Read):
            self.read.emit(step.key, step.tally)
        if not isinstance(step, TeachProgress):
            return
        if step.answer is not None:
            self.answered.emit(key, step.answer)
        if not self.is_stopping and not self.is_paused:
            self.progressed.emit(step)

    def _take(self, key: str, result: Any) -> None:
        if isinstance(result, Taught):
            self.taught.emit(result)
        elif isinstance(result, TaughtAnswer):
            self.answered.emit(key, result)

    def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.deleteLater()
        self.ended.emit()
        then, self._then = self._then, []
        for do in then:
            do()
        self.changed.emit()


def _same(one: Subject, other: Subject) -> bool:
    return (
        len(one.pixels) == len(other.pixels)
        and all(a is b for a, b in zip(one.pixels, other.pixels, strict=True))
        and one.volume.grid == other.volume.grid
    )
