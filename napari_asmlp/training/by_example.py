"""Learning classes of objects from a handful of examples, in seconds on a CPU.

A small Mixer learns from the examples alone: each turned by one of the 48 turns and mirrorings of
a cube at a time, moved by a voxel, its intensities changed a little, and mixed with another
(Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018). Classes with few examples
are drawn as often as those with many.

How far its probabilities can be trusted is learnt from networks that have not seen all examples:
each of these judges the examples that were kept from it, and one temperature makes these judgements
likeliest (`calibration`), the fewer examples there are the nearer to 1.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from napari_asmlp.calibration import fit_temperature
from napari_asmlp.errors import SettingsError
from napari_asmlp.networks.mixer import Mixer, MixerConfig
from napari_asmlp.training.optimisers import set_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_ALIKE = 8  # of a batch: turned the same way
_WARM = 0.1  # share of the steps in which the learning rate rises
_TRUSTED = 20  # examples at which half of the temperature found is believed
_TURNS = [
    (axes, flips)
    for axes in permutations((2, 3, 4))
    for flips in (
        tuple(a for a, f in zip((2, 3, 4), s, strict=True) if f) for s in product((0, 1), repeat=3)
    )
]


@dataclass(frozen=True)
class FitSettings:
    """How a network learns from examples.

    Attributes
    ----------
    steps : of the network that is kept; those that judge its examples take a third
    batch : examples in a step
    learning_rate, weight_decay : of AdamW
    mixup : parameter of the Beta distribution of shares
    smoothing : of labels
    unseen : share of the examples in a step whose measurements are hidden, and share of those
        that are seen by their measurements alone
    noise : deviation of noise, and of changes of brightness and contrast
    strange : share of the examples in a step that are made unlike any, and belong to no class
    folds : networks that judge what they have not seen; 0 leaves the temperature at 1
    seed : of weights and batches
    """

    steps: int = 180
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    mixup: float = 0.4
    smoothing: float = 0.05
    unseen: float = 0.3
    noise: float = 0.1
    strange: float = 0.15
    folds: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no training can have."""
        if self.steps < 1 or self.batch < _ALIKE or self.folds < 0 or self.folds == 1:
            raise SettingsError(
                f"{self.steps} steps of {self.batch} examples, {self.folds} folds: give at least"
                f" 1, {_ALIKE} and 2 (or 0) of them"
            )


@dataclass(frozen=True)
class Examples:
    """What there is to learn from.

    Attributes
    ----------
    arrays : (N, C, X, Y, Z), the inputs of the network; X, Y and Z are equal
    targets : (N,) which output is right
    intensities : how many of the channels are; noise is for these
    turned : how many channels a turn moves, the first ones; the others are of measurements
    """

    arrays: Floats
    targets: NDArray[np.intp]
    intensities: int
    turned: int

    def part(self, chosen: NDArray[np.bool_]) -> Examples:
        """Return some of the examples."""
        return replace(self, arrays=self.arrays[chosen], targets=self.targets[chosen])


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes
    ----------
    network : ready to run
    temperature : its logits are divided by it
    right, judged : how many of the examples networks that had not seen them got right, of how many
    """

    network: Mixer
    temperature: float
    right: int
    judged: int


def iter_fit(
    config: MixerConfig, examples: Examples, settings: FitSettings
) -> Generator[tuple[int, int], None, Fitted]:
    """Learn from examples; deterministic for one seed and one number of threads.

    Yields
    ------
    tuple of int
        Steps done, and of all.
    """
    folds = _folds(examples.targets, settings)
    short = replace(settings, steps=max(1, settings.steps // 3))
    total = settings.steps + len(folds) * short.steps
    judged = np.empty((config.out_channels, len(examples.targets)))
    for n, kept in enumerate(folds):
        judge = yield from _train(config, examples.part(~kept), short, (n * short.steps, total))
        judged[:, kept] = _chances(judge, examples.arrays[kept])
    network = yield from _train(config, examples, settings, (len(folds) * short.steps, total))
    if not folds:
        return Fitted(network, 1.0, 0, 0)
    right, count = examples.targets, len(examples.targets)
    temperature = fit_temperature(judged, right) ** (count / (count + _TRUSTED))
    hits = int((judged.argmax(axis=0) == right).sum())
    return Fitted(network, float(temperature), hits, count)


def _folds(targets: NDArray[np.intp], settings: FitSettings) -> list[NDArray[np.bool_]]:
    """Return which examples each fold keeps; none where a class has a single example."""
    counts = np.bincount(targets)
    count = min(settings.folds, int(counts.min()))
    if count < 2:
        return []
    drawn = np.random.default_rng(settings.seed)
    fold = np.empty(len(targets), np.intp)
    for target in range(len(counts)):
        own = np.flatnonzero(targets == target)
        fold[drawn.permutation(own)] = np.arange(len(own)) % count
    return [fold == n for n in range(count)]


def _train(
    config: MixerConfig, examples: Examples, settings: FitSettings, of: tuple[int, int]
) -> Generator[tuple[int, int], None, Mixer]:
    """Train a network from nothing; `of` says how many steps went before, and of how many."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Mixer(config)
    optimiser = _optimiser(network, settings)
    batches = _Batches(examples, settings, config.out_channels)
    network.train()
    for step in range(settings.steps):
        set_rates([optimiser], _WARM, step / settings.steps)
        volumes, targets = batches.draw()
        loss = nn.functional.cross_entropy(network(volumes), targets)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        yield of[0] + step + 1, of[1]
    return network.eval()


