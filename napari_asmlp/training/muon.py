"""Muon on devices that do not multiply bf16 by themselves.

PyTorch's own one orthogonalises in bf16, which many CPUs emulate: there it took several times as
long as all the rest of a step (docs/experiments.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from napari_asmlp.devices import native_precisions


class Muon(torch.optim.Muon):
    """PyTorch's Muon; where bf16 is emulated, in fp32 and all matrices of one shape at once.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step, as all optimisers do."""
        devices = {weight.device for group in self.param_groups for weight in group["params"]}
        if all("bf16" in native_precisions(device) for device in devices):
            return super().step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                alike = defaultdict(list)
                for weight in group["params"]:
                    if weight.grad is not None:
                        alike[weight.shape].append(weight)
                for weights in alike.values():
                    self._step(weights, group)
        return loss

    def _step(self, weights: Sequence[Tensor], group: dict[str, Any]) -> None:
        """Change matrices of one shape by their gradients."""
        wanted = torch.stack([self._smoothed(weight, group) for weight in weights])
        rows, columns = wanted.shape[1:]
        rate = group["lr"] * math.sqrt(max(1.0, rows / columns))
        found = orthogonalised(wanted, group["ns_coefficients"], group["ns_steps"], group["eps"])
        for weight, step in zip(weights, found, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(step, alpha=rate)

    def _smoothed(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        gradient, state, momentum = weight.grad, self.state[weight], group["momentum"]
        if gradient is None:
            raise RuntimeError("a weight without a gradient")
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum) if group["nesterov"] else mean


def orthogonalised(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, epsilon: float
) -> Tensor:
    """Bring the singular values of matrices (N, rows, columns) near 1, by Newton-Schulz steps."""
    first, third, fifth = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if tall else matrices
    norms = torch.linalg.matrix_norm(found, keepdim=True)
    found = found / norms.clamp(min=epsilon)
    for _ in range(steps):
        gram = found @ found.mT
        found = torch.baddbmm(
            found, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), found, beta=first
        )
    return found.mT if tall else found
