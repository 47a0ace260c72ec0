"""`napari-asmlp train`: learn a model from a folder of labelled volumes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pydantic

from napari_asmlp.cli import common_options, positive
from napari_asmlp.cli.console import Console
from napari_asmlp.devices import DEVICES
from napari_asmlp.errors import SettingsError
from napari_asmlp.io.files import check_distinct, check_file, replacing
from napari_asmlp.pipeline import Trained, TrainJob, iter_train
from napari_asmlp.pipeline.cross_validation import (
    FoldProgress,
    fold_table,
    iter_cross_validate,
)
from napari_asmlp.training.recipe import RECIPE, Recipe, read_recipe
from napari_asmlp.training.trainer import Stage, TrainProgress

_DEFAULTS = Recipe()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "dataset", type=Path, help="folder with dataset.json, imagesTr and labelsTr"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.safetensors")
    parser.add_argument("--recipe", type=Path, metavar="FILE.toml", help="all settings of a run")
    parser.add_argument("--init", metavar="NAME|FILE", help="model whose weights to start from")
    parser.add_argument(
        "--network", choices=("asmlp",), default="asmlp", help="architecture (default: asmlp)"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="learn for this long, whatever the epochs"
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help=f"passes over the cases (default: the recipe's, else {_DEFAULTS.epochs})",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of all that is random (default: 0)")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="auto takes a GPU if there is one"
    )
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="on a CPU: steps in C++, compiled once by your compiler; faster",
    )
    _add_folds(parser)
    _add_outputs(parser)


def _add_folds(parser: argparse.ArgumentParser) -> None:
    """Describe which cases are held out."""
    parser.add_argument(
        "--fold",
        metavar="K/N",
        help="part held out of training to score the model on, or 'all' to hold out none (default:"
        " a fifth; of three or four cases one, of fewer none)",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="score N models, each on the part it has not seen, then learn from all cases and write"
        " that model with these scores; --minutes bounds all together",
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="FILE.json",
        help="which cases are held out in each fold, as nnU-Net's splits_final.json",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """Describe what is written beside the model, and over what."""
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw loss and Dice while it learns"
    )
    parser.add_argument(
        "--tensorboard", type=Path, metavar="DIR", help="write events for TensorBoard"
    )
    parser.add_argument(
        "--keep-samples", action="store_true", help="leave the prepared samples beside the model"
    )
    parser.add_argument("--resume", action="store_true", help="go on after a kill or a cancel")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="scores of every epoch")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Train, then say how well the model does on the cases held out."""
    if options.folds is not None and options.fold is not None:
        raise SettingsError(f"--fold {options.fold} and --folds {options.folds}: give one of them")
    job = TrainJob(
        options.dataset,
        options.output,
        recipe_of(options),
        options.device,
        options.init,
        options.volume,
        options.resume,
        options.overwrite,
        options.plot,
        options.tensorboard,
        options.keep_samples,
        options.split,
    )
    if options.report:
        check_distinct([options.output, options.report, job.logs.table, job.split_file])
        check_file(options.report, overwrite=options.overwrite, inputs=_inputs(options))
    try:
        trained = console.follow(_telling(console, _work(job, options.folds)), job.output.name)
    except KeyboardInterrupt:
        kept = job.checkpoint if options.folds is None else job.folder
        if kept.exists():
            console.note(f"stopped; go on with --resume (state: {kept})")
        raise
    if options.report:
        with replacing(options.report, overwrite=options.overwrite) as temporary:
            temporary.write_text(json.dumps(trained.report, indent=1) + "\n", encoding="utf-8")
    for line in fold_table(trained.report) if options.folds else ():
        console.note(line)
    console.note(f"{job.output}{_score(trained)}")
    return 0


def _work(
    job: TrainJob, folds: int | None
) -> Generator[TrainProgress | Stage | FoldProgress, None, Trained]:
    """Return the work: one training, or several."""
    return iter_train(job) if folds is None else iter_cross_validate(job, folds)


def _score(trained: Trained) -> str:
    """Return what is known of a model, to be said after its name."""
    mean, held_out = trained.model.card.mean_dice, len(trained.report["kept_out"])
    if mean is None:
        return ""
    which = "case" if held_out == 1 else "cases"
    return f": mean Dice {mean:.4f} on {held_out} {which} held out"


def _telling(
    console: Console, work: Generator[TrainProgress | Stage | FoldProgress, None, Trained]
) -> Generator[TrainProgress | Stage | FoldProgress, None, Trained]:
    """Pass progress on, and say the notes in it."""
    with closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                trained: Trained = stop.value
                return trained
            if note := getattr(progress, "note", ""):
                console.note(note)
            else:
                yield progress


def _inputs(options: argparse.Namespace) -> list[Path]:
    """Return the files that a report must not replace."""
    folder: Path = options.dataset
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return files + [path for path in (options.recipe, options.split) if path is not None]


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the recipe file with what the flags say instead."""
    recipe = read_recipe(options.recipe) if options.recipe else _DEFAULTS
    names = ("minutes", "epochs", "fold", "seed")
    flags = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.compiled:
        flags["compiled"] = True
    try:
        return RECIPE.validate_python(RECIPE.dump_python(replace(recipe, **flags)))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"--{place} {first['input']!r}: {first['msg']}") from error
