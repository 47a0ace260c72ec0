"""`napari-asmlp classify`: the class of volumes, or of each object of a label file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_asmlp import zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.devices import DEVICES, resolve_device
from napari_asmlp.edit.tool import pieces_of
from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.io import read_volume, volumes_in
from napari_asmlp.io.files import check_file, replacing
from napari_asmlp.model import Classifier, ClassifierCard
from napari_asmlp.pipeline.classification import ClassifySettings, Item, iter_classify
from napari_asmlp.volume import Volume

_DEFAULTS = ClassifySettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="volumes or folders; masks for a model that looks at shapes",
    )
    parser.add_argument("--model", metavar="NAME|FILE", help="by default the only bundled one")
    parser.add_argument(
        "--objects",
        type=Path,
        metavar="LABELS",
        help="classify each object of these labels, on the grid of INPUT",
    )
    parser.add_argument(
        "--connected",
        action="store_true",
        help="with --objects: each connected piece of a value is an object (touching corners too),"
        " numbered from 1 along the file",
    )
    parser.add_argument(
        "--region", metavar="i0:i1,j0:j1,k0:k1", help="the part of the volume that is looked at"
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=_DEFAULTS.device,
        help="auto takes a GPU if there is one",
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the classes as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing JSON file")


def run(options: argparse.Namespace, console: Console) -> int:
    """Classify every input; one that fails among several does not stop the others."""
    sources = _sources(options)
    chosen = zoo.default(ClassifierCard) if options.model is None else zoo.find(options.model)
    if options.json not in (None, "-"):
        labels = [] if options.objects is None else [options.objects]
        inputs = [*sources, *labels, chosen]
        check_file(options.json, overwrite=options.overwrite, inputs=inputs)
    resolve_device(options.device)
    model = zoo.load_classifier(chosen)
    items: list[Item] = []
    failures: dict[str, str] = {}
    for source in sources:
        try:
            items += _classified(source, model, options, console)
        except AsmlpError as error:
            if len(sources) == 1:
                raise
            failures[str(source)] = " ".join(str(error).split())
    _report(items, options, console)
    for name, reason in failures.items():
        console.error(f"{name}: failed: {reason}")
    return 1 if failures else 0


def _sources(options: argparse.Namespace) -> list[Path]:
    """Return the volumes; raises where options do not go together."""
    sources = [
        file for path in options.inputs for file in (volumes_in(path) if path.is_dir() else [path])
    ]
    if options.objects is None and options.connected:
        raise SettingsError("--connected goes with --objects LABELS")
    if options.objects is not None and len(sources) > 1:
        raise SettingsError(f"--objects: goes with one volume, and there are {len(sources)}")
    if options.objects is not None and options.region is not None:
        raise SettingsError("--region goes with whole volumes, not with --objects")
    return sources


def _classified(
    source: Path, model: Classifier, options: argparse.Namespace, console: Console
) -> list[Item]:
    volume = read_volume(source, volume=options.volume)
    settings = ClassifySettings(device=options.device)
    if options.region is not None:
        settings = replace(settings, region=Region.parse(options.region, volume.grid.shape))
    objects = None
    if options.objects is not None:
        several = read_volume(options.objects).channels > 1
        number = options.volume if several else None
        objects = read_volume(options.objects, volume=number, kind="labels")
        for text in objects.notes:
            console.note(text)
        if options.connected:
            objects = connected(objects)
    return console.follow(iter_classify(volume, model, settings, objects), source.name)


def connected(labels: Volume) -> Volume:
    """Return labels in which each connected piece, by faces, edges or corners, has its value."""
    pieces = np.asarray(pieces_of(labels.array(), 26))
    return replace(labels, data=pieces, label_names={}, title=f"pieces of {labels.name}", path=None)


def _report(items: Sequence[Item], options: argparse.Namespace, console: Console) -> None:
    text = json.dumps({"items": [as_json(item) for item in items]}, indent=1, allow_nan=False)
    if options.json == "-":
        console.result(text.split("\n"))
        return
    if options.json:
        with replacing(Path(options.json), overwrite=options.overwrite) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    elif items and not console.quiet:
        console.result(format_table(items).split("\n"))


def as_json(item: Item) -> dict[str, Any]:
    """Return an item as the command line promises it."""
    return {
        "input": item.input,
        "object": item.object,
        "class": item.class_name,
        "probabilities": {name: round(p, 6) for name, p in item.probabilities.items()},
    }


def format_table(items: Sequence[Item]) -> str:
    """Return a line an item: input, object, class, confidence, and the probability of each class.

    Parameters
    ----------
    items : of one model, one at least
    """
    names = list(items[0].probabilities)
    rows = [["input", "object", "class", "confidence", *names]]
    for item in items:
        shares = [f"{item.probabilities[name]:.3f}" for name in names]
        value = "" if item.object is None else str(item.object)
        rows.append(
            [Path(item.input).name, value, item.class_name, f"{item.confidence:.3f}", *shares]
        )
    # names come from a stranger's model file, and a terminal obeys what is not printable
    rows = [["".join(c if c.isprintable() else "?" for c in cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
