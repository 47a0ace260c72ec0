"""Where finished slabs go: arrays in memory, or files that are written plane by plane."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_asmlp.grid import Region
from napari_asmlp.io.planes import open_planes
from napari_asmlp.measure import voxel_mm3
from napari_asmlp.pipeline.partial import Finished, Identity, Partial, identity_of
from napari_asmlp.preprocess import Slab
from napari_asmlp.volume import Volume, smallest_unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.inference import InferenceSettings
    from napari_asmlp.io.spool import Spool
    from napari_asmlp.model import Model
    from napari_asmlp.pipeline.plan import Plan
    from napari_asmlp.pipeline.settings import SegmentSettings

_VOXELS_AT_ONCE = 1 << 23  # read back when a run goes on


class _Array:
    """An output in memory."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.array = np.zeros(shape, dtype)

    def write(self, region: Region, part: NDArray[Any]) -> None:
        self.array[region.slices] = part


@dataclass(frozen=True)
class Results:
    """The outputs of a run as volumes on the source grid; None for what was not asked for."""

    labels: Volume
    probabilities: Volume | None
    uncertainty: Volume | None


class Outputs:
    """The outputs of a run, which fill from the first plane of the file to the last.

    Parameters
    ----------
    volume, model, settings, plan : of the run
    partial : the folder that the outputs are kept in; None keeps them in memory
    described : `provenance.describe_run` of it

    Attributes
    ----------
    finished : how far it came
    resumed : planes that were finished when this run began
    seconds : spent writing them, so far
    """

    def __init__(
        self,
        volume: Volume,
        model: Model,
        settings: SegmentSettings,
        plan: Plan,
        partial: Partial | None,
        described: dict[str, Any],
    ) -> None:
        self.seconds = 0.0
        self._volume, self._card, self._partial = volume, model.card, partial
        self._region = plan.region
        highest = max(entry.value for entry in self._card.labels)
        self._counts = np.zeros(highest + 1, np.int64)
        forms = _forms(volume, model, settings, plan)
        self.finished, self._identity = Finished(), Identity()
        self._arrays: dict[str, _Array] = {}
        self._spools: dict[str, Spool] = {}
        if partial is None:
            self._arrays = {name: _Array(*form) for name, form in forms.items()}
        else:
            self._spools = {name: partial.spool(name, *form) for name, form in forms.items()}
            self._identity = identity_of(volume, plan, described)
            self.finished = partial.finished(self._identity, list(self._spools.values()))
        self.resumed = self.finished.planes

    def recalled(self) -> Iterator[Slab]:
        """Give the slabs that an earlier run finished, a few planes at a time."""
        i, j, _ = self._region.slices
        first = self._region.start[2]
        step = max(1, _VOXELS_AT_ONCE // (self._region.shape[0] * self._region.shape[1]))
        opened = (
            {name: open_planes(spool.stored(), first) for name, spool in self._spools.items()}
            if self.resumed
            else {}
        )
        try:
            for start in range(0, self.resumed, step):
                count = min(step, self.resumed - start)
                parts = {name: planes.read(count)[i, j] for name, planes in opened.items()}
                region = replace(
                    self._region,
                    start=(*self._region.start[:2], first + start),
                    stop=(*self._region.stop[:2], first + start + count),
                )
                self._count(parts["labels"])
                yield Slab(region, **parts)
        finally:
            for planes in opened.values():
                planes.close()

    def settings_in_force(self, planned: InferenceSettings) -> InferenceSettings:
        """Return the settings to go on with: an earlier run may have had to step down."""
        finished = self.finished
        if finished.precision is None:
            return planned
        return replace(planned, precision=finished.precision, parts=finished.parts)

    def take(self, slab: Slab, inference: InferenceSettings) -> None:
        """Put a slab in its place, for good."""
        started = time.monotonic()
        if self._partial is not None and not self.finished.planes:
            self._partial.begin(list(self._spools.values()))
        for name, output in (self._arrays | self._spools).items():
            output.write(slab.region, getattr(slab, name))
        self._count(slab.labels)
        planes = slab.region.stop[2] - self._region.start[2]
        self.finished = Finished(planes, inference.precision, inference.parts)
        if self._partial is not None:
            self._partial.note(self._identity, self.finished)
        self.seconds += time.monotonic() - started

    def results(self) -> Results:
        """Return the outputs; those in files as long as the folder is there."""
        volume = self._volume
        names, colours = self._card.label_names, self._card.label_colours
        data: dict[str, Any] = {name: one.array for name, one in self._arrays.items()}
        data |= {name: spool.stored() for name, spool in self._spools.items()}
        if self._partial is None:
            labels = volume.with_labels(data["labels"], names, colours)
        else:
            labels = replace(
                volume,
                data=data["labels"],
                kind="labels",
                label_names=names,
                label_colours=colours,
                notes=(),
            )
        others = (
            replace(volume, data=data[name]) if name in data else None
            for name in ("probabilities", "uncertainty")
        )
        return Results(labels, *others)

    def volumes_mm3(self) -> dict[str, float]:
        """Return the volume of each label that occurs, by its name."""
        voxel, names = voxel_mm3(self._volume.grid.affine), self._card.label_names
        return {
            names[value]: round(int(self._counts[value]) * voxel, 3)
            for value in sorted(names)
            if self._counts[value]
        }

    def _count(self, labels: NDArray[Any]) -> None:
        self._counts += np.bincount(labels.ravel(order="K"), minlength=len(self._counts))


def _forms(
    volume: Volume, model: Model, settings: SegmentSettings, plan: Plan
) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and dtype of each output that is asked for."""
    shape, card = volume.grid.shape, model.card
    highest = max(entry.value for entry in card.labels)
    forms: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
        "labels": (shape, smallest_unsigned(highest))
    }
    if settings.probabilities:
        forms["probabilities"] = (*shape, card.out_channels), np.dtype(np.float32)
    if settings.uncertainty:
        maps = (2,) if plan.inference.disagreement else ()
        forms["uncertainty"] = (*shape, *maps), np.dtype(np.uint8)
    return forms
