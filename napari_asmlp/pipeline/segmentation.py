"""From a volume to labels on its own grid.

Read, bring to the model grid, run windows, decide, bring back: `iter_segment` is that path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from napari_asmlp import zoo
from napari_asmlp.inference import Step, iter_slabs
from napari_asmlp.io import read_volume
from napari_asmlp.model import Model
from napari_asmlp.pipeline.outputs import Outputs
from napari_asmlp.pipeline.partial import Partial
from napari_asmlp.pipeline.plan import Plan, check_fit, make_plan
from napari_asmlp.pipeline.settings import SegmentSettings
from napari_asmlp.preprocess import ModelImage, Slab, SourceSlabs
from napari_asmlp.provenance import describe_run, peak_memory
from napari_asmlp.volume import Volume


@dataclass(frozen=True)
class Progress:
    """Where a segmentation stands.

    Attributes
    ----------
    stage : what is being done
    done, total : windows
    seconds : since the first window of this run began
    slab : planes that are finished with this step, or None
    first : windows that an earlier run had done
    plan : what the whole will take
    """

    stage: Literal["reading", "segmenting"]
    done: int
    total: int
    seconds: float
    slab: Slab | None = None
    first: int = 0
    plan: Plan | None = None

    @property
    def fraction(self) -> float:
        """Share of the windows that is done."""
        return self.done / self.total

    @property
    def rate(self) -> float | None:
        """Windows a second, None before the first."""
        done = self.done - self.first
        return done / self.seconds if done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far, None before the first window."""
        return (self.total - self.done) / self.rate if self.rate else None

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        if not self.rate:
            return self.stage
        return f"{self.done} of {self.total} windows, {self.rate:.2g} a second"


@dataclass(frozen=True)
class Segmentation:
    """What a segmentation gives.

    Attributes
    ----------
    labels : on the grid of the volume
    probabilities : (i, j, k, K) on the same grid, where they were asked for
    uncertainty : uint8 on the same grid, where it was asked for; see `Slab`
    report : settings, model, versions, windows, seconds and memory, as plain values
    """

    labels: Volume
    probabilities: Volume | None
    report: dict[str, Any]
    uncertainty: Volume | None = None


def segment(
    volume: Volume | str | os.PathLike[str],
    model: Model | str | os.PathLike[str] = "hippocampus",
    settings: SegmentSettings | None = None,
) -> Volume:
    """Label a volume.

    Parameters
    ----------
    volume : a volume, or the file of one
    model : a model, its name, or its file
    settings : by default those of `SegmentSettings`

    Returns
    -------
    Volume
        Labels on the volume's own grid.

    Raises
    ------
    AsmlpError
        Where volume, model and settings do not go together, or one of them is unusable.
    """
    if not isinstance(volume, Volume):
        volume = read_volume(volume)
    if not isinstance(model, Model):
        model = zoo.load(model)
    return finish(iter_segment(volume, model, settings or SegmentSettings())).labels


def finish(work: Generator[Progress, None, Segmentation]) -> Segmentation:
    """Run a segmentation to its end."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Segmentation = stop.value
            return result


def iter_segment(
    volume: Volume, model: Model, settings: SegmentSettings, partial: Partial | None = None
) -> Generator[Progress, None, Segmentation]:
    """Label a volume window by window; see `segment`.

    Planes are read, labelled and handed on in the order of the file, and only those that windows
    still touch are held. Closing it, or an interrupt, stops within a window.

    Parameters
    ----------
    volume, model, settings : as for `segment`
    partial : folder to keep finished planes in, so that a run which was stopped can go on; the
        results are read from there, until the caller removes it. None keeps them in memory.

    Yields
    ------
    Progress
        Before the first and after each window.
    """
    check_fit(volume, model, settings)
    plan = make_plan(volume, model, settings, in_memory=partial is None)
    record = _Record(describe_run(volume, model, settings), plan)
    outputs = Outputs(volume, model, settings, plan, partial, record.described)
    slabs = SourceSlabs(
        plan.placement,
        model.card,
        probabilities=settings.probabilities,
        uncertainty=settings.uncertainty,
    )
    for recalled in outputs.recalled():
        yield record.progress("reading", recalled)
    first = record.skip(_first_window(plan, slabs, outputs))
    with closing(ModelImage(volume, plan.placement, model.card.preprocessing)) as image:
        if first == len(plan.boxes):
            yield record.progress("segmenting")
        else:
            for _ in image.survey():
                yield record.progress("reading")
        steps = iter_slabs(
            model.network,
            image,
            plan.boxes,
            plan.placement.slab_axis,
            outputs.settings_in_force(plan.inference),
            first,
        )
        with closing(steps):
            for step in steps:
                slab = slabs.add(*step.finished) if step.finished else None
                if slab is not None:
                    outputs.take(slab, step.settings.precision)
                record.note(step, image.seconds)
                yield record.progress("segmenting", slab)
    found = outputs.results()
    return Segmentation(
        found.labels, found.probabilities, record.report(outputs), found.uncertainty
    )


def _first_window(plan: Plan, slabs: SourceSlabs, outputs: Outputs) -> int:
    """Return the window to begin with: the first that matters to planes not finished yet."""
    if not outputs.resumed:
        return 0
    if outputs.resumed == plan.placement.region.shape[2]:
        return len(plan.boxes)
    plane, axis = slabs.skip(outputs.resumed), plan.placement.slab_axis
    spans = [range(box.start[axis], box.stop[axis]) for box in plan.boxes]
    return next(n for n, span in enumerate(spans) if plane in span)


class _Record:
    """Where a run stands, and what took how long."""

    def __init__(self, described: dict[str, Any], plan: Plan) -> None:
        self.described = described
        self._plan = plan
        self._started = time.monotonic()
        self._network_began = self._started
        self._first = self._done = self._skipped = 0
        self._read_seconds = self._network_seconds = 0.0
        self._settings = plan.inference

    def skip(self, first: int) -> int:
        """Take note of the window that a resumed run begins with, and return it."""
        self._first = self._done = first
        return first

    def note(self, step: Step, read_seconds: float) -> None:
        """Take note of a step."""
        if self._done == self._first:  # reading the first planes says nothing of the windows' rate
            self._network_began = time.monotonic() - step.network_seconds
        self._done, self._skipped = step.done, step.skipped
        self._settings, self._network_seconds = step.settings, step.network_seconds
        self._read_seconds = read_seconds

    def progress(
        self, stage: Literal["reading", "segmenting"], slab: Slab | None = None
    ) -> Progress:
        """Return where the run stands."""
        now = time.monotonic()
        if stage == "reading":
            self._network_began = now
        seconds = now - self._network_began
        done, total = self._done, len(self._plan.boxes)
        return Progress(stage, done, total, seconds, slab, self._first, self._plan)

    def report(self, outputs: Outputs) -> dict[str, Any]:
        """Return all that there is to say in the end."""
        total = time.monotonic() - self._started
        seconds = {"read": self._read_seconds, "network": self._network_seconds}
        seconds |= {"other": total - sum(seconds.values()), "total": total}
        ran = self._done - self._first - self._skipped
        return self.described | {
            "windows": {"run": ran, "skipped": self._skipped},
            "window": self._plan.window,
            "resumed_planes": outputs.resumed,
            "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
            "device": self._settings.device.type,
            "precision": self._settings.precision,
            "batch": self._settings.batch,
            "planned_memory_bytes": self._plan.memory,
            "peak_memory_bytes": peak_memory(),
            "model_grid": self._plan.placement.model_grid.describe(),
            "volumes_mm3": outputs.volumes_mm3(),
        }
