"""What a network costs: parameters, and floating-point operations counted as it runs."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers a network has learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: nn.Module, shape: tuple[int, ...]) -> int:
    """FLOPs of matrix products and convolutions for one input (C, X, Y, Z), a product-sum as two.

    Nothing is computed: the network runs on tensors that have only shapes. Activations, norms
    and shifts do not count, as is usual.
    """
    counter = FlopCounterMode(display=False)
    shadow = copy.deepcopy(network).to("meta")
    with torch.no_grad(), counter:
        shadow(torch.zeros(1, *shape, device="meta"))
    return int(counter.get_total_flops())
