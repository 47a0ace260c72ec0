"""MLP-Mixer against MONAI's 3D ResNet-18: learning to classify for equal CPU time, paired.

    python benchmarks/classifier_race.py DATA.npz --recipe src_resources/adrenal-mass.toml

DATA is an .npz in MedMNIST's form; its test cases are not read. For each seed the training and
validation cases are split anew, a part is kept out, and every entry learns from the same rest, in
one thread, for the same seconds of CPU time, with the same variation, precision and averaging of
weights; entries take turns, so that what else the machine does meets them alike. Each answer is the
mean over the same mirrorings. Intervals of the difference are over the cases kept out, resampled
together for both. Needs `pip install napari-asmlp[benchmark]`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.devices import autocast, resolve_precision
from napari_asmlp.networks.cost import count_flops, count_parameters
from napari_asmlp.networks.mixer import Mixer, MixerConfig
from napari_asmlp.pipeline.segmentation import finish
from napari_asmlp.training.classifier import (
    CaseReader,
    ClassifierRecipe,
    ClassifierRun,
    ClassSamples,
    choose_input,
    class_splits,
    logits_of,
    prepare,
    read_class_data,
    read_classifier_recipe,
)
from napari_asmlp.training.optimisers import set_rates
from napari_asmlp.training.state import State

CPU = torch.device("cpu")
PARTS = 4  # one of which is kept out
TURN = 5  # seconds of CPU time before the next entry's turn


@dataclass(frozen=True)
class Result:
    """What an entry reached with a seed: logits (N, K) of the cases kept out, and steps."""

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]
    steps: int

    @property
    def chances(self) -> NDArray[np.float32]:
        return special.softmax(self.logits, axis=1)

    @property
    def auc(self) -> float:
        return area(self.chances, self.truth)

    @property
    def accuracy(self) -> float:
        return float((self.logits.argmax(axis=1) == self.truth).mean())


def area(chances: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    if chances.shape[1] == 2:
        return float(roc_auc_score(truth, chances[:, 1]))
    return float(roc_auc_score(truth, chances, multi_class="ovr"))


class Mirrored(nn.Module):
    """A network whose answer, outside training, is the mean over mirrorings, as a Mixer's is."""

    def __init__(self, network: nn.Module, config: MixerConfig) -> None:
        super().__init__()
        self.network, self.moved = network, config.in_channels - config.fixed_channels
        dims = [axis + 2 for axis in config.mirror_axes]
        self.flips = [f for n in range(len(dims) + 1) for f in combinations(dims, n)]

    def forward(self, volume: Tensor) -> Tensor:
        if self.training:
            return self.network(volume)
        shapes, measured = volume[:, : self.moved], volume[:, self.moved :]
        seen = (torch.cat([shapes.flip(flip), measured], dim=1) for flip in self.flips)
        return torch.stack([self.network(one) for one in seen]).mean(dim=0)


def mixer(recipe: ClassifierRecipe) -> nn.Module:
    return Mixer(recipe.network)


def resnet18(recipe: ClassifierRecipe) -> nn.Module:
    """MONAI's, with the stride of 2 that He et al. gave its first layer: else 8 times slower."""
    from monai.networks.nets import resnet18 as monai_resnet18

    config = recipe.network
    network = monai_resnet18(
        spatial_dims=3,
        n_input_channels=config.in_channels,
        num_classes=config.out_channels,
        conv1_t_stride=2,
        feed_forward=True,
    )
    return Mirrored(network, config)


# AdamW for the convolutions, since Muon is for matrices; in batches of 16 they take more steps. In
# fp32: in bfloat16 their gradients are not finite now and then on a CPU, and the loss is NaN soon.
FP32: dict[str, object] = {"precision": "fp32"}
ENTRIES: dict[str, tuple[Callable[[ClassifierRecipe], nn.Module], dict[str, object]]] = {
    "mixer": (mixer, {}),
    "mixer-adamw": (mixer, {"optimiser": "adamw"}),
    "resnet18": (resnet18, {"optimiser": "adamw", "learning_rate": 1e-3, "batch_size": 16} | FP32),
}


