"""From a folder of labelled volumes to a model file with scores on the cases kept out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_asmlp.errors import SettingsError
from napari_asmlp.evaluate import score_labels, summarise
from napari_asmlp.grid import Grid, Region
from napari_asmlp.io import read_volume
from napari_asmlp.io.files import check_file
from napari_asmlp.model import SUFFIX, Card, Model, Preprocessing, save_model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.pipeline.segmentation import finish, iter_segment
from napari_asmlp.pipeline.settings import SegmentSettings
from napari_asmlp.preprocess import place
from napari_asmlp.provenance import now, peak_memory, versions
from napari_asmlp.training.dataset import (
    Case,
    Dataset,
    median_spacing,
    read_case,
    read_dataset,
    read_samples,
    split,
)
from napari_asmlp.training.recipe import RECIPE, Recipe
from napari_asmlp.training.trainer import TrainingRun, TrainProgress
from napari_asmlp.zoo import label_table, load

_AXIS_CODES = "RAS"
_LARGEST_CROP = 128
_LARGEST_WINDOW = 160


@dataclass(frozen=True)
class TrainJob:
    """What to learn from and where to.

    Attributes
    ----------
    dataset : folder, see `napari_asmlp.training.dataset`
    output : model file to write; its checkpoint lies beside it until the run is done
    init : name or file of a model whose weights to start from, where they fit
    volume : which one of 4D images; None for all of them, as channels
    resume : go on from the checkpoint of an earlier run
    overwrite : replace an existing model, and begin anew where a checkpoint lies
    """

    dataset: Path
    output: Path
    recipe: Recipe
    device: str = "auto"
    init: str | None = None
    volume: int | None = None
    resume: bool = False
    overwrite: bool = False

    @property
    def checkpoint(self) -> Path:
        """Where the state of an unfinished run is kept."""
        return self.output.with_name(f".{self.output.stem}.checkpoint.pt")


@dataclass(frozen=True)
class Trained:
    """What a training gives."""

    model: Model
    report: dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    """What follows from the data and the recipe before anything is learnt."""

    recipe: Recipe
    dataset: Dataset
    training: list[Case]
    kept_out: list[Case]
    preprocessing: Preprocessing
    crop: tuple[int, int, int]
    extents_mm: list[tuple[float, float, float]]


def iter_train(job: TrainJob) -> Generator[TrainProgress, None, Trained]:
    """Train, score on the cases kept out, and write the model file.

    Yields
    ------
    TrainProgress
        After each epoch.

    Raises
    ------
    AsmlpError
        Where data, recipe or output are unusable; mostly before the training begins.
    """
    _check_output(job)
    plan = _plan(job)
    names = plan.dataset.label_names
    training = list(read_samples(plan.training, names, plan.preprocessing))
    validation = list(read_samples(plan.kept_out, names, plan.preprocessing))
    torch.manual_seed(job.recipe.seed)
    network = _network(job, training[0].image.shape[0], len(names) + 1)
    run = TrainingRun(
        job.recipe, plan.crop, training, validation, job.checkpoint, job.device, job.resume
    )
    history = yield from run(network)
    model = Model(_card(job, plan, network), _rounded(network))
    scores = score(model, plan.kept_out, job.device)
    model = replace(model, card=replace(model.card, scores=scores))
    save_model(model, job.output, overwrite=job.overwrite)
    job.checkpoint.unlink(missing_ok=True)
    report = {
        "command": "train",
        "dataset": {"name": plan.dataset.name, "hash": _fingerprint(plan.dataset.cases)},
        "recipe": RECIPE.dump_python(job.recipe, mode="json"),
        "crop": plan.crop,
        "kept_out": [case.name for case in plan.kept_out],
        "epochs": history,
        "scores": scores,
        "model": {"path": str(job.output), "hash": replace(model, path=job.output).hash},
        "peak_memory_bytes": peak_memory(),
        "versions": versions(),
        "time": now(),
    }
    return Trained(replace(model, path=job.output), report)


def score(model: Model, cases: Sequence[Case], device: str = "auto") -> dict[str, Any]:
    """Segment cases as a user would and compare with their labels, on their own grids.

    Returns
    -------
    dict
        What `napari_asmlp.evaluate.evaluate` returns, rounded; empty without cases.
    """
    settings = SegmentSettings(device=device)
    rows = {}
    for case in cases:
        image, reference = read_case(case)
        whole = replace(settings, region=Region.whole(image.grid.shape))
        rows[case.name] = score_labels(finish(iter_segment(image, model, whole)).labels, reference)
    return _rounded_scores(summarise(rows)) if rows else {}


def _rounded_scores(scores: Any) -> Any:
    if isinstance(scores, dict):
        return {key: _rounded_scores(value) for key, value in scores.items()}
    return round(scores, 4) if isinstance(scores, float) else scores


def _check_output(job: TrainJob) -> None:
    if job.output.suffix != SUFFIX:
        raise SettingsError(f"{job.output}: a model file ends in {SUFFIX}")
    check_file(job.output, overwrite=job.overwrite)
    if job.checkpoint.exists() and not (job.resume or job.overwrite):
        raise SettingsError(
            f"{job.checkpoint}: an unfinished run lies there; --resume goes on with it,"
            " --overwrite begins anew"
        )


def _plan(job: TrainJob) -> _Plan:
    """Take spacing, crop and field of view from the headers of the data."""
    dataset = read_dataset(job.dataset, job.volume)
    training, kept_out = split(dataset.cases, job.recipe.kept_out())
    grids = [read_volume(case.images[0]).grid for case in training]
    spacing = job.recipe.spacing or median_spacing(grids, _AXIS_CODES)
    preprocessing = Preprocessing(spacing=spacing, axis_codes=_AXIS_CODES)
    placed = [place(grid, preprocessing).model_grid for grid in grids]
    crop = job.recipe.crop or _crop(placed, job.recipe.network.multiple_of)
    extents = [grid.extent_mm for grid in placed]
    return _Plan(job.recipe, dataset, training, kept_out, preprocessing, crop, extents)


def _crop(grids: Sequence[Grid], unit: int) -> tuple[int, int, int]:
    """Median extent in voxels, up to the next multiple of what the network needs."""
    median = np.median([grid.shape for grid in grids], axis=0)
    x, y, z = (min(_LARGEST_CROP, unit * math.ceil(n / unit)) for n in median)
    return x, y, z


def _network(job: TrainJob, in_channels: int, out_channels: int) -> Asmlp:
    """Build the recipe's network, or that of the model to start from with its weights."""
    start = None if job.init is None else load(job.init)
    config = job.recipe.network if start is None else start.card.network
    network = Asmlp(replace(config, in_channels=in_channels, out_channels=out_channels))
    if start is None:
        return network
    mine = network.state_dict()
    theirs = start.network.state_dict()
    fitting = {key: theirs[key] for key in mine if mine[key].shape == theirs[key].shape}
    network.load_state_dict(mine | fitting)
    return network


