"""Notices what a person paints, and counts it when the hand rests."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_asmlp.viewer.history.edits import Edits, edits_of, is_editable
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.teach.request import painted_in
from napari_asmlp.viewer.teach.tally import Tally, tally

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_asmlp.viewer.teach.pairs import Pair

REST_MS = 1000  # without a stroke


class Watch(QObject):
    """Follows the annotations and the taught labels of one pair.

    Parameters
    ----------
    is_ours
        Tells whether labels are being written by the panel, and not by a person.

    Signals
    -------
    counted(pair, tally) : what is annotated, a moment after it was changed last
    looked() : names, colours or the selected class are others
    """

    counted = Signal(object, object)
    looked = Signal()

    def __init__(self, parent: QObject, is_ours: Callable[[], bool]) -> None:
        super().__init__(parent)
        self._is_ours = is_ours
        self._pair: Pair | None = None
        self._followed: list[tuple[Labels, Edits]] = []
        self._task: Task | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.count)

    def follow(self, pair: Pair | None) -> None:
        """Follow other layers; what is annotated there is counted soon."""
        layers = [] if pair is None else [pair.annotations, pair.taught]
        found = [layer for layer in layers if layer is not None and is_editable(layer)]
        if pair is self._pair and found == [layer for layer, _ in self._followed]:
            return
        is_other = pair is not self._pair or (pair is not None and pair.annotations is None)
        self._hear(on=False)
        self._pair = pair
        self._followed = [(layer, edits_of(layer)) for layer in found]
        self._hear(on=True)
        if is_other or len(found) == 1:
            self.count()

    def count(self) -> None:
        """Count now, beside the window."""
        self._timer.stop()
        self._drop()
        pair = self._pair
        if pair is None or pair.annotations is None or not is_editable(pair.annotations):
            return
        self._task = task = Task(_counting(pair.annotations, pair.taught), self)
        task.returned.connect(lambda found: self.counted.emit(pair, found))
        task.start()

    def _drop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.abandon()
            task.deleteLater()

    def stop(self) -> None:
        """Let go of the layers."""
        self._timer.stop()
        self._drop()
        self._hear(on=False)
        self._pair, self._followed = None, []

    def _hear(self, *, on: bool) -> None:
        for layer, edits in self._followed:
            (edits.changed.connect if on else edits.changed.disconnect)(self._edited)
            events = layer.events
            for event in (events.selected_label, events.features, events.colormap):
                (event.connect if on else event.disconnect)(self._look)

    def _edited(self) -> None:
        if not self._is_ours():
            self._timer.start(REST_MS)

    def _look(self, _event: Any = None) -> None:
        self.looked.emit()


def _counting(annotations: Labels, taught: Labels | None) -> Job:
    def steps() -> Generator[None, None, Tally]:
        yield
        return tally(painted_in(annotations, taught))

    return Job(f"annotations in {annotations.name}", steps)
