"""The training loop: a generator of progress that can be closed, killed, and resumed.

What step n sees follows from the seed and n alone, so a resumed run gives the weights of an
undisturbed one (on the same machine and number of threads).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_asmlp.devices import autocast, resolve_device, resolve_precision
from napari_asmlp.errors import ModelError, SettingsError
from napari_asmlp.io.files import replacing
from napari_asmlp.measure import dice
from napari_asmlp.model import read_checkpoint
from napari_asmlp.training.augment import random_crop
from napari_asmlp.training.dataset import Sample
from napari_asmlp.training.losses import segmentation_loss
from napari_asmlp.training.recipe import RECIPE, Recipe

CHECKPOINT_SECONDS = 30.0
_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainProgress:
    """Where a run stands.

    Attributes
    ----------
    fraction : of the whole run, 0 to 1
    loss : mean over the epoch
    dice : of each label over the cases kept out, where they were scored
    """

    epoch: int
    step: int
    fraction: float
    seconds: float
    loss: float
    dice: dict[int, float] | None = None

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


@dataclass
class _State:
    """What a checkpoint holds, beside the recipe."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # of the epoch under way
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingRun:
    """One training: what it learns from, where it runs, and where its checkpoint lies."""

    recipe: Recipe
    crop: tuple[int, int, int]
    training: Sequence[Sample]
    validation: Sequence[Sample]
    checkpoint: Path
    device: str = "auto"
    resume: bool = False

    def __call__(self, network: nn.Module) -> Generator[TrainProgress, None, list[dict[str, Any]]]:
        """Train `network` in place; yields after each epoch, returns the history of epochs."""
        device = resolve_device(self.device)
        precision = resolve_precision(self.recipe.precision, device)
        network.to(device).train()
        state = _State(network, self._optimiser(network))
        if self.resume:
            load_checkpoint(self.checkpoint, state, self.recipe)
        per_epoch = math.ceil(len(self.training) / self.recipe.batch_size)
        clock = _Clock(state.seconds)
        try:
            while (done := self._fraction(state, per_epoch)) < 1:
                _set_rate(state.optimiser, self.recipe, done)
                with autocast(device, precision):
                    loss = self._loss(network, state.step, device)
                self._descend(state, loss)
                state.step, state.seconds = state.step + 1, clock.seconds
                if state.step % per_epoch == 0 or self._fraction(state, per_epoch) >= 1:
                    yield self._close_epoch(state, per_epoch)
                if clock.checkpoint_is_due():
                    save_checkpoint(self.checkpoint, state, self.recipe)
            save_checkpoint(self.checkpoint, state, self.recipe)
        except GeneratorExit:  # between two steps; a signal may come within one: nothing is saved
            save_checkpoint(self.checkpoint, state, self.recipe)
            raise
        finally:
            network.to("cpu").eval()
        return state.history

    def _optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW; norms and biases are not decayed."""
        decayed = [p for p in network.parameters() if p.ndim > 1]
        rest = [p for p in network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.recipe.learning_rate)

    def _fraction(self, state: _State, per_epoch: int) -> float:
        if self.recipe.minutes is not None:
            return state.seconds / (60 * self.recipe.minutes)
        return state.step / (per_epoch * self.recipe.epochs)

    def _loss(self, network: nn.Module, step: int, device: torch.device) -> Tensor:
        image, classes = self.batch(step)
        logits = network(image.to(device))
        return segmentation_loss(logits.float(), classes.to(device))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Crops of step `step`: (B, C, X, Y, Z) float32 and (B, X, Y, Z) int64."""
        size, count = self.recipe.batch_size, len(self.training)
        crops = []
        for position in range(step * size, (step + 1) * size):
            epoch, index = divmod(position, count)
            order = np.random.default_rng((self.recipe.seed, epoch)).permutation(count)
            generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + position)
            sample = self.training[int(order[index])]
            crops.append(random_crop(sample, self.crop, self.recipe.augmentation, generator))
        return (
            torch.stack([crop.image for crop in crops]),
            torch.stack([crop.classes for crop in crops]),
        )

    def _descend(self, state: _State, loss: Tensor) -> None:
        """Take one step down the loss."""
        value = float(loss.detach())
        if not math.isfinite(value):
            self.checkpoint.unlink(missing_ok=True)  # going on from it would end here again
            raise ModelError(f"the loss became {value} at step {state.step}: learn more slowly")
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
        nn.utils.clip_grad_norm_(state.network.parameters(), _GRADIENT_NORM)
        state.optimiser.step()
        state.losses.append(value)

    def _close_epoch(self, state: _State, per_epoch: int) -> TrainProgress:
        epoch, fraction = math.ceil(state.step / per_epoch), self._fraction(state, per_epoch)
        due = epoch % self.recipe.validate_every == 0 or fraction >= 1
        scores = validate(state.network, self.validation) if self.validation and due else None
        loss = float(np.mean(state.losses))
        state.losses = []
        progress = TrainProgress(epoch, state.step, min(fraction, 1.0), state.seconds, loss, scores)
        state.history.append(
            {
                "epoch": epoch,
                "step": state.step,
                "seconds": round(state.seconds, 1),
                "loss": round(progress.loss, 5),
                "dice": scores and {str(k): round(v, 4) for k, v in scores.items()},
            }
        )
        return progress


class _Clock:
    """Seconds of training, those of earlier sittings included."""

    def __init__(self, earlier: float) -> None:
        self._start = time.monotonic() - earlier
        self._saved = -math.inf  # the first one at once: a run may be killed at any moment

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def checkpoint_is_due(self) -> bool:
        if time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return False
        self._saved = time.monotonic()
        return True


@torch.inference_mode()
def validate(network: nn.Module, samples: Sequence[Sample]) -> dict[int, float]:
    """Mean Dice of each class over samples on the model grid, in one window each."""
    device = next(network.parameters()).device
    scores: dict[int, list[float]] = {}
    network.eval()
    for sample in samples:
        logits = network(torch.from_numpy(sample.image)[None].to(device))[0]
        found = logits.argmax(0).cpu().numpy()
        for value in range(1, logits.shape[0]):
            score = dice(found == value, sample.classes == value)
            if score is not None:
                scores.setdefault(value, []).append(score)
    network.train()
    return {value: float(np.mean(values)) for value, values in scores.items()}


def save_checkpoint(path: Path, state: _State, recipe: Recipe) -> None:
    """Write all that a resumed run needs."""
    content = {
        "recipe": RECIPE.dump_json(recipe).decode(),
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "losses": state.losses,
        "history": json.dumps(state.history),
    }
    with replacing(path, overwrite=True) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path, state: _State, recipe: Recipe) -> None:
    """Go back to a checkpoint; refuses one of another recipe."""
    content = read_checkpoint(path)
    if content.get("recipe") != RECIPE.dump_json(recipe).decode():
        raise SettingsError(f"{path}: was made with another recipe; resume with that one")
    try:
        state.network.load_state_dict(content["network"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.step, state.seconds = int(content["step"]), float(content["seconds"])
        state.losses = [float(loss) for loss in content["losses"]]
        state.history = json.loads(content["history"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not a checkpoint of this network: {error}") from error


def _set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, done: float) -> None:
    """Linear warm-up, then a cosine down to zero."""
    warm = min(1.0, (done + 1e-3) / recipe.warmup) if recipe.warmup > 0 else 1.0
    decay = 0.5 * (1 + math.cos(math.pi * done))
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * warm * decay
