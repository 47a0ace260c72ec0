"""`napari-asmlp benchmark`: how fast this machine is, beside what one would pick instead."""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from napari_asmlp import __version__, zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.devices import (
    DTYPES,
    Precision,
    emulation_note,
    native_precisions,
    resolve_precision,
)
from napari_asmlp.errors import AsmlpError
from napari_asmlp.grid import Grid, Triple
from napari_asmlp.inference import Engine
from napari_asmlp.model import ClassifierCard, Model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled import compiled, library
from napari_asmlp.networks.compiled_training import is_trainable
from napari_asmlp.networks.cost import count_flops
from napari_asmlp.networks.folded import FoldedAsmlp, can_fold
from napari_asmlp.networks.unet import UNet
from napari_asmlp.pipeline import Plan, SegmentSettings, format_size, iter_segment, make_plan
from napari_asmlp.pipeline.segmentation import finish
from napari_asmlp.training.losses import segmentation_loss
from napari_asmlp.training.recipe import Recipe
from napari_asmlp.training.trainer import token_precision, training_forward
from napari_asmlp.volume import Volume
from napari_asmlp.windows import count_windows

_WINDOW = 64  # voxels along each axis of the windows that are timed
_HEAD = 256  # of a whole head at 1 mm
_HALF = 0.5  # overlap that sliding windows usually have
_CROP = (2, 40, 56, 40)  # batch and extent of a training step
_CPU = torch.device("cpu")
_MEASURED: tuple[Precision, ...] = ("fp32", "bf16")  # where the CPU multiplies them by itself


@dataclass(frozen=True)
class Way:
    """A way to run a network over a head: what it is called, and whether windows overlap by half.

    Else they are fitted to the head. `engine` is None for what is not ours.
    """

    name: str
    network: nn.Module
    engine: Engine | None = None
    precision: Precision = "fp32"
    overlapping: bool = False

    def computed(self, model: Model) -> int:
        """Return how many voxels it computes."""
        head = (_HEAD,) * 3
        if self.overlapping:
            window: Triple = (_WINDOW,) * 3
            return count_windows(head, window, _HALF) * math.prod(window)
        plan = _plan(model)
        return len(plan.boxes) * math.prod(plan.window)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("--quick", action="store_true", help="measure less often, a rougher answer")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print a table in Markdown for each bundled model."""
    repeats = 2 if options.quick else 5
    rates = _matrix_rates(repeats)
    _say(_machine(rates))
    for left_out in _left_out():
        _say(f"left out: {left_out}")
    has_compiler = _has_compiler(console)
    for name, (path, origin) in zoo.model_paths().items():
        if origin == "bundled":
            loaded = zoo.load(path)
            if isinstance(loaded.card, ClassifierCard):
                continue
            model = replace(loaded, card=replace(loaded.card, field_of_view_mm=None), path=None)
            _say(f"\n{name}, windows of {_WINDOW}³ voxels; seconds for {_HEAD}³ are counted up")
            _say(
                "\n| way | s a window | of the matrix rate | M voxels | s for 256³ | times faster |"
            )
            _say("|---|---|---|---|---|---|")
            ways = list(_ways(model, compiles=has_compiler))
            timed = _timed(ways, model, repeats)
            for line in _rows(ways, timed, model, rates):
                _say(line)
            _say(f"\n{_choice(ways, timed, _plan(model))}")
            _say(f"\n{_training(model, repeats, compiles=has_compiler)}")
            _say(f"\n{_whole(model, 128 if options.quick else 192)}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _plan(model: Model) -> Plan:
    """Return how `segment` would run a whole head, if it were asked for nothing in particular."""
    head = _noise((_HEAD,) * 3, model.card.preprocessing.spacing)
    return make_plan(head, model, SegmentSettings(device="cpu"), in_memory=False)


def _precisions() -> list[Precision]:
    """Return the precisions to measure: what the CPU only emulates would take minutes."""
    return [precision for precision in _MEASURED if precision in native_precisions(_CPU)]


def _left_out() -> Iterator[str]:
    """Say what is not measured, and why."""
    for precision in _MEASURED:
        if (note := emulation_note(precision, _CPU)) is not None:
            yield note
    if find_spec("monai") is None:
        yield "MONAI's windows: the package monai is not installed"


def _matrix_rates(repeats: int) -> dict[Precision, float]:
    """Return FLOPs a second of matrix products, by precision."""
    rates = {}
    for precision in _precisions():
        matrix = torch.randn(1024, 1024).to(DTYPES[precision])
        (seconds,) = _seconds([partial(torch.matmul, matrix, matrix)], 3 * repeats)
        rates[precision] = 2 * 1024**3 / seconds
    return rates


def _machine(rates: dict[Precision, float]) -> str:
    """Return what the figures hold for."""
    products = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, napari-asmlp {__version__}, torch {torch.__version__},"
        f" {platform.system()} {platform.machine()}, {torch.get_num_threads()} threads;"
        f" matrix products {products}"
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
    for precision in _precisions():
        dtype = DTYPES[precision]
        if isinstance(network, Asmlp) and can_fold(network):
            folded = FoldedAsmlp(network).to(dtype)
            yield Way(f"folded, {precision}", folded, "folded", precision)
        if isinstance(network, Asmlp) and compiles:
            blocks = compiled(FoldedAsmlp(network), dtype)
            yield Way(f"compiled, {precision}", blocks, "compiled", precision)
    usual = "windows overlapping by half, fp32"
    yield Way(f"the network as it is, {usual}", network, "as it is", overlapping=True)
    if find_spec("monai") is not None:
        yield Way(f"the network as it is, MONAI's {usual}", _Monai(network), overlapping=True)
    unet = UNet(card.in_channels, card.out_channels).eval()
    yield Way(f"a plain 3D U-Net, {usual}", unet, overlapping=True)


class _Monai(nn.Module):
    """MONAI's sliding windows, a Gaussian weighing them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> Tensor:
        from monai.inferers.utils import sliding_window_inference  # slow to import, not required

        logits = sliding_window_inference(
            volume, (_WINDOW,) * 3, 1, self.network, overlap=_HALF, mode="gaussian"
        )
        return cast("Tensor", logits)


