"""From maps and learners to classes of all voxels, a few planes at a time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_asmlp.teaching.light import LightLearner
from napari_asmlp.teaching.maps import Map, Maps

_VOXELS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Answer:
    """What is thought of all voxels, in canonical axes.

    Attributes
    ----------
    classes : (X, Y, Z) uint8
    doubt : (X, Y, Z) uint8, 255 where the two likeliest classes are equally likely
    """

    classes: NDArray[np.uint8]
    doubt: NDArray[np.uint8]


@dataclass(frozen=True)
class Mixture:
    """The learners, and how much each counts.

    Attributes
    ----------
    light : and the maps it looks at
    network : logits (K, x, y, z) of the taught network, as a map
    share : of the network, 0 to 1
    """

    light: LightLearner
    maps: Maps
    network: Map | None = None
    share: float = 0.0

    def scores(self, planes: range) -> Tensor:
        """Log-probabilities of whole planes, up to a constant: (K, planes * Y * Z)."""
        if self.network is None or self.share == 0:
            return self._light(planes)
        network = self.network.planes(planes, self.maps.shape).flatten(1).log_softmax(dim=0)
        if self.share == 1:
            return network
        return self._light(planes).lerp_(network, self.share)

    def _light(self, planes: range) -> Tensor:
        return self.light(self.maps.planes(planes))

    def parts_at(self, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of light learner and network at voxels (N, 3): (K, N) each."""
        if self.network is None:
            raise ValueError("there is no network in this mixture")
        network = self.network.at(torch.from_numpy(places)).T
        return self.light(self.maps.at(places).T), network.log_softmax(dim=0)


def iter_answer(mixture: Mixture, classes: int) -> Generator[float, None, Answer]:
    """Label a volume; yields the share done."""
    shape = mixture.maps.shape
    chosen, doubt = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    step = max(1, _VOXELS_AT_ONCE // (shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        planes = range(start, min(start + step, shape[0]))
        with torch.inference_mode():
            chances = mixture.scores(planes).softmax(dim=0).view(classes, len(planes), *shape[1:])
            best, index = chances.topk(min(2, classes), dim=0)
            chosen[start : planes.stop] = index[0].byte().numpy()
            margin = 1 - (best[0] - best[-1])
            doubt[start : planes.stop] = (255 * margin).round().byte().numpy()
        yield planes.stop / shape[0]
    return Answer(chosen, doubt)
