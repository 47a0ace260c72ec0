"""`napari-asmlp demo`: the main job on a real MRI volume that an installed package ships."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from napari_asmlp import zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.cli.doctor import has_display
from napari_asmlp.cli.label_names import names_format, names_option
from napari_asmlp.demo import demo_volume
from napari_asmlp.io import check_names, write_labels, write_volume
from napari_asmlp.io.files import check_folder, refuse_existing, replacing
from napari_asmlp.io.tables import save_table
from napari_asmlp.measure import columns, measure, record
from napari_asmlp.model import LabelEntry
from napari_asmlp.picture import overview
from napari_asmlp.pipeline import SegmentSettings, iter_segment

_MODEL = "hippocampus"
_FOLDER = "napari-asmlp-demo"
_NAMES = ("image.nii.gz", "labels.nii.gz", "picture.png", "measurements.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"where to write (default: a new {_FOLDER})"
    )
    names_option(parser)
    parser.add_argument("--no-window", action="store_true", help="do not open napari at the end")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo's files")


def run(options: argparse.Namespace, console: Console) -> int:
    """Segment, write labels, picture and measurements, and open the result in napari."""
    volume, model = demo_volume(options.volume), zoo.load_segmenter(_MODEL)
    folder = _folder(options)
    image, labels, picture, table = (folder / name for name in _NAMES)
    console.note(f"volume: MNI152 T1, around the left hippocampus ({volume.grid.describe()})")
    result = console.follow(iter_segment(volume, model, SegmentSettings()), "segmenting")
    write_volume(volume, image, overwrite=options.overwrite)
    names = names_format(options)
    write_labels(result.labels, labels, overwrite=options.overwrite, names=names)
    with replacing(picture, overwrite=options.overwrite) as temporary:
        overview(volume, result.labels, model.card.labels).save(temporary)
    rows = measure(result.labels, volume)
    save_table(table, columns(), map(record, rows), overwrite=options.overwrite)
    for name, mm3 in result.report["volumes_mm3"].items():
        console.note(f"{name}: {mm3:.0f} mm³")
    console.note(f"written to {folder}: {', '.join(_NAMES)}")
    if not options.no_window:
        _open(image, labels, model.card.labels, console)
    return 0


def _folder(options: argparse.Namespace) -> Path:
    """Make the folder; without --out the first of the demo's names that is free."""
    folder: Path = options.out or next(
        path
        for number in count(1)
        if not (path := Path(_FOLDER if number == 1 else f"{_FOLDER}-{number}")).exists()
    )
    if not folder.exists():
        check_folder(folder.parent)
        folder.mkdir()
    check_folder(folder)
    if not options.overwrite:
        for name in _NAMES:
            refuse_existing(folder / name)
    check_names(folder / _NAMES[1], names_format(options), overwrite=options.overwrite)
    return folder


def _open(image: Path, labels: Path, table: tuple[LabelEntry, ...], console: Console) -> None:
    if not has_display():
        console.note("no display here: napari is not opened")
    elif find_spec("napari") is None:
        console.note('napari is not installed: pip install "napari-asmlp[all]" brings it')
    else:
        from napari_asmlp.viewer.show import show  # napari takes seconds to import

        show(image, labels, table)
