"""Labels that appear while the network still runs.

Slabs are written into a layer as they come. That layer is new, or a preview of what an existing one
will be: a preview is committed at the end, or on Cancel, as one change that one undo takes back.

A run that goes on after it was stopped previews into the layer that it had filled. There, what the
user has edited since stays.

A new layer can be corrected while it fills: what the user paints where no slab has come yet stays,
and undoing it gives what the slab says. A preview cannot be painted. What differs between it and
its layer is found in another thread; if the layer is edited meanwhile (by undo, say: it is hidden),
that is done again, so that the edit is a step of its own before the result.

The layer is redrawn a few times a second, however fast slabs come. Whatever the user deletes or
closes meanwhile, the run stops and leaves the rest alone.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_asmlp.edit.step import Step
from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.history.stamp import Stamp
from napari_asmlp.viewer.layers import add_labels, source_view
from napari_asmlp.viewer.tasks import Job, Task

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_asmlp.grid import Region
    from napari_asmlp.pipeline import Progress, Slab

REDRAW_MS = 250
_REST_PER_PAINTING = 4  # how long a slow window is left alone, for each second it painted

_running: set[LiveRun] = set()  # a run outlives its panel until its thread is done


@dataclass(frozen=True, eq=False)
class Packed:
    """What a preview changes, and the state of the layer that it was compared with."""

    stamp: Stamp
    step: Step


class LiveLabels:
    """Where slabs are shown, and where they end up.

    Parameters
    ----------
    viewer
        Whose layers they are.
    layer
        A new layer on the image's grid, not yet added.
    target
        The layer that the result goes into; `layer` is then its preview. None: `layer` stays.
    since
        Number of steps in the target's history; voxels edited after those keep their value. None
        lets the result win everywhere.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layer: Labels,
        target: Labels | None = None,
        since: int | None = None,
    ) -> None:
        self.layer = layer
        self._viewer = viewer
        self._target = target
        self._since = since
        self._replaced: NDArray[np.bool_] | None = None  # where the result counts; None: everywhere
        self._done: list[Region] = []
        self._stale = False
        self._hidden = False

    @property
    def is_gone(self) -> bool:
        """Whether the user has deleted a layer that is needed, or closed the viewer."""
        if not self._done:
            return self._target is not None and self._target not in self._viewer.layers
        needed = [self.layer] if self._target is None else [self.layer, self._target]
        return not all(layer in self._viewer.layers for layer in needed)

    def write(self, slab: Slab) -> None:
        """Put finished planes into the layer; the first ones bring it into the viewer."""
        if not self._done:
            self._show()
        if self._target is None:
            edits_of(self.layer).lay_beneath(slab.region.slices, slab.labels)
        else:
            part = source_view(self.layer)[slab.region.slices]
            where = True if self._replaced is None else self._replaced[slab.region.slices]
            np.copyto(part, slab.labels, casting="unsafe", where=where)
        self._done.append(slab.region)
        self._stale = True

    def redraw(self) -> None:
        """Show what was written since the last time."""
        if self._stale and not self.is_gone:
            self._stale = False
            self.layer.refresh(extent=False, highlight=False)

    @property
    def is_preview(self) -> bool:
        """Whether there is something to commit, and both layers are there."""
        return self._target is not None and bool(self._done) and not self.is_gone

    def packing(self) -> Job:
        """Return the work of finding what a preview changes, for a task; it returns a `Packed`."""
        target = self._target
        if target is None:
            raise SettingsError("only a preview is compared")
        edits_of(target).settle()  # an undo may still be under way
        boxes = [region.slices for region in self._done]
        return Job(f"result for {target.name}", lambda: _packed(self.layer, target, boxes))

    def commit(self, packed: Packed) -> bool:
        """Bring a preview into its layer, as one change that can be undone.

        Only voxels that differ are touched, so that what was not segmented stays.

        Returns
        -------
        bool
            False if the layer has been edited since, so that nothing was done.
        """
        if not self.is_preview or self._target is None:
            return True
        edits = edits_of(self._target)
        edits.settle()
        edits.end_strokes()
        if edits.stamp.edits != packed.stamp.edits:
            return False
        edits.commit(packed.step)
        return True

    def finish(self, *, committed: bool = True, complete: bool = False) -> Labels | None:
        """Return the layer that now holds the result, if there is one.

        A preview of a layer that was deleted takes its place, and its name. A new layer in which
        nothing was found, and nothing painted meanwhile, is taken away.

        Parameters
        ----------
        committed
            Whether a preview has been, and is not needed any more.
        complete
            Whether the run came to its end.
        """
        self.redraw()
        viewer, target = self._viewer, self._target
        if self._hidden and target is not None and target in viewer.layers:
            target.visible = True
        if not self._done or self.layer not in viewer.layers:
            return None
        if target is None and complete and not self.layer.data.any():
            viewer.layers.remove(self.layer)
            return None
        if target is not None and target not in viewer.layers:
            self.layer.name = target.name
            self.layer.editable = True
        if target is None or target not in viewer.layers or not committed:
            journal.begin(self.layer, unsaved=True)
            return self.layer
        viewer.layers.selection.clear()
        viewer.layers.remove(self.layer)
        if viewer.dims.ndisplay == 2:  # in 3D napari may fail to select it, see `add_labels`
            viewer.layers.selection.active = target
        return target

    def _show(self) -> None:
        target = self._target
        if target is not None:
            np.copyto(source_view(self.layer), source_view(target), casting="unsafe")
            edits = edits_of(target)
            if self._since is not None and len(edits.history.past) > self._since:
                self._replaced = ~edits.corrected(self._since)
            self._hidden = target.visible
            target.visible = False
        journal.postpone(self.layer)
        add_labels(self._viewer, self.layer)
        self.layer.editable = target is None  # strokes in a preview would be lost


