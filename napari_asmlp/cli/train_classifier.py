"""`napari-asmlp train-classifier`: learn to classify volumes or objects."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pydantic

from napari_asmlp.cli import common_options, positive
from napari_asmlp.cli.console import Console
from napari_asmlp.devices import DEVICES, emulation_note, resolve_device
from napari_asmlp.errors import SettingsError
from napari_asmlp.io.files import check_distinct, check_file, replacing
from napari_asmlp.pipeline.train_classifier import (
    ClassifierJob,
    TrainedClassifier,
    iter_train_classifier,
)
from napari_asmlp.training.classifier import (
    CLASSIFIER_RECIPE,
    ClassifierRecipe,
    read_classifier_recipe,
)

_DEFAULTS = ClassifierRecipe()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help="an .npz with train_images, train_labels (and val_…), or a CSV with the columns"
        " path,label (and labels,object of objects; split; group)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.safetensors")
    parser.add_argument(
        "--classes",
        type=_names,
        default=(),
        metavar="A,B,...",
        help="names in the order of the model's outputs; of an .npz, of its classes 0, 1, ...",
    )
    parser.add_argument("--recipe", type=Path, metavar="FILE.toml", help="all settings of a run")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="learn for this long in all, whatever the epochs"
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help=f"passes over the cases (default: the recipe's, else {_DEFAULTS.epochs})",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="score by cross-validation in N parts, then learn from all cases (default: score on"
        " the data's validation cases, or a fifth)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of all that is random (default: 0)")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="auto takes a GPU if there is one"
    )
    parser.add_argument("--resume", action="store_true", help="go on after a kill or a cancel")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="scores and epochs")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Train, then say how well the model does on the cases kept out."""
    job = ClassifierJob(
        options.data,
        options.output,
        recipe_of(options),
        options.classes,
        options.device,
        options.volume,
        options.resume,
        options.overwrite,
    )
    if options.report:
        inputs = [options.data] + [options.recipe] * (options.recipe is not None)
        check_distinct([options.output, options.report])
        check_file(options.report, overwrite=options.overwrite, inputs=inputs)
    if (note := emulation_note(job.recipe.precision, resolve_device(job.device))) is not None:
        console.note(note)
    try:
        trained = console.follow(iter_train_classifier(job), job.output.name)
    except KeyboardInterrupt:
        if job.folder.exists():
            console.note(f"stopped; go on with --resume (state: {job.folder})")
        raise
    if options.report:
        with replacing(options.report, overwrite=options.overwrite) as temporary:
            temporary.write_text(json.dumps(trained.report, indent=1) + "\n", encoding="utf-8")
    console.note(f"{job.output}: {_summary(trained)}")
    return 0


def _summary(trained: TrainedClassifier) -> str:
    scores = trained.model.card.scores
    said = [
        f"{name} {found['value']:.3f} ({found['interval'][0]:.3f} to {found['interval'][1]:.3f})"
        for key, name in (("roc_auc", "ROC AUC"), ("accuracy", "accuracy"))
        if (found := scores[key])
    ]
    return f"{', '.join(said)} on {scores['cases']} cases ({scores['how']})"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def recipe_of(options: argparse.Namespace) -> ClassifierRecipe:
    """Return the recipe file with what the flags say instead."""
    recipe = read_classifier_recipe(options.recipe) if options.recipe else _DEFAULTS
    names = ("minutes", "epochs", "folds", "seed")
    flags = {name: value for name in names if (value := getattr(options, name)) is not None}
    values = CLASSIFIER_RECIPE.dump_python(recipe) | flags
    try:
        return CLASSIFIER_RECIPE.validate_python(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"--{place} {first['input']!r}: {first['msg']}") from error
