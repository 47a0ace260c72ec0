"""What the engine reaches: every row of its table, ours against another way, on this machine.

``python benchmarks/engine.py`` prints the table in Markdown (about 10 minutes on two cores, with
``--quick`` two minutes, on smaller volumes). Seconds are medians of interleaved runs; the rate of
matrix products is measured in the same run. MONAI is needed for the row that compares with it.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import engine_files
import engine_head
import torch
from straightforward import Straightforward
from torch import Tensor, nn

from napari_asmlp import load_model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.networks.compiled import compiled, library
from napari_asmlp.networks.compiled_training import CompiledTraining, training_library
from napari_asmlp.networks.cost import count_flops
from napari_asmlp.networks.folded import FoldedAsmlp, can_fold
from napari_asmlp.networks.unet import UNet
from napari_asmlp.training.losses import segmentation_loss

HALF = torch.bfloat16
PARTS = ("windows", "training", *engine_files.PARTS, "accuracy")
Goals = tuple[str, str, str, str]  # times faster: eager fp32 and bf16, compiled fp32 and bf16


@dataclass(frozen=True)
class Case:
    """A network and a window."""

    title: str
    config: AsmlpConfig
    shape: tuple[int, int, int]
    goals: Goals


class Half(nn.Module):
    """A network under autocast."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> Tensor:
        with torch.autocast("cpu", HALF):
            return self.network(volume)


def reference(patch: int, width: int) -> AsmlpConfig:
    """The reference's architecture, but for its norm, which ours have per token."""
    widths = (width, 2 * width, 4 * width, 8 * width)
    depths = (2, 2, 2, 2), (2, 2, 2)
    return AsmlpConfig(1, 3, patch, patch, widths, *depths, 5, "layer", "upsample")


PATCH_4, BUNDLED = reference(4, 64), load_model("hippocampus").network.config
CASES = (
    Case(
        "patch 4, embedding 64, norm over the window",
        replace(PATCH_4, norm="group"),
        (64, 128, 128),
        ("≥ 2.2", "≥ 4", "≥ 3", "≥ 6"),
    ),
    Case("patch 4, embedding 64", PATCH_4, (64, 128, 128), ("≥ 2.2", "≥ 4", "≥ 3", "≥ 6")),
    Case("patch 2, embedding 32", reference(2, 32), (64, 64, 64), ("≥ 4", "≥ 8", "≥ 4", "≥ 8")),
    Case("patch 1, embedding 16", reference(1, 16), (64, 64, 64), ("≥ 4", "≥ 8", "≥ 4", "≥ 8")),
    Case("bundled model", BUNDLED, (64, 64, 64), ("–",) * 4),
)


