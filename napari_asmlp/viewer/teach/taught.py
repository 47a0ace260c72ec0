"""Taught labels in their layer: each answer enters as one step that can be undone.

Neither what is annotated nor what a person has corrected in the labels is ever overwritten. What an
answer changes is found in another thread; if either layer is edited meanwhile, that is done again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_asmlp.edit.step import Step
from napari_asmlp.viewer.colours import colour_of, recolour
from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import labels_on, source_view, volume_of
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.teach.classes import background_of, classes_of
from napari_asmlp.viewer.teach.pairs import TAUGHT_KEY, Pair
from napari_asmlp.volume import smallest_unsigned

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_asmlp.model import LabelEntry

Array = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Packed:
    """What an answer changes, and the states of the layers that it was compared with.

    Attributes
    ----------
    edits : of the taught labels and of the annotations, counted
    step : from what the layer holds to what it will hold
    whole : what it will hold, from nothing
    """

    edits: tuple[int, int]
    step: Step
    whole: Step


@dataclass(eq=False)
class Incoming:
    """Labels on their way into a layer."""

    pair: Pair
    title: str
    labels: Array
    task: Task | None = None


class TaughtLabels(QObject):
    """Brings labels into the taught layer of a pair, the latest that have come.

    Signals
    -------
    entered(pair, title, whole) : labels have been written; `whole` is what the layer holds now
    """

    entered = Signal(object, str, object)

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._now: Incoming | None = None
        self._next: dict[str, Incoming] = {}
        self.is_writing = False  # so that who follows the layers can tell this from a person

    @property
    def is_busy(self) -> bool:
        """Whether labels are on their way."""
        return self._now is not None

    def take(self, pair: Pair, title: str, labels: Array) -> None:
        """Bring labels (i, j, k) in; of those that wait already, the latest of a pair count."""
        self._next[pair.key] = Incoming(pair, title, labels)
        if self._now is None:
            self._begin()

    def drop(self) -> None:
        """Let go of what is on its way."""
        self._next.clear()
        if self._now is not None and self._now.task is not None:
            self._now.task.abandon()
        self._now = None

    def _begin(self) -> None:
        """Take up what waits; whose image or annotations have gone is left."""
        self._now = None
        while self._next and self._now is None:
            _, incoming = self._next.popitem()
            pair, layers = incoming.pair, self._viewer.layers
            if pair.image in layers and pair.annotations is not None:
                self._now = incoming
        if self._now is not None:
            self._pack(self._now)

    def _pack(self, incoming: Incoming) -> None:
        taught = self._layer(incoming)
        annotations = incoming.pair.annotations
        if annotations is None:
            self._begin()
            return
        for layer in (taught, annotations):
            edits_of(layer).settle()  # an undo may still be under way
        job = Job("taught labels", lambda: _packed(taught, annotations, incoming))
        incoming.task = task = Task(job, self)
        task.returned.connect(lambda packed: self._commit(incoming, packed))
        task.failed.connect(lambda _: self._begin())
        task.ended.connect(task.deleteLater)
        task.start()

    def _commit(self, incoming: Incoming, packed: Packed) -> None:
        pair = incoming.pair
        taught, annotations = pair.taught, pair.annotations
        if taught is None or annotations is None:  # deleted meanwhile
            self._begin()
            return
        edits = edits_of(taught)
        self.is_writing = True
        try:
            for layer in (taught, annotations):
                edits_of(layer).settle()
                edits_of(layer).end_strokes()
            is_current = packed.edits == _edits(taught, annotations)
            if is_current:
                edits.commit(packed.step)
        finally:
            self.is_writing = False
        if not is_current:
            self._pack(self._next.pop(pair.key, incoming))
            return
        self._begin()
        self.entered.emit(pair, incoming.title, packed.whole)

    def _layer(self, incoming: Incoming) -> Labels:
        """Return the layer that labels go into, a new one where there is none that holds them."""
        pair, highest = incoming.pair, int(incoming.labels.max(initial=0))
        if pair.taught is None or highest > np.iinfo(pair.taught.data.dtype).max:
            entries = [] if pair.annotations is None else taught_entries(pair.annotations)
            highest = max([highest, *(entry.value for entry in entries)])
            empty = np.zeros(volume_of(pair.image).grid.shape, smallest_unsigned(highest))
            layer = labels_on(pair.image, empty, entries, f"taught: {pair.image.name}")
            add_beneath(self._viewer, layer, pair.annotations)
            pair.taught = layer
        return pair.taught


def add_beneath(viewer: ViewerModel, layer: Labels, above: Labels | None) -> None:
    """Add taught labels beneath another layer, or on top; what is selected stays so."""
    layer.metadata[TAUGHT_KEY] = True
    features, layer.features = layer.features, {}  # see `layers.add_labels`
    layers = viewer.layers
    journal.postpone(layer)
    with current_of(viewer).kept():
        layers.insert(layers.index(above) if above in layers else len(layers), layer)
        layer.features = features
    journal.begin(layer, unsaved=True)


def taught_entries(annotations: Labels) -> list[LabelEntry]:
    """Return the label table of what is taught: all classes but background."""
    return [entry.label for entry in classes_of(annotations) if not entry.is_background]


def show_classes(taught: Labels, annotations: Labels) -> None:
    """Give taught labels the names and colours of the annotations; 0 is background there."""
    entries = [entry for entry in classes_of(annotations) if not entry.is_background]
    names = {entry.value: entry.name for entry in entries}
    if class_names(taught) != names:
        table = {0: "background", **names}
        taught.features = {"index": list(table), "name": list(table.values())}
    for entry in entries:
        if not np.allclose(colour_of(taught, entry.value)[:3], entry.colour):
            recolour(taught, entry.value, (*entry.colour, 1.0))


def _edits(taught: Labels, annotations: Labels) -> tuple[int, int]:
    return edits_of(taught).stamp.edits, edits_of(annotations).stamp.edits


def _packed(
    taught: Labels, annotations: Labels, incoming: Incoming
) -> Generator[None, None, Packed]:
    """Find what labels change where nobody has annotated or corrected."""
    yield
    edits = _edits(taught, annotations)
    old = source_view(taught)
    new = kept(
        incoming.labels,
        (old, edits_of(taught).corrected()),
        (source_view(annotations), background_of(annotations)),
    )
    step = Step.between(old, new, incoming.title, "prediction")
    yield
    return Packed(edits, step, Step.of_all(new))


def kept(
    labels: Array,
    taught: tuple[Array, NDArray[np.bool_]],
    annotations: tuple[Array, int | None],
) -> Array:
    """Return new labels in which annotations and corrections stay what they are.

    Parameters
    ----------
    labels : (i, j, k), what comes
    taught : what the layer holds, and which voxels of it a person has edited
    annotations : and the value that means background among them
    """
    old, corrected = taught
    painted, background = annotations
    new = labels.astype(old.dtype, order="F" if old.flags.f_contiguous else "C")
    said = painted != 0
    values = painted[said]
    if background is not None:
        values = np.where(values == background, 0, values)
    new[said] = values.astype(old.dtype)
    np.copyto(new, old, where=corrected)
    return new
