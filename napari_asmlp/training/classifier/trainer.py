"""The training loop of a classifier: a generator that can be closed, killed, and resumed.

As that of segmenters (`training.trainer`), whose state and steps it shares: what step n sees
follows from the seed and n alone.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.devices import autocast, resolve_device, resolve_precision
from napari_asmlp.errors import ModelError
from napari_asmlp.model import ClassifierInput
from napari_asmlp.networks.mixer import Mixer
from napari_asmlp.training.classifier.augment import vary
from napari_asmlp.training.classifier.recipe import ClassifierRecipe
from napari_asmlp.training.classifier.samples import ClassSamples
from napari_asmlp.training.optimisers import set_rates
from napari_asmlp.training.state import State, load_checkpoint, save_checkpoint
from napari_asmlp.training.trainer import Clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SCORINGS = 10  # in a run
_AT_ONCE = 64  # inputs that are scored at a time


@dataclass(frozen=True)
class ClassProgress:
    """Where a run stands.

    Attributes
    ----------
    fraction : of the whole run, 0 to 1
    loss : mean over the epoch
    accuracy : on the cases kept out, where there are any; now and then
    fold : which training of how many it is, from 1
    ends_epoch : always true; see `napari_asmlp.training.trainer.TrainProgress`
    """

    epoch: int
    fraction: float
    seconds: float
    loss: float
    accuracy: float | None = None
    fold: tuple[int, int] = (1, 1)
    ends_epoch: bool = True

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction > 0 else None

    def describe(self) -> str:
        """Return in a few words where the run stands."""
        run, runs = self.fold
        text = f"training {run} of {runs}, " if runs > 1 else ""
        text += f"epoch {self.epoch}, loss {self.loss:.3f}"
        return text if self.accuracy is None else f"{text}, accuracy {self.accuracy:.3f}"


@dataclass(frozen=True)
class ClassifierRun:
    """One training: what it learns from, where it runs, and where its checkpoint lies.

    Attributes
    ----------
    input : what the channels of the samples are
    kept_out : scored ten times in a run; may be empty
    resume : go on from the checkpoint, where there is one
    record : of the data, kept in the checkpoint
    """

    recipe: ClassifierRecipe
    input: ClassifierInput
    training: ClassSamples
    kept_out: ClassSamples
    checkpoint: Path
    device: str = "auto"
    resume: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, network: Mixer) -> Generator[ClassProgress, None, list[dict[str, Any]]]:
        """Train `network` in place; yields after each epoch, returns the history of epochs."""
        device = resolve_device(self.device)
        context = autocast(device, resolve_precision(self.recipe.precision, device))
        network.to(device).train()
        state = State.new(network, self.recipe)
        if self.resume and self.checkpoint.exists():
            load_checkpoint(self.checkpoint, state, self.recipe)
        clock = Clock(state.seconds)
        weights = self._weights().to(device)
        try:
            while self._fraction(state) < 1:
                state.rate = set_rates(state.optimisers, self.recipe.warmup, self._fraction(state))
                inputs, outputs = self.batch(state.step)
                with context:
                    logits = network(inputs.to(device))
                self._descend(state, self._loss(logits.float(), outputs.to(device), weights))
                state.step, state.seconds = state.step + 1, clock.seconds
                if state.step % self._per_epoch == 0 or self._fraction(state) >= 1:
                    yield self._close_epoch(state, device)
                if clock.checkpoint_is_due():
                    self._save(state)
            self._save(state)
        except GeneratorExit:  # between two steps; a signal may come within one: nothing is saved
            self._save(state)
            raise
        finally:
            network.to("cpu").eval()
        state.ship()
        _restore_frequencies(network, self._weights())
        return state.history

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return varied inputs of a step, (B, C, X, Y, Z) float32, and their classes, (B,)."""
        size, count = self.recipe.batch_size, len(self.training)
        epochs, places = np.divmod(np.arange(step * size, (step + 1) * size), count)
        orders = {epoch: self._order(epoch) for epoch in np.unique(epochs).tolist()}
        chosen = np.array([orders[e][p] for e, p in zip(epochs.tolist(), places, strict=True)])
        drawn = self.training.at(chosen)
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        patch = self.recipe.network.patch_size
        variation = self.recipe.variation
        varied = vary(drawn.inputs.float(), variation, self.input, patch, generator)
        return varied, drawn.outputs

    def _order(self, epoch: int) -> NDArray[np.intp]:
        return np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.training))

    @property
    def _per_epoch(self) -> int:
        return math.ceil(len(self.training) / self.recipe.batch_size)

    def _fraction(self, state: State) -> float:
        if self.recipe.minutes is not None:
            return state.seconds / (60 * self.recipe.minutes)
        return state.step / (self._per_epoch * self.recipe.epochs)

    def _weights(self) -> Tensor:
        """Weight of each class in the loss, (K,), 1 on average over the cases."""
        counts = torch.bincount(self.training.outputs).float()
        weights = counts**-self.recipe.balance
        return weights * counts.sum() / (weights * counts).sum()

    def _loss(self, logits: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits, outputs, weight=weights, label_smoothing=self.recipe.smoothing
        )

    def _descend(self, state: State, loss: Tensor) -> None:
        try:
            state.descend(loss)
        except ModelError:
            self.checkpoint.unlink(missing_ok=True)  # going on from it would end here again
            raise

    def _close_epoch(self, state: State, device: torch.device) -> ClassProgress:
        epoch, loss = len(state.history) + 1, float(np.mean(state.losses))
        fraction, accuracy = min(1.0, self._fraction(state)), None
        before = state.history[-1]["fraction"] if state.history else 0.0
        if len(self.kept_out) and int(_SCORINGS * fraction) > int(_SCORINGS * before):
            found = logits_of(state.learnt, self.kept_out.inputs, device).argmax(dim=1)
            accuracy = float((found == self.kept_out.outputs).float().mean())
        state.losses = []
        state.history.append(
            {
                "epoch": epoch,
                "step": state.step,
                "fraction": round(fraction, 4),
                "seconds": round(state.seconds, 1),
                "loss": round(loss, 5),
                "accuracy": accuracy,
            }
        )
        return ClassProgress(epoch, fraction, state.seconds, loss, accuracy)

    def _save(self, state: State) -> None:
        save_checkpoint(self.checkpoint, state, self.recipe, self.record)


def _restore_frequencies(network: Mixer, weights: Tensor) -> None:
    """Take the weights of classes out of the answer: under them, p became proportional to w p."""
    with torch.no_grad():
        network.head.bias.sub_(weights.log())


def logits_of(network: nn.Module, inputs: Tensor, device: torch.device | None = None) -> Tensor:
    """Return float32 logits on the CPU, (N, K), of inputs of any number; leaves the mode as is."""
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        parts = [network(part.float().to(device)).cpu() for part in torch.split(inputs, _AT_ONCE)]
    network.train(was_training)
    return torch.cat(parts)
