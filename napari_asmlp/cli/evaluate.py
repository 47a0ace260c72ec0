"""`napari-asmlp evaluate`: Dice, surface distances and volumes of labels against references."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.evaluate import evaluate, format_table
from napari_asmlp.io.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    common_options(parser, run)
    parser.add_argument("predictions", type=Path, help="labels: a file, or a folder of them")
    parser.add_argument("references", type=Path, help="reference labels, under the same names")
    parser.add_argument("--json", metavar="FILE|-", help="write the scores as JSON")


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare, print the table, and write JSON where asked to."""
    result = evaluate(options.predictions, options.references)
    text = json.dumps(result, indent=1, allow_nan=False)
    if options.json == "-":
        sys.stdout.write(f"{text}\n")
        return 0
    if options.json:
        with replacing(Path(options.json), overwrite=True) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if not console.quiet:
        sys.stdout.write(format_table(result) + "\n")
    return 0