class LiveRun(QObject):
    """A segmentation under way.

    Signals
    -------
    progressed(Progress) : for each window
    failed(message) : before `ended`, if the job raises
    ended(layer, result) : once; the layer that holds what is finished or None, and what the job
        returned or None if it was cancelled or failed
    """

    progressed = Signal(object)
    failed = Signal(str)
    ended = Signal(object, object)

    def __init__(self, job: Job, labels: LiveLabels) -> None:
        super().__init__()
        self._labels = labels
        self._result: Any = None
        self._due = 0.0
        self._task = Task(job, self)
        self._task.stepped.connect(self._step)
        self._task.returned.connect(self._keep)
        self._task.failed.connect(self.failed)
        self._task.ended.connect(self._end)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin in another thread."""
        _running.add(self)
        self._wait(REDRAW_MS)
        self._task.start()

    def cancel(self) -> None:
        """Stop after the window that is being computed; what is finished stays."""
        self._task.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._task.is_cancelled

    def _step(self, progress: Progress) -> None:
        if progress.slab is not None and not self._labels.is_gone:
            self._labels.write(progress.slab)
        self.progressed.emit(progress)

    def _tick(self) -> None:
        if self._labels.is_gone:
            self.cancel()
        late_ms = 1000 * (time.monotonic() - self._due)
        if late_ms > REDRAW_MS:  # painting takes long, as 3D without a GPU does: let the user act
            self._wait(_REST_PER_PAINTING * late_ms)
            return
        self._labels.redraw()
        self._wait(REDRAW_MS)

    def _wait(self, milliseconds: float) -> None:
        self._due = time.monotonic() + milliseconds / 1000
        self._timer.start(round(milliseconds))

    def _keep(self, result: Any) -> None:
        self._result = result

    def _end(self) -> None:
        self._timer.stop()
        if self._labels.is_preview:
            self._pack()
        else:
            self._leave()

    def _pack(self) -> None:
        """Find in another thread what a preview changes, and commit that."""
        packing = Task(self._labels.packing(), self)  # which is not cancelled: it takes a moment
        packing.returned.connect(self._commit)
        packing.failed.connect(self.failed)
        packing.failed.connect(lambda _: self._leave(committed=False))
        packing.start()

    def _commit(self, packed: Packed) -> None:
        if self._labels.commit(packed):
            self._leave()
        else:
            self._pack()

    def _leave(self, *, committed: bool = True) -> None:
        _running.discard(self)
        complete = self._result is not None
        layer = self._labels.finish(committed=committed, complete=complete)
        self.ended.emit(layer, self._result)


def _packed(
    preview: Labels, target: Labels, boxes: list[tuple[slice, slice, slice]]
) -> Generator[None, None, Packed]:
    """Find what the finished parts of a preview change in a layer."""
    yield
    stamp = edits_of(target).stamp
    old, new = source_view(target), source_view(preview)
    return Packed(stamp, Step.between(old, new, "segment", "prediction", boxes))
