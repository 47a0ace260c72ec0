"""K trainings that hold out each case once, and one on all cases, which is shipped.

The model that is shipped has no scores of its own, since it learnt from all cases. Its card has
those of the K models of the same recipe, each on the cases that it had not seen.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from napari_asmlp.errors import SettingsError
from napari_asmlp.evaluate import summarise
from napari_asmlp.io.files import replacing
from napari_asmlp.model import SUFFIX, AnyModel, load_model, save_model, segmenter
from napari_asmlp.pipeline.train import Trained, TrainJob, check_outputs, iter_train, may_replace
from napari_asmlp.provenance import file_hash
from napari_asmlp.training.recipe import RECIPE, Recipe
from napari_asmlp.training.samples import make_folder
from napari_asmlp.training.trainer import Stage, TrainProgress

Report = dict[str, Any]


@dataclass(frozen=True)
class FoldProgress:
    """Where several trainings stand.

    Attributes
    ----------
    step : where the one stands that runs now
    number, count : which training of how many that is, from 1
    """

    step: TrainProgress | Stage
    number: int
    count: int

    @property
    def fraction(self) -> float:
        """Share of the whole; a stage before or after the epochs of a training adds nothing."""
        within = self.step.fraction if isinstance(self.step, TrainProgress) else 0.0
        return (self.number - 1 + within) / self.count

    @property
    def seconds_left(self) -> float | None:
        """Estimate, as if each training took as long as the one that runs now."""
        left = self.step.seconds_left
        if left is None or not isinstance(self.step, TrainProgress):
            return None
        return left + (self.count - self.number) * (self.step.seconds + left)

    @property
    def note(self) -> str:
        """A line for the user, or empty."""
        text = self.step.note if isinstance(self.step, Stage) else ""
        return f"training {self.number} of {self.count}: {text}" if text else ""

    @property
    def ends_epoch(self) -> bool:
        """Whether an epoch has ended."""
        return isinstance(self.step, TrainProgress) and self.step.ends_epoch

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        return f"training {self.number} of {self.count}, {self.step.describe()}"


def iter_cross_validate(job: TrainJob, folds: int) -> Generator[FoldProgress, None, Trained]:
    """Train and score a model for each fold, then train on all cases and ship that model.

    State, models and reports of the folds lie in the hidden folder of the run until it is done, so
    that it can be resumed in the middle of any of its trainings.

    Parameters
    ----------
    job : its recipe's fold is not looked at; its minutes bound all trainings together
    folds : how many

    Raises
    ------
    AsmlpError
        Where data, recipe or output are unusable; mostly before the first training begins.
    """
    if folds < 2:
        raise SettingsError(f"folds {folds}: give at least 2")
    _check(job)
    if not job.resume:
        shutil.rmtree(job.folder, ignore_errors=True)
    make_folder(job.folder)
    recipe = job.recipe
    if recipe.minutes is not None:
        recipe = replace(recipe, minutes=recipe.minutes / (folds + 1))
    reports = []
    for number in range(1, folds + 1):
        one = _one(job, replace(recipe, fold=f"{number}/{folds}"), f"fold-{number}")
        reports.append((yield from _trained(one, number, folds + 1)))
    everything = _one(job, replace(recipe, fold="all", patience=None), "all")
    everything = replace(everything, splits=None, plot=job.plot, tensorboard=job.tensorboard)
    report = yield from _trained(everything, folds + 1, folds + 1)
    shipped = _shipped(load_model(everything.output), report, reports)
    _write(job, everything, shipped)
    shutil.rmtree(job.folder, ignore_errors=True)
    return replace(shipped, model=replace(shipped.model, path=job.output))


def _check(job: TrainJob) -> None:
    """Refuse outputs that cannot be written, and to begin anew unasked."""
    check_outputs(job)
    if job.folder.exists() and not (job.resume or job.overwrite):
        raise SettingsError(
            f"{job.folder}: an unfinished run lies there; --resume goes on with it, --overwrite"
            " begins anew"
        )


def _one(job: TrainJob, recipe: Recipe, name: str) -> TrainJob:
    """Return one of the trainings, which keeps all it writes in the folder of the run."""
    return replace(
        job,
        recipe=recipe,
        output=job.folder / f"{name}{SUFFIX}",
        resume=True,
        overwrite=True,
        plot=None,
        tensorboard=None,
    )


def _trained(job: TrainJob, number: int, count: int) -> Generator[FoldProgress, None, Report]:
    """Return the report of a training, run now or in an earlier sitting."""
    finished = job.output.with_suffix(".json")
    if finished.exists():
        report: Report = json.loads(finished.read_text(encoding="utf-8"))
        if report["recipe"] != RECIPE.dump_python(job.recipe, mode="json"):
            raise SettingsError(
                f"{finished}: was made with another recipe; resume with that one, or begin anew"
                " with --overwrite"
            )
        return report
    trained = yield from _followed(job, number, count)
    with replacing(finished, overwrite=True) as temporary:
        temporary.write_text(json.dumps(trained.report) + "\n", encoding="utf-8")
    return trained.report


def _followed(job: TrainJob, number: int, count: int) -> Generator[FoldProgress, None, Trained]:
    """Run a training, and pass its progress on as that of all."""
    with closing(iter_train(job)) as steps:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                trained: Trained = stop.value
                return trained
            yield FoldProgress(step, number, count)


def _shipped(model: AnyModel, report: Report, folds: list[Report]) -> Trained:
    """Put the scores of all folds on the card and into the report of the model of all cases.

    Raises
    ------
    SettingsError
        Where the data set changed between the trainings.
    """
    known = set(report["split"]["training"])
    if any(not known.issuperset(_hashes(each)) for each in folds):
        raise SettingsError(
            "the data set changed since the run began: bring that back, or begin anew with"
            " --overwrite"
        )
    model = segmenter(model)
    rows = {name: row for each in folds for name, row in each["scores"]["cases"].items()}
    scores = summarise(rows)
    logs = [math.log(each["temperature"]) for each in folds]
    card = replace(
        model.card,
        scores=scores,
        temperature=float(f"{math.exp(sum(logs) / len(logs)):.4g}"),
        calibration={"folds": [each["calibration"] for each in folds]},
        training_data=f"{model.card.training_data}; scores are of {len(rows)} cases, each by a"
        f" model of the same recipe that had not seen it ({len(folds)} folds)",
    )
    kept = ("fold", "trained_on", "kept_out", "warnings")
    return Trained(
        replace(model, card=card),
        report
        | {
            "folds": [
                {key: each[key] for key in kept} | {"mean": each["scores"]["mean"]}
                for each in folds
            ],
            "scores": scores,
            "calibration": card.calibration,
            "kept_out": sorted(rows),
            "note": f"scored on {len(rows)} cases, each by a model that had not seen it; the model"
            " itself learnt from all of them",
        },
    )


def _hashes(report: Report) -> list[str]:
    """Return the content hashes of the cases on either side of a fold."""
    return [*report["split"]["training"], *report["split"]["kept_out"]]


def _write(job: TrainJob, everything: TrainJob, shipped: Trained) -> None:
    """Write table, split and model, the model last; each appears whole or not at all."""
    table = everything.logs.table.read_text(encoding="utf-8")
    splits = [
        {"train": each["trained_on"], "val": each["kept_out"]} for each in shipped.report["folds"]
    ]
    texts = {job.logs.table: table, job.split_file: json.dumps(splits, indent=1) + "\n"}
    for path, text in texts.items():
        if path != job.split_file or job.splits is None:
            overwrite = may_replace(job, path)
            job.claims.add([path])
            with replacing(path, overwrite=overwrite) as temporary:
                temporary.write_text(text, encoding="utf-8")
    save_model(shipped.model, job.output, overwrite=job.overwrite)
    shipped.report["model"] = {"path": str(job.output), "hash": file_hash(job.output)}


def fold_table(report: Report) -> list[str]:
    """Return the lines of a table: the mean Dice of each fold by label, and of all cases."""
    labels = list(report["scores"]["mean"])
    rows = [("fold", "cases", *labels)]
    for each in report["folds"]:
        rows.append((each["fold"], str(len(each["kept_out"])), *_dice(each["mean"], labels)))
    cases = str(len(report["scores"]["cases"]))
    rows.append(("all", cases, *_dice(report["scores"]["mean"], labels)))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]


def _dice(means: dict[str, Any], labels: list[str]) -> list[str]:
    found = [(means.get(label) or {}).get("dice") for label in labels]
    return ["–" if value is None else f"{value:.4f}" for value in found]
