"""`napari-asmlp evaluate`: Dice, surface distances and volumes of labels against references."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.evaluate import Doubts, evaluate, format_table
from napari_asmlp.io.files import check_file, replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("predictions", type=Path, help="labels: a file, or a folder of them")
    parser.add_argument("references", type=Path, help="reference labels, under the same names")
    parser.add_argument(
        "--probabilities",
        type=Path,
        metavar="FILE|DIR",
        help="of the predictions: report their expected calibration error",
    )
    parser.add_argument(
        "--uncertainty",
        type=Path,
        metavar="FILE|DIR",
        help="of the predictions: report the area under its risk-coverage curve",
    )
    parser.add_argument(
        "--ignore",
        type=int,
        metavar="V",
        help="value of reference voxels that nobody annotated: they are left out",
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the scores as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing JSON file")


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare, print the table, and write JSON where asked to."""
    if options.json not in (None, "-"):
        names = ("predictions", "references", "probabilities", "uncertainty")
        folders = [path for name in names if (path := getattr(options, name)) is not None]
        inputs = [f for p in folders for f in (p.iterdir() if p.is_dir() else [p])]
        check_file(options.json, overwrite=options.overwrite, inputs=inputs)
    asked = options.probabilities is not None or options.uncertainty is not None
    doubts = Doubts(options.probabilities, options.uncertainty) if asked else None
    result = evaluate(
        options.predictions,
        options.references,
        volume=options.volume,
        doubts=doubts,
        ignore=options.ignore,
    )
    for note in result.get("notes", ()):
        console.note(note)
    text = json.dumps(result, indent=1, allow_nan=False)
    if options.json == "-":
        console.result(text.split("\n"))
        return 0
    if options.json:
        with replacing(Path(options.json), overwrite=options.overwrite) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if not console.quiet:
        console.result(format_table(result).split("\n"))
    return 0