def _optimiser(network: Mixer, settings: FitSettings) -> torch.optim.AdamW:
    weights = list(network.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return optimiser


class _Batches:
    """Draws examples, each class as often as the others, and changes them."""

    def __init__(
        self,
        examples: Examples,
        settings: FitSettings,
        classes: int,
    ) -> None:
        self._arrays = torch.from_numpy(examples.arrays)
        self._targets = nn.functional.one_hot(torch.from_numpy(examples.targets), classes).float()
        self._examples, self._settings = examples, settings
        self._drawn = np.random.default_rng(settings.seed)
        self._noise = torch.Generator().manual_seed(settings.seed)
        self._shares = (1 / np.bincount(examples.targets))[examples.targets] / classes

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return volumes, (B, C, X, Y, Z), and targets, (B, K)."""
        groups = self._settings.batch // _ALIKE
        picked = self._drawn.choice(len(self._shares), (groups, _ALIKE), p=self._shares)
        volumes = torch.cat([self._turned(self._arrays[rows]) for rows in picked])
        targets = self._targets[picked.ravel()]
        self._disturb(volumes)
        volumes, targets = self._mixed(volumes, targets)
        self._make_strange(volumes, targets)
        self._hide(volumes)
        return volumes, targets

    def _turned(self, volumes: Tensor) -> Tensor:
        axes, flips = _TURNS[self._drawn.integers(len(_TURNS))]
        moves = self._drawn.integers(-1, 2, size=3).tolist()
        kept = volumes[:, self._examples.turned :]
        turned = volumes[:, : self._examples.turned].permute(0, 1, *axes).flip(flips)
        return torch.cat([turned.roll(moves, (2, 3, 4)), kept], dim=1)

    def _hide(self, volumes: Tensor) -> None:
        """Hide the measurements of some and all but the measurements of others, in place."""
        if self._examples.turned == volumes.shape[1]:
            return
        drawn = torch.rand(len(volumes), 1, 1, 1, 1, generator=self._noise)
        share = self._settings.unseen
        volumes[:, self._examples.turned :] *= drawn >= share
        volumes[:, : self._examples.turned] *= drawn <= 1 - share

    def _disturb(self, volumes: Tensor) -> None:
        """Change brightness and contrast, and add noise, in place."""
        count, channels = len(volumes), self._examples.intensities
        if not channels:
            return
        shown = volumes[:, :channels]
        strength = self._settings.noise
        contrast, brightness = strength * self._normal((2, count, channels, 1, 1, 1))
        shown *= 1 + contrast
        shown += brightness + strength * self._normal(shown.shape)

    def _mixed(self, volumes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        alpha, smoothing = self._settings.mixup, self._settings.smoothing
        targets = targets * (1 - smoothing) + smoothing / targets.shape[1]
        if not alpha:
            return volumes, targets
        other = torch.randperm(len(volumes), generator=self._noise)
        share = torch.from_numpy(self._drawn.beta(alpha, alpha, (len(volumes), 1))).float()
        volumes = torch.lerp(volumes[other], volumes, share[..., None, None, None])
        return volumes, torch.lerp(targets[other], targets, share)

    def _make_strange(self, volumes: Tensor, targets: Tensor) -> None:
        """Make some unlike any example, in place: of these the network shall be sure of nothing."""
        count, examples = round(self._settings.strange * len(volumes)), self._examples
        if not count:
            return
        shown = volumes[:count, : examples.intensities]
        contrast, brightness = self._normal((2, count, 1, 1, 1, 1))
        shown *= 1 + contrast
        shown += 3 * brightness
        volumes[:count, examples.turned :] *= 3 * self._normal((count, 1, 1, 1, 1))
        targets[:count] = 1 / targets.shape[1]

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._noise)


def _chances(network: Mixer, arrays: Floats) -> NDArray[np.float64]:
    """Return probabilities, (K, N)."""
    with torch.inference_mode():
        found: NDArray[np.float64] = network(torch.from_numpy(arrays)).double().softmax(1).numpy().T
    return found
