"""Autosave: each edit of a layer goes into a file as it is made, so that a crash loses none.

One file for each layer, in the user's state folder, written by one thread for all. It is deleted
when the layer is closed with nothing to lose: no edits, or all of them exported or undone.
Otherwise it stays and is offered the next time, see `recover`. Nothing here needs Qt.

A kill loses what waits to be written: some ms after an edit, but about a second after a layer of
512×512×300 voxels has come, since its base is packed first and edits wait their turn behind it.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, finalize, ref

import platformdirs

from napari_asmlp.edit.step import Step
from napari_asmlp.viewer.history.edits import Edits, edits_of, is_editable
from napari_asmlp.viewer.history.header import header_of
from napari_asmlp.viewer.history.places import array_of, is_same
from napari_asmlp.viewer.history.records import (
    BASE,
    COMMIT,
    END,
    FUTURE,
    HEADER,
    PAST,
    REDO,
    SAVED,
    UNDO,
    Restored,
    Tally,
    number,
)
from napari_asmlp.viewer.history.writer import NO_MEMORY, File, Writer
from napari_asmlp.viewer.layers import is_labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

STATE_VARIABLE = "NAPARI_ASMLP_STATE"
SUFFIX = ".journal"

_KINDS = {"commit": COMMIT, "undo": UNDO, "redo": REDO}
_writer = Writer()
_open: dict[int, Journal] = {}  # by id of the layer
_postponed: WeakSet[Labels] = WeakSet()


def state_folder() -> Path:
    """Return the user's state folder, or the one that `STATE_VARIABLE` names."""
    named = os.environ.get(STATE_VARIABLE)
    return Path(named) if named else platformdirs.user_state_path("napari-asmlp")


def folder() -> Path:
    """Return where journals lie."""
    return state_folder() / "journal"


def follow(viewer: ViewerModel) -> None:
    """Give all labels of a viewer a history and a journal, now and when they come and go."""
    for layer in viewer.layers:
        _enter(layer)
    viewer.layers.events.inserted.connect(_inserted)
    viewer.layers.events.removed.connect(_removed)


def postpone(layer: Labels) -> None:
    """Keep no journal of a layer that is about to be added, until `begin` is called."""
    _postponed.add(layer)


def begin(layer: Labels, *, unsaved: bool = False) -> None:
    """Begin the journal of a layer with its labels and its history as they are now.

    Parameters
    ----------
    unsaved
        Whether these labels are worth keeping before any edit, as the result of a model is.
    """
    _postponed.discard(layer)
    if id(layer) not in _open and is_editable(layer):
        Journal(layer, unsaved=unsaved)


def resume(layer: Labels, restored: Restored) -> None:
    """Go on with the journal that a layer has been restored from, its history as it was."""
    _postponed.discard(layer)
    edits = edits_of(layer)
    edits.history = restored.history
    Journal(layer, restored=restored)
    edits.changed.emit()


def pid_in(path: Path) -> int | None:
    """Return the process that began a journal, as its name says; None if it does not."""
    match = re.fullmatch(rf"\d+-\d+-(\d+)-[0-9a-f]+{re.escape(SUFFIX)}", path.name)
    return int(match[1]) if match else None


def is_open(path: Path) -> bool:
    """Tell whether a layer of this process writes a journal."""
    return any(journal.path == path for journal in _open.values())


def changes_of(layer: Labels) -> int:
    """Return how many changes a layer has seen: what `saved` is told if it is called later."""
    return sum(journal.changes for journal in _of(layer))


def saved(layer: Labels, changes: int | None = None) -> None:
    """Note that a file now holds all labels of a layer.

    Parameters
    ----------
    changes
        What `changes_of` said when the labels were read; None if that was just now.
    """
    for journal in _of(layer):
        journal.saved(journal.changes if changes is None else changes)


def flush() -> None:
    """Wait until all that has been recorded is on disk."""
    _writer.flush()


def close_all() -> None:
    """End all journals, as at the end of the process."""
    for journal in list(_open.values()):
        journal.end()
    flush()


