"""From labelled volumes or objects to a classifier, end to end."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import special

from napari_asmlp.calibration import fit_temperature, refused_temperature
from napari_asmlp.errors import SettingsError
from napari_asmlp.io.files import check_file
from napari_asmlp.model import (
    SUFFIX,
    ClassEntry,
    Classifier,
    ClassifierCard,
    ClassifierInput,
    Model,
    save_model,
)
from napari_asmlp.networks.mixer import Mixer
from napari_asmlp.provenance import now, peak_memory, versions
from napari_asmlp.training.classifier import (
    CLASSIFIER_RECIPE,
    CaseReader,
    ClassData,
    ClassifierRecipe,
    ClassifierRun,
    ClassProgress,
    ClassSamples,
    ClassSplit,
    calibration_error,
    choose_input,
    choose_measurements,
    class_splits,
    logits_of,
    prepare,
    read_class_data,
    score_classes,
)
from napari_asmlp.training.samples import make_folder
from napari_asmlp.training.state import split_of
from napari_asmlp.training.trainer import Stage
from napari_asmlp.zoo import PALETTE

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassifierJob:
    """A training of a classifier and where its results go.

    Attributes
    ----------
    data : an .npz or a CSV, see `training.classifier.dataset`
    output : model file to write; beside it, until the run is done, a hidden folder with its state
    classes : names in the order of the network's outputs; by default those of the data
    volume : which one of 4D images; None for all of them, as channels
    resume : go on from the state of an earlier run, where there is one
    overwrite : replace an existing model, and begin anew where a state lies
    """

    data: Path
    output: Path
    recipe: ClassifierRecipe
    classes: tuple[str, ...] = ()
    device: str = "auto"
    volume: int | None = None
    resume: bool = False
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where the state of an unfinished run is kept."""
        return self.output.with_name(f".{self.output.stem}.training")


@dataclass(frozen=True)
class TrainedClassifier:
    """What a training gives."""

    model: Classifier
    report: dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    """What is trained on what: the recipe with the data's channels and classes in it."""

    job: ClassifierJob
    data: ClassData
    recipe: ClassifierRecipe
    input: ClassifierInput
    samples: ClassSamples
    splits: list[ClassSplit]

    @property
    def runs(self) -> list[tuple[str, ClassSplit]]:
        """Trainings in their order, by the name of their state; the last one is shipped."""
        if not self.recipe.folds:
            return [("only", self.splits[0])]
        everything = ClassSplit(np.arange(len(self.samples)), np.arange(0))
        folds = [(f"fold {n}", split) for n, split in enumerate(self.splits, start=1)]
        return [*folds, ("all", everything)]

    @property
    def record(self) -> dict[str, Any]:
        """What a state must have been made from for a run to go on with it."""
        return {"data": self.samples.hash, "classes": list(self.data.classes)}


def iter_train_classifier(
    job: ClassifierJob,
) -> Generator[ClassProgress | Stage, None, TrainedClassifier]:
    """Train, score and calibrate on the cases kept out, and write the model file.

    Yields
    ------
    ClassProgress, Stage
        After each epoch; before the epochs for each case.

    Raises
    ------
    AsmlpError
        Where data, recipe or output are unusable; before the training begins.
    """
    _check(job)
    plan = yield from _planned(job)
    if job.overwrite and not job.resume:
        shutil.rmtree(job.folder, ignore_errors=True)
    make_folder(job.folder)
    trained = yield from _train(plan)
    shutil.rmtree(job.folder, ignore_errors=True)
    return trained


def _check(job: ClassifierJob) -> None:
    if job.output.suffix != SUFFIX:
        raise SettingsError(f"{job.output}: a model file ends in {SUFFIX}")
    check_file(job.output, overwrite=job.overwrite, inputs=[job.data])
    if any(job.folder.glob("*.pt")) and not (job.resume or job.overwrite):
        raise SettingsError(
            f"{job.folder}: an unfinished run lies there; --resume goes on with it, --overwrite"
            " begins anew"
        )


def _planned(job: ClassifierJob) -> Generator[Stage, None, _Plan]:
    data = read_class_data(job.data, job.classes)
    splits = class_splits(data, job.recipe.folds, job.recipe.seed)
    reader, network = CaseReader(job.volume), job.recipe.network
    found = job.recipe.input
    if found is None:
        found = yield from choose_input(data.cases, network, reader)
    if names := job.recipe.measurements:
        found = yield from choose_measurements(data.cases, names, found, reader)
    samples = yield from prepare(data.cases, found, network, reader)
    recipe = replace(
        job.recipe,
        input=found,
        network=replace(
            network,
            in_channels=samples.inputs.shape[1],
            out_channels=len(data.classes),
            fixed_channels=int(bool(found.measurements)),
        ),
    )
    if recipe.minutes is not None:
        recipe = replace(recipe, minutes=recipe.minutes / (recipe.folds + 1))
    return _Plan(job, data, recipe, found, samples, splits)


