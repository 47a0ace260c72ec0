"""How well a model does on cases kept out: overlap, distances, and what its doubts are worth."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.calibration import Reliability, RiskCoverage, fit_temperature, tempered
from napari_asmlp.evaluate import score_labels, summarise
from napari_asmlp.grid import Region
from napari_asmlp.model import Model
from napari_asmlp.pipeline.segmentation import finish, iter_segment
from napari_asmlp.pipeline.settings import SegmentSettings
from napari_asmlp.preprocess.to_source import uncertainty_of
from napari_asmlp.training.dataset import Case, read_case
from napari_asmlp.training.trainer import Stage
from napari_asmlp.volume import Volume

_VOXELS_PER_CASE = 50_000
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


@dataclass(frozen=True)
class _Voxels:
    """Voxels of a case where reference or prediction is not background, spread evenly over them.

    Attributes
    ----------
    chances : (K, N) probabilities at temperature 1
    truth : (N,) output that is right
    """

    chances: NDArray[np.float32]
    truth: NDArray[np.intp]


def score(
    model: Model, cases: Sequence[Case], device: str = "auto"
) -> Generator[Stage, None, Scored]:
    """Segment cases as a user would and compare with their labels, on their own grids.

    Parameters
    ----------
    model : with temperature 1
    """
    rows, voxels = {}, []
    for done, case in enumerate(cases):
        yield Stage("scoring", done, len(cases))
        image, reference = read_case(case)
        settings = SegmentSettings(
            device=device, region=Region.whole(image.grid.shape), probabilities=True
        )
        found = finish(iter_segment(image, model, settings))
        rows[case.name] = score_labels(found.labels, reference)
        if found.probabilities is not None:
            voxels.append(_voxels(found.labels, found.probabilities, reference, model))
    if not rows:
        return Scored({}, 1.0, {})
    temperature = _fitted(voxels)
    return Scored(_rounded(summarise(rows)), temperature, _calibration(voxels, temperature))


def _voxels(labels: Volume, probabilities: Volume, reference: Volume, model: Model) -> _Voxels:
    truth = reference.array()
    chosen = np.flatnonzero((truth > 0) | (labels.array() > 0))
    some = np.linspace(0, len(chosen) - 1, min(len(chosen), _VOXELS_PER_CASE)).astype(np.intp)
    values = [entry.value for entry in model.card.labels]
    outputs = np.zeros(max(*values, int(truth.max())) + 1, np.intp)
    outputs[values] = np.arange(1, len(values) + 1)
    places = np.unravel_index(chosen[some], truth.shape)
    return _Voxels(probabilities.array()[places].T, outputs[truth[places]])


def _fitted(voxels: Sequence[_Voxels]) -> float:
    chances = np.concatenate([part.chances for part in voxels], axis=1)
    return fit_temperature(chances, np.concatenate([part.truth for part in voxels]))


def _calibration(voxels: Sequence[_Voxels], temperature: float) -> dict[str, Any]:
    """Measure errors of calibration and the order of uncertainties.

    ``ece`` is over voxels where reference or prediction is not background. These are chosen by the
    truth: background that was predicted is always wrong among them, however sound its probability.
    ``ece_found`` is over those where the prediction is not background, which a user can see.

    What is said of the temperature is measured on cases that it was not fitted on: that of one half
    of the cases serves for the other half. Without two cases nothing can be said.
    """
    before, after, curve = Reliability(), Reliability(), RiskCoverage()
    before_found, after_found = Reliability(), Reliability()
    halves = voxels[::2], voxels[1::2]
    for half, other in (halves, halves[::-1]):
        foreign = _fitted(other) if other else 1.0
        for part in half:
            found = part.chances.argmax(axis=0)
            right, labelled = found == part.truth, found > 0
            chances = tempered(part.chances, foreign)
            for every, some, confidence in (
                (before, before_found, part.chances.max(axis=0)),
                (after, after_found, chances.max(axis=0)),
            ):
                every.add(confidence, right)
                some.add(confidence[labelled], right[labelled])
            curve.add(uncertainty_of(chances, len(chances), softmax=True)[0], ~right)
    measured = {
        "voxels": before.voxels,
        "temperature": temperature,
        "ece_before": before.error,
        "ece_after": after.error if halves[1] else None,
        "ece_found_before": before_found.error,
        "ece_found_after": after_found.error if halves[1] else None,
        "risk": curve.risk,
        "risk_coverage_area": curve.area,
        "least_area": curve.least_area,
    }
    return {"cases": len(voxels), **_rounded(measured)}


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
