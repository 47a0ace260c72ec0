"""Dice on cases kept out, while the network is still learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_asmlp.measure import dice
from napari_asmlp.training.dataset import IGNORED
from napari_asmlp.training.samples import Sample
from napari_asmlp.windows import place_windows

_WINDOW = (128, 128, 128)
_OVERLAP = 0.25


@torch.inference_mode()
def validate(
    network: nn.Module,
    samples: Sequence[Sample],
    regions: Sequence[Sequence[int]] = (),
) -> dict[int, float]:
    """Mean Dice of each label over samples on the model grid, without the voxels to ignore.

    A sample that does not fit one window is decided window by window. That is good enough to watch
    a run; what a finished model gives is scored on the files' own grids.

    Parameters
    ----------
    regions : classes of each output, where these are regions; they are numbered from 1
    """
    scores: dict[int, list[float]] = {}
    training = network.training
    network.eval()
    for sample in samples:
        known = sample.classes != IGNORED
        for value, found, truth in _decided(network, sample, regions):
            score = dice(found & known, truth & known)
            if score is not None:
                scores.setdefault(value, []).append(score)
    network.train(training)
    return {value: float(np.mean(values)) for value, values in sorted(scores.items())}


def _decided(
    network: nn.Module, sample: Sample, regions: Sequence[Sequence[int]]
) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield of each label or region its number, where it was found, and where it is: (X, Y, Z)."""
    device = next(network.parameters()).device
    shape, outputs = sample.classes.shape, 0
    found = np.zeros((len(regions), *shape), bool) if regions else np.zeros(shape, np.uint8)
    for box in place_windows(shape, _WINDOW, _OVERLAP):
        inside = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
        crop = torch.from_numpy(np.array(sample.image[(slice(None), *inside)]))
        logits = network(crop[None].to(device))[0]
        outputs = logits.shape[0]
        if regions:
            found[(slice(None), *inside)] = (logits > 0).cpu().numpy()
        else:
            found[inside] = logits.argmax(0).cpu().numpy()
    if regions:
        for n, region in enumerate(regions):
            yield n + 1, found[n], np.isin(sample.classes, region)
    else:
        for value in range(1, outputs):
            yield value, found == value, sample.classes == value
