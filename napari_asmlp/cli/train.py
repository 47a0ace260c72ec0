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
    parser.add_argument(
        "--fold",
        metavar="K/N",
        help=f"part kept out of training, or 'all' to keep none (default: {_DEFAULTS.fold})",
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
    """Train, then say how well the model does on the cases kept out."""
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
    )
    if options.report:
        check_distinct([options.output, options.report, job.logs.table])
        check_file(options.report, overwrite=options.overwrite, inputs=_inputs(options))
    try:
        trained = console.follow(_telling(console, iter_train(job)), job.output.name)
    except KeyboardInterrupt:
        if job.checkpoint.exists():
            console.note(f"stopped; go on with --resume (state: {job.checkpoint})")
        raise
    if options.report:
        with replacing(options.report, overwrite=options.overwrite) as temporary:
            temporary.write_text(json.dumps(trained.report, indent=1) + "\n", encoding="utf-8")
    mean = trained.model.card.mean_dice
    kept_out = len(trained.report["kept_out"])
    note = "" if mean is None else f": mean Dice {mean:.4f} on {kept_out} cases kept out"
    console.note(f"{job.output}{note}")
    return 0


def _telling(
    console: Console, work: Generator[TrainProgress | Stage, None, Trained]
) -> Generator[TrainProgress | Stage, None, Trained]:
    """Pass progress on, and say the notes in it."""
    with closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                trained: Trained = stop.value
                return trained
            if isinstance(progress, Stage) and progress.note:
                console.note(progress.note)
            else:
                yield progress


def _inputs(options: argparse.Namespace) -> list[Path]:
    """Return the files that a report must not replace."""
    folder: Path = options.dataset
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return files + [options.recipe] * (options.recipe is not None)


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
