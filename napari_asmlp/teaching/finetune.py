"""The network behind the light learner: the pretrained AS-MLP, taught by the same annotations.

What it learns from is a volume of five kinds of voxels: annotated ones, voxels that the light
learner is sure of (which count less), and all others, which are ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from napari_asmlp.devices import DTYPES, resolve_precision
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.networks.compiled_training import (
    CompiledTraining,
    is_trainable,
    is_training_compiled,
)
from napari_asmlp.networks.tiles import each
from napari_asmlp.training.augment import random_crop
from napari_asmlp.training.losses import token_loss, token_shares
from napari_asmlp.training.optimisers import make_optimisers, set_rates
from napari_asmlp.training.recipe import Augmentation, Recipe
from napari_asmlp.training.samples import Sample

_GRADIENT_NORM = 1.0
# Strong, since a volume or two must tell of all others. No mirroring: left and right may be two
# classes.
_CHANGES = Augmentation(
    flip_axes=(), rotation=20, scaling=0.3, elastic=2.0, intensity=0.5, noise=0.1
)


@dataclass(frozen=True)
class FinetuneSettings:
    """How the network is taught.

    Attributes
    ----------
    crop : voxels of the model grid that a step sees along each axis, at most
    sure : weight of voxels that the light learner is sure of, beside 1 of annotated ones
    rate, muon_rate : learning rates of AdamW and Muon
    """

    crop: int = 64
    sure: float = 0.3
    rate: float = 3e-4
    muon_rate: float = 2e-3
    augmentation: Augmentation = _CHANGES


def new_network(start: Asmlp | None, channels: int, classes: int, seed: int) -> Asmlp:
    """Return a network for some channels and classes that begins with what another one knows.

    The embedding of one channel is shared out among several; the head is new.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = AsmlpConfig(patch_size=2, stem_size=4) if start is None else start.config
        network = Asmlp(replace(config, in_channels=channels, out_channels=classes))
    if start is None:
        return network
    mine, theirs = network.state_dict(), start.state_dict()
    kernel = "embedding.projection.weight"
    if mine[kernel].shape != theirs[kernel].shape:
        theirs[kernel] = theirs[kernel].mean(dim=1, keepdim=True).expand_as(mine[kernel]) / channels
    last = last_layer(network)
    weight, bias = last.weight.detach().clone(), last.bias.detach().clone()
    fitting = {key: theirs[key] for key in mine if mine[key].shape == theirs[key].shape}
    network.load_state_dict(mine | fitting)
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias)
    return network


def last_layer(network: Asmlp) -> nn.Linear:
    """Return the layer from tokens to logits."""
    if isinstance(network.head, nn.Linear):
        return network.head
    (linear,) = each(network.head, nn.Linear)
    return linear


class Finetuning:
    """Steps down the loss on one or more volumes.

    Parameters
    ----------
    network : Asmlp
        Changed in place.
    """

    def __init__(self, network: Asmlp, settings: FinetuneSettings, seed: int) -> None:
        self.network, self.step = network, 0
        self._settings, self._seed = settings, seed
        recipe = Recipe(
            learning_rate=settings.rate, muon_learning_rate=settings.muon_rate, batch_size=1
        )
        self._optimisers = make_optimisers(network, recipe)
        self._logits = _token_logits(network)

    def descend(self, sample: Sample, done: float) -> float:
        """Take a step on a random crop; `done` is the share of the run that is over."""
        generator = Generator().manual_seed(self._seed * 1_000_003 + self.step)
        set_rates(self._optimisers, 0.05, done)
        crop = random_crop(
            sample,
            crop_extent(sample, self.network, self._settings.crop),
            self._settings.augmentation,
            generator,
            foreground=0.8,
        )
        loss = token_loss(
            self._logits(crop.image[None]).float(),
            known_shares(crop.classes, self.network, self._settings.sure),
        )
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
        nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM)
        for optimiser in self._optimisers:
            optimiser.step()
        self.step += 1
        return float(loss.detach())


def crop_extent(sample: Sample, network: Asmlp, most: int) -> tuple[int, int, int]:
    """Return the voxels of a crop along each axis: those of a sample, and `most` at most."""
    unit = network.config.multiple_of
    x, y, z = (min(-(-n // unit) * unit, most // unit * unit) for n in sample.classes.shape)
    return x, y, z


def known_shares(classes: Tensor, network: Asmlp, sure: float = 1.0) -> Tensor:
    """(X, Y, Z) of `teaching_sample` -> (1, K, x, y, z): how much of a token is of each class.

    Parameters
    ----------
    sure : what a voxel counts that the light learner is sure of, beside 1 of annotated ones
    """
    count = network.config.out_channels
    shares = token_shares(classes[None], 1 + 2 * count, network.config.patch_size)
    annotated, likely = torch.split(shares[:, 1:], count, dim=1)
    return torch.add(annotated, likely, alpha=sure)


def teaching_sample(
    image: NDArray[np.float32], annotated: NDArray[np.int16], sure: NDArray[np.int16], classes: int
) -> Sample:
    """Make what a step cuts crops from.

    Parameters
    ----------
    image : (C, X, Y, Z) float32
        On the model grid, standardised.
    annotated, sure : (X, Y, Z)
        Class of voxels that are annotated, or that the light learner is sure of; else -1.
    classes : int
        K. In the sample 0 is ignored, 1 to K annotated, K + 1 to 2 K sure.
    """
    both = np.where(annotated >= 0, annotated + 1, np.where(sure >= 0, sure + 1 + classes, 0))
    centres = Sample.of("taught", image, (annotated + 1).astype(np.uint8))
    return replace(centres, classes=both.astype(np.uint8))


def _token_logits(network: Asmlp) -> Callable[[Tensor], Tensor]:
    """Return what gives logits of tokens with gradients, by compiled layers if they are there."""
    if not (is_trainable(network) and is_training_compiled()):
        return network.token_logits
    precision = resolve_precision("auto", torch.device("cpu"))
    return CompiledTraining(network, DTYPES[precision]).token_logits
