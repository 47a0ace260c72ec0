"""`napari-asmlp convert`: labels or a volume in another format, on the same grid."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.cli.label_names import names_format, names_option
from napari_asmlp.io import (
    NameFormat,
    check_output,
    find_names,
    names_path,
    read_volume,
    write_labels,
)
from napari_asmlp.io.conversion import MOST_LABELS, guess_kind, write_exact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("input", type=Path, metavar="IN", help="volume or labels to read")
    parser.add_argument("output", type=Path, metavar="OUT", help="its suffix chooses the format")
    parser.add_argument(
        "--as",
        dest="kind",
        choices=("labels", "image"),
        help="labels are written as the smallest unsigned integers, an image in the type of its"
        f" values (default: labels if 3D and at most {MOST_LABELS} different whole numbers from 0"
        " up)",
    )
    names_option(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Read, write, and say what it was taken for."""
    volume = read_volume(options.input, volume=options.volume)
    check_output(options.output, overwrite=options.overwrite, inputs=[options.input])
    kind = options.kind or guess_kind(volume)
    if kind == "labels":
        labels = read_volume(options.input, volume=options.volume, kind="labels")
        for text in labels.notes:
            console.note(text)
        names = _names_to_write(options)
        write_labels(labels, options.output, overwrite=options.overwrite, names=names)
    else:
        write_exact(volume, options.output, overwrite=options.overwrite)
    stored = read_volume(options.output).data.dtype
    other = "image" if kind == "labels" else "labels"
    guessed = "" if options.kind else f" (so it seems; --as {other} says otherwise)"
    console.note(f"{options.output}: {kind}{guessed}, {volume.grid.describe()}, {stored}")
    return 0


def _names_to_write(options: argparse.Namespace) -> NameFormat | None:
    """Return the format of the table to write; None if it lies beside the output already."""
    names, table = names_format(options), find_names(options.input)
    if names is None or table is None:
        return names
    there = names_path(options.output, names)
    return None if there.exists() and there.samefile(table) else names
