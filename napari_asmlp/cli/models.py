"""`napari-asmlp models`: list, show, verify, import."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from napari_asmlp import zoo
from napari_asmlp.cli import common_options, positive
from napari_asmlp.cli.console import Console
from napari_asmlp.errors import ModelError
from napari_asmlp.io.files import check_file
from napari_asmlp.model import Card, Model, save_model
from napari_asmlp.networks.cost import count_flops, count_parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its four parts."""
    common_options(parser)
    parts = parser.add_subparsers(required=True, metavar="list|show|verify|import")
    parts.add_parser("list", help="the models that can be named").set_defaults(run=run_list)
    show = parts.add_parser("show", help="card, architecture, parameters and FLOPs of a model")
    show.set_defaults(run=run_show)
    show.add_argument("model", metavar="NAME|FILE", help="a name of `list`, or a model file")
    verify = parts.add_parser("verify", help="load a model file and run it once")
    verify.set_defaults(run=run_verify)
    verify.add_argument("model", metavar="FILE", help="a model file, or a name of `list`")
    bring = parts.add_parser("import", help="bring a Med_ASMLP checkpoint over")
    bring.set_defaults(run=run_import)
    bring.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT.pt", help="a state dict of the port's"
    )
    bring.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.safetensors")
    bring.add_argument(
        "--shift-size",
        type=positive,
        default=5,
        metavar="N",
        help="extent of the axial shift it was trained with; not in the file (default: 5)",
    )
    bring.add_argument("--overwrite", action="store_true", help="replace an existing output")
    for part in parts.choices.values():
        common_options(part)


def run_list(_options: argparse.Namespace, _console: Console) -> int:
    """One line a model."""
    sound, damaged = zoo.survey()
    for entry in sound:
        sys.stdout.write(f"{entry.name:20} {entry.origin:8} {entry.card.summary}\n")
    for name, reason in damaged.items():
        sys.stdout.write(f"{name:20} damaged  {reason}\n")
    return 0


def run_show(options: argparse.Namespace, _console: Console) -> int:
    """Print all that the file says, and what the network costs."""
    model = zoo.load(options.model)
    sys.stdout.write("\n".join(describe(model)) + "\n")
    return 0


def run_verify(options: argparse.Namespace, console: Console) -> int:
    """Load, check and run a model."""
    model = zoo.load(options.model)
    unit = model.card.multiple_of
    noise = torch.randn(1, model.card.in_channels, unit, unit, unit)
    with torch.inference_mode():
        logits = model.network(noise)
    if not logits.isfinite().all():
        raise ModelError(f"{model.path}: the network answers noise with NaN or infinity")
    console.note(
        f"{model.card.name}: sound; {count_parameters(model.network):,} parameters, ran on"
        f" {unit}x{unit}x{unit} voxels, {model.hash}"
    )
    return 0


def run_import(options: argparse.Namespace, console: Console) -> int:
    """Write a Med_ASMLP checkpoint as a model file of ours."""
    check_file(options.output, overwrite=options.overwrite, inputs=[options.checkpoint])
    model = zoo.import_checkpoint(options.checkpoint, options.shift_size)
    # Random or tiny weights lose digits in float16, and such a file is kept to be compared.
    path = save_model(model, options.output, overwrite=options.overwrite, half=False)
    config = model.card.network
    console.note(
        f"{path}: patch {config.patch_size}, widths {config.widths}, shift {config.shift_size},"
        f" {config.in_channels} channels, {config.out_channels} classes"
    )
    return 0


def describe(model: Model) -> Iterator[str]:
    """Lines of text about a model."""
    card = model.card
    yield f"name          {card.name}"
    yield f"file          {model.path}"
    yield f"hash          {model.hash}"
    yield f"summary       {card.summary}"
    labels = (f"{entry.value} {entry.name} ({entry.colour})" for entry in card.labels)
    yield f"labels        {', '.join(labels)}"
    yield f"architecture  {card.architecture}, {card.activation}"
    for name, value in asdict(card.network).items():
        yield f"  {name:16} {value}"
    flops = count_flops(model.network, (card.in_channels, *card.window))
    yield f"parameters    {count_parameters(model.network):,}"
    yield f"FLOPs         {flops / 1e9:.2f} GFLOP for a window of {_times(card.window)} voxels"
    yield from _provenance(card)


def _provenance(card: Card) -> Iterator[str]:
    recipe = card.preprocessing
    spacing = "that of the file" if recipe.spacing is None else f"{_times(recipe.spacing)} mm"
    yield f"spacing       {spacing}; axes {recipe.axis_codes or 'of the file'}"
    for channel, one in enumerate(recipe.fixed or (None,)):
        text = f"clip to percentiles {recipe.clip}, {recipe.normalisation}"
        if one is not None:
            text = (
                f"clip to {one.low:g} ... {one.high:g}, less {one.mean:g}, over {one.deviation:g}"
            )
        yield f"intensities   {text}{f' (channel {channel})' if recipe.fixed else ''}"
    if card.field_of_view_mm is not None:
        yield f"trained on    fields of view up to {_times(card.field_of_view_mm)} mm"
    yield f"data          {card.training_data or 'not stated'}"
    yield f"licence       {card.licence}"
    if card.attribution:
        yield f"attribution   {card.attribution}"
    yield from _scores(card)
    yield f"created       {card.created or 'not stated'}"


def _scores(card: Card) -> Iterator[str]:
    cases = card.scores.get("cases", {})
    if cases:
        yield f"scores        on {len(cases)} cases kept out of training"
    for label, values in card.scores.get("mean", {}).items():
        name = card.label_names.get(int(label), label) if label.isdigit() else "mean"
        yield f"  {name:16} {_measured(values['dice'], values['hd95_mm'])}"
    error = card.calibration.get("ece_after")
    if error is not None:
        yield f"calibration   error {error:.3f} with temperature {card.temperature:g}"


def _measured(dice: float | None, hd95: float | None) -> str:
    """Say what there is: a label that was never found has no distance."""
    distance = "-" if hd95 is None else f"{hd95:.2f} mm"
    return f"Dice {'-' if dice is None else f'{dice:.3f}'}, HD95 {distance}"


def _times(values: tuple[float, ...]) -> str:
    return "x".join(f"{value:g}" for value in values)