def _train(plan: _Plan) -> Generator[ClassProgress, None, TrainedClassifier]:
    """Run all trainings; those that keep cases out score the one that is shipped."""
    count = len(plan.data.classes)
    logits = np.zeros((len(plan.samples), count), np.float32)
    out = np.zeros(len(plan.samples), bool)
    histories: dict[str, list[dict[str, Any]]] = {}
    seconds = 0.0
    for number, (name, split) in enumerate(plan.runs):
        torch.manual_seed(plan.recipe.seed + number)
        network = Mixer(plan.recipe.network)
        with closing(_run(plan, name, split)(network)) as steps:
            done = number / len(plan.runs)
            histories[name] = yield from _counted(
                steps, seconds, done, (number + 1, len(plan.runs))
            )
        seconds += histories[name][-1]["seconds"]
        _round(network)
        if len(split.kept_out):
            found = logits_of(network, plan.samples.at(split.kept_out).inputs)
            logits[split.kept_out], out[split.kept_out] = found.numpy(), True
    card = _card(plan, logits[out], plan.data.outputs[out])
    model = Model(card, network)
    save_model(model, plan.job.output, overwrite=plan.job.overwrite)
    model = replace(model, path=plan.job.output)
    return TrainedClassifier(model, _report(plan, model, histories))


def _run(plan: _Plan, name: str, split: ClassSplit) -> ClassifierRun:
    """Return a training; raises `SettingsError` where its state is of other data."""
    job, checkpoint = plan.job, plan.job.folder / f"{name}.pt"
    if checkpoint.exists() and split_of(checkpoint, plan.recipe) != plan.record:
        raise SettingsError(f"{job.data}: has changed since the run began; --overwrite begins anew")
    return ClassifierRun(
        plan.recipe,
        plan.input,
        plan.samples.at(split.training),
        plan.samples.at(split.kept_out),
        checkpoint,
        job.device,
        job.resume,
        plan.record,
    )


def _counted(
    steps: Generator[ClassProgress, None, list[dict[str, Any]]],
    seconds: float,
    done: float,
    fold: tuple[int, int],
) -> Generator[ClassProgress, None, list[dict[str, Any]]]:
    """Pass the progress of one training on as that of all."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            history: list[dict[str, Any]] = stop.value
            return history
        yield replace(
            progress,
            fraction=done + progress.fraction / fold[1],
            seconds=seconds + progress.seconds,
            fold=fold,
        )


def _round(network: Mixer) -> None:
    """Round weights as the file does, so that what is scored is what is shipped."""
    state = {key: tensor.half().float() for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)


def _card(plan: _Plan, logits: NDArray[np.float32], truth: NDArray[np.int64]) -> ClassifierCard:
    """Describe the model, with what the cases kept out say of it."""
    recipe, data = plan.recipe, plan.data
    raw = _softmax(logits, 1.0)
    fitted = fit_temperature(raw.T, truth)
    refused = refused_temperature(fitted)
    temperature = 1.0 if refused else fitted
    chances = _softmax(logits, temperature)
    how = f"cross-validation in {recipe.folds} parts" if recipe.folds else "kept out of training"
    return ClassifierCard(
        name=recipe.name or plan.job.output.stem,
        summary=recipe.summary or f"{', '.join(data.classes)} ({data.name})",
        classes=tuple(
            ClassEntry(name, PALETTE[n % len(PALETTE)]) for n, name in enumerate(data.classes)
        ),
        network=recipe.network,
        input=plan.input,
        licence=recipe.licence,
        attribution=recipe.attribution,
        training_data=f"{recipe.training_data or data.name}: {_counts(plan)}",
        temperature=temperature,
        scores=score_classes(chances, truth, data.classes, how),
        calibration={
            "cases": len(truth),
            "ece_before": calibration_error(raw, truth),
            "ece_after": calibration_error(_crossed(logits, truth), truth),
            **({"temperature_refused": refused} if refused else {}),
        },
        recipe=CLASSIFIER_RECIPE.dump_python(recipe, mode="json")
        | {"data_hash": plan.samples.hash},
        created=now(),
        versions=versions(),
    )


def _counts(plan: _Plan) -> str:
    """Say how many cases of each class the shipped weights were made from."""
    _, split = plan.runs[-1]
    counts = np.bincount(plan.data.outputs[split.training], minlength=len(plan.data.classes))
    each = (f"{n} {name}" for name, n in zip(plan.data.classes, counts, strict=True))
    return f"{len(split.training)} cases ({', '.join(each)})"


def _crossed(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return probabilities under the temperature that the other half of the cases asks for."""
    chances = np.empty_like(logits)
    halves = np.arange(len(truth)) % 2 == 0
    for half in (halves, ~halves):
        temperature = fit_temperature(_softmax(logits[~half], 1.0).T, truth[~half])
        chances[half] = _softmax(logits[half], temperature)
    return chances


def _softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    chances: NDArray[np.float32] = special.softmax(logits / temperature, axis=1)
    return chances


def _report(
    plan: _Plan, model: Classifier, histories: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """Return all that there is to say of a run, as plain values."""
    card = model.card
    return {
        "command": "train-classifier",
        "data": {"name": plan.data.name, "hash": plan.samples.hash},
        "classes": list(plan.data.classes),
        "recipe": CLASSIFIER_RECIPE.dump_python(plan.recipe, mode="json"),
        "scores": card.scores,
        "temperature": card.temperature,
        "calibration": card.calibration,
        "epochs": histories,
        "model": {"path": str(plan.job.output), "hash": model.hash},
        "peak_memory_bytes": peak_memory(),
        "versions": versions(),
        "time": now(),
    }
