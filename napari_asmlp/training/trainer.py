"""The training loop: a generator of progress that can be closed, killed, and resumed.

What step n sees follows from the seed and n alone, so a resumed run gives the weights of an
undisturbed one (on the same machine and number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_asmlp.devices import DTYPES, Precision, autocast, resolve_device, resolve_precision
from napari_asmlp.errors import ModelError, SettingsError
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled_training import CompiledTraining
from napari_asmlp.training.augment import random_crop
from napari_asmlp.training.dataset import IGNORED
from napari_asmlp.training.losses import IGNORE, segmentation_loss
from napari_asmlp.training.optimisers import set_rates
from napari_asmlp.training.recipe import Recipe
from napari_asmlp.training.samples import Sample
from napari_asmlp.training.state import State, load_checkpoint, save_checkpoint
from napari_asmlp.training.validation import validate

CHECKPOINT_SECONDS, REPORT_SECONDS = 30.0, 30.0


@dataclass(frozen=True)
class TrainProgress:
    """Where a run stands.

    Attributes
    ----------
    fraction : of the whole run, 0 to 1
    loss : mean over the epoch
    dice : of each class over the cases held out, where they were scored
    history : a row for each epoch so far, see `training.state.State`
    ends_epoch : whether an epoch has ended; else the run stands within one
    """

    epoch: int
    step: int
    fraction: float
    seconds: float
    loss: float
    dice: dict[int, float] | None = None
    history: Sequence[Mapping[str, Any]] = ()
    ends_epoch: bool = True

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction > 0 else None

    def describe(self) -> str:
        """Return in a few words where the run stands."""
        text = f"epoch {self.epoch}, loss {self.loss:.3f}"
        if not self.dice:
            return text
        return f"{text}, Dice {', '.join(f'{score:.3f}' for score in self.dice.values())}"


@dataclass(frozen=True)
class Stage:
    """Where the work on cases before and after the epochs stands.

    Attributes
    ----------
    what : is done with the cases
    note : a line for the user, or empty
    """

    what: str
    done: int
    total: int
    note: str = ""

    @property
    def fraction(self) -> float:
        """Share of the cases."""
        return self.done / self.total

    @property
    def seconds_left(self) -> None:
        """Not known: it says nothing of the whole."""
        return

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        return f"{self.what}, {self.done} of {self.total} cases"


def labelled_loss(_image: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    """Return `losses.segmentation_loss` of the voxels that somebody annotated."""
    return segmentation_loss(logits, classes.masked_fill(classes == IGNORED, IGNORE))


@dataclass(frozen=True)
class TrainingRun:
    """One training: what it learns from, where it runs, and where its checkpoint lies.

    Attributes
    ----------
    split : record of which cases are on which side, kept in the checkpoint
    loss : of images (B, C, X, Y, Z), logits (B, K, X, Y, Z) and classes (B, X, Y, Z)
    regions : classes of each output, where these are regions
    """

    recipe: Recipe
    crop: tuple[int, int, int]
    training: Sequence[Sample]
    validation: Sequence[Sample]
    checkpoint: Path
    device: str = "auto"
    resume: bool = False
    split: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] = labelled_loss
    regions: tuple[tuple[int, ...], ...] = ()

    def __call__(self, network: nn.Module) -> Generator[TrainProgress, None, list[dict[str, Any]]]:
        """Train `network` in place; returns the history of epochs.

        Yields after each epoch, and now and then within a long one.
        """
        device = resolve_device(self.device)
        network.to(device).train()
        state = State.new(network, self.recipe)
        if self.resume:
            load_checkpoint(self.checkpoint, state, self.recipe)
        runs, context = training_forward(network, self.recipe, device)
        clock = Clock(state.seconds)
        try:
            while not self._is_over(state):
                state.rate = set_rates(state.optimisers, self.recipe.warmup, self._fraction(state))
                image, classes = (part.to(device) for part in self.batch(state.step))
                with context:
                    logits = runs(image)
                self._descend(state, self.loss(image, logits.float(), classes))
                state.step, state.seconds = state.step + 1, clock.seconds
                if state.step % self._per_epoch == 0 or self._fraction(state) >= 1:
                    with context:
                        progress = self._close_epoch(state)
                    yield progress
                    clock.reported()
                elif clock.report_is_due():
                    yield self._progress(state)
                if clock.checkpoint_is_due():
                    self._save(state)
            self._save(state)
        except GeneratorExit:  # between two steps; a signal may come within one: nothing is saved
            self._save(state)
            raise
        finally:
            network.to("cpu").eval()
        state.ship()
        return state.history

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Crops of step `step`: (B, C, X, Y, Z) float32 and (B, X, Y, Z) int64."""
        recipe, count = self.recipe, len(self.training)
        crops = []
        for position in range(step * recipe.batch_size, (step + 1) * recipe.batch_size):
            epoch, index = divmod(position, count)
            order = np.random.default_rng((recipe.seed, epoch)).permutation(count)
            generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + position)
            sample = self.training[int(order[index])]
            crops.append(
                random_crop(sample, self.crop, recipe.augmentation, generator, recipe.foreground)
            )
        return (
            torch.stack([crop.image for crop in crops]),
            torch.stack([crop.classes for crop in crops]),
        )

    @property
    def _per_epoch(self) -> int:
        return math.ceil(len(self.training) / self.recipe.batch_size)

    def _fraction(self, state: State) -> float:
        if self.recipe.minutes is not None:
            return state.seconds / (60 * self.recipe.minutes)
        return state.step / (self._per_epoch * self.recipe.epochs)

    def _is_over(self, state: State) -> bool:
        """Tell whether epochs or minutes are used up, or the patience."""
        if self._fraction(state) >= 1:
            return True
        best, patience = state.best_epoch(), self.recipe.patience
        if patience is None or best is None:
            return False
        last_scored = max(int(row["epoch"]) for row in state.history if row["dice"])
        return last_scored - best >= patience

    def _descend(self, state: State, loss: Tensor) -> None:
        """Take one step down the loss."""
        try:
            state.descend(loss)
        except ModelError:
            self.checkpoint.unlink(missing_ok=True)  # going on from it would end here again
            raise

    def _close_epoch(self, state: State) -> TrainProgress:
        epoch = len(state.history) + 1  # not from the step: cases may have come since
        fraction = min(self._fraction(state), 1.0)
        scores = None
        if self.validation and (epoch % self.recipe.validate_every == 0 or fraction == 1):
            scores = validate(state.learnt, self.validation, self.regions)
        loss = float(np.mean(state.losses))
        state.losses = []
        state.history.append(
            {
                "epoch": epoch,
                "step": state.step,
                "seconds": round(state.seconds, 1),
                "lr": float(f"{state.rate:.4g}"),
                "loss": round(loss, 5),
                "dice": scores and {str(k): round(v, 4) for k, v in scores.items()},
            }
        )
        if scores and self.recipe.patience is not None and state.best_epoch() == epoch:
            weights = state.learnt.state_dict()
            state.best = {key: tensor.detach().clone() for key, tensor in weights.items()}
        return TrainProgress(
            epoch, state.step, fraction, state.seconds, loss, scores, state.history
        )

    def _progress(self, state: State) -> TrainProgress:
        """Return where the run stands within an epoch."""
        epoch, loss = len(state.history) + 1, float(np.mean(state.losses))
        fraction = min(self._fraction(state), 1.0)
        return TrainProgress(
            epoch, state.step, fraction, state.seconds, loss, None, state.history, ends_epoch=False
        )

    def _save(self, state: State) -> None:
        save_checkpoint(self.checkpoint, state, self.recipe, self.split)


