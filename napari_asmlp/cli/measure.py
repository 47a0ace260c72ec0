"""`napari-asmlp measure`: size, place, shape and intensities of labels, as CSV."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.errors import SettingsError
from napari_asmlp.io import find_names, read_volume
from napari_asmlp.io.files import check_file
from napari_asmlp.io.tables import save_table, write_table
from napari_asmlp.measure import columns, iter_measure, record
from napari_asmlp.volume import Volume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "labels",
        type=Path,
        help="a file of labels; their names come from a table beside it, else from inside it",
    )
    parser.add_argument(
        "--image", type=Path, help="whose intensities to measure; on the grid of the labels"
    )
    parser.add_argument(
        "--objects", action="store_true", help="a row for each connected object, not each label"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.csv", help="default: standard output"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, and write the table."""
    inputs = [path for path in (options.labels, options.image) if path is not None]
    if options.output is not None:
        tables = [table] if (table := find_names(options.labels)) else []
        check_file(options.output, overwrite=options.overwrite, inputs=[*inputs, *tables])
    labels, image = _opened(options)
    for text in labels.notes:
        console.note(text)
    rows = console.follow(iter_measure(labels, image, objects=options.objects), "measuring")
    names, records = columns(objects=options.objects), map(record, rows)
    if options.output is None:
        write_table(sys.stdout, names, records)
        return 0
    save_table(options.output, names, records, overwrite=options.overwrite)
    console.note(f"{options.output}: {len(rows):,} rows")
    return 0


def _opened(options: argparse.Namespace) -> tuple[Volume, Volume | None]:
    """Open both files; --volume chooses from those that hold several."""
    paths = [path for path in (options.labels, options.image) if path is not None]
    counts = {path: read_volume(path).channels for path in paths}
    chosen = options.volume
    if chosen and max(counts.values()) == 1:
        raise SettingsError(f"volume {chosen} of {' and '.join(map(str, paths))}: there is one")
    for path, count in counts.items():
        if count > 1 and chosen is None:
            raise SettingsError(f"{path}: holds {count} volumes: choose one with --volume N")
    labels, *images = (
        read_volume(
            path,
            volume=chosen if counts[path] > 1 else None,
            kind="labels" if path == options.labels else "image",
        )
        for path in paths
    )
    return labels, next(iter(images), None)