def _rounded(network: Asmlp) -> Asmlp:
    """Round weights as the file does, so that what is scored is what is shipped."""
    state = {key: tensor.half().float() for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def _card(job: TrainJob, plan: _Plan, network: Asmlp) -> Card:
    recipe, names = plan.recipe, plan.dataset.label_names
    x, y, z = np.max(plan.extents_mm, axis=0).round(2).tolist()
    spacing = plan.preprocessing.spacing or (1.0, 1.0, 1.0)
    unit = network.config.multiple_of
    window = [
        min(_LARGEST_WINDOW, unit * math.ceil(round(mm / step) / unit))
        for mm, step in zip((x, y, z), spacing, strict=True)
    ]
    return Card(
        name=recipe.name or job.output.stem,
        summary=recipe.summary or f"{', '.join(names.values())} ({plan.dataset.name})",
        labels=label_table([name.lower() for name in names.values()], list(names)),
        network=network.config,
        window=(window[0], window[1], window[2]),
        preprocessing=plan.preprocessing,
        field_of_view_mm=(x, y, z),
        licence=recipe.licence,
        attribution=recipe.attribution,
        training_data=f"{recipe.training_data or plan.dataset.name}:"
        f" {len(plan.training)} cases, {len(plan.kept_out)} kept out",
        recipe=RECIPE.dump_python(recipe, mode="json")
        | {"dataset_hash": _fingerprint(plan.dataset.cases)},
        created=now(),
        versions=versions(),
    )


def _fingerprint(cases: Sequence[Case]) -> str:
    """Hash of the images, whatever they are called and wherever they lie."""
    joined = "\n".join(sorted(case.content_hash() for case in cases))
    return "sha256:" + hashlib.sha256(joined.encode()).hexdigest()