class Journal:
    """What has happened to a layer since its journal began, on disk a moment later."""

    def __init__(
        self, layer: Labels, *, unsaved: bool = False, restored: Restored | None = None
    ) -> None:
        self._layer = ref(layer)
        self._edits = edits_of(layer)
        self._id = id(layer)
        self._unsaved = unsaved if restored is None else restored.header.unsaved
        self._tally = Tally() if restored is None else restored.held.tally
        self._created = time.time() if restored is None else restored.header.created
        if restored is None:
            self._file = File(folder() / _new_name(), layer.name)
        else:
            self._file = File(restored.path, layer.name, restored.stop)
        _open[self._id] = self
        self._edits.settle()  # the base is a whole state, neither half an edit nor half a stroke
        self._edits.end_strokes()
        self._begin(with_base=restored is None)
        self._edits.recorded.connect(self._record)
        for event in (layer.events.name, layer.events.colormap, layer.events.features):
            event.connect(self._look)
        finalize(layer, self.end).atexit = False  # a closed window does not remove its layers

    @property
    def edits(self) -> Edits:
        """The history that it follows."""
        return self._edits

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        return self._tally.total

    @property
    def path(self) -> Path:
        """Its file."""
        return self._file.path

    def saved(self, changes: int) -> None:
        """Note that a file holds the labels as they were after so many changes."""
        self._tally.save(changes)
        self._unsaved = False
        _writer.append(self._file, SAVED, lambda: number(changes))

    def end(self) -> None:
        """Close it: delete it if it holds nothing to lose, or leave it for the next time."""
        if _open.pop(self._id, None) is None:
            return
        self._edits.recorded.disconnect(self._record)
        if not self._tally.is_clean:
            self._write_look()
            _writer.append(self._file, END, bytes)
            _writer.close(self._file)
        else:
            _writer.close(self._file, delete=True)

    def _begin(self, *, with_base: bool) -> None:
        self._stale = True
        self._write_look()
        if with_base:
            self._write_base()
            history = self._edits.history
            for step in (*history.past, *reversed(history.future)):
                _writer.append(self._file, PAST, step.to_bytes)
                self._tally.note(PAST)
            for _ in history.future:
                _writer.append(self._file, FUTURE, bytes)
                self._tally.note(FUTURE)

    def _write_base(self) -> None:
        """Write all labels as they are now: a copy, since edits go on while they are packed."""
        try:
            labels = self._edits.array.copy(order=self._edits.layout.order)
        except MemoryError:
            _writer.give_up(self._file, NO_MEMORY)
            return
        _writer.append(self._file, BASE, lambda: Step.of_all(labels).to_bytes())

    def _record(self, what: str, step: Step | None) -> None:
        if what == "replace":
            self._tally.replaced()
            self._begin(with_base=True)
            return
        self._tally.note(_KINDS[what])
        self._write_look()
        packed = step.to_bytes if what == "commit" and step is not None else bytes
        _writer.append(self._file, _KINDS[what], packed)

    def _look(self, _event: Any) -> None:
        self._stale = True

    def _write_look(self) -> None:
        """Write the header again, if the layer's name or colours have changed."""
        layer = self._layer()
        if self._stale and layer is not None:
            self._stale = False
            header = header_of(layer, self._edits.layout, self._unsaved, self._created)
            _writer.append(self._file, HEADER, lambda: header.model_dump_json().encode())


def _new_name() -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{os.getpid()}-{secrets.token_hex(3)}{SUFFIX}"


def _of(layer: Labels) -> list[Journal]:
    """Return the journals of all layers that show the same labels, however they are called."""
    if not is_editable(layer):
        return []
    array = array_of(layer)
    return [journal for journal in _open.values() if is_same(journal.edits.array, array)]


def _enter(layer: Any) -> None:
    if is_labels(layer) and is_editable(layer):
        edits_of(layer)
        if layer not in _postponed:
            begin(layer)


def _inserted(event: Any) -> None:
    _enter(event.value)


def _removed(event: Any) -> None:
    journal = _open.get(id(event.value))
    if journal is not None:
        journal.end()


atexit.register(close_all)
