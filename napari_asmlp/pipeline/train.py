"""From a folder of labelled volumes to a model file with scores on the cases held out."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_asmlp.card import Activation, Place
from napari_asmlp.devices import emulation_note, resolve_device
from napari_asmlp.errors import AsmlpError, OutputError, SettingsError
from napari_asmlp.inference import enough_memory
from napari_asmlp.io.files import check_distinct, check_file, replacing
from napari_asmlp.model import SUFFIX, Card, Model, save_model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.pipeline.scoring import score, scored_model
from napari_asmlp.pipeline.train_plan import TrainPlan, check_data, make_train_plan, prepare_samples
from napari_asmlp.provenance import now, peak_memory, versions
from napari_asmlp.training.claims import Claims
from napari_asmlp.training.dataset import Case, LabelTable
from napari_asmlp.training.folds import all_folds
from napari_asmlp.training.layout import place_of
from napari_asmlp.training.logs import Logs, LogWriter
from napari_asmlp.training.losses import RegionLoss
from napari_asmlp.training.recipe import RECIPE, Recipe
from napari_asmlp.training.samples import check_classes, make_folder
from napari_asmlp.training.state import split_of
from napari_asmlp.training.trainer import Stage, TrainingRun, TrainProgress, labelled_loss
from napari_asmlp.zoo import label_table, load_segmenter

_LARGEST_WINDOW = 160
_USELESS_DICE = 0.1
_FEW_STEPS = 20
_PLACES: dict[Place, str] = {"fixed": "at a fixed place", "anywhere": "anywhere"}


@dataclass(frozen=True)
class TrainJob:
    """What to learn from and where to.

    Attributes
    ----------
    dataset : folder, see `napari_asmlp.training.dataset`
    output : model file to write; the table of epochs lies beside it, and until the run is done
        a hidden folder with its checkpoint and its samples
    init : name or file of a model whose weights to start from, where they fit
    volume : which one of 4D images; None for all of them, as channels
    resume : go on from the checkpoint of an earlier run, where there is one
    overwrite : replace an existing model, and begin anew where a checkpoint lies
    plot, tensorboard : picture to draw, folder for events; see `Logs`
    keep_samples : leave the prepared samples there
    splits : file that says which cases are held out, see `training.folds.named_split`; without one
        the recipe's fold says so, and the split is written beside the model in the same form
    """

    dataset: Path
    output: Path
    recipe: Recipe
    device: str = "auto"
    init: str | None = None
    volume: int | None = None
    resume: bool = False
    overwrite: bool = False
    plot: Path | None = None
    tensorboard: Path | None = None
    keep_samples: bool = False
    splits: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the samples and the state of an unfinished run are kept."""
        return self.output.with_name(f".{self.output.stem}.training")

    @property
    def checkpoint(self) -> Path:
        """The state of an unfinished run."""
        return self.folder / "checkpoint.pt"

    @property
    def claims(self) -> Claims:
        """Which files the unfinished run writes."""
        return Claims(self.folder / "files.json")

    @property
    def split_file(self) -> Path:
        """Where the split is written."""
        return self.output.with_suffix(".splits.json")

    @property
    def logs(self) -> Logs:
        """Where the record of the epochs goes."""
        return Logs(self.output.with_suffix(".csv"), self.plot, self.tensorboard)


@dataclass(frozen=True)
class Trained:
    """What a training gives."""

    model: Model
    report: dict[str, Any]


def iter_train(job: TrainJob) -> Generator[TrainProgress | Stage, None, Trained]:
    """Train, write the model file, score it on the cases held out, and write the scores into it.

    Yields
    ------
    TrainProgress, Stage
        After each epoch; before and after the epochs for each case.

    Raises
    ------
    AsmlpError
        Where data, recipe or output are unusable; mostly before the training begins.
    """
    check_outputs(job)
    try:
        trained = yield from _train(job)
        job.checkpoint.unlink(missing_ok=True)
        job.claims.remove()
        return trained
    finally:
        if not (job.keep_samples or job.checkpoint.exists()):
            shutil.rmtree(job.folder, ignore_errors=True)


