"""Dice on cases kept out, while the network is still learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_asmlp.measure import dice
from napari_asmlp.training.samples import Sample
from napari_asmlp.windows import place_windows

_WINDOW = (128, 128, 128)
_OVERLAP = 0.25


@torch.inference_mode()
def validate(network: nn.Module, samples: Sequence[Sample]) -> dict[int, float]:
    """Mean Dice of each class over samples on the model grid.

    A sample that does not fit one window is decided window by window. That is good enough to watch
    a run; what a finished model gives is scored on the files' own grids.
    """
    scores: dict[int, list[float]] = {}
    training = network.training
    network.eval()
    for sample in samples:
        found, outputs = _decided(network, sample)
        for value in range(1, outputs):
            score = dice(found == value, sample.classes == value)
            if score is not None:
                scores.setdefault(value, []).append(score)
    network.train(training)
    return {value: float(np.mean(values)) for value, values in sorted(scores.items())}


def _decided(network: nn.Module, sample: Sample) -> tuple[NDArray[np.uint8], int]:
    """Return the class of each voxel, (X, Y, Z), and how many outputs the network has."""
    device = next(network.parameters()).device
    found, outputs = np.zeros(sample.classes.shape, np.uint8), 0
    for box in place_windows(found.shape, _WINDOW, _OVERLAP):
        inside = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
        crop = torch.from_numpy(np.array(sample.image[(slice(None), *inside)]))
        logits = network(crop[None].to(device))[0]
        outputs = logits.shape[0]
        found[inside] = logits.argmax(0).cpu().numpy()
    return found, outputs
