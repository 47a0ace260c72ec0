"""Cross-entropy plus soft Dice, over the voxels somebody annotated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IGNORE = -1


def segmentation_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean of cross-entropy and 1 - soft Dice (Milletari et al., V-Net, 2016) of the foreground.

    Parameters
    ----------
    logits : (B, K, X, Y, Z) float32
    classes : (B, X, Y, Z) int64, 0 background, `IGNORE` where nobody annotated
    """
    known = classes != IGNORE
    entropy = functional.cross_entropy(logits, classes, ignore_index=IGNORE)
    probabilities = logits.softmax(dim=1) * known[:, None]
    truth = functional.one_hot(classes.clamp(min=0), logits.shape[1]).permute(0, 4, 1, 2, 3)
    truth = truth * known[:, None]
    overlap = torch.sum(probabilities * truth, dim=(0, 2, 3, 4))[1:]
    total = torch.sum(probabilities + truth, dim=(0, 2, 3, 4))[1:]
    dice = (2 * overlap + 1) / (total + 1)
    return entropy + 1 - dice.mean()