def _train(job: TrainJob) -> Generator[TrainProgress | Stage, None, Trained]:
    start = None if job.init is None else load_segmenter(job.init)
    earlier = start.card.split if start else {}
    # A run that was stopped before its first checkpoint begins anew.
    resume = job.resume and job.checkpoint.exists()
    if resume:
        earlier = split_of(job.checkpoint, job.recipe)
    make_folder(job.folder)
    job.claims.add(job.logs.files)
    plan = yield from make_train_plan(job.dataset, job.volume, job.recipe, earlier, job.splits)
    table = plan.dataset.labels
    training, validation = yield from prepare_samples(plan, job.folder)
    notes = [f"no case to train on has label {name!r}" for name in check_classes(training, table)]
    place, why = place_of(training, len(table.values))
    notes += _place_note(job.recipe, place, why)
    torch.manual_seed(job.recipe.seed)
    network, note = _network(job.recipe, start, training[0].image.shape[0], table)
    for text in [*notes, *note, *_precision_notes(job)]:
        yield Stage("preparing", 1, 1, text)
    if resume:
        check_data(plan, earlier.get("data", {}))
    record = plan.split.record() | {"data": plan.data()}
    run = TrainingRun(
        *(job.recipe, plan.crop, training, validation),
        *(job.checkpoint, job.device, resume, record),
        RegionLoss(table.region_classes) if table.regions else labelled_loss,
        table.region_classes,
    )
    history = yield from _logged(run, network, LogWriter(job.logs, list(table.names.values())))
    model = Model(_card(job, plan, network, place), rounded(network))
    model = yield from _scored(job, plan, model)
    _write_split(job, plan)
    doubts = doubts_about(model.card, history)
    for text in doubts:
        yield Stage("scoring", 1, 1, text)
    return Trained(model, _report(job, plan, model, history) | {"warnings": doubts})


def _write_split(job: TrainJob, plan: TrainPlan) -> None:
    """Write which cases were held out, unless a file said so or none was."""
    if job.splits is not None or not plan.split.held_out:
        return
    folds = all_folds((*plan.split.training, *plan.split.held_out), plan.split)
    overwrite = may_replace(job, job.split_file)
    job.claims.add([job.split_file])
    with replacing(job.split_file, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(folds, indent=1) + "\n", encoding="utf-8")


