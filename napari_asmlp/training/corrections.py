"""What a network learns from corrections, and what it keeps of the model it starts from.

Corrected voxels teach their labels. Elsewhere, and where corrections say background, the start
model's probabilities teach what it knew ("Learning without forgetting", Li and Hoiem, ECCV 2016),
with one care: what it calls background may be a label that is new ("Modeling the background",
Cermelli et al., CVPR 2020), and what it calls by a label that was corrected elsewhere may have
changed as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.training.losses import token_loss

# Classes of a sample: outside the volume or held back, not corrected, and from `FIRST` on
# corrected, `FIRST` being background.
OUTSIDE, REST, FIRST = 0, 1, 2
_RARER = 2.0  # logarithm of how much likelier background is than a label that nobody learnt yet


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network: 0 for background, labels of the start model, then new ones.

    Attributes
    ----------
    known : how many the start model has
    count : how many there are now
    named : labels that some correction holds
    """

    known: int
    count: int
    named: frozenset[int]

    @property
    def absent(self) -> list[int]:
        """Labels of the start model that no correction holds."""
        return [n for n in range(1, self.known) if n not in self.named]

    @property
    def new(self) -> list[int]:
        """Labels that the start model does not have."""
        return list(range(self.known, self.count))


def widened(network: Asmlp, count: int) -> Asmlp:
    """Return a network of more outputs that says the same of those it had.

    A new label begins as a seventh of what was background.
    """
    wider = Asmlp(replace(network.config, out_channels=count))
    state = network.state_dict()
    for key, tensor in wider.state_dict().items():
        missing = len(tensor) - len(state[key])
        if missing:
            rows = state[key][:1].expand(missing, *tensor.shape[1:])
            state[key] = torch.cat([state[key], rows - _RARER if tensor.ndim == 1 else rows])
    wider.load_state_dict(state)
    return wider


class CorrectionLoss:
    """The loss of a step: a function of image, logits and classes.

    Parameters
    ----------
    outputs : of the network that learns
    start : (B, C, X, Y, Z) -> logits (B, known, X, Y, Z) of the start model; None forgets it
    """

    def __init__(self, outputs: Outputs, start: Callable[[Tensor], Tensor] | None) -> None:
        self._outputs, self._start = outputs, start

    def __call__(self, image: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        image : (B, C, X, Y, Z) float32
        logits : (B, K, X, Y, Z) float32
        classes : (B, X, Y, Z) int64, as of `OUTSIDE`, `REST` and `FIRST`
        """
        corrected = (classes - FIRST).clamp(min=0)
        truth = functional.one_hot(corrected, self._outputs.count).movedim(-1, 1).float()
        truth = truth * (classes >= FIRST)[:, None]
        rest = classes == REST
        if self._start is None or not (self._outputs.absent or rest.any()):
            return token_loss(logits, truth)
        with torch.no_grad():
            before = self._start(image).float().softmax(dim=1)
        if self._outputs.absent:
            truth = kept_in_background(truth, before, self._outputs.absent)
        return token_loss(logits, truth) + memory_loss(logits, before, rest, self._outputs)


def kept_in_background(truth: Tensor, before: Tensor, absent: list[int]) -> Tensor:
    """Leave to labels that no correction names what the start model gives them of background.

    Parameters
    ----------
    truth : (B, K, ...) shares of classes
    before : (B, known, ...) probabilities of the start model
    """
    shares = before[:, absent] * truth[:, :1]
    kept = truth.clone()
    kept[:, absent] += shares
    kept[:, 0] -= shares.sum(dim=1)
    return kept


def memory_loss(logits: Tensor, before: Tensor, rest: Tensor, outputs: Outputs) -> Tensor:
    """Mean cross-entropy with the start model's probabilities, where nothing was corrected.

    What it calls background may be new labels, too. What it calls by a label that corrections hold
    may be any of those, new ones, or background: corrections teach what it is now.

    Parameters
    ----------
    logits : (B, K, ...)
    before : (B, known, ...)
    rest : (B, ...) bool
    """
    now = logits.log_softmax(dim=1)
    named = sorted(outputs.named & set(range(1, outputs.known)))
    merged = {
        free: now[:, [0, *outputs.new, *free]].logsumexp(dim=1) for free in ((), tuple(named))
    }
    of_each = before * now[:, : outputs.known]
    strict = before[:, 0] * merged[()] + of_each[:, 1:].sum(dim=1)
    share = before[:, [0, *named]].sum(dim=1)
    loose = share * merged[tuple(named)] + of_each[:, outputs.absent].sum(dim=1)
    may_change = torch.isin(
        before.argmax(dim=1), torch.tensor(named, dtype=torch.long, device=before.device)
    )
    entropy = -torch.where(may_change, loose, strict)
    return (entropy * rest).sum() / rest.sum().clamp(min=1)