def learning(run: ClassifierRun, network: nn.Module, seconds: float) -> Generator[None, None, int]:
    """Train for a CPU time, the rate decaying with it; yields each turn, returns the steps."""
    recipe, spent, state = run.recipe, 0.0, State.new(network.train(), run.recipe)
    context = autocast(CPU, resolve_precision(recipe.precision, CPU))
    while spent < seconds:
        start, turn = time.process_time(), min(TURN, seconds - spent)
        while time.process_time() - start < turn:
            done = (spent + time.process_time() - start) / seconds
            set_rates(state.optimisers, recipe.warmup, done)
            inputs, outputs = run.batch(state.step)
            with context:
                logits = network(inputs)
            state.descend(
                functional.cross_entropy(logits.float(), outputs, label_smoothing=recipe.smoothing)
            )
            state.step += 1
        spent += time.process_time() - start
        yield
    state.ship()
    return state.step


def race(
    entries: list[str],
    recipe: ClassifierRecipe,
    samples: ClassSamples,
    split: tuple[NDArray[np.intp], ...],
    seconds: float,
) -> dict[str, Result]:
    """Let all entries learn from one split, in turns."""
    training, kept_out = (samples.at(side) for side in split)
    networks, works, steps = {}, {}, {}
    for name in entries:
        build, changes = ENTRIES[name]
        torch.manual_seed(recipe.seed)
        tuned = replace(recipe, **changes)
        run = ClassifierRun(tuned, recipe.input, training, kept_out, Path())
        networks[name] = build(tuned)
        works[name] = learning(run, networks[name], seconds)
    while works:
        for name in list(works):
            try:
                next(works[name])
            except StopIteration as stop:
                steps[name] = stop.value
                del works[name]
    truth = kept_out.outputs.numpy()
    return {
        name: Result(logits_of(network.eval(), kept_out.inputs).numpy(), truth, steps[name])
        for name, network in networks.items()
    }


def difference(ours: list[Result], theirs: list[Result]) -> str:
    """Mean difference of the areas over seeds, and 95 % of 1,000 resamplings of the cases."""
    random, drawn = np.random.default_rng(0), []
    for _ in range(1000):
        each = []
        for one, other in zip(ours, theirs, strict=True):
            rows = random.integers(len(one.truth), size=len(one.truth))
            truth = one.truth[rows]
            if len(np.unique(truth)) == one.logits.shape[1]:
                each.append(area(one.chances[rows], truth) - area(other.chances[rows], truth))
        drawn.append(float(np.mean(each)) if each else math.nan)
    mean = np.mean([one.auc - other.auc for one, other in zip(ours, theirs, strict=True)])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help=".npz in MedMNIST's form")
    parser.add_argument("--recipe", type=Path, required=True, help="of the Mixer, TOML")
    parser.add_argument("--seconds", type=float, default=120, help="of CPU time for each entry")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--entries", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe, data = read_classifier_recipe(given.recipe), read_class_data(given.data)
    reader = CaseReader()
    seen = recipe.input or finish(choose_input(data.cases, recipe.network, reader))
    samples = finish(prepare(data.cases, seen, recipe.network, reader))
    network = replace(
        recipe.network, in_channels=samples.inputs.shape[1], out_channels=len(data.classes)
    )
    recipe = replace(recipe, input=seen, network=network)
    mirrorings = 2 ** len(network.mirror_axes)
    first = given.entries[0]
    results: dict[str, list[Result]] = {name: [] for name in given.entries}
    for seed in range(given.seeds):
        one = class_splits(data, PARTS, seed)[0]
        split = (one.training, one.kept_out)
        for name, result in race(
            given.entries, replace(recipe, seed=seed), samples, split, given.seconds
        ).items():
            results[name].append(result)
    print(f"{data.name}, {given.seconds:g} s of CPU time, {given.seeds} seeds\n")
    print(
        "| network | parameters | GFLOP | steps | ROC AUC | accuracy | AUC of the first less this |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, each in results.items():
        built = ENTRIES[name][0](recipe)
        flops = count_flops(built.eval(), tuple(samples.inputs.shape[1:])) / 1e9 / mirrorings
        apart = "" if name == first else difference(results[first], each)
        print(
            f"| {name} | {count_parameters(built):,} | {flops:.3f}"
            f" | {np.mean([r.steps for r in each]):.0f} | {spread([r.auc for r in each])}"
            f" | {spread([r.accuracy for r in each])} | {apart} |"
        )


if __name__ == "__main__":
    main()
