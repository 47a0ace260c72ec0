"""How well a model does on cases held out: overlap, distances, and what its doubts are worth."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.calibration import (
    Reliability,
    RiskCoverage,
    VoxelSample,
    fit_temperature,
    refused_temperature,
    tempered,
)
from napari_asmlp.evaluate import score_labels, summarise, without
from napari_asmlp.grid import Region
from napari_asmlp.model import Model
from napari_asmlp.pipeline.segmentation import Segmentation, iter_segment
from napari_asmlp.pipeline.settings import SegmentSettings
from napari_asmlp.preprocess.to_source import uncertainty_of
from napari_asmlp.training.dataset import Case, read_case
from napari_asmlp.training.trainer import Stage

# Voxels to calibrate on, at most, of each half of the cases; and probabilities of them.
_VOXELS, _CHANCES = 500_000, 1 << 22
_DECIMALS = 4


@dataclass(frozen=True)
class Scored:
    """What a model was found to do.

    Attributes
    ----------
    scores : in the form of `napari_asmlp.evaluate.evaluate`; empty without cases
    temperature : that fits the cases best
    calibration : see `_calibration`
    """

    scores: dict[str, Any]
    temperature: float
    calibration: dict[str, Any]


def score(
    model: Model, cases: Sequence[Case], device: str = "auto", ignore: int | None = None
) -> Generator[Stage, None, Scored]:
    """Segment cases as a user would and compare with their labels, on their own grids.

    Memory holds the image and the labels of one case, probabilities of a slab of it, and a sample
    of voxels to calibrate on.

    Parameters
    ----------
    model : with temperature 1; where its labels are regions, nothing is calibrated
    ignore : label value of voxels that nobody annotated; they are left out
    """
    outputs = model.card.out_channels
    most = min(_VOXELS, _CHANCES // outputs)
    halves = VoxelSample(outputs, most), VoxelSample(outputs, most)
    rows = {}
    for done, case in enumerate(cases):
        yield Stage("scoring", done, len(cases))
        rows[case.name] = _score_case(model, case, device, halves[done % 2], ignore)
    if not rows or model.card.regions:
        return Scored(_rounded(summarise(rows)) if rows else {}, 1.0, {})
    fitted = fit_temperature(
        np.concatenate([half.chances for half in halves], axis=1),
        np.concatenate([half.truth for half in halves]),
    )
    calibration = {"cases": len(rows), **_calibration(halves, fitted)}
    if reason := refused_temperature(fitted):
        calibration["temperature_refused"] = reason
        fitted = 1.0
    return Scored(_rounded(summarise(rows)), fitted, calibration)


def _score_case(
    model: Model, case: Case, device: str, sample: VoxelSample, ignore: int | None
) -> dict[str, dict[str, float | None]]:
    """Return the scores of a case; its voxels go into the sample, slab by slab."""
    image, reference = read_case(case)
    truth, regions = reference.array(), model.card.regions
    outputs = _outputs(model, int(truth.max()))
    settings = SegmentSettings(
        device=device, region=Region.whole(image.grid.shape), probabilities=not regions
    )
    work = iter_segment(image, model, settings, keep_probabilities=False)
    while True:
        try:
            slab = next(work).slab
        except StopIteration as stop:
            found: Segmentation = stop.value
            parts = dict(zip(model.card.label_names, regions, strict=True)) if regions else None
            return score_labels(*without(ignore, found.labels, reference), parts)
        if slab is not None and slab.probabilities is not None:
            right = truth[slab.region.slices]
            some = ((right > 0) | (slab.labels > 0)) & (right != (-1 if ignore is None else ignore))
            sample.add(slab.probabilities[some].T, outputs[right[some]])


def _outputs(model: Model, highest: int) -> NDArray[np.intp]:
    """Return the network's output for each label value up to the highest; 0 is background."""
    values = [entry.value for entry in model.card.labels]
    outputs = np.zeros(max(*values, highest) + 1, np.intp)
    outputs[values] = np.arange(1, len(values) + 1)
    return outputs


def _calibration(halves: tuple[VoxelSample, VoxelSample], temperature: float) -> dict[str, Any]:
    """Measure errors of calibration and the order of uncertainties.

    ``ece`` is over voxels where reference or prediction is not background. These are chosen by the
    truth: background that was predicted is always wrong among them, however sound its probability.
    ``ece_found`` is over those where the prediction is not background, which a user can see.

    What is said of the temperature is measured on cases that it was not fitted on: that of one half
    of the cases serves for the other half. Without two cases nothing can be said.
    """
    before, after, curve = Reliability(), Reliability(), RiskCoverage()
    before_found, after_found = Reliability(), Reliability()
    for half, other in (halves, halves[::-1]):
        foreign = fit_temperature(other.chances, other.truth)
        found = half.chances.argmax(axis=0)
        right, labelled = found == half.truth, found > 0
        chances = tempered(half.chances, foreign)
        for every, some, confidence in (
            (before, before_found, half.chances.max(axis=0)),
            (after, after_found, chances.max(axis=0)),
        ):
            every.add(confidence, right)
            some.add(confidence[labelled], right[labelled])
        curve.add(uncertainty_of(chances, len(chances), softmax=True)[0], ~right)
    second = halves[1].seen > 0
    measured = {
        "voxels": sum(half.seen for half in halves),
        "voxels_drawn": before.voxels,
        "temperature": temperature,
        "ece_before": before.error,
        "ece_after": after.error if second else None,
        "ece_found_before": before_found.error,
        "ece_found_after": after_found.error if second else None,
        "risk": curve.risk,
        "risk_coverage_area": curve.area,
        "least_area": curve.least_area,
    }
    rounded: dict[str, Any] = _rounded(measured)
    return rounded


def _rounded(scores: Any) -> Any:
    if isinstance(scores, dict):
        return {key: _rounded(value) for key, value in scores.items()}
    return round(scores, _DECIMALS) if isinstance(scores, float) else scores


def scored_model(model: Model, scored: Scored) -> Model:
    """Write on a model's card what was found."""
    card = replace(
        model.card,
        scores=scored.scores,
        temperature=scored.temperature,
        calibration=scored.calibration,
    )
    return replace(model, card=card)
