"""From corrections of a model's labels to a better model, or to the word that it is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch
from torch import Tensor

from napari_asmlp.devices import autocast, resolve_device, resolve_precision
from napari_asmlp.errors import AsmlpError, ModelError, SettingsError
from napari_asmlp.evaluate import MEASURES, summarise
from napari_asmlp.inference import InferenceSettings, prepared
from napari_asmlp.io.files import check_file
from napari_asmlp.model import SUFFIX, Card, Model, save_model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled_training import is_trainable, is_training_compiled
from napari_asmlp.pipeline.comparison import Comparison, iter_compared, mean_of
from napari_asmlp.pipeline.corrections import Corrections, iter_samples, read_corrections
from napari_asmlp.pipeline.train import rounded
from napari_asmlp.project import Project, load_project, open_image
from napari_asmlp.provenance import now, versions
from napari_asmlp.training.corrections import CorrectionLoss, widened
from napari_asmlp.training.recipe import RECIPE, Augmentation, Recipe
from napari_asmlp.training.samples import SampleFolder, make_folder
from napari_asmlp.training.state import split_of
from napari_asmlp.training.trainer import Stage, TrainingRun, TrainProgress
from napari_asmlp.zoo import load_segmenter

FINE_TUNING = Recipe(
    minutes=3.0,
    learning_rate=1e-3,
    muon_learning_rate=5e-3,
    foreground=1.0,
    augmentation=Augmentation(flip_axes=()),
    fold="all",
)
_LARGEST_CROP = 64


@dataclass(frozen=True)
class FineTuneJob:
    """What to fine-tune, by what, and where to.

    Attributes
    ----------
    project : project file; its volumes that are marked as corrected teach
    output : model file to write; beside it, until the run is done, a hidden folder with its state
    init : name or file of the model to start from
    recipe : how to learn. Its network and spacing are the model's, and so is mirroring, where the
        model's card says along which axes it was mirrored
    forget : whether what the model knew may go, where corrections do not hold it
    resume : go on from the state of an earlier run
    overwrite : replace an existing model, and begin anew where a state lies
    """

    project: Path
    output: Path
    init: str
    recipe: Recipe = FINE_TUNING
    forget: bool = False
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where the samples and the state of an unfinished run are kept."""
        return self.output.with_name(f".{self.output.stem}.fine-tuning")

    @property
    def checkpoint(self) -> Path:
        """The state of an unfinished run."""
        return self.folder / "checkpoint.pt"


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning gives.

    Attributes
    ----------
    model : that was written: the fine-tuned one if it is better, or else the one to start from
    better : on the corrections that were held back
    report : plain values
    """

    model: Model
    better: bool
    report: dict[str, Any]


def iter_fine_tune(job: FineTuneJob) -> Generator[TrainProgress | Stage, None, FineTuned]:
    """Learn from corrections, check on those held back, and write the better model.

    Yields
    ------
    TrainProgress, Stage
        After each pass over the volumes; before and after for each volume.

    Raises
    ------
    AsmlpError
        Where project, model or output cannot be used; mostly before anything is learnt.
    """
    _check_output(job)
    project, start = load_project(job.project), load_segmenter(job.init)
    _check_start(start)
    check_file(job.output, overwrite=job.overwrite, inputs=_inputs(project, job, start))
    try:
        tuned = yield from _fine_tune(job, project, start)
        job.checkpoint.unlink(missing_ok=True)
        return tuned
    finally:
        if not job.checkpoint.exists():
            shutil.rmtree(job.folder, ignore_errors=True)


def _fine_tune(
    job: FineTuneJob, project: Project, start: Model
) -> Generator[TrainProgress | Stage, None, FineTuned]:
    job = replace(job, recipe=_recipe(job, start))
    resume = job.resume and job.checkpoint.exists()
    state = split_of(job.checkpoint, job.recipe) if resume else {}
    records = [state, *_records(project, job, start)]
    corrections = yield from read_corrections(project, start.card, records)
    yield Stage("reading", 1, 1, _held_back_note(corrections))
    data = {"start": start.hash, "forget": job.forget, "corrections": corrections.record()}
    if resume and state.get("data") != data:
        raise SettingsError(
            "the model to start from or the corrections changed since the run began, so it cannot"
            " be resumed: bring them back, or begin anew with --overwrite"
        )
    make_folder(job.folder)
    samples = yield from iter_samples(corrections, start, job.folder, with_rest=not job.forget)
    network = widened(_network(start), len(corrections.labels) + 1)
    run = TrainingRun(
        job.recipe,
        _crop(samples, start.card),
        samples,
        (),
        job.checkpoint,
        job.device,
        resume,
        corrections.sides.record() | {"data": data},
        CorrectionLoss(
            corrections.outputs(start.card), None if job.forget else _remembered(start, job)
        ),
    )
    history = yield from run(network)
    tuned = Model(_card(job, corrections, start, network), rounded(network))
    compared = yield from iter_compared(start, tuned, corrections, job.device)
    return _shipped(job, start, _scored(tuned, compared), compared, history)


def _shipped(
    job: FineTuneJob,
    start: Model,
    tuned: Model,
    compared: Comparison,
    history: Sequence[Mapping[str, Any]],
) -> FineTuned:
    """Write the better of two models."""
    model = tuned if compared.better else start
    path = save_model(model, job.output, overwrite=job.overwrite)
    model = replace(model, path=path)
    report = {
        "command": "fine-tune",
        "project": job.project.name,
        "start": {"name": start.card.name, "hash": start.hash},
        "shipped": "fine-tuned" if compared.better else "start",
        "held_back": compared.report(),
        "labels": {str(value): name for value, name in tuned.card.label_names.items()},
        "forget": job.forget,
        "recipe": RECIPE.dump_python(job.recipe, mode="json"),
        "steps": history[-1]["step"] if history else 0,
        "split": dict(tuned.card.split),
        "model": {"path": str(path), "hash": model.hash},
        "versions": versions(),
        "time": now(),
    }
    return FineTuned(model, compared.better, report)


def _check_output(job: FineTuneJob) -> None:
    if job.output.suffix != SUFFIX:
        raise SettingsError(f"{job.output}: a model file ends in {SUFFIX}")
    check_file(job.output, overwrite=job.overwrite)
    if job.checkpoint.exists() and not (job.resume or job.overwrite):
        raise SettingsError(
            f"{job.checkpoint}: an unfinished run lies there; --resume goes on with it,"
            " --overwrite begins anew"
        )


def _check_start(start: Model) -> None:
    _network(start)
    if start.card.activation != "softmax":
        raise ModelError(
            f"model {start.card.name!r}: its labels overlap (sigmoid outputs), and corrections give"
            " one label a voxel; fine-tune a model of exclusive labels"
        )


def _network(start: Model) -> Asmlp:
    if not isinstance(start.network, Asmlp):
        raise ModelError(f"model {start.card.name!r}: only an AS-MLP can be fine-tuned")
    return start.network


def _inputs(project: Project, job: FineTuneJob, start: Model) -> list[Path]:
    files = [job.project, *(path for volume in project.volumes for path in volume.images)]
    files += [volume.annotations for volume in project.volumes if volume.annotations is not None]
    return files if start.path is None else [*files, start.path]


def _records(project: Project, job: FineTuneJob, start: Model) -> list[Mapping[str, Any]]:
    """Return the sides that earlier runs gave: of the start, the project's model, the output."""
    found = [start.card.split]
    for path in (project.model, job.output):
        if path is not None and path.is_file():
            try:
                found.append(load_segmenter(path).card.split)
            except AsmlpError:  # some other file, which is replaced or not asked for anything else
                continue
    return found


