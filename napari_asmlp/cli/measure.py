"""`napari-asmlp measure`: size, place, shape and intensities of labels, as CSV."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.io import base_name, find_names, read_volume, volumes_in
from napari_asmlp.io.files import check_file
from napari_asmlp.io.tables import Record, save_table, write_table
from napari_asmlp.measure import columns, iter_measure, record
from napari_asmlp.volume import Volume


@dataclass(frozen=True)
class Case:
    """Labels to measure, and the image whose intensities are measured."""

    name: str
    labels: Path
    image: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "labels",
        nargs="+",
        type=Path,
        metavar="LABELS",
        help="files of labels or folders; of several, the first column names the file. Names of"
        " labels come from a table beside the file, else from inside it",
    )
    parser.add_argument(
        "--image",
        type=Path,
        help="whose intensities to measure, on the grid of the labels; of several labels, a folder"
        " with images of the same names",
    )
    parser.add_argument(
        "--objects", action="store_true", help="a row for each connected object, not each label"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.csv", help="default: standard output"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, and write the table; one file that fails among several does not stop the others."""
    cases, several = _cases(options), _are_several(options)
    if options.output is not None:
        inputs = [path for case in cases for path in (case.labels, case.image) if path]
        inputs += [table for case in cases if (table := find_names(case.labels))]
        check_file(options.output, overwrite=options.overwrite, inputs=inputs)
    records: list[Record] = []
    failures: dict[str, str] = {}
    for case in cases:
        try:
            rows = _measured(case, options, console)
        except AsmlpError as error:
            if not several:
                raise
            failures[case.labels.name] = " ".join(str(error).split())
            continue
        records += [{"case": case.name, **row} for row in rows] if several else rows
    _write(records, options, console, several=several)
    for name, reason in failures.items():
        console.error(f"{name}: failed: {reason}")
    return 1 if failures else 0


def _are_several(options: argparse.Namespace) -> bool:
    return len(options.labels) > 1 or options.labels[0].is_dir()


def _cases(options: argparse.Namespace) -> list[Case]:
    """Return what to measure; raises where two have one name, or there are not enough images."""
    if not _are_several(options):
        return [Case("", options.labels[0], options.image)]
    files = [
        file for path in options.labels for file in (volumes_in(path) if path.is_dir() else [path])
    ]
    images: dict[str, Path] = {}
    if options.image is not None:
        if not options.image.is_dir():
            raise SettingsError(
                f"--image {options.image}: there are several files of labels; give a folder with an"
                " image of the same name for each"
            )
        images = {base_name(path): path for path in volumes_in(options.image)}
    cases: dict[str, Case] = {}
    for file in files:
        name = base_name(file)
        if name in cases:
            raise SettingsError(f"{cases[name].labels} and {file}: both are called {name}")
        if options.image is not None and name not in images:
            raise SettingsError(f"{options.image}: no image in it is called {name}, as {file} is")
        cases[name] = Case(name, file, images.get(name))
    return list(cases.values())


def _measured(case: Case, options: argparse.Namespace, console: Console) -> list[Record]:
    labels, image = _opened(case, options.volume)
    title = f"{case.name}: " if case.name else ""
    for text in labels.notes:
        console.note(text)
    work = iter_measure(labels, image, objects=options.objects)
    return [record(row) for row in console.follow(work, f"{title}measuring")]


def _opened(case: Case, chosen: int | None) -> tuple[Volume, Volume | None]:
    """Open both files; --volume chooses from those that hold several."""
    paths = [path for path in (case.labels, case.image) if path is not None]
    counts = {path: read_volume(path).channels for path in paths}
    if chosen and max(counts.values()) == 1:
        raise SettingsError(f"volume {chosen} of {' and '.join(map(str, paths))}: there is one")
    for path, count in counts.items():
        if count > 1 and chosen is None:
            raise SettingsError(f"{path}: holds {count} volumes: choose one with --volume N")
    labels, *images = (
        read_volume(
            path,
            volume=chosen if counts[path] > 1 else None,
            kind="labels" if path == case.labels else "image",
        )
        for path in paths
    )
    return labels, next(iter(images), None)


def _write(
    records: list[Record], options: argparse.Namespace, console: Console, *, several: bool
) -> None:
    names = (*(["case"] if several else []), *columns(objects=options.objects))
    if options.output is None:
        write_table(sys.stdout, names, records)
        return
    save_table(options.output, names, records, overwrite=options.overwrite)
    console.note(f"{options.output}: {len(records):,} rows")
