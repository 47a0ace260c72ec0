"""One history for each Labels layer: brush, fill, polygon, tools and results of a model.

napari's own history knows strokes only and keeps whole index arrays. Here the layer keeps none:
what it says it painted becomes a `Step`, and its ``undo`` and ``redo``, hence Ctrl+Z, are ours. A
large step is written in slots of a few ms, so that the window stays alive; an edit that comes
meanwhile finishes it first, so that no step is ever taken from labels that are half written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_asmlp.edit import Change
from napari_asmlp.edit.beneath import lay_beneath
from napari_asmlp.edit.history import History
from napari_asmlp.edit.step import Kind, Layout, Step
from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.viewer.edit.brush import PaintGuard
from napari_asmlp.viewer.event_loop import has_event_loop
from napari_asmlp.viewer.history import hooks
from napari_asmlp.viewer.history.places import Places, array_of, is_same
from napari_asmlp.viewer.history.stamp import Clock, Stamp

if TYPE_CHECKING:
    from napari.layers import Labels

Guard = Callable[[tuple[slice, ...], NDArray[Any]], NDArray[np.bool_]]

_SLOT_SECONDS = 0.015
_TITLES = {"paint": "brush stroke", "erase": "erasing", "fill": "fill", "polygon": "polygon"}
_PAINTERS = ("paint", "fill", "paint_polygon", "data_setitem")
_DONE = object()


_adopted: WeakKeyDictionary[Labels, Edits] = WeakKeyDictionary()


def is_editable(layer: Labels) -> bool:
    """Tell whether a layer can have a history: its labels are in memory."""
    return isinstance(layer.data, np.ndarray)


def edits_of(layer: Labels) -> Edits:
    """Return the history of a layer; the first call takes it over from napari.

    Raises
    ------
    SettingsError
        If the labels are not in memory.
    """
    layer = getattr(layer, "__wrapped__", layer)  # panels are given a proxy of it
    edits = _adopted.get(layer)
    if edits is None:
        if not is_editable(layer):
            raise SettingsError(
                f"labels {layer.name!r} are not in memory ({type(layer.data).__name__}): save them,"
                " and edit the file you saved"
            )
        edits = _adopted[layer] = Edits(layer)
    return edits


class Edits:
    """The history of one layer; made by `edits_of`.

    Signals
    -------
    changed() : what can be undone or redone is no longer the same
    finished() : a commit, an undo or a redo has been written completely
    recorded(what, step) : for the journal: "commit", "undo", "redo" or "replace" and the step
    """

    changed = Signal()
    finished = Signal()
    recorded = Signal(str, object)

    def __init__(self, layer: Labels) -> None:
        self.history = History()
        self.guard: Guard | None = PaintGuard(layer)  # locks hold whatever panels are open
        self._layer = ref(layer)
        self._clock = Clock(layer)
        self.changed.connect(self._clock.edited)
        self.finished.connect(self._clock.edited)
        self._shown: WeakKeyDictionary[Labels, Places] = WeakKeyDictionary()
        self._writing: Iterator[None] | None = None
        self._waiting: deque[bool] = deque()  # undo (True) and redo asked for while writing
        if not layer.data.dtype.isnative:  # napari 0.9.2 paints 768 for 3 in big-endian uint16
            layer.data = layer.data.astype(layer.data.dtype.newbyteorder("="))
        self._take(layer)
        self._adopt(layer)
        layer.events.data.connect(self._replaced)

    @property
    def array(self) -> NDArray[Any]:
        """The labels (i, j, k), as they are now."""
        return self._array

    @property
    def layout(self) -> Layout:
        """How the voxels of the labels are counted in steps."""
        return self._layout

    @property
    def busy(self) -> bool:
        """Whether a large step is being written."""
        return self._writing is not None

    @property
    def stamp(self) -> Stamp:
        """Which state the labels are in; a stroke counts when it ends."""
        return self._clock.now()

    @property
    def can_guard(self) -> bool:
        """Whether this napari lets `guard` limit what is painted."""
        layer = self._layer()
        return layer is not None and hooks.can_guard(layer)

    @property
    def undo_title(self) -> str:
        """What undo would take back; empty if nothing."""
        past = self.history.past
        return past[-1].title if past else ""

    @property
    def redo_title(self) -> str:
        """What redo would do again; empty if nothing."""
        future = self.history.future
        return future[-1].title if future else ""

    def undo(self) -> None:
        """Take back the latest step, or, while one is being written, do so after it."""
        self._step(undo=True)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._step(undo=False)

    def commit(self, what: Step | Change, title: str = "edit", kind: Kind = "edit") -> None:
        """Write a change into the layer, as one step to undo.

        Parameters
        ----------
        what
            In terms of the layer's volume (i, j, k). Packing a large change takes a while: a
            `Step` made in another thread spares the window that.
        title, kind
            Of the step, if a change is given.

        Raises
        ------
        GridError
            If it was made for labels of another shape.
        VolumeError
            If the labels are read-only.
        """
        self.settle()
        self.end_strokes()
        self._check_place()
        step = what if isinstance(what, Step) else self._step_of(what, title, kind)
        step = step.on(self._layout)
        if not self._array.flags.writeable:
            raise VolumeError("these labels are read-only: duplicate the layer and edit the copy")
        if step.count:
            self._push(step)
            self._write(step, undo=False)

    def settle(self) -> None:
        """Finish at once what is being written or waits to be."""
        while self._writing is not None:
            self._advance(np.inf)

    def end_strokes(self) -> None:
        """Make a stroke that is under way a step: what comes now comes after it."""
        for layer in list(self._shown):
            hooks.end_stroke(layer)

    def lay_beneath(self, box: tuple[slice, ...], result: NDArray[Any]) -> None:
        """Write a result where the labels are 0, as if it had been there before all edits.

        Parameters
        ----------
        box
            Where it lies, in voxels (i, j, k).
        """
        self.settle()
        self.end_strokes()
        lay_beneath(self._array, self.history, box, result)
        self._clock.edited()

    def clear(self) -> None:
        """Forget the history, as after the labels have been written by other means."""
        self.settle()
        self.history.clear()
        self.changed.emit()

    def corrected(self, first: int = 0) -> NDArray[np.bool_]:
        """Return which voxels (i, j, k) a person has edited since a model last wrote them.

        Parameters
        ----------
        first
            Number of steps in the past that do not count, from the oldest.
        """
        return self.history.corrected(self._layout.shape, self._layout.order, first)

    def join(self, twin: Labels) -> None:
        """Let another layer that shows the same array share this history and its guard.

        Raises
        ------
        GridError
            If it shows another array, or shows it turned otherwise.
        """
        twin = getattr(twin, "__wrapped__", twin)
        if twin in self._shown:
            return
        if not is_editable(twin) or not is_same(array_of(twin), self._array):
            raise GridError(f"layer {twin.name!r} does not show the same labels")
        self._shown[twin] = Places.of(twin, self._layout)
        self._adopt(twin)
        twin.events.data.connect(self._part)

    def _take(self, layer: Labels) -> None:
        self._array = array_of(layer)
        self._layout = Layout.of(self._array)
        self._shown[layer] = Places.of(layer, self._layout)

    def _adopt(self, layer: Labels) -> None:
        """Make a layer's undo and painting ours."""
        hooks.keep_no_history(layer)
        layer.undo, layer.redo = self.undo, self.redo
        for name in _PAINTERS:
            hooks.wrap(layer, name, self._settled)
        if hooks.can_guard(layer):
            hooks.wrap(layer, hooks.MASKED_PAINTER, self._guarded)
        layer.events.paint.connect(self._painted)

    def _settled(self, *arguments: Any) -> tuple[Any, ...]:
        self.settle()
        return arguments

    def _guarded(
        self, data: NDArray[Any], mask: NDArray[np.bool_], value: int, key: tuple[slice, ...]
    ) -> tuple[Any, ...]:
        if self.guard is not None:
            mask = mask & self.guard(key, data)
        return data, mask, value, key

    def _painted(self, event: Any) -> None:
        """Turn what a layer says it painted into a step."""
        layer = event.source
        places = self._shown.get(layer)
        if places is None:
            return
        voxels = places.voxels(event.value, self._layout.dtype)
        title = _TITLES.get(str(layer.mode), "edit")
        step = Step.of_voxels(self._layout, voxels, title)
        if step.count:
            self._push(step)
            self._redraw(but=layer)

    def _replaced(self, _event: Any = None) -> None:
        """Begin anew with the array that the layer has been given."""
        layer = self._layer()
        self._writing = None
        self._waiting.clear()
        self.history.clear()
        for shown in list(self._shown):
            hooks.drop_stroke(shown)  # it was painted into the array that is gone
        self._shown.clear()
        if layer is not None and is_editable(layer):
            self._take(layer)
        self.recorded.emit("replace", None)
        self.changed.emit()

    def _part(self, event: Any) -> None:
        """Notice that a twin has been given an array of its own."""
        twin = event.source
        if not is_editable(twin) or not is_same(array_of(twin), self._array):
            self._shown.pop(twin, None)

    def _check_place(self) -> None:
        """Begin anew if the layer has been moved so that its axes are turned otherwise."""
        layer = self._layer()
        if layer is not None and not is_same(array_of(layer), self._array):
            self._replaced()

    def _step_of(self, change: Change, title: str, kind: Kind) -> Step:
        if any(along.stop > n for along, n in zip(change.region, self._layout.shape, strict=True)):
            raise GridError(f"an edit up to {change.region} does not fit these labels")
        return Step.of_change(change, self._array, title, kind)

    def _step(self, *, undo: bool) -> None:
        if self.busy:
            self._waiting.append(undo)
            return
        self.end_strokes()
        step = self.history.undo() if undo else self.history.redo()
        if step is not None:
            self.recorded.emit("undo" if undo else "redo", step)
            self.changed.emit()
            self._write(step, undo=undo)

    def _push(self, step: Step) -> None:
        self.history.push(step)
        self.recorded.emit("commit", step)
        self.changed.emit()

    def _write(self, step: Step, *, undo: bool) -> None:
        self._writing = step.apply(self._array, undo=undo)
        if len(step.parts) > 1 and has_event_loop():
            self._slot()
        else:
            self.settle()

    def _slot(self) -> None:
        """Write for a moment, then let the window live."""
        self._advance(_SLOT_SECONDS)
        if self._writing is not None:
            from qtpy.QtCore import QTimer

            QTimer.singleShot(0, self._slot)

    def _advance(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._writing is not None:
            if next(self._writing, _DONE) is _DONE:
                self._writing = None
                self._redraw()
                self.finished.emit()
                if self._waiting:
                    self._step(undo=self._waiting.popleft())
            if time.monotonic() >= end:
                return

    def _redraw(self, but: Labels | None = None) -> None:
        for layer in list(self._shown):
            if layer is not but:
                layer.refresh(extent=False, highlight=False)
