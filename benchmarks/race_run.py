"""One run of the race, in a process of its own: ``race_run.py train|score FOLDER ENTRY SEED``.

The budget is CPU seconds of one thread spent on batches and steps. Whatever else the machine does,
and however often a run is stopped and taken up again, it gets the same amount of work done, but
for what a neighbour's use of shared caches costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from race_networks import Entry, Shape, Task, build, padded, without_matrices
from torch import nn

from napari_asmlp.devices import autocast, resolve_precision
from napari_asmlp.errors import SettingsError
from napari_asmlp.evaluate import score_labels, summarise
from napari_asmlp.grid import Grid
from napari_asmlp.io.files import replacing
from napari_asmlp.measure import dice
from napari_asmlp.model import Preprocessing
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled_training import CompiledTraining
from napari_asmlp.networks.cost import count_flops, count_parameters
from napari_asmlp.training.dataset import examined, read_dataset
from napari_asmlp.training.fingerprint import target_spacing
from napari_asmlp.training.folds import split
from napari_asmlp.training.losses import segmentation_loss
from napari_asmlp.training.optimisers import set_rates
from napari_asmlp.training.recipe import RECIPE, Recipe
from napari_asmlp.training.samples import Sample, SampleFolder, prepare
from napari_asmlp.training.state import State, load_checkpoint, save_checkpoint
from napari_asmlp.training.trainer import TrainingRun
from napari_asmlp.volume import Volume
from napari_asmlp.windows import place_windows

PARTS = 5  # of the data; seed s keeps out part s + 1
CURVE_POINTS = 5
CURVE_CASES = 10
CHECKPOINT_SECONDS = 120.0
UNIT = 8  # extents are padded to a multiple of it, as those of the crop are
_CPU = torch.device("cpu")
PRECISION = resolve_precision("auto", _CPU)  # bf16 where this CPU multiplies it by itself
_GRADIENT_NORM = 1.0
_AXIS_CODES = "RAS"
_OVERLAP = 0.5


@dataclass(frozen=True)
class Data:
    """Samples on both sides of a fold, on the model grid."""

    training: Sequence[Sample]
    kept_out: Sequence[Sample]
    label_names: dict[int, str]
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Run:
    """An entry with a seed, in the folder of a race."""

    folder: Path
    entry: Entry
    seed: int

    @property
    def name(self) -> str:
        return f"{self.entry}_seed{self.seed}"

    def file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{suffix}"

    @cached_property
    def race(self) -> dict[str, Any]:
        """What all runs share."""
        content: dict[str, Any] = json.loads((self.folder / "race.json").read_text("utf-8"))
        return content

    @cached_property
    def recipe(self) -> Recipe:
        shared = RECIPE.validate_python(self.race["recipe"])
        fold = f"{self.seed % PARTS + 1}/{PARTS}"
        return self.entry.tuned(replace(shared, seed=self.seed, fold=fold))

    @cached_property
    def data(self) -> Data:
        return read_data(Path(self.race["dataset"]), self.folder / "samples", self.recipe)

    @cached_property
    def task(self) -> Task:
        crop = self.recipe.crop
        if crop is None:
            raise SettingsError("a race needs a crop in its recipe")
        return Task(crop, self.data.training[0].image.shape[0], len(self.data.label_names) + 1)

    @property
    def budget(self) -> float:
        """CPU seconds."""
        return 60 * (self.recipe.minutes or 0.0)

    def network(self) -> nn.Module:
        """Build it; each seed begins with other weights."""
        torch.manual_seed(self.seed)
        return build(self.entry, self.task, self.recipe)


def read_data(dataset: Path, samples: Path, recipe: Recipe) -> Data:
    """Prepare the samples in a folder, where they are not there yet, and split them."""
    found = read_dataset(dataset)
    cases = list(examined(found.cases))
    grids = [case.open_images()[0].grid for case in cases]
    spacing = recipe.spacing or target_spacing(grids, _AXIS_CODES)
    preprocessing = Preprocessing(spacing=spacing, axis_codes=_AXIS_CODES)
    sides = split(cases, recipe.fold)

    def folder(side: Sequence[Any]) -> SampleFolder:
        return SampleFolder(samples, list(prepare(samples, side, found.labels, preprocessing)))

    return Data(folder(sides.training), folder(sides.held_out), found.labels.names, spacing)


def fast() -> AbstractContextManager[object]:
    return autocast(_CPU, PRECISION)


def train(run: Run) -> None:
    """Train for the budget, from the last checkpoint on; write its facts as JSON."""
    recipe, data, checkpoint = run.recipe, run.data, run.file(".pt")
    state = State.new(run.network().train(), recipe)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state, recipe)
    batches = TrainingRun(recipe, run.task.crop, data.training, (), checkpoint)
    forward: Callable[[torch.Tensor], torch.Tensor] = state.network
    if run.entry.network == "asmlp_compiled":
        forward = CompiledTraining(cast(Asmlp, state.network), torch.bfloat16)
    budget, parent, saved = run.budget, os.getppid(), time.monotonic()
    while state.seconds < budget:
        begun = time.process_time()
        set_rates(state.optimisers, recipe.warmup, state.seconds / budget)
        learn(state, forward, *batches.batch(state.step))
        state.step, state.seconds = state.step + 1, state.seconds + time.process_time() - begun
        if state.seconds / budget * CURVE_POINTS >= len(state.history) + 1:
            note(state, run)
        orphaned = os.getppid() != parent
        if orphaned or time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, state, recipe, {})
            saved = time.monotonic()
        if orphaned:
            raise SystemExit("the race was ended: saved")
    save_checkpoint(checkpoint, state, recipe, {})
    facts = {
        "curve": state.history,
        "steps": state.step,
        "step_ms": 1000 * state.seconds / state.step,
        "training_mib": peak_mib(),
    }
    write_json(run.file(".train.json"), facts)


def learn(
    state: State,
    forward: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    classes: torch.Tensor,
) -> None:
    """One step down the loss; none where a gradient is not finite, as for mixed precision usual.

    In bfloat16, convolutions over a few voxels now and then get such gradients on a CPU.
    """
    with fast():
        logits = forward(image)
    loss = segmentation_loss(logits.float(), classes)
    for optimiser in state.optimisers:
        optimiser.zero_grad(set_to_none=True)
    if not loss.isfinite():
        raise SettingsError(f"the loss became {float(loss)} at step {state.step}: the race is void")
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), _GRADIENT_NORM)
    if not norm.isfinite():
        print(f"step {state.step}: a gradient is not finite, step left out", flush=True)
        return
    for optimiser in state.optimisers:
        optimiser.step()
    if state.average is not None:
        state.average.update_parameters(state.network)
    state.losses.append(float(loss.detach()))


def note(state: State, run: Run) -> None:
    """Score the averaged weights on some cases, for the curve; this does not count as training."""
    scores = []
    for sample in islice(run.data.kept_out, CURVE_CASES):
        found = decide(state.learnt.eval(), sample, run.task)
        for value in range(1, len(run.data.label_names) + 1):
            score = dice(found == value, sample.classes == value)
            scores += [] if score is None else [score]
    row = {
        "step": state.step,
        "minutes": state.seconds / 60,
        "loss": float(np.mean(state.losses)),
        "dice": float(np.mean(scores)),
    }
    state.losses = []
    state.history.append(row)
    print(f"{run.name}: {row}", flush=True)


@torch.inference_mode()
def decide(network: nn.Module, sample: Sample, task: Task) -> NDArray[np.uint8]:
    """Return the class of each voxel, (X, Y, Z).

    A network of any extent sees the whole case, one of a fixed extent sees overlapping windows of
    it, whose logits are added. Cases are padded to the crop as they were in training.
    """
    fixed: Shape | None = getattr(network, "fixed_shape", None)
    image, inside = padded(
        torch.from_numpy(np.array(sample.image)), task.crop, 1 if fixed else UNIT
    )
    x, y, z = image.shape[1:]
    logits = torch.zeros(task.out_channels, x, y, z)
    for box in place_windows((x, y, z), fixed or (x, y, z), _OVERLAP):
        window = (slice(None), *box.slices)
        with fast():
            logits[window] += network(image[window][None])[0].float()
    found: NDArray[np.uint8] = logits[(slice(None), *inside)].argmax(0).to(torch.uint8).numpy()
    return found


def score(run: Run) -> None:
    """Score what was trained on all cases kept out; write the run's result as JSON."""
    recipe, data = run.recipe, run.data
    state = State.new(run.network(), recipe)
    load_checkpoint(run.file(".pt"), state, recipe)
    network = without_matrices(state.learnt).eval()
    grid_of = np.diag([*data.spacing, 1.0])
    cases, seconds = {}, []
    decide(network, data.kept_out[0], run.task)  # the first call is slower than the others
    for sample in data.kept_out:
        begun = time.process_time()
        found = decide(network, sample, run.task)
        seconds.append(time.process_time() - begun)
        grid = Grid(found.shape, grid_of)
        reference = Volume(np.array(sample.classes), grid, "labels")
        cases[sample.name] = score_labels(Volume(found, grid, "labels"), reference)
    scores = summarise(cases)
    result = {
        "entry": str(run.entry),
        "seed": run.seed,
        "fold": recipe.fold,
        "cases": len(cases),
        "dice": scores["mean"]["all"]["dice"],
        "hd95_mm": scores["mean"]["all"]["hd95_mm"],
        "missed": sum(missed(case) for case in cases.values()),
        "parameters": count_parameters(network),
        "gflop": count_flops(network, (run.task.in_channels, *run.task.crop)) / 1e9,
        "case_ms": 1000 * float(np.mean(seconds)),
        "inference_mib": peak_mib(),
        **json.loads(run.file(".train.json").read_text(encoding="utf-8")),
        "label_names": data.label_names,
        "scores": scores,
        "recipe": asdict(recipe),
    }
    write_json(run.file(".json"), result)


def missed(case: Mapping[str, Mapping[str, float | None]]) -> int:
    """How many labels of a case have no distance: they are in the reference or the result alone."""
    return sum(scores["hd95_mm"] is None for scores in case.values())


def peak_mib() -> float:
    """Most memory this process has had, Python and torch included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("phase", choices=("train", "score"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("entry", type=Entry.parse)
    parser.add_argument("seed", type=int)
    parser.add_argument("--core", type=int, help="run on this core only")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {chosen.core})
    work = {"train": train, "score": score}[chosen.phase]
    work(Run(chosen.folder, chosen.entry, chosen.seed))


if __name__ == "__main__":
    main()
