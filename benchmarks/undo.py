"""Undo: latency, longest slot of the window's thread, and memory of 100 operations.

    xvfb-run -a python benchmarks/undo.py [planes ...]

Builds labels of 512x512x300 and 512x512x600 voxels (five blobby labels), edits them with strokes
and with changes as whole-volume tools make them, undoes and redoes, and prints a table. The journal
is written meanwhile, as in the window.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from statistics import median

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from napari_asmlp.edit.step import Step
from napari_asmlp.viewer.history import edits as module
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.history.edits import Edits, edits_of

OPERATIONS = 100


def volume(shape: tuple[int, int, int]) -> np.ndarray:
    """Five labels with rough surfaces, in the memory order of a NIfTI file."""
    rng = np.random.default_rng(0)
    coarse = rng.random(tuple(n // 16 + 1 for n in shape))
    field = ndimage.gaussian_filter(coarse, 1.0)
    field = (field - field.min()) / np.ptp(field)
    labels = np.zeros(shape, np.uint8, order="F")
    for k in range(shape[2]):
        plane = ndimage.zoom(field[:, :, k // 16], 16, order=1)[: shape[0], : shape[1]]
        plane += rng.normal(0, 0.004, plane.shape)
        labels[:, :, k] = np.digitize(plane, (0.45, 0.5, 0.56, 0.63, 0.72))
    return labels


class Slots:
    """The time of each stretch of our code in the window's thread."""

    def __init__(self, application: QApplication) -> None:
        self.application = application
        self.longest = 0.0
        slot = Edits._slot

        def timed(edits: Edits) -> None:
            begun = time.perf_counter()
            slot(edits)
            self.longest = max(self.longest, time.perf_counter() - begun)

        module.Edits._slot = timed  # type: ignore[method-assign]  # to look inside

    def run(self, edits: Edits, action, action_is_ours: bool = True) -> float:
        """Return how long an action takes until it is written completely."""
        begun = time.perf_counter()
        action()
        first = time.perf_counter() - begun
        while edits.busy:
            self.application.processEvents()
        if action_is_ours:
            self.longest = max(self.longest, first)
        return time.perf_counter() - begun


def tool_step(labels: np.ndarray, number: int) -> Step:
    """What a whole-volume smoothing or growing does: rough surfaces move by one voxel."""
    after = labels.copy(order="K")
    axis = number % 3
    moved = np.roll(labels, 1 + number % 2, axis=axis)
    surface = moved != labels
    after[surface & (moved > 0)] = moved[surface & (moved > 0)]
    return Step.between(labels, after, "tool")


def stroke(layer: Labels, rng: np.random.Generator) -> None:
    """Drag the brush over 30 positions of one slice."""
    start = rng.integers(60, np.array(layer.data.shape) - 60)
    with layer.block_history():
        for step in range(30):
            layer.paint(
                start + np.array([0, step, step // 2]), int(rng.integers(1, 6)), refresh=False
            )
        layer._partial_labels_refresh()


def report(title: str, seconds: list[float]) -> None:
    print(f"  {title:28} median {1e3 * median(seconds):7.1f} ms   max {1e3 * max(seconds):7.1f} ms")


def measure(shape: tuple[int, int, int], slots: Slots) -> None:
    viewer = ViewerModel()
    journal.follow(viewer)
    layer = viewer.add_labels(volume(shape).transpose(2, 1, 0))
    journal.flush()
    edits = edits_of(layer)
    layer.brush_size = 20
    rng = np.random.default_rng(1)
    original = edits.array.copy()
    times: dict[str, list[float]] = {}
    counts, sizes, packing = [], [], []
    slots.longest = 0.0
    for number in range(OPERATIONS):
        if number % 4:
            times.setdefault("stroke", []).append(
                slots.run(edits, lambda: stroke(layer, rng), False)
            )
            kind = "stroke"
        else:
            begun = time.perf_counter()
            step = tool_step(edits.array, number // 4)
            packing.append(time.perf_counter() - begun)
            counts.append(step.count)
            sizes.append(step.nbytes)
            kind = "tool"
            times.setdefault("commit", []).append(slots.run(edits, lambda s=step: edits.commit(s)))
        for name, action in (("undo", layer.undo), ("redo", layer.redo)):
            times.setdefault(f"{name} of a {kind}", []).append(slots.run(edits, action))
    print(f"{shape}: {OPERATIONS} operations, {len(counts)} of them whole-volume tools")
    print(f"  voxels a tool changes        {np.min(counts):,} to {np.max(counts):,}")
    print(f"  bytes of such a step         {np.min(sizes):,} to {np.max(sizes):,}")
    for name in sorted(times):
        report(name, times[name])
    print(f"  longest slot                 {1e3 * slots.longest:.1f} ms")
    print(f"  history                      {edits.history.nbytes / 2**20:.0f} MB")
    begun = time.perf_counter()
    while edits.undo_title:
        slots.run(edits, edits.undo)
    same = bool((edits.array == original).all())
    print(f"  all undone in                {time.perf_counter() - begun:.1f} s, as before: {same}")
    begun = time.perf_counter()
    journal.flush()
    print(f"  journal written              {time.perf_counter() - begun:.2f} s later")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"  peak memory of the process   {peak:.0f} MB")


def main() -> None:
    application = QApplication.instance() or QApplication(sys.argv)
    with tempfile.TemporaryDirectory() as state:
        os.environ[journal.STATE_VARIABLE] = state
        slots = Slots(application)
        for planes in map(int, sys.argv[1:] or ("300", "600")):
            measure((512, 512, planes), slots)
        journal.close_all()


if __name__ == "__main__":
    main()
