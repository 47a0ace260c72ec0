"""The light learner: a small network over the features of single voxels, learnt in seconds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_TELL_EVERY = 20  # steps


@dataclass(frozen=True)
class LightSettings:
    """How it learns.

    Attributes
    ----------
    voxels : annotated ones that are looked at, at most
    least : of them of each class, where there are so many
    hidden : width of its two layers
    steps, batch : of AdamW, and voxels each
    rate, decay : its learning rate at most, and weight decay
    dropout : share of hidden units left out in a step
    noise : added to the standardised features
    """

    voxels: int = 30_000
    least: int = 1_000
    hidden: int = 64
    steps: int = 700
    batch: int = 1024
    rate: float = 1e-2
    decay: float = 1e-2
    dropout: float = 0.1
    noise: float = 0.1


class LightLearner(nn.Module):
    """(F, N) features -> (K, N) logits, by two hidden layers.

    Features beyond what was ever annotated count as the furthest that was: a place outside all
    annotations says no more than the nearest one inside.
    """

    def __init__(self, features: Tensor, classes: int, hidden: int) -> None:
        super().__init__()
        mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
        self.mean, self.deviation = nn.Buffer(mean), nn.Buffer(deviation.clamp(min=1e-3))
        self.low, self.high = nn.Buffer(features.amin(dim=0)), nn.Buffer(features.amax(dim=0))
        self.layers = nn.ModuleList(
            [nn.Linear(len(mean), hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, classes)]
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self._standardised(features.T)
        for layer in self.layers[:-1]:
            hidden = functional.gelu(layer(hidden))
        logits: Tensor = self.layers[-1](hidden).T
        return logits

    def learning(
        self, features: Tensor, settings: LightSettings, random: torch.Generator
    ) -> Tensor:
        """(N, F) -> (N, K), with noise and dropout."""
        hidden = self._standardised(features)
        hidden = hidden + settings.noise * torch.randn(hidden.shape, generator=random)
        kept = 1 - settings.dropout
        for layer in self.layers[:-1]:
            hidden = functional.gelu(layer(hidden))
            hidden = hidden * ((torch.rand(hidden.shape, generator=random) < kept) / kept)
        logits: Tensor = self.layers[-1](hidden)
        return logits

    def _standardised(self, features: Tensor) -> Tensor:
        within = torch.minimum(torch.maximum(features, self.low), self.high)
        return (within - self.mean) / self.deviation


def chosen_voxels(
    classes: NDArray[np.int16], settings: LightSettings, seed: int
) -> NDArray[np.int64]:
    """Choose annotated voxels to learn from: some of each class, the rest at random; (N, 3)."""
    places = np.argwhere(classes >= 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(places))
    if len(places) > settings.voxels:
        of_class = classes[tuple(places[order].T)]
        rank = np.zeros(len(order), np.int64)
        for value in np.unique(of_class):
            mine = of_class == value
            rank[mine] = np.arange(np.count_nonzero(mine))
        first = rank < settings.least
        order = np.concatenate([order[first], order[~first]])[: settings.voxels]
    return places[order].astype(np.int64)


def iter_fit(
    features: Tensor, classes: Tensor, count: int, settings: LightSettings, seed: int
) -> Generator[float, None, LightLearner]:
    """Learn from voxels; yields the share done.

    Parameters
    ----------
    features : (N, F) float32
    classes : (N,) int64, below `count`
    """
    learner = _new_learner(features, count, settings.hidden, seed)
    optimiser = torch.optim.AdamW(learner.parameters(), settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, settings.steps)
    random = torch.Generator().manual_seed(seed)
    for step in range(settings.steps):
        batch = torch.randint(len(features), (settings.batch,), generator=random)
        logits = learner.learning(features[batch], settings, random)
        loss = functional.cross_entropy(logits, classes[batch])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
        optimiser.step()
        schedule.step()
        if step % _TELL_EVERY == 0:
            yield step / settings.steps
    return learner.eval()


def _new_learner(features: Tensor, count: int, hidden: int, seed: int) -> LightLearner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LightLearner(features, count, hidden)
