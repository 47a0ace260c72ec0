"""The last layer of a network alone, fitted in a second: what it then says is worth something.

All steps of teaching change the whole network a little. Before the first of them a new last layer
knows nothing, and where there is time for a few steps only it never learns. Its tokens do not
depend on it, so they are computed once, and a linear layer over them is fitted to its end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.teaching.encoder import with_features
from napari_asmlp.teaching.finetune import crop_extent, known_shares, last_layer
from napari_asmlp.training.augment import random_crop
from napari_asmlp.training.recipe import Augmentation
from napari_asmlp.training.samples import Sample

_CROPS = 6  # over all samples, at least one of each
_TOKENS = 30_000
_ROUNDS = 60  # of L-BFGS
_DECAY = 1e-3
_AS_IT_IS = Augmentation(flip_axes=(), rotation=0, scaling=0, elastic=0, intensity=0, noise=0)


def fit_head(network: Asmlp, samples: Sequence[Sample], crop: int, seed: int) -> None:
    """Fit the last layer of a network to what crops of samples hold.

    Parameters
    ----------
    network : with an output for each class; its last layer is changed in place
    samples : from `finetune.teaching_sample`
    crop : voxels that a crop has along each axis, at most
    """
    features = with_features(network)
    count, generator = network.config.out_channels, Generator().manual_seed(seed)
    tokens, shares = [], []
    for number in range(max(_CROPS, len(samples))):
        sample = samples[number % len(samples)]
        extent = crop_extent(sample, network, crop)
        piece = random_crop(sample, extent, _AS_IT_IS, generator, foreground=1.0)
        with torch.inference_mode():
            seen = features.token_logits(piece.image[None])[0, count:].flatten(1).T
        wanted = known_shares(piece.classes, network)[0].flatten(1).T
        some = wanted.sum(dim=1) > 0
        tokens.append(seen[some].clone())
        shares.append(wanted[some])
    chosen = torch.randperm(sum(map(len, tokens)), generator=generator)[:_TOKENS]
    if len(chosen):
        _fit(network, torch.cat(tokens)[chosen], torch.cat(shares)[chosen])


def _fit(network: Asmlp, tokens: Tensor, shares: Tensor) -> None:
    """Fit the last layer to tokens (N, C) and how much of each is of each class, (N, K)."""
    last = last_layer(network)
    weight = torch.zeros_like(last.weight, requires_grad=True)
    bias = torch.zeros_like(last.bias, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")
    # The rarest class counts as much as the most frequent one to the power of a half.
    balance = shares.sum(dim=0).clamp(min=1).rsqrt()
    weights = (shares * balance).sum(dim=1)
    weights /= weights.sum()

    def loss() -> Tensor:
        solver.zero_grad()
        logits = functional.linear(tokens, weight, bias)
        entropy = -(shares * logits.log_softmax(dim=1)).sum(dim=1)
        value: Tensor = (weights * entropy).sum() + _DECAY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]  # the same
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias)
