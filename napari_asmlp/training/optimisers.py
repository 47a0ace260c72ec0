"""What turns gradients into steps: AdamW, or Muon for the weights between hidden channels."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW, Optimizer

from napari_asmlp.training.muon import Muon
from napari_asmlp.training.recipe import BaseRecipe


def make_optimisers(network: nn.Module, recipe: BaseRecipe) -> list[Optimizer]:
    """Return one optimiser, or two where Muon takes the hidden matrices.

    Norms and biases are not decayed. Muon is for linear layers from hidden channels to hidden
    channels (Jordan et al., 2024): not for the embedding, the head, norms or biases.
    """
    matrices = _hidden_matrices(network) if recipe.optimiser == "muon" else []
    own = {id(weight) for weight in matrices}
    others = [weight for weight in network.parameters() if id(weight) not in own]
    groups = [
        {"params": [w for w in others if w.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [w for w in others if w.ndim <= 1], "weight_decay": 0.0},
    ]
    optimisers: list[Optimizer] = [AdamW(groups, lr=recipe.learning_rate)]
    if matrices:
        optimisers.append(
            Muon(matrices, lr=recipe.muon_learning_rate, weight_decay=recipe.muon_weight_decay)
        )
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["initial_lr"] = group["lr"]
    return optimisers


def set_rates(optimisers: list[Optimizer], warmup: float, done: float) -> float:
    """Linear warm-up, then a cosine down to zero; returns the rate of the first group."""
    warm = min(1.0, (done + 1e-3) / warmup) if warmup > 0 else 1.0
    decay = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * warm * decay
    return float(optimisers[0].param_groups[0]["lr"])


def _hidden_matrices(network: nn.Module) -> list[nn.Parameter]:
    return [
        weight
        for name, weight in network.named_parameters()
        if weight.ndim == 2 and not name.startswith(("embedding", "head"))
    ]
