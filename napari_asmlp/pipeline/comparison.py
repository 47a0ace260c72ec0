"""A model before and after it was fine-tuned, on corrections that were held back."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.grid import Region
from napari_asmlp.measure import dice
from napari_asmlp.model import Model
from napari_asmlp.pipeline.corrections import Corrections
from napari_asmlp.pipeline.segmentation import iter_segment
from napari_asmlp.pipeline.settings import SegmentSettings
from napari_asmlp.project import UNKNOWN, known_values, open_annotations, open_image
from napari_asmlp.training.trainer import Stage
from napari_asmlp.volume import Volume

Scores = Mapping[int, float | None]
Rows = Mapping[str, Scores]


@dataclass(frozen=True)
class Comparison:
    """Dice by volume and label value; None where neither side has the label.

    Attributes
    ----------
    before, after : against corrections that were held back
    kept : of labels that no correction holds, the new answer against the old one
    """

    before: Rows
    after: Rows
    kept: Rows

    @property
    def better(self) -> bool:
        """Whether fine-tuning raised the mean Dice over the labels."""
        return mean_of(means(self.after)) > mean_of(means(self.before))

    def report(self) -> dict[str, Any]:
        """Return the means, and the scores of each volume, as plain values."""
        tables = {"before": self.before, "after": self.after, "kept": self.kept}
        return {
            name: {"mean": _plain(means(rows)), "volumes": {n: _plain(s) for n, s in rows.items()}}
            for name, rows in tables.items()
        }


def iter_compared(
    start: Model, tuned: Model, corrections: Corrections, device: str
) -> Generator[Stage, None, Comparison]:
    """Segment what was held back by both models, as a user would, on the volumes' own grids."""
    absent = [entry.value for entry in start.card.labels if entry.value not in corrections.values]
    sides = corrections.sides
    entries = [one for one in corrections.corrected if one.hash in sides.kept_out | sides.cut]
    before, after, kept = {}, {}, {}
    for done, entry in enumerate(entries):
        yield Stage("checking", done, len(entries))
        image = open_image(entry)
        truth = known_values(corrections.project, entry, open_annotations(entry, image))
        held = corrections.held(entry, image)
        if held is None:
            continue
        some = held & (truth != UNKNOWN)
        found = []
        for model in (start, tuned):
            labels = yield from _labelled(
                image, model, device, Stage("checking", done, len(entries))
            )
            found.append(labels)
        old, new = found
        if some.any():
            before[entry.name] = _scores(old[some], truth[some], corrections.values)
            after[entry.name] = _scores(new[some], truth[some], corrections.values)
        kept[entry.name] = _scores(new, old, absent)
    return Comparison(before, after, kept)


def means(rows: Rows) -> dict[int, float]:
    """Mean over volumes of each label that some of them has."""
    values = sorted({value for scores in rows.values() for value in scores})
    known = {
        value: [one for scores in rows.values() if (one := scores.get(value)) is not None]
        for value in values
    }
    return {value: float(np.mean(scores)) for value, scores in known.items() if scores}


def mean_of(scores: Mapping[int, float]) -> float:
    """Mean over labels; 0 without any."""
    return sum(scores.values()) / len(scores) if scores else 0.0


def _labelled(
    image: Volume, model: Model, device: str, stage: Stage
) -> Generator[Stage, None, NDArray[Any]]:
    settings = SegmentSettings(device=device, region=Region.whole(image.grid.shape))
    work = iter_segment(image, model, settings)
    while True:
        try:
            next(work)
        except StopIteration as stop:
            labels: NDArray[Any] = stop.value.labels.array()
            return labels
        yield stage


def _scores(found: NDArray[Any], truth: NDArray[Any], values: Sequence[int]) -> Scores:
    return {value: dice(found == value, truth == value) for value in values}


def _plain(scores: Scores) -> dict[str, float | None]:
    return {str(v): None if one is None else round(one, 4) for v, one in scores.items()}
