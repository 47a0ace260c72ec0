"""What is taught in a viewer: images with annotations, rounds, and the labels that come of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.layers import channels_beside
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.teach.classes import classes_of
from napari_asmlp.viewer.teach.looks import add_applied
from napari_asmlp.viewer.teach.next_place import Look, assessing, looking
from napari_asmlp.viewer.teach.pairs import Pair, Pairs
from napari_asmlp.viewer.teach.request import Source, Wish, resolve, volume_with
from napari_asmlp.viewer.teach.rounds import Rounds
from napari_asmlp.viewer.teach.saving import SCORES
from napari_asmlp.viewer.teach.states import State, States
from napari_asmlp.viewer.teach.tally import Tally, missing
from napari_asmlp.viewer.teach.taught import TaughtLabels, show_classes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_asmlp.edit.step import Step
    from napari_asmlp.model import LabelEntry, Model
    from napari_asmlp.teaching.loop import Taught, TaughtAnswer

_STOPPED = "Stopped: the labels and what was learnt stay"


class Course(QObject):
    """Teaches, and brings what comes of it into the viewer; knows no widget.

    Signals
    -------
    said(text) : a line on what has happened
    assessed(text) : whether more painting helps
    answered(pair) : there is a new answer
    entered(pair) : new labels stand in its layer
    counted(pair) : what is annotated has been counted
    """

    said = Signal(str)
    assessed = Signal(str)
    answered = Signal(object)
    entered = Signal(object)
    counted = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.pairs = Pairs()
        self.rounds = Rounds(self)
        self.labels = TaughtLabels(viewer, self)
        self.states = States()
        self.looks: dict[str, Look] = {}
        self.tallies: dict[str, Tally] = {}
        self.report: dict[str, Any] = {}
        self._ended_with: dict[str, Look] = {}
        self._learnt_from: dict[str, str] = {}  # digests of annotations, by key
        self._applied: dict[str, Image] = {}
        self._numbers = count(1)
        self._text = ""
        self._is_round = False
        self._listen()

    def wish(self, pair: Pair | None, seconds: float) -> Wish:
        """Return what is asked for when one volume is looked at."""
        if pair is None:
            return Wish(None, seconds=seconds)
        others = [each for each in self.pairs if each is not pair and each.takes_part]
        return Wish(_source(pair), tuple(map(_source, others)), seconds)

    def teach(self, pair: Pair | None, seconds: float) -> None:
        """Begin a round, in place of the one that runs.

        Raises
        ------
        AsmlpError
            Saying what is missing or wrong, and what to do.
        """
        self.rounds.start(resolve(self.wish(pair, seconds)))

    def is_new(self, pair: Pair) -> bool:
        """Tell whether a volume's annotations can be learnt from, and have not been yet."""
        found = self.tallies.get(pair.key)
        if found is None or missing(found, {}) or self.rounds.is_paused:
            return False
        return found.digest != self._learnt_from.get(pair.key)

    def note(self, pair: Pair, found: Tally) -> None:
        """Keep what is annotated."""
        self.tallies[pair.key] = found
        self.counted.emit(pair)

    def go_back(self, state: State) -> None:
        """Bring the labels of a round back, and forget what was learnt since."""
        pair = self._pair(state.key)
        if pair is None:
            raise SettingsError(f"the image of {state.title!r} has been removed")

        def restore() -> None:
            self.rounds.teacher.restore(state.snapshot)
            self.labels.take(pair, f"back to {state.title}", state.labels())
            self.said.emit(f"Back to {state.title}: annotations and corrections stay")

        self.rounds.when_idle(restore)

    def apply(self, image: Image) -> None:
        """Label an image that nobody has annotated.

        Raises
        ------
        AsmlpError
            If nothing has been taught yet, or the layer is no volume.
        """
        if not self.looks:
            raise SettingsError("nothing has been taught yet: paint, and press Teach first")
        volume = volume_with(tuple(channels_beside(image, self._viewer.layers)))
        key = f"applied {next(self._numbers)}"
        self._applied[key] = image
        self.rounds.apply(key, volume)

    def find_place(self, pair: Pair, then: Callable[[Any], None]) -> None:
        """Find where painting is worth most; `then` gets the places.

        Raises
        ------
        SettingsError
            If there is no answer yet.
        """
        look = self.looks.get(pair.key)
        if look is None or pair.annotations is None:
            raise SettingsError("there is no answer to doubt yet: paint, and press Teach first")
        self._work(looking(look, pair.annotations, pair.taught), then)

    def with_model(self, do: Callable[[Model], None]) -> None:
        """Do something with what has been learnt, after the round that runs has been ended.

        Raises
        ------
        SettingsError
            If nothing has been taught yet.
        """
        if not self.looks:
            raise SettingsError("nothing has been taught yet: paint, and press Teach first")
        self.rounds.when_idle(lambda: do(self.rounds.teacher.model()))

    def begin_anew(self, start: Model | None) -> None:
        """Forget what was learnt, and begin with a model; while nothing runs."""
        self.rounds.begin_anew(start)
        self._forget()

    def entries(self) -> list[LabelEntry]:
        """Return names and colours of all classes, of whatever image."""
        found: dict[int, LabelEntry] = {}
        for pair in self.pairs:
            if pair.annotations is not None:
                for entry in classes_of(pair.annotations):
                    if not entry.is_background:
                        found.setdefault(entry.value, entry.label)
        return list(found.values())

    def forget_gone(self) -> None:
        """Let go of layers that are no longer in the viewer; a round that needs one is stopped."""
        for _, layer in self.pairs.forget_gone(self._viewer.layers):
            if self.rounds.is_busy and not self.rounds.is_stopping:
                self._text = f"{layer.name!r} has been removed: the round was stopped"
                self.rounds.stop()

    def close(self) -> None:
        """Stop what runs; labels that are in their layers stay."""
        self.rounds.stop()
        self.labels.drop()

    def _listen(self) -> None:
        rounds = self.rounds
        rounds.began.connect(self._begin)
        rounds.read.connect(self._keep_read)
        rounds.answered.connect(self._take)
        rounds.taught.connect(self._keep_report)
        rounds.failed.connect(self._keep_failure)
        rounds.ended.connect(self._end)
        self.labels.entered.connect(self._enter)

    def _begin(self, is_anew: bool) -> None:
        if is_anew:
            self._forget()
        self.states.begin()
        self._ended_with = dict(self.looks)
        self._text, self._is_round = "", True

    def _forget(self) -> None:
        self.looks.clear()
        self.states.clear()
        self.report = {}
        self._learnt_from.clear()

    def _pair(self, key: str) -> Pair | None:
        return next((pair for pair in self.pairs if pair.key == key), None)

    def _keep_read(self, key: str, found: Tally) -> None:
        self._learnt_from[key] = found.digest
        pair = self._pair(key)
        if pair is not None:
            self.note(pair, found)

    def _take(self, key: str, answer: TaughtAnswer) -> None:
        if key in self._applied:
            image = self._applied.pop(key)
            if image in self._viewer.layers:
                add_applied(self._viewer, image, answer.labels, self.entries())
                self._text = f"Layer 'taught: {image.name}' is there"
            return
        pair = self._pair(key)
        if pair is None or self.rounds.is_stopping:
            return
        labels, earlier = answer.labels.array(), self._ended_with.get(key)
        self.looks[key] = Look(labels, answer.doubt, None if earlier is None else earlier.labels)
        self.labels.take(pair, answer.what, labels)
        self.answered.emit(pair)

    def _enter(self, pair: Pair, what: str, whole: Step) -> None:
        self.states.wrote(pair.key, what, whole)
        if pair.taught is not None and pair.annotations is not None:
            show_classes(pair.taught, pair.annotations)
        self.entered.emit(pair)

    def _keep_report(self, taught: Taught) -> None:
        new = taught.report
        if new.get(SCORES[0]) is None:  # they are found out once, in the first round with time
            new = {**new, **{key: self.report.get(key) for key in SCORES}}
        self.report = new
        steps = int(taught.report.get("steps", 0))
        self._text = f"Done: {taught.answer.what}; the network has taken {steps:,} steps so far"

    def _keep_failure(self, message: str) -> None:
        self._text = message

    def _end(self) -> None:
        self._applied.clear()
        if self._is_round:
            self._is_round = False
            new = [
                look for key, look in self.looks.items() if look is not self._ended_with.get(key)
            ]
            for look in new:
                self._work(assessing(look), self.assessed.emit)
            if new:
                snapshot = self.rounds.teacher.snapshot()
                self.states.learnt(snapshot, is_written=not self.labels.is_busy)
        self.said.emit(self._text or _STOPPED)
        self._text = ""

    def _work(self, job: Job, then: Callable[[Any], None]) -> None:
        task = Task(job, self)
        task.returned.connect(then)
        task.ended.connect(task.deleteLater)
        task.start()


def _source(pair: Pair) -> Source:
    return Source(pair.key, pair.channels, pair.annotations, pair.taught)


def pair_texts(pairs: Sequence[Pair], tallies: dict[str, Tally]) -> Iterator[str]:
    """Yield how volumes are called in a list: ``t1: 1,204 voxels``."""
    for pair in pairs:
        found = tallies.get(pair.key)
        voxels = "" if found is None else f": {found.voxels:,} voxels"
        yield f"{pair.image.name}{voxels}"