def _timed(ways: list[Way], model: Model, repeats: int) -> list[float]:
    """Return the seconds that each way takes for a window."""
    volume = torch.randn(1, model.card.in_channels, _WINDOW, _WINDOW, _WINDOW)
    with torch.inference_mode():
        return _seconds([partial(way.network, volume) for way in ways], repeats)


def _rows(
    ways: list[Way], timed: list[float], model: Model, rates: dict[Precision, float]
) -> Iterator[str]:
    """Yield a row of the table for each way."""
    computed = [way.computed(model) for way in ways]
    totals = [s * voxels / _WINDOW**3 for s, voxels in zip(timed, computed, strict=True)]
    slow = next(total for total, way in zip(totals, ways, strict=True) if way.overlapping)
    for way, seconds, voxels, total in zip(ways, timed, computed, totals, strict=True):
        share = "–"
        if isinstance(model.network, Asmlp) and not isinstance(way.network, UNet):
            flops = count_flops(model.network, (model.card.in_channels, *(_WINDOW,) * 3))
            share = f"{flops / seconds / rates[way.precision]:.0%}"
        yield (
            f"| {way.name} | {seconds:.3f} | {share} | {voxels / 1e6:.1f} | {total:.1f}"
            f" | {slow / total:.1f} |"
        )


def _choice(ways: list[Way], timed: list[float], plan: Plan) -> str:
    """Return how `segment` runs the network here, and whether that took the least time."""
    ours = {(w.engine, w.precision): s for w, s in zip(ways, timed, strict=True) if w.engine}
    taken = plan.engine, plan.inference.precision
    said = f"segment runs the network {' in '.join(taken)} here"
    best = min(ours, key=lambda way: ours[way])
    if taken not in ours or best == taken:
        return f"{said}, the fastest a window" if best == taken else said
    return f"{said}; {' in '.join(map(str, best))} took {ours[best] / ours[taken]:.0%} of its time"


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


def _training(model: Model, repeats: int, *, compiles: bool) -> str:
    """Time a training step, each in the precision of `train`, beside that of a plain U-Net."""
    card, recipe = model.card, Recipe()
    batch, *extent = _CROP
    volume = torch.randn(batch, card.in_channels, *extent)
    truth = torch.randint(0, card.out_channels, (batch, *extent))

    def step(network: nn.Module, recipe: Recipe) -> Callable[[], None]:
        forward, context = training_forward(network, recipe, _CPU)

        def work() -> None:
            with context:
                logits = forward(volume)
            torch.autograd.backward(segmentation_loss(logits.float(), truth))

        return work

    ours, unet = Asmlp(card.network), UNet(card.in_channels, card.out_channels)
    steps = {"as it is": step(ours, recipe)}
    if compiles and is_trainable(ours):
        tokens = token_precision(recipe.precision)
        steps[f"compiled (tokens in {tokens})"] = step(ours, replace(recipe, compiled=True))
    steps["a plain 3D U-Net"] = step(unet, recipe)
    timed = _seconds(list(steps.values()), repeats)
    each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in zip(steps, timed, strict=True))
    precision = resolve_precision(recipe.precision, _CPU)
    return f"a training step ({precision}, {'×'.join(map(str, _CROP))} voxels): {each}"


def _whole(model: Model, side: int) -> str:
    """Segment a volume of noise, in which no window is skipped, and say how long it took."""
    volume = _noise((side,) * 3, model.card.preprocessing.spacing)
    result = finish(iter_segment(volume, model, SegmentSettings()))
    seconds, windows = result.report["seconds"], result.report["windows"]["run"]
    network, total = seconds["network"], seconds["total"]
    peak = result.report["peak_memory_bytes"]
    memory = "" if peak is None else f"; peak memory {format_size(peak)}"
    return (
        f"{side}³ voxels from volume to labels: {total:.1f} s,"
        f" {side**3 / total / 1e6:.2f} M voxels a second; all but the network:"
        f" {total / network - 1:.0%} of its time; Cancel waits for a window:"
        f" {network / max(windows, 1):.2f} s at most{memory}"
    )


def _noise(shape: Triple, spacing: tuple[float, ...] | None = None) -> Volume:
    grid = Grid(shape, np.diag([*(spacing or (1.0, 1.0, 1.0)), 1.0]))
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Volume(voxels, grid, "image", title="noise")
