"""From a folder of labelled volumes to a model file with scores on the cases kept out."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_asmlp.devices import emulation_note, resolve_device
from napari_asmlp.errors import AsmlpError, OutputError, SettingsError
from napari_asmlp.inference import enough_memory
from napari_asmlp.io.files import check_distinct, check_file
from napari_asmlp.model import SUFFIX, Card, Model, save_model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.pipeline.scoring import score, scored_model
from napari_asmlp.pipeline.train_plan import TrainPlan, check_data, make_train_plan, prepare_samples
from napari_asmlp.provenance import now, peak_memory, versions
from napari_asmlp.training.claims import Claims
from napari_asmlp.training.dataset import Case
from napari_asmlp.training.logs import Logs, LogWriter
from napari_asmlp.training.recipe import RECIPE, Recipe
from napari_asmlp.training.samples import check_classes, make_folder
from napari_asmlp.training.state import split_of
from napari_asmlp.training.trainer import Stage, TrainingRun, TrainProgress
from napari_asmlp.zoo import label_table, load_segmenter

_LARGEST_WINDOW = 160


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
    resume : go on from the checkpoint of an earlier run
    overwrite : replace an existing model, and begin anew where a checkpoint lies
    plot, tensorboard : picture to draw, folder for events; see `Logs`
    keep_samples : leave the prepared samples there
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
    def logs(self) -> Logs:
        """Where the record of the epochs goes."""
        return Logs(self.output.with_suffix(".csv"), self.plot, self.tensorboard)


@dataclass(frozen=True)
class Trained:
    """What a training gives."""

    model: Model
    report: dict[str, Any]


def iter_train(job: TrainJob) -> Generator[TrainProgress | Stage, None, Trained]:
    """Train, write the model file, score it on the cases kept out, and write the scores into it.

    Yields
    ------
    TrainProgress, Stage
        After each epoch; before and after the epochs for each case.

    Raises
    ------
    AsmlpError
        Where data, recipe or output are unusable; mostly before the training begins.
    """
    _check_outputs(job)
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
    # A run that was killed before its first checkpoint has left its folder: it begins anew.
    resume = job.resume and (job.checkpoint.exists() or not job.folder.exists())
    if resume:
        earlier = split_of(job.checkpoint, job.recipe)
    make_folder(job.folder)
    job.claims.add(job.logs.files)
    plan = yield from make_train_plan(job.dataset, job.volume, job.recipe, earlier)
    names = plan.dataset.label_names
    training, validation = yield from prepare_samples(plan, job.folder)
    notes = [f"no case to train on has label {name!r}" for name in check_classes(training, names)]
    torch.manual_seed(job.recipe.seed)
    network, note = _network(job.recipe, start, training[0].image.shape[0], len(names) + 1)
    for text in [*notes, *note, *_precision_notes(job)]:
        yield Stage("preparing", 1, 1, text)
    if resume:
        check_data(plan, earlier.get("data", {}))
    record = plan.split.record() | {"data": plan.data()}
    run = TrainingRun(
        job.recipe, plan.crop, training, validation, job.checkpoint, job.device, resume, record
    )
    history = yield from _logged(run, network, LogWriter(job.logs, list(names.values())))
    model = Model(_card(job, plan, network), rounded(network))
    model = yield from _scored(job, plan, model)
    return Trained(model, _report(job, plan, model, history))


def _precision_notes(job: TrainJob) -> list[str]:
    """Return what to say of the precision of the steps; compiled ones emulate none."""
    note = emulation_note(job.recipe.precision, resolve_device(job.device))
    return [] if note is None or job.recipe.compiled else [note]


def _scored(job: TrainJob, plan: TrainPlan, model: Model) -> Generator[Stage, None, Model]:
    """Write the model, score it, and write it with its scores: they may fail, it is not lost.

    Raises
    ------
    AsmlpError
        Where a case kept out cannot be scored.
    """
    overwrite = _may_replace(job, job.output)
    job.claims.add([job.output])
    save_model(model, job.output, overwrite=overwrite)
    try:
        with enough_memory("scores of the cases kept out"):
            scored = yield from score(model, plan.split.kept_out, job.device)
    except AsmlpError as error:
        raise AsmlpError(
            f"{job.output} is written, but without scores (--resume tries again): {error}"
        ) from error
    model = scored_model(model, scored)
    save_model(model, job.output, overwrite=True)
    return replace(model, path=job.output)


def _check_outputs(job: TrainJob) -> None:
    if job.output.suffix != SUFFIX:
        raise SettingsError(f"{job.output}: a model file ends in {SUFFIX}")
    if job.folder.exists() and not job.folder.is_dir():
        raise OutputError(f"{job.folder}: a run keeps its state in a folder there; move that file")
    inputs = [] if job.init is None else [job.init]  # a bundled model's name is no such file
    check_file(job.output, overwrite=_may_replace(job, job.output), inputs=inputs)
    if job.checkpoint.exists() and not (job.resume or job.overwrite):
        raise SettingsError(
            f"{job.checkpoint}: an unfinished run lies there; --resume goes on with it,"
            " --overwrite begins anew"
        )
    job.logs.check()
    check_distinct([job.output, *job.logs.files])
    for path in job.logs.files:
        check_file(path, overwrite=_may_replace(job, path))


def _may_replace(job: TrainJob, path: Path) -> bool:
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
    recipe: Recipe, start: Model | None, in_channels: int, out_channels: int
) -> tuple[Asmlp, list[str]]:
    """Build the recipe's network, or that of the model to start from with its weights.

    Returns
    -------
    network : with the weights that fit; the others are new
    notes : what was taken over
    """
    config = recipe.network if start is None else start.card.network
    network = Asmlp(replace(config, in_channels=in_channels, out_channels=out_channels))
    if start is None:
        return network, []
    mine, theirs = network.state_dict(), start.network.state_dict()
    fitting = {key: theirs[key] for key in mine if mine[key].shape == theirs[key].shape}
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


def rounded(network: Asmlp) -> Asmlp:
    """Round weights as the file does, so that what is scored is what is shipped."""
    state = {key: tensor.half().float() for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def _card(job: TrainJob, plan: TrainPlan, network: Asmlp) -> Card:
    recipe, names = job.recipe, plan.dataset.label_names
    x, y, z = np.max(plan.extents_mm, axis=0).round(2).tolist()
    spacing = plan.preprocessing.spacing or (1.0, 1.0, 1.0)
    unit = network.config.multiple_of
    window = [
        min(_LARGEST_WINDOW, unit * math.ceil(round(mm / step) / unit))
        for mm, step in zip((x, y, z), spacing, strict=True)
    ]
    training, kept_out = plan.split.training, plan.split.kept_out
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
        f" {len(training)} cases, {len(kept_out)} kept out",
        split=plan.split.record(),
        recipe=RECIPE.dump_python(recipe, mode="json")
        | {"dataset_hash": _fingerprint([*training, *kept_out])},
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
        "kept_out": [case.name for case in plan.split.kept_out],
        "split": plan.split.record(),
        "epochs": history,
        "scores": model.card.scores,
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
