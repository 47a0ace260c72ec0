"""`napari-asmlp teach`: learn from a few annotated voxels of a volume, and label all of it."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.cli.label_names import names_format, names_option
from napari_asmlp.cli.teach_project import run_project
from napari_asmlp.errors import SettingsError
from napari_asmlp.io import check_names, read_volume, write_labels
from napari_asmlp.io.files import check_distinct, check_file
from napari_asmlp.model import SUFFIX, save_model
from napari_asmlp.teaching.annotations import read_annotation
from napari_asmlp.teaching.from_project import named_as, with_names_of
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.zoo import load_segmenter

_DEFAULTS = TeachSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("annotations", type=Path, nargs="?", help="labels on the grid of IMAGE")
    parser.add_argument(
        "--project",
        type=Path,
        metavar="FILE.asmlp.json",
        help="instead of IMAGE and ANNOTATIONS: learn from all volumes of a project",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.safetensors")
    parser.add_argument(
        "--labels-out",
        type=Path,
        metavar="FILE|DIR",
        help="write the labels of the whole volume; of each volume of a project, to a folder",
    )
    parser.add_argument(
        "--unannotated",
        type=int,
        metavar="V",
        help="value of voxels that nobody annotated (default: 0)",
    )
    parser.add_argument(
        "--background",
        type=int,
        metavar="V",
        help="value that means background; written as 0 (default: none)",
    )
    names_option(parser)
    parser.add_argument("--init", metavar="NAME|FILE", help="model whose weights to start from")
    parser.add_argument(
        "--seconds",
        type=float,
        default=_DEFAULTS.seconds,
        metavar="S",
        help=f"for learning and predicting together (default: {_DEFAULTS.seconds:g})",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Teach, then write model and labels."""
    _check_settings(options)
    settings = TeachSettings(seconds=options.seconds, seed=options.seed)
    if options.project:
        return run_project(options, console, settings)
    _check_outputs(options)
    image = read_volume(options.image, volume=options.volume)
    labels = read_volume(options.annotations, kind="labels")
    for text in labels.notes:
        console.note(text)
    annotation = read_annotation(image, labels, options.unannotated or 0, options.background)
    start = load_segmenter(options.init) if options.init else None
    work = iter_teach(image, annotation, settings, start)
    taught = console.follow(work, options.image.name)
    model = named_as(taught.model, labels)
    save_model(model, options.output, overwrite=options.overwrite)
    if options.labels_out:
        answer = with_names_of(taught.answer.labels, model.card)
        names = names_format(options)
        write_labels(answer, options.labels_out, overwrite=options.overwrite, names=names)
    counts, report = annotation.counts, taught.report
    console.note(
        f"{options.output}: taught {int((counts > 0).sum())} classes from {int(counts.sum())}"
        f" voxels in {report['seconds']:.0f} s, the network in {report['steps']} steps"
    )
    return 0


def _check_settings(options: argparse.Namespace) -> None:
    """Refuse settings that mean nothing, alone or together."""
    if options.output.suffix != SUFFIX:
        raise SettingsError(f"{options.output}: a model file ends in {SUFFIX}")
    if not (math.isfinite(options.seconds) and options.seconds > 0):
        raise SettingsError(f"--seconds {options.seconds:g}: give a time over 0")
    given = [options.image, options.annotations]
    if options.project is None and None in given:
        raise SettingsError("give IMAGE and ANNOTATIONS, or --project FILE.asmlp.json")
    if options.project and (given != [None, None] or _says_values(options)):
        raise SettingsError(
            f"--project {options.project}: says what to learn from and what its values mean; leave"
            " out IMAGE, ANNOTATIONS, --unannotated, --background and --volume"
        )


def _says_values(options: argparse.Namespace) -> bool:
    return any(one is not None for one in (options.unannotated, options.background, options.volume))


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse outputs before any work."""
    inputs = [options.image, options.annotations]
    if options.init:
        inputs.append(Path(options.init))
    check_file(options.output, overwrite=options.overwrite, inputs=inputs)
    if options.labels_out:
        check_distinct([options.output, options.labels_out])
        check_file(options.labels_out, overwrite=options.overwrite, inputs=inputs)
        names = names_format(options)
        check_names(options.labels_out, names, overwrite=options.overwrite, inputs=inputs)