def doubts_about(card: Card, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each sign that a model has learnt too little to be of use.

    Parameters
    ----------
    card : of the model, with its scores
    history : a row for each epoch, see `training.state.State`
    """
    steps, losses = int(history[-1]["step"]), [float(row["loss"]) for row in history]
    what, doubts = f"after {steps} steps", []
    if card.mean_dice is not None and card.mean_dice < _USELESS_DICE:
        doubts.append(
            f"the model is of no use yet: mean Dice {card.mean_dice:.4f} on the cases held out"
            f" {what}; train longer (--minutes, --epochs), or look at the data"
        )
    elif steps < _FEW_STEPS:
        doubts.append(f"only {steps} steps were taken: train longer (--minutes, --epochs)")
    elif len(losses) > 1 and losses[-1] >= losses[0]:
        doubts.append(
            f"the loss did not fall ({losses[0]:.3f} at first, {losses[-1]:.3f} {what}): train"
            " longer, or look at the data"
        )
    if reason := card.calibration.get("temperature_refused"):
        doubts.append(f"probabilities are as the network gives them: {reason}")
    return doubts


def _precision_notes(job: TrainJob) -> list[str]:
    """Return what to say of the precision of the steps; compiled ones emulate none."""
    note = emulation_note(job.recipe.precision, resolve_device(job.device))
    return [] if note is None or job.recipe.compiled else [note]


def _scored(job: TrainJob, plan: TrainPlan, model: Model) -> Generator[Stage, None, Model]:
    """Write the model, score it, and write it with its scores: they may fail, it is not lost.

    Raises
    ------
    AsmlpError
        Where a case held out cannot be scored.
    """
    overwrite = may_replace(job, job.output)
    job.claims.add([job.output])
    save_model(model, job.output, overwrite=overwrite)
    try:
        with enough_memory("scores of the cases held out"):
            scored = yield from score(
                model, plan.split.held_out, job.device, plan.dataset.labels.ignore
            )
    except AsmlpError as error:
        raise AsmlpError(
            f"{job.output} is written, but without scores (--resume tries again): {error}"
        ) from error
    model = scored_model(model, scored)
    save_model(model, job.output, overwrite=True)
    return replace(model, path=job.output)


def check_outputs(job: TrainJob) -> None:
    """Raise an `AsmlpError` where what a run writes cannot, or must not, be written."""
    if job.output.suffix != SUFFIX:
        raise SettingsError(f"{job.output}: a model file ends in {SUFFIX}")
    if job.folder.exists() and not job.folder.is_dir():
        raise OutputError(f"{job.folder}: a run keeps its state in a folder there; move that file")
    inputs = [] if job.init is None else [job.init]  # a bundled model's name is no such file
    check_file(job.output, overwrite=may_replace(job, job.output), inputs=inputs)
    if job.checkpoint.exists() and not (job.resume or job.overwrite):
        raise SettingsError(
            f"{job.checkpoint}: an unfinished run lies there; --resume goes on with it,"
            " --overwrite begins anew"
        )
    job.logs.check()
    beside = [*job.logs.files, *([] if job.splits is not None else [job.split_file])]
    check_distinct([job.output, *beside])
    for path in beside:
        check_file(path, overwrite=may_replace(job, path))


def may_replace(job: TrainJob, path: Path) -> bool:
    """Tell whether an existing file may be replaced: as asked, or as that of the run resumed."""
    return job.overwrite or (job.resume and path in job.claims)


def _logged(
    run: TrainingRun, network: Asmlp, writer: LogWriter
) -> Generator[TrainProgress, None, list[dict[str, Any]]]:
    """Train, and keep the record up to date."""
    steps = run(network)
    with closing(steps), closing(writer):
        while True:
            try:
                progress = next(steps)
            except StopIteration as stop:
                history: list[dict[str, Any]] = stop.value
                writer.take(history)  # where it was killed after the last epoch
                return history
            writer.take(progress.history)
            yield progress


def _network(
    recipe: Recipe, start: Model | None, in_channels: int, table: LabelTable
) -> tuple[Asmlp, list[str]]:
    """Build the recipe's network, or that of the model to start from with its weights.

    Returns
    -------
    network : with the weights that fit; the others are new
    notes : what was taken over
    """
    config = recipe.network if start is None else start.card.network
    network = Asmlp(replace(config, in_channels=in_channels, out_channels=table.outputs))
    if start is None:
        return network, []
    mine, theirs = network.state_dict(), start.network.state_dict()
    # Outputs of regions, which may overlap, mean something else than those of labels.
    same_outputs = start.card.activation == _activation(table)
    fitting = {
        key: theirs[key]
        for key in mine
        if mine[key].shape == theirs[key].shape and (same_outputs or not key.startswith("head."))
    }
    network.load_state_dict(mine | fitting)
    new = [key for key in mine if key not in fitting]
    note = f"begins with {len(fitting)} of {len(mine)} tensors of {start.card.name}"
    if new:
        note += f"; new: {', '.join(new)}"
    if replace(recipe.network, in_channels=1, out_channels=2) != replace(
        config, in_channels=1, out_channels=2
    ):
        note += "; its network is taken, not the recipe's"
    return network, [note]


def _activation(table: LabelTable) -> Activation:
    """Return what makes probabilities of a network's outputs."""
    return "sigmoid" if table.regions else "softmax"


def rounded(network: Asmlp) -> Asmlp:
    """Round weights as the file does, so that what is scored is what is shipped."""
    state = {key: tensor.half().float() for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def _place_note(recipe: Recipe, place: Place, why: str) -> list[str]:
    """Say what volumes the model will take, where the recipe leaves that to the labels."""
    if recipe.place != "auto":
        return []
    taken = "volumes of any extent" if place == "anywhere" else "volumes such as these"
    return [f"labels lie {_PLACES[place]} ({why}): the model will take {taken}"]


def _card(job: TrainJob, plan: TrainPlan, network: Asmlp, place: Place) -> Card:
    recipe, table = job.recipe, plan.dataset.labels
    names = table.names
    x, y, z = np.max(plan.extents_mm, axis=0).round(2).tolist()
    spacing = plan.preprocessing.spacing or (1.0, 1.0, 1.0)
    unit = network.config.multiple_of
    window = [
        min(_LARGEST_WINDOW, unit * math.ceil(round(mm / step) / unit))
        for mm, step in zip((x, y, z), spacing, strict=True)
    ]
    training, held_out = plan.split.training, plan.split.held_out
    return Card(
        name=recipe.name or job.output.stem,
        summary=recipe.summary or f"{', '.join(names.values())} ({plan.dataset.name})",
        labels=label_table([name.lower() for name in names.values()], list(names)),
        network=network.config,
        activation=_activation(table),
        regions=table.regions,
        window=(window[0], window[1], window[2]),
        preprocessing=plan.preprocessing,
        field_of_view_mm=(x, y, z),
        place=place if recipe.place == "auto" else recipe.place,
        tilt_degrees=round(plan.tilt_degrees, 2),
        licence=recipe.licence,
        attribution=recipe.attribution,
        training_data=f"{recipe.training_data or plan.dataset.name}:"
        f" {len(training)} cases, {len(held_out)} held out",
        split=plan.split.record(),
        recipe=RECIPE.dump_python(recipe, mode="json")
        | {"dataset_hash": _fingerprint([*training, *held_out])},
        created=now(),
        versions=versions(),
    )


def _report(
    job: TrainJob, plan: TrainPlan, model: Model, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return all that there is to say of a run, as plain values."""
    return {
        "command": "train",
        "dataset": {"name": plan.dataset.name, "hash": model.card.recipe["dataset_hash"]},
        "recipe": RECIPE.dump_python(job.recipe, mode="json"),
        "crop": plan.crop,
        "spacing": plan.preprocessing.spacing,
        "kept_out": [case.name for case in plan.split.held_out],
        "trained_on": [case.name for case in plan.split.training],
        "fold": plan.split.fold,
        "note": plan.split.note,
        "split": plan.split.record(),
        "epochs": history,
        "scores": model.card.scores,
        "temperature": model.card.temperature,
        "calibration": model.card.calibration,
        "model": {"path": str(job.output), "hash": model.hash},
        "peak_memory_bytes": peak_memory(),
        "versions": versions(),
        "time": now(),
    }


def _fingerprint(cases: Sequence[Case]) -> str:
    """Hash of the images, whatever they are called and wherever they lie."""
    joined = "\n".join(sorted(case.hash for case in cases))
    return "sha256:" + hashlib.sha256(joined.encode()).hexdigest()