def medians(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Run all once to warm up, then in turns; seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def row(what: str, ours: str, against: str, ratio: str, goal: str) -> None:
    print(f"| {what} | {ours} | {against} | {ratio} | {goal} |", flush=True)


def matrix_rates(repeats: int = 15) -> dict[torch.dtype, float]:
    """FLOPs a second of square matrix products that fit the caches."""
    size = 1024
    matrices = {dtype: torch.randn(size, size).to(dtype) for dtype in (torch.float32, HALF)}
    seconds = medians(
        {str(dtype): lambda m=matrix: m @ m for dtype, matrix in matrices.items()}, repeats
    )
    return {dtype: 2 * size**3 / seconds[str(dtype)] for dtype in matrices}


def window(case: Case, repeats: int) -> None:
    """Rows of one network over one window."""
    torch.manual_seed(0)
    network, volume = Asmlp(case.config).eval(), torch.randn(1, 1, *case.shape)
    networks: dict[str, nn.Module] = {
        "straightforward": Straightforward(network).eval(),
        "eager fp32": FoldedAsmlp(network) if can_fold(network) else network,
        "eager bf16": FoldedAsmlp(network).to(HALF) if can_fold(network) else Half(network),
        "compiled fp32": compiled(FoldedAsmlp(network), torch.float32),
        "compiled bf16": compiled(FoldedAsmlp(network), HALF),
    }
    with torch.inference_mode():
        rates = matrix_rates()
        seconds = medians(
            {name: lambda n=each: n(volume) for name, each in networks.items()}, repeats
        )
        expected = networks["straightforward"](volume)
        errors = {name: deviation(each(volume), expected) for name, each in networks.items()}
    flops = count_flops(network, (1, *case.shape))
    plain = seconds.pop("straightforward")
    shape = "×".join(map(str, case.shape))
    for (name, ours), goal in zip(seconds.items(), case.goals, strict=True):
        share = flops / ours / rates[HALF if "bf16" in name else torch.float32]
        what = f"{case.title}, {shape}, {name} (largest difference {errors[name]:.0e} of the range)"
        row(what, f"{ours:.3f} s", f"{plain:.3f} s", f"{plain / ours:.2f}", goal)
        if case.config.patch_size == 4:
            least = "75" if "compiled" in name else "65"
            row(f"… its share of the matrix rate, {name}", f"{share:.0%}", "–", "–", f"≥ {least} %")


def deviation(logits: Tensor, expected: Tensor) -> float:
    return float((logits - expected).abs().max() / (expected.max() - expected.min()))


def training(repeats: int) -> None:
    """Rows of one training step of the bundled model."""
    torch.manual_seed(0)
    network = Asmlp(BUNDLED)
    volume, truth = torch.randn(2, 1, 40, 56, 40), torch.randint(0, 3, (2, 40, 56, 40))

    def step(
        trained: nn.Module, run: Callable[[Tensor], Tensor], *, half: bool
    ) -> Callable[[], None]:
        def work() -> None:
            trained.zero_grad(set_to_none=True)
            with torch.autocast("cpu", HALF, enabled=half):
                logits = run(volume)
            segmentation_loss(logits.float(), truth).backward()

        return work

    training_library()
    plain, unet = Straightforward(network), UNet(1, 3)
    for precision, dtype in (("fp32", torch.float32), ("bf16", HALF)):
        half = dtype == HALF
        works = {
            "eager": step(network, network, half=half),
            "compiled": step(network, CompiledTraining(network, dtype), half=half),
            "straightforward": step(plain, plain, half=half),
            "a plain 3D U-Net": step(unet, unet, half=half),
        }
        seconds = medians(works, repeats)
        for ours in ("eager", "compiled"):
            for other, goal in (("straightforward", "≥ 2.5"), ("a plain 3D U-Net", "≥ 1")):
                what = f"training step, bundled architecture, {ours}, {precision}, against {other}"
                ratio = f"{seconds[other] / seconds[ours]:.2f}"
                row(what, f"{seconds[ours]:.2f} s", f"{seconds[other]:.2f} s", ratio, goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller volumes, fewer repeats")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some rows")
    parser.add_argument(
        "--cases",
        type=Path,
        metavar="DATASET",
        help="labelled hippocampi (imagesTr, labelsTr) that the model was not trained on",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    start = time.perf_counter()
    library()
    rates = ", ".join(f"{rate / 1e9:.0f}" for rate in matrix_rates().values())
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {given.threads} threads, torch {torch.__version__},"
        f" Python {platform.python_version()}, {platform.system()} {platform.machine()};"
        f" matrix products {rates} GFLOP/s (fp32, bf16);"
        f" compiling the blocks, or finding them compiled: {time.perf_counter() - start:.1f} s\n"
    )
    row("what", "ours", "against", "ratio", "goal")
    row(*["---"] * 5)
    if "windows" in given.only:
        for case in CASES[-1:] if given.quick else CASES:
            window(case, 3 if given.quick else 5)
    if "training" in given.only:
        training(2 if given.quick else 5)
    engine_files.rows(row, given.only, quick=given.quick, threads=given.threads)
    if "accuracy" in given.only:
        engine_head.accuracy(row, given.cases)
    print(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
