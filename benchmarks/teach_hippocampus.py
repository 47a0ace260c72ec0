"""Teaching an organ that the start never saw a label of: from five slices to ten volumes.

    python teach_hippocampus.py DATASET [--seconds 60 60 120] [--seeds 3] [--threads 2]

DATASET is the hippocampus set of the Medical Segmentation Decathlon (``imagesTr``, ``labelsTr``).
Each seed draws other volumes to learn from; 20 others are tested, always the same. First five whole
sagittal slices of one volume are painted and taught; then all labels of 3 volumes, and of 10, are
the corrections that the taught model is fine-tuned by, a share of which fine-tuning holds back.
Beside it, random forests learn from the same voxels, 30,000 of them at most, with and without the
voxel's position. Scores are the mean Dice of the labels 1 and 2. With `--cpu` seconds are CPU time,
for a machine that others use too; run it then with one thread.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from teach_forest import MOST_VOXELS, filtered

from napari_asmlp import read_volume
from napari_asmlp.card import LabelEntry, Preprocessing
from napari_asmlp.measure import dice
from napari_asmlp.model import Model, save_model
from napari_asmlp.pipeline import segment
from napari_asmlp.pipeline.fine_tune import FINE_TUNING, FineTuneJob, iter_fine_tune
from napari_asmlp.preprocess import place, to_model_grid
from napari_asmlp.project import WHOLE, Project, describe_volume, save_project
from napari_asmlp.teaching import progress
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.progress import TeachSettings
from napari_asmlp.teaching.teacher import Teacher
from napari_asmlp.training import trainer
from napari_asmlp.volume import Volume

VALUES, SLICES, VOLUMES = (1, 2), 5, (3, 10)
TESTED = 20
_SAGITTAL = 0
Result = TypeVar("Result")
Labelling = Callable[[Volume], NDArray[np.integer]]


@dataclass(frozen=True)
class Case:
    """A volume, all of its labels, and where they are known."""

    path: Path
    labels: Path
    image: Volume
    truth: NDArray[np.int16]

    @classmethod
    def read(cls, folder: Path, name: str) -> Case:
        image, labels = folder / "imagesTr" / name, folder / "labelsTr" / name
        truth = read_volume(labels, kind="labels").array().astype(np.int16)
        return cls(image, labels, read_volume(image), truth)


@dataclass(frozen=True)
class Row:
    """A score on all tested volumes."""

    seed: int
    annotated: str
    method: str
    seconds: float
    dice: float
    classes: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument(
        "--seconds",
        type=float,
        nargs=3,
        default=(60, 60, 120),
        help="to teach by slices, and to fine-tune by each number of volumes",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="count CPU time")
    parser.add_argument("--only", choices=("forest", "teach"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cpu:
        progress.time.monotonic = trainer.time.monotonic = time.process_time
    names = sorted(path.name for path in (options.dataset / "imagesTr").glob("*.nii.gz"))
    order = np.random.default_rng(0).permutation(names)
    tested = [Case.read(options.dataset, name) for name in order[:TESTED]]
    rows = []
    for seed in range(options.seeds):
        chosen = np.random.default_rng(seed).permutation(order[TESTED:])[: max(VOLUMES)]
        cases = [Case.read(options.dataset, name) for name in chosen]
        for row in compared(cases, tested, options, seed):
            classes = " ".join(f"{one:.3f}" for one in row.classes)
            text = f"seed {seed}, {row.annotated}, {row.method}: {row.dice:.3f} ({classes})"
            print(f"{text} after {row.seconds:.0f} s", flush=True)
            rows.append(row)
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")
    report(rows)


def compared(
    cases: Sequence[Case], tested: Sequence[Case], options: argparse.Namespace, seed: int
) -> Iterator[Row]:
    if options.only != "teach":
        yield from forests(cases, tested, options, seed)
    if options.only != "forest":
        with tempfile.TemporaryDirectory() as folder:
            yield from taught(cases, tested, options, seed, Path(folder))


def taught(
    cases: Sequence[Case],
    tested: Sequence[Case],
    options: argparse.Namespace,
    seed: int,
    folder: Path,
) -> Iterator[Row]:
    clock = time.process_time if options.cpu else time.monotonic
    teacher = Teacher(TeachSettings(seconds=options.seconds[0], seed=seed))
    began = clock()
    teacher.set_volume("first", cases[0].image, painted(cases[0].truth))
    model: Model = followed(teacher.iter_round("first")).model
    seconds, name = clock() - began, f"{SLICES} slices of one volume"
    labels = lambda image: followed(teacher.iter_apply(image)).labels.array()  # noqa: E731  # short
    yield scored(seed, name, "teach, labels", seconds, labels, tested)
    yield scored(seed, name, "teach, saved model", seconds, segmenting(model), tested)
    start = save_model(named(model), folder / "taught.safetensors")
    for count, time_given in zip(VOLUMES, options.seconds[1:], strict=True):
        recipe = replace(FINE_TUNING, minutes=time_given / 60, seed=seed)
        project = corrections(cases[:count], folder / f"{count}.asmlp.json")
        job = FineTuneJob(project, folder / f"{count}.safetensors", str(start), recipe)
        began = clock()
        tuned = followed(iter_fine_tune(job))
        seconds = clock() - began
        yield scored(
            seed, f"{count} volumes", "fine-tune", seconds, segmenting(tuned.model), tested
        )


def painted(truth: NDArray[np.int16]) -> Annotation:
    """Annotate whole sagittal slices, evenly spread over the organ."""
    across = np.flatnonzero((truth > 0).any(axis=(1, 2)))
    shares = np.linspace(0, 1, SLICES + 2)[1:-1]
    planes = np.round(across[0] + shares * (across[-1] - across[0])).astype(int)
    classes = np.full(truth.shape, UNANNOTATED, np.int16)
    classes[planes] = truth[planes]
    return Annotation(classes, (0, *VALUES))


def corrections(cases: Sequence[Case], path: Path) -> Path:
    volumes = tuple(
        describe_volume(case.path.name.split(".")[0], [case.path], case.labels, WHOLE)
        for case in cases
    )
    return save_project(Project(volumes), path)


def named(model: Model) -> Model:
    """Return a model whose labels are called what they are."""
    labels = tuple(
        LabelEntry(entry.value, name, entry.colour)
        for entry, name in zip(model.card.labels, ("anterior", "posterior"), strict=True)
    )
    return replace(model, card=replace(model.card, labels=labels))


def segmenting(model: Model) -> Labelling:
    return lambda image: segment(image, model=model).array()


def forests(
    cases: Sequence[Case], tested: Sequence[Case], options: argparse.Namespace, seed: int
) -> Iterator[Row]:
    clock = time.process_time if options.cpu else time.monotonic
    first = painted(cases[0].truth).classes
    every = [case.truth for case in cases]
    stages = [(f"{SLICES} slices of one volume", [first])]
    stages += [(f"{count} volumes", every[:count]) for count in VOLUMES]
    for name, known in stages:
        for position in (False, True):
            began = clock()
            trees = grown(cases, known, options.threads, seed, position=position)
            seconds = clock() - began
            method = "forest with position" if position else "forest"

            def labels(
                image: Volume, trees: RandomForestClassifier = trees, position: bool = position
            ) -> NDArray[np.integer]:
                rows = features(image, options.threads, position=position)
                return trees.predict(rows).reshape(image.grid.shape)

            yield scored(seed, name, method, seconds, labels, tested)


def grown(
    cases: Sequence[Case],
    known: Sequence[NDArray[np.int16]],
    threads: int,
    seed: int,
    *,
    position: bool,
) -> RandomForestClassifier:
    rows, classes = [], []
    for case, annotated in zip(cases, known, strict=False):
        some = annotated.ravel() != UNANNOTATED
        rows.append(features(case.image, threads, position=position)[some])
        classes.append(annotated.ravel()[some])
    every, truth = np.concatenate(rows), np.concatenate(classes)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:MOST_VOXELS]
    trees = RandomForestClassifier(
        100, max_features="sqrt", n_jobs=threads, random_state=seed, min_samples_leaf=2
    )
    return trees.fit(every[chosen], truth[chosen])


def features(image: Volume, threads: int, *, position: bool) -> NDArray[np.float32]:
    found = standardised(image, threads)
    if not position:
        return found
    where = np.indices(image.grid.shape).reshape(3, -1).T
    return np.concatenate([found, where.astype(np.float32)], axis=1)


@functools.cache
def standardised(image: Volume, threads: int) -> NDArray[np.float32]:
    """Filter a volume, standardised as for a network, since scanners' units differ."""
    preprocessing = Preprocessing(axis_codes=None)
    seen = to_model_grid(image, place(image.grid, preprocessing), preprocessing)[0]
    return filtered(seen, threads)


def followed(work: Generator[object, None, Result]) -> Result:
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value


def scored(
    seed: int,
    annotated: str,
    method: str,
    seconds: float,
    labels: Labelling,
    tested: Sequence[Case],
) -> Row:
    table = []
    for case in tested:
        found = labels(case.image)
        table.append([dice(found == value, case.truth == value) for value in VALUES])
    classes = np.mean(table, axis=0)
    return Row(seed, annotated, method, seconds, float(classes.mean()), tuple(classes.tolist()))


def report(rows: Sequence[Row]) -> None:
    print("\n| annotated | method | mean Dice | least | seconds |\n|---|---|---|---|---|")
    for key in dict.fromkeys((row.annotated, row.method) for row in rows):
        mine = [row for row in rows if (row.annotated, row.method) == key]
        found = np.array([row.dice for row in mine])
        seconds = np.mean([row.seconds for row in mine])
        print(f"| {' | '.join(key)} | {found.mean():.3f} | {found.min():.3f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
