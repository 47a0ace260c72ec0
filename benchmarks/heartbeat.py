"""How long the window's thread is held up: idle, while each edit tool runs, while a model runs.

``xvfb-run -a python benchmarks/heartbeat.py`` opens a real window with a volume and its labels and
lets a timer beat every 10 ms. It prints, in Markdown, how late beats come, in ms; ``changed`` is
the tool's answer, brought into the layer and taken back by undo, both counted too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch  # isort: skip  # before Qt: loaded beside a running one it takes far longer
import napari
import numpy as np
from phantom import SHAPE, SPACING, phantom
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_asmlp import edit, zoo
from napari_asmlp.edit import Tool
from napari_asmlp.grid import Grid, Region
from napari_asmlp.pipeline import SegmentSettings, iter_segment
from napari_asmlp.viewer.edit.request import Wish, resolve
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import image_layer_data, labels_layer_data
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.volume import Volume

BEAT_MS = 10
TOOLS: tuple[tuple[type[Tool], dict[str, object]], ...] = (
    (edit.KeepLargestIsland, {}),
    (edit.RemoveSmallIslands, {"smallest_mm3": 50.0}),
    (edit.FillHoles, {}),
    (edit.Smooth, {"radius_mm": 3.0}),
    (edit.Grow, {"mm": 2.0}),
    (edit.Shrink, {"mm": 2.0}),
    (edit.InterpolateSlices, {"axis": 0}),
    (edit.GrowFromSeeds, {"low": 0.0, "high": 100.0}),
    (edit.SplitByWatershed, {}),
    (edit.Relabel, {"to": 9}),
)


class Heart:
    """A timer of the window's thread that notes when it beats."""

    def __init__(self) -> None:
        self._beats: list[float] = []
        self._timer = QTimer()
        self._timer.setInterval(BEAT_MS)
        self._timer.timeout.connect(lambda: self._beats.append(time.perf_counter()))

    @contextmanager
    def listened(self, title: str) -> Iterator[None]:
        """Print how far apart the beats were meanwhile."""
        self._beats = [time.perf_counter()]
        self._timer.start()
        yield
        self._timer.stop()
        gaps = np.diff([*self._beats, time.perf_counter()]) * 1000
        late = " | ".join(f"{np.percentile(gaps, p):.0f}" for p in (50, 99, 99.9, 100))
        print(f"| {title} | {gaps.sum() / 1000:.1f} | {late} |", flush=True)


def wait(until: Callable[[], bool]) -> None:
    while not until():
        QApplication.processEvents()
        time.sleep(0.001)


def run(job: Job) -> object:
    """Run a job as the panels do; return what it returns, None if it failed."""
    answers: list[object] = []
    ended: list[bool] = []
    task = Task(job)
    task.returned.connect(answers.append)
    task.ended.connect(lambda: ended.append(True))
    task.start()
    wait(lambda: bool(ended))
    return answers[0] if answers else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", nargs=3, type=int, default=SHAPE)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds")
    given = parser.parse_args()
    shape = tuple(given.shape)
    values, voxels = phantom(shape)
    grid = Grid(shape, np.diag([*SPACING, 1.0]))
    scan = Volume(voxels, grid, "image", title="scan")
    viewer = napari.Viewer()
    ((data, look, _),) = image_layer_data(scan)
    image = viewer.add_image(data, **look)
    drawn = Volume(values.astype(np.uint16), grid, "labels")
    data, look, _ = labels_layer_data(drawn, name="labels")
    labels = viewer.add_labels(data, **look)
    heart, end = Heart(), time.perf_counter() + 2
    wait(lambda: time.perf_counter() > end)  # the window settles
    print("| meanwhile | s | p50 | p99 | p99.9 | max |\n|---|---|---|---|---|---|")
    with heart.listened("idle"):
        end = time.perf_counter() + given.idle
        wait(lambda: time.perf_counter() > end)
    edits = edits_of(labels)
    for tool, settings in TOOLS:
        with heart.listened(tool.title):
            prepared = run(resolve(Wish(labels, tool, settings, image)).job())
        if prepared is None:
            continue
        with heart.listened(f"{tool.title}: {prepared.change.count:,} changed, undone"):
            prepared.commit()
            wait(lambda: not edits.busy)
            edits.undo()
            wait(lambda: not edits.busy)
    if zoo.model_paths():
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
        model = zoo.load(next(iter(zoo.model_paths())))
        middle = Region(tuple(n // 4 for n in shape), tuple(n - n // 4 for n in shape))
        job = Job("segment", lambda: iter_segment(scan, model, SegmentSettings(region=middle)))
        with heart.listened("a model runs"):
            run(job)
    viewer.close()


if __name__ == "__main__":
    main()
