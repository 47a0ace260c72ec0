"""`napari-asmlp benchmark`: how fast this machine is, beside what one would pick instead."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import torch
from torch import nn

from napari_asmlp import __version__, zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.errors import AsmlpError
from napari_asmlp.grid import Grid
from napari_asmlp.model import Model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled import compiled, library
from napari_asmlp.networks.folded import FoldedAsmlp, can_fold
from napari_asmlp.networks.unet import UNet
from napari_asmlp.pipeline import SegmentSettings, segment
from napari_asmlp.volume import Volume

_WINDOW = 64  # voxels along each axis of the windows that are timed
_HEAD = 256  # of a whole head at 1 mm
_OVERLAPPING = (2 * _HEAD // _WINDOW - 1) ** 3  # windows of a head where they overlap by half
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Way = tuple[str, nn.Module, int]  # what it is called, the network, windows it takes for a head


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("--quick", action="store_true", help="measure less often, a rougher answer")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print a table in Markdown for each bundled model."""
    repeats = 2 if options.quick else 5
    _say(_machine(repeats))
    has_compiler = _has_compiler(console)
    for name, (path, origin) in zoo.model_paths().items():
        if origin == "bundled":
            model = zoo.load(path)
            _say(f"\n{name}, windows of {_WINDOW}³ voxels; seconds for {_HEAD}³ are counted up")
            _say("\n| way | s a window | windows | s for 256³ | times faster |")
            _say("|---|---|---|---|---|")
            for line in _compare(list(_ways(model, compiles=has_compiler)), model, repeats):
                _say(line)
            _say(f"\nall of it, {_whole(model, 64 if options.quick else 128)}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _machine(repeats: int) -> str:
    """Return what the figures hold for."""
    rates = []
    for dtype in _TYPES.values():
        matrix = torch.randn(1024, 1024).to(dtype)
        (seconds,) = _seconds([partial(torch.matmul, matrix, matrix)], 3 * repeats)
        rates.append(f"{2 * 1024**3 / seconds / 1e9:.0f}")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, napari-asmlp {__version__}, torch {torch.__version__},"
        f" {platform.system()} {platform.machine()}, {torch.get_num_threads()} threads;"
        f" matrix products {' and '.join(rates)} GFLOP/s in fp32 and bf16"
    )


def _has_compiler(console: Console) -> bool:
    start = time.perf_counter()
    try:
        library()
    except AsmlpError as error:
        console.note(f"compiled blocks are left out: {error}")
        return False
    _say(f"blocks compiled, or found compiled, in {time.perf_counter() - start:.1f} s")
    return True


def _ways(model: Model, *, compiles: bool) -> Iterator[Way]:
    """Yield ours, then what one would do without: the first of those is compared with."""
    network, card = model.network, model.card
    windows = (_HEAD // _WINDOW) ** 3
    for precision, dtype in _TYPES.items():
        if isinstance(network, Asmlp) and can_fold(network):
            yield f"folded, {precision}", FoldedAsmlp(network).to(dtype), windows
        if isinstance(network, Asmlp) and compiles:
            yield f"compiled, {precision}", compiled(FoldedAsmlp(network), dtype), windows
    yield "the network as it is, windows overlapping by half, fp32", network, _OVERLAPPING
    unet = UNet(card.in_channels, card.out_channels).eval()
    yield "a plain 3D U-Net, windows overlapping by half, fp32", unet, _OVERLAPPING


def _compare(ways: list[Way], model: Model, repeats: int) -> Iterator[str]:
    volume = torch.randn(1, model.card.in_channels, _WINDOW, _WINDOW, _WINDOW)
    with torch.inference_mode():
        timed = _seconds([partial(network, volume) for _, network, _ in ways], repeats)
    totals = [seconds * windows for seconds, (_, _, windows) in zip(timed, ways, strict=True)]
    slow = totals[-2]
    for seconds, total, (name, _, windows) in zip(timed, totals, ways, strict=True):
        yield f"| {name} | {seconds:.3f} | {windows} | {total:.1f} | {slow / total:.1f} |"


def _seconds(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Run all once to warm up, then in turns; return the median of each."""
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, times in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            if turn:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def _whole(model: Model, size: int) -> str:
    """Segment a volume of noise, in which no window is skipped, and say how long it took."""
    spacing = model.card.preprocessing.spacing or (1.0, 1.0, 1.0)
    grid = Grid((size,) * 3, np.diag([*spacing, 1.0]))
    noise = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    anywhere = replace(model, card=replace(model.card, field_of_view_mm=None), path=None)
    start = time.perf_counter()
    segment(Volume(noise, grid, "image", title="noise"), anywhere, SegmentSettings())
    seconds = time.perf_counter() - start
    return (
        f"{size}³ voxels from volume to labels: {seconds:.1f} s, {size**3 / seconds / 1e6:.2f} M/s"
    )
