"""Cross-entropy plus soft Dice, over the voxels somebody annotated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from napari_asmlp.training.dataset import IGNORED

IGNORE = -1


def segmentation_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean of cross-entropy and 1 - soft Dice (Milletari et al., V-Net, 2016) of the foreground.

    Parameters
    ----------
    logits : (B, K, X, Y, Z) float32
    classes : (B, X, Y, Z) int64, 0 background, `IGNORE` where nobody annotated
    """
    known = classes != IGNORE
    entropy = functional.cross_entropy(logits, classes, ignore_index=IGNORE, reduction="sum")
    entropy = entropy / known.sum().clamp(min=1)
    probabilities = logits.softmax(dim=1) * known[:, None]
    truth = functional.one_hot(classes.clamp(min=0), logits.shape[1]).permute(0, 4, 1, 2, 3)
    truth = truth * known[:, None]
    overlap = torch.sum(probabilities * truth, dim=(0, 2, 3, 4))[1:]
    total = torch.sum(probabilities + truth, dim=(0, 2, 3, 4))[1:]
    dice = (2 * overlap + 1) / (total + 1)
    return entropy + 1 - dice.mean()


class RegionLoss:
    """Mean over regions of binary cross-entropy and 1 - soft Dice, each output with its sigmoid.

    Parameters
    ----------
    regions : classes of each region, which may overlap
    """

    def __init__(self, regions: Sequence[Sequence[int]]) -> None:
        highest = max(max(region) for region in regions)
        self._members = torch.zeros(len(regions), highest + 1)
        for row, region in zip(self._members, regions, strict=True):
            row[list(region)] = 1

    def __call__(self, _image: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : (B, R, X, Y, Z) float32
        classes : (B, X, Y, Z) int64, 0 background, `IGNORED` where nobody annotated
        """
        known = (classes != IGNORED)[:, None]
        members = self._members.to(logits.device)
        truth = members[:, classes * known[:, 0]].movedim(0, 1)
        entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        entropy = (entropy * known).sum() / (len(members) * known.sum()).clamp(min=1)
        probabilities, axes = logits.sigmoid() * known, (0, 2, 3, 4)
        overlap = torch.sum(probabilities * truth, dim=axes)
        total = torch.sum(probabilities + truth * known, dim=axes)
        return entropy + 1 - ((2 * overlap + 1) / (total + 1)).mean()


def token_shares(classes: Tensor, count: int, size: int) -> Tensor:
    """Return how much of each token is of each class.

    Parameters
    ----------
    classes : (B, X, Y, Z) int64, no `IGNORE`; extents that are multiples of `size`
    count : classes, K
    size : voxels of a token along each axis

    Returns
    -------
    float32 (B, K, X / size, Y / size, Z / size), sums to 1 over K
    """
    batch, *shape = classes.shape
    x, y, z = (n // size for n in shape)
    cells = classes.view(batch, x, size, y, size, z, size).permute(0, 1, 3, 5, 2, 4, 6)
    cells = cells.reshape(batch, x * y * z, size**3)
    shares = torch.zeros(batch, x * y * z, count)
    shares.scatter_add_(2, cells, torch.full(cells.shape, 1 / size**3))
    return shares.permute(0, 2, 1).view(batch, count, x, y, z)


def token_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Mean of cross-entropy and 1 - soft Dice, where a token may be of several classes in part.

    Parameters
    ----------
    logits : (B, K, x, y, z) float32, of tokens
    shares : the same shape, from `token_shares`; all 0 where nobody annotated
    """
    known = shares.sum(dim=1, keepdim=True)
    entropy = -(shares * logits.log_softmax(dim=1)).sum() / known.sum().clamp(min=1)
    probabilities = logits.softmax(dim=1) * known
    overlap = torch.sum(probabilities * shares, dim=(0, 2, 3, 4))[1:]
    total = torch.sum(probabilities**2 + shares**2, dim=(0, 2, 3, 4))[1:]
    dice = (2 * overlap + 1) / (total + 1)
    return entropy + 1 - dice.mean()
