"""Labels that appear while the network still runs.

Slabs are written into a layer as they come. That layer is new, or a preview of what an existing one
will be: a preview is committed at the end, or on Cancel, as one change that one undo takes back.

A new layer can be corrected while it fills: what the user paints where no slab has come yet stays,
and the slab fills the rest, as the layer is 0 there. (Undoing such a stroke leaves background.) A
preview cannot be painted.

The layer is redrawn a few times a second, however fast slabs come. Whatever the user deletes or
closes meanwhile, the run stops and leaves the rest alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_asmlp.edit.history import Step
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import add_labels, source_view
from napari_asmlp.viewer.tasks import Job, Task

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_asmlp.grid import Region
    from napari_asmlp.pipeline import Progress, Slab

REDRAW_MS = 250
_REST_PER_PAINTING = 4  # how long a slow window is left alone, for each second it painted

_running: set[LiveRun] = set()  # a run outlives its panel until its thread is done


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
    """

    def __init__(self, viewer: ViewerModel, layer: Labels, target: Labels | None = None) -> None:
        self.layer = layer
        self._viewer = viewer
        self._target = target
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
        part = source_view(self.layer)[slab.region.slices]
        # what is not 0 in a new layer has been painted: each voxel is in one slab only
        free = part == 0 if self._target is None else np.True_
        np.copyto(part, slab.labels, where=free, casting="unsafe")
        self._done.append(slab.region)
        self._stale = True

    def redraw(self) -> None:
        """Show what was written since the last time."""
        if self._stale and not self.is_gone:
            self._stale = False
            self.layer.refresh(extent=False, highlight=False)

    def finish(self) -> Labels | None:
        """Commit a preview and return the layer that now holds the result, if there is one."""
        self.redraw()
        viewer, target = self._viewer, self._target
        if self._hidden and target is not None and target in viewer.layers:
            target.visible = True
        if not self._done or self.layer not in viewer.layers:
            return None
        if target is None or target not in viewer.layers:
            journal.begin(self.layer, unsaved=True)
            return self.layer
        commit(self.layer, target, self._done)
        viewer.layers.selection.clear()
        viewer.layers.remove(self.layer)
        if viewer.dims.ndisplay == 2:  # in 3D napari may fail to select it, see `add_labels`
            viewer.layers.selection.active = target
        return target

    def _show(self) -> None:
        target = self._target
        if target is not None:
            np.copyto(source_view(self.layer), source_view(target), casting="unsafe")
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
        _running.discard(self)
        self.ended.emit(self._labels.finish(), self._result)


def commit(preview: Labels, target: Labels, regions: list[Region]) -> None:
    """Bring the finished regions of a preview into a layer, as one change that can be undone.

    Only voxels that differ are touched, so that what the user painted elsewhere stays.
    """
    edits = edits_of(target)
    edits.settle()
    boxes = [region.slices for region in regions]
    new, old = source_view(preview), source_view(target)
    edits.commit(Step.between(old, new, "segment", "prediction", boxes))
