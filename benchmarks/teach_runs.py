"""One task and one annotation: teaching and the forests, scored on what was not annotated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from teach_forest import ForestSettings, filtered, forest
from teach_tasks import Task

from napari_asmlp.preprocess import place, to_model_grid
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.encoder import Encoder
from napari_asmlp.teaching.loop import Taught, TeachSettings, iter_teach

MODEL = "the saved model alone"


@dataclass(frozen=True)
class Row:
    """A score.

    Attributes
    ----------
    annotated : how, such as ``3 slices``
    amount : slices or strokes; 0 where neither
    seconds : from the beginning, filters included
    dice : mean over the classes; `classes` of each
    """

    task: str
    annotated: str
    amount: int
    seed: int
    method: str
    seconds: float
    dice: float
    classes: tuple[float, ...]

    def flat(self) -> dict[str, object]:
        """Return what a line of a table holds."""
        return asdict(self) | {"classes": " ".join(f"{dice:.3f}" for dice in self.classes)}


@dataclass(frozen=True)
class Trial:
    """What is compared: one volume, annotated in one way."""

    task: Task
    annotation: Annotation
    annotated: str
    amount: int
    seed: int

    def row(
        self, method: str, seconds: float, found: NDArray[np.integer], at: NDArray[np.intp]
    ) -> Row:
        """Score classes of some (flat) voxels, those that are annotated left out."""
        free = self.annotation.classes.ravel()[at] == UNANNOTATED
        each = tuple(class_dice(found[free], self.task.truth.ravel()[at[free]]))
        mean = float(np.mean(each))
        about = (self.task.name, self.annotated, self.amount, self.seed)
        return Row(*about, method, round(seconds, 1), round(mean, 4), each)


def use_cpu_time() -> None:
    """Count CPU time instead of wall time, for a machine that others use too."""
    time.monotonic = time.process_time


def run_forests(trial: Trial, threads: int, part: int) -> Iterator[Row]:
    """Yield the scores of a random forest without and with position.

    Parameters
    ----------
    part : one of so many voxels is labelled and scored; seconds are those of all
    """
    settings = ForestSettings(trial.seed, threads, part)
    began = time.monotonic()
    features = filtered(trial.task.image.array().astype(np.float32), threads)
    filtering = time.monotonic() - began
    for position in (False, True):
        began = time.monotonic()
        found, at, more = forest(features, trial.annotation.classes, settings, position=position)
        name = "forest with position" if position else "forest"
        yield trial.row(name, filtering + time.monotonic() - began + more, found, at)


def run_teach(trial: Trial, seconds: float) -> Iterator[Row]:
    """Yield the score of each answer, and last that of the network alone."""
    everywhere = np.arange(trial.task.truth.size)
    work = iter_teach(trial.task.image, trial.annotation, TeachSettings(seconds, trial.seed))
    while True:
        try:
            now = next(work)
        except StopIteration as stop:
            taught: Taught = stop.value
            break
        if now.answer:
            found = now.answer.labels.array().ravel()
            yield trial.row(f"teach: {now.answer.what}", now.seconds, found, everywhere)
    found = labels_of(taught, trial).ravel()
    yield trial.row(MODEL, taught.report["seconds"], found, everywhere)


def labels_of(taught: Taught, trial: Trial) -> NDArray[np.int64]:
    """Return the classes that the network says by itself, as `segment` would."""
    volume, network = trial.task.image, taught.model.network
    preprocessing = taught.model.card.preprocessing
    placement = place(volume.grid, preprocessing)
    shape = placement.canonical_grid.shape
    logits = Encoder(network, features=False).map(
        to_model_grid(volume, placement, preprocessing), shape
    )
    with torch.inference_mode():
        planes = [
            logits.planes(range(x, x + 1), shape).argmax(dim=0).numpy() for x in range(shape[0])
        ]
    return np.ascontiguousarray(placement.orientation.undo(np.concatenate(planes)))


def class_dice(found: NDArray[np.integer], truth: NDArray[np.integer]) -> Iterator[float]:
    """Yield the Dice of each class but background that the truth has."""
    for value in np.unique(truth[truth > 0]):
        mine, theirs = found == value, truth == value
        both = np.count_nonzero(mine & theirs)
        yield round(2 * both / (np.count_nonzero(mine) + np.count_nonzero(theirs)), 4)