class Clock:
    """Seconds of training, those of earlier sittings included."""

    def __init__(self, earlier: float) -> None:
        self._start = time.monotonic() - earlier
        self._saved = -math.inf  # the first one at once: a run may be killed at any moment
        self._reported = time.monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._start

    def reported(self) -> None:
        """Note that the user has heard of the run."""
        self._reported = time.monotonic()

    def report_is_due(self) -> bool:
        """Tell whether the user has heard nothing for long; that then counts as heard."""
        if time.monotonic() - self._reported < REPORT_SECONDS:
            return False
        self.reported()
        return True

    def checkpoint_is_due(self) -> bool:
        """Tell whether the last one is old; it then counts as written."""
        if time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return False
        self._saved = time.monotonic()
        return True


def training_forward(
    network: nn.Module, recipe: Recipe, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], AbstractContextManager[object]]:
    """Return what gives logits with gradients for a network, and the context it is called in.

    The network itself scores cases in that context. Compiled steps do without it.

    Parameters
    ----------
    network : on the device
    recipe : says the precision, and whether steps are compiled
    device : that the network is trained on

    Raises
    ------
    SettingsError
        If compiled steps are asked for, and there are none for this network, device or precision.
    """
    precision = resolve_precision(recipe.precision, device)
    if not recipe.compiled:
        return network, autocast(device, precision)
    if not (device.type == "cpu" and isinstance(network, Asmlp) and precision != "fp16"):
        raise SettingsError(
            "compiled training is for an AS-MLP on a CPU in fp32 or bf16: train without it"
        )
    tokens = DTYPES[token_precision(recipe.precision)]
    return CompiledTraining(network, tokens), autocast(device, resolve_precision("auto", device))


def token_precision(name: str) -> Precision:
    """Return the precision in which compiled steps keep tokens; ``auto`` is bf16 on any CPU.

    That is faster on CPUs without bf16 too: tokens are half as large, and the compiled layers
    multiply them in fp32 there.
    """
    return "bf16" if name == "auto" else resolve_precision(name, torch.device("cpu"))
