"""From a volume to labels on its own grid.

Read, bring to the model grid, run windows, decide, bring back: `iter_segment` is that path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from napari_asmlp import zoo
from napari_asmlp.inference import Step, engine_of, enough_memory, iter_slabs
from napari_asmlp.io import read_volume
from napari_asmlp.io.channels import joined
from napari_asmlp.model import AnyModel, Model, segmenter
from napari_asmlp.pipeline.outputs import Outputs
from napari_asmlp.pipeline.partial import Partial
from napari_asmlp.pipeline.plan import Plan, check_fit, make_plan
from napari_asmlp.pipeline.settings import SegmentSettings
from napari_asmlp.preprocess import ModelImage, Slab, SourceSlabs, UprightSlabs, iter_raise
from napari_asmlp.preprocess.fills import Fill
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
    notes : what the user should know of this volume, in sentences; all there are so far
    """

    stage: Literal["reading", "segmenting"]
    done: int
    total: int
    seconds: float
    slab: Slab | None = None
    first: int = 0
    plan: Plan | None = None
    notes: tuple[str, ...] = ()

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
    report : settings, model, versions, windows, seconds and memory, as plain values; of the
        seconds, `stitch` is summing up, `decide` includes bringing scores back to the grid, and
        `write` is of finished slabs
    """

    labels: Volume
    probabilities: Volume | None
    report: dict[str, Any]
    uncertainty: Volume | None = None


def segment(
    volume: Volume | str | os.PathLike[str] | Sequence[Volume | str | os.PathLike[str]],
    model: AnyModel | str | os.PathLike[str] = "hippocampus",
    settings: SegmentSettings | None = None,
) -> Volume:
    """Label a volume.

    Parameters
    ----------
    volume : a volume, the file of one, or several of these: its channels, in their order
    model : a model, its name, or its file
    settings : by default those of `SegmentSettings`

    Returns
    -------
    Volume
        Labels on the volume's own grid, in memory; so are the outputs of `iter_segment` unless it
        is given a folder to keep them in.

    Raises
    ------
    AsmlpError
        Where volume, model and settings do not go together, or one of them is unusable.
    """
    channels = [volume] if isinstance(volume, Volume | str | os.PathLike) else volume
    image = joined([v if isinstance(v, Volume) else read_volume(v) for v in channels])
    if not isinstance(model, Model):
        model = zoo.load(model)
    return finish(iter_segment(image, segmenter(model), settings or SegmentSettings())).labels


def finish(work: Generator[Progress, None, Segmentation]) -> Segmentation:
    """Run a segmentation to its end."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Segmentation = stop.value
            return result


def iter_segment(
    volume: Volume,
    model: Model,
    settings: SegmentSettings,
    partial: Partial | None = None,
    *,
    keep_probabilities: bool = True,
) -> Generator[Progress, None, Segmentation]:
    """Label a volume window by window; see `segment`.

    Planes are read, labelled and handed on in the order of the file, and only those that windows
    still touch are held. Closing it, or an interrupt, stops within a window.

    Parameters
    ----------
    partial : folder of finished planes, to go on from and to read results from, until the caller
        removes it. None keeps them in memory: 1 or 2 bytes a voxel, and 4 for each probability
    keep_probabilities : False gives those asked for in the slabs of the progress only

    Yields
    ------
    Progress
        Before the first and after each window.
    """
    check_fit(volume, model, settings)
    kept = replace(settings, probabilities=settings.probabilities and keep_probabilities)
    plan = make_plan(volume, model, kept, in_memory=partial is None)
    record = _Record(describe_run(volume, model, settings), plan, model)
    outputs = Outputs(volume, model, kept, plan, partial, record.described)
    slabs = _source_slabs(volume, model, settings, plan)
    for recalled in outputs.recalled():
        yield record.progress("reading", recalled)
    first = record.skip(_first_window(plan, slabs, outputs))
    seen, recipe, raised = volume, model.card.preprocessing, plan.upright is not None
    if raised and first < len(plan.boxes):
        seen = yield from _raised(volume, model, plan, record)
    with closing(ModelImage(seen, plan.placement, recipe, counts_nan=not raised)) as image:
        if first == len(plan.boxes):
            yield record.progress("segmenting")
        else:
            yield from _surveyed(image, record)
        inference, axis = outputs.settings_in_force(plan.inference), plan.placement.slab_axis
        steps = iter_slabs(model.network, image, plan.boxes, axis, inference, first)
        with closing(steps), enough_memory("labels of finished planes"):
            for step in steps:
                record.note(step)
                slab = None
                for slab in slabs.add(*step.finished) if step.finished else ():
                    outputs.take(slab, step.settings)
                    yield record.progress("segmenting", slab)
                if slab is None:
                    yield record.progress("segmenting")
    found = outputs.results()
    spent = {
        "read": image.seconds + record.raising,
        "decide": slabs.seconds,
        "write": outputs.seconds,
    }
    return Segmentation(
        found.labels, found.probabilities, record.report(outputs, spent), found.uncertainty
    )


