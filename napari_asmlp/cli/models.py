"""`napari-asmlp models`: list, show, verify, import."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from napari_asmlp import zoo
from napari_asmlp.cli import common_options, positive
from napari_asmlp.cli.cards import describe, times
from napari_asmlp.cli.console import Console
from napari_asmlp.errors import ModelError
from napari_asmlp.io.files import check_file
from napari_asmlp.model import AnyCard, ClassifierCard, save_model
from napari_asmlp.networks.cost import count_parameters


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


def run_list(_options: argparse.Namespace, console: Console) -> int:
    """One line a model."""
    sound, damaged = zoo.survey()
    console.result(f"{entry.name:20} {entry.origin:8} {entry.card.summary}" for entry in sound)
    console.result(f"{name:20} damaged  {reason}" for name, reason in damaged.items())
    return 0


def run_show(options: argparse.Namespace, console: Console) -> int:
    """Print all that the file says, and what the network costs."""
    model = zoo.load(options.model)
    console.result(describe(model))
    return 0


def run_verify(options: argparse.Namespace, console: Console) -> int:
    """Load, check and run a model."""
    model = zoo.load(options.model)
    size = _smallest(model.card)
    noise = torch.randn(1, model.card.in_channels, *size)
    with torch.inference_mode():
        logits = model.network(noise)
    if not logits.isfinite().all():
        raise ModelError(f"{model.path}: the network answers noise with NaN or infinity")
    console.note(
        f"{model.card.name}: sound; {count_parameters(model.network):,} parameters, ran on"
        f" {times(size)} voxels, {model.hash}"
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


def _smallest(card: AnyCard) -> tuple[int, int, int]:
    """Voxels of the smallest volume that a network runs on."""
    if isinstance(card, ClassifierCard):
        return card.network.input_size
    return (card.multiple_of,) * 3