def _recipe(job: FineTuneJob, start: Model) -> Recipe:
    """Complete the recipe by what follows from the model and this machine."""
    device = resolve_device(job.device)
    augmentation, network = job.recipe.augmentation, _network(start)
    try:
        known = pydantic.TypeAdapter(Augmentation).validate_python(
            start.card.recipe.get("augmentation")
        )
        augmentation = replace(augmentation, flip_axes=known.flip_axes)
    except pydantic.ValidationError:  # a card that does not say it: left and right may be labels
        pass
    compiled = device.type == "cpu" and is_trainable(network) and is_training_compiled()
    return replace(job.recipe, augmentation=augmentation, compiled=compiled, network=network.config)


def _crop(samples: SampleFolder, card: Card) -> tuple[int, int, int]:
    """Return the median extent in voxels, within the model's window and what a step can bear."""
    unit = card.multiple_of
    median = np.median([sample.classes.shape for sample in samples], axis=0)
    sides = np.ceil(np.minimum(median, np.minimum(card.window, _LARGEST_CROP)) / unit) * unit
    x, y, z = (int(side) for side in sides)
    return x, y, z


def _remembered(start: Model, job: FineTuneJob) -> Callable[[Tensor], Tensor]:
    """Return what gives the logits of the model to start from, which stays as it is."""
    device = resolve_device(job.device)
    precision = resolve_precision(job.recipe.precision, device)
    network = deepcopy(_network(start)).eval()
    settings = InferenceSettings(device, precision, compiled=job.recipe.compiled)
    runs = prepared(network, settings)

    def logits(image: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            found: Tensor = runs(image)
        return found.clone()

    return logits


def _held_back_note(corrections: Corrections) -> str:
    sides = corrections.sides
    if sides.cut:
        return (
            f"held back to check on: two slabs of each region in {len(sides.cut)} volumes, since"
            " there are too few to hold whole ones back; they lie beside what is learnt from, so"
            " expect less on other volumes"
        )
    names = [entry.name for entry in corrections.corrected if entry.hash in sides.kept_out]
    return f"held back to check on: {', '.join(names)}"


def _card(job: FineTuneJob, corrections: Corrections, start: Model, network: Asmlp) -> Card:
    card, count = start.card, len(corrections.corrected)
    names = ", ".join(entry.name for entry in corrections.labels)
    before = {key: value for key, value in card.split.items() if key != "before"}
    tilts = [open_image(entry).grid.tilt_degrees for entry in corrections.corrected]
    return replace(
        card,
        tilt_degrees=round(max(card.tilt_degrees, *tilts), 2),
        name=job.output.stem,
        summary=f"{names}: {card.name}, fine-tuned by corrections",
        labels=corrections.labels,
        network=network.config,
        training_data=f"{card.training_data}; corrections of {count} volumes".lstrip("; "),
        temperature=1.0,
        calibration={},
        split=corrections.sides.record() | {"before": before},
        recipe=RECIPE.dump_python(job.recipe, mode="json")
        | {"start": {"name": card.name, "hash": start.hash}, "forget": job.forget},
        created=now(),
        versions=versions(),
    )


def _scored(model: Model, compared: Comparison) -> Model:
    """Write on the card what was found on corrections that were held back."""
    nothing: dict[str, float | None] = dict.fromkeys(MEASURES)
    rows = {
        name: {
            str(value): nothing | {"dice": None if one is None else round(one, 4)}
            for value, one in scores.items()
        }
        for name, scores in compared.after.items()
    }
    return replace(model, card=replace(model.card, scores=summarise(rows) if rows else {}))


def summary_of(tuned: FineTuned) -> str:
    """Return in a line what came of it."""
    found = tuned.report["held_back"]
    before, after = (
        mean_of({int(value): one for value, one in found[when]["mean"].items()})
        for when in ("before", "after")
    )
    if tuned.better:
        return f"mean Dice {before:.4f} before, {after:.4f} after, on corrections held back"
    return (
        f"not better: mean Dice {before:.4f} before, {after:.4f} after, on corrections held back;"
        " the model is the one to start from, unchanged"
    )