def _source_slabs(
    volume: Volume, model: Model, settings: SegmentSettings, plan: Plan
) -> SourceSlabs:
    """Return what turns scores into slabs of the source."""
    maps = {"probabilities": settings.probabilities, "uncertainty": settings.uncertainty}
    if plan.upright is None:
        return SourceSlabs(plan.placement, model.card, **maps)
    return UprightSlabs(plan.upright, volume.grid, plan.region, model.card, **maps)


def _raised(
    volume: Volume, model: Model, plan: Plan, record: _Record
) -> Generator[Progress, None, Volume]:
    """Bring the region upright; see `preprocess.upright`."""
    if plan.upright is None:
        return volume
    started = time.monotonic()
    steps = iter_raise(volume, plan.region, plan.upright, model.card.preprocessing)
    with closing(steps), enough_memory("the volume brought upright"):
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                volume, record.fills = stop.value
                record.raising = time.monotonic() - started
                return volume
            yield record.progress("reading")


def _surveyed(image: ModelImage, record: _Record) -> Iterator[Progress]:
    """Find out how the image is scaled, and its fill values."""
    with enough_memory("planes of the image"):
        for _ in image.survey():
            yield record.progress("reading")
    record.fills += image.fills


def _first_window(plan: Plan, slabs: SourceSlabs, outputs: Outputs) -> int:
    """Return the window to begin with: the first that matters to planes not finished yet."""
    if not outputs.resumed:
        return 0
    if outputs.resumed == plan.region.shape[2]:
        return len(plan.boxes)
    plane, axis = slabs.skip(outputs.resumed), plan.placement.slab_axis
    spans = [range(box.start[axis], box.stop[axis]) for box in plan.boxes]
    return next(n for n, span in enumerate(spans) if plane in span)


class _Record:
    """Where a run stands, and what took how long.

    Attributes
    ----------
    fills : of the volume, found so far
    raising : seconds spent bringing the volume upright
    """

    def __init__(self, described: dict[str, Any], plan: Plan, model: Model) -> None:
        self.described = described
        self.fills: list[Fill] = []
        self.raising = 0.0
        self._plan, self._model = plan, model
        self._started = time.monotonic()
        self._network_began = self._started
        self._first = self._done = self._skipped = 0
        self._stages = {"network": 0.0, "stitch": 0.0}
        self._settings = plan.inference

    def skip(self, first: int) -> int:
        """Take note of the window that a resumed run begins with, and return it."""
        self._first = self._done = first
        return first

    def note(self, step: Step) -> None:
        """Take note of a step."""
        if self._done == self._first:  # reading the first planes says nothing of the windows' rate
            self._network_began = time.monotonic() - step.network_seconds
        self._done, self._skipped = step.done, step.skipped
        self._settings = step.settings
        self._stages = {"network": step.network_seconds, "stitch": step.stitch_seconds}

    def progress(
        self, stage: Literal["reading", "segmenting"], slab: Slab | None = None
    ) -> Progress:
        """Return where the run stands."""
        now = time.monotonic()
        if stage == "reading":
            self._network_began = now
        seconds = now - self._network_began
        done, total = self._done, len(self._plan.boxes)
        plan = self._plan
        notes = (
            *filter(None, [plan.note, plan.emulation]),
            *(fill.describe() for fill in self.fills),
        )
        return Progress(stage, done, total, seconds, slab, self._first, self._plan, notes)

    def report(self, outputs: Outputs, spent: dict[str, float]) -> dict[str, Any]:
        """Return all that there is to say in the end; `spent` are the seconds of further stages."""
        seconds = spent | self._stages
        total = time.monotonic() - self._started
        seconds |= {"other": total - sum(seconds.values()), "total": total}
        ran = self._done - self._first - self._skipped
        return self.described | {
            "windows": {"run": ran, "skipped": self._skipped},
            "window": self._plan.window,
            "overlap": self._plan.overlap,
            "resumed_planes": outputs.resumed,
            "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
            "device": self._settings.device.type,
            "precision": self._settings.precision,
            "batch": self._settings.batch,
            "compiled": self._settings.compiled,
            "network": engine_of(self._model.network, self._settings),
            "threads": torch.get_num_threads(),
            "parts": self._settings.parts,
            "planned_memory_bytes": self._plan.memory,
            "peak_memory_bytes": peak_memory(),
            "model_grid": self._plan.placement.model_grid.describe(),
            "tilt_degrees": round(self._plan.tilt_degrees, 2),
            "upright": self._plan.upright is not None,
            "fills": [asdict(fill) for fill in self.fills],
            "volumes_mm3": outputs.volumes_mm3(),
        }
