"""The network behind the light learner: it learns for as long as there is time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.teaching.annotations import UNANNOTATED
from napari_asmlp.teaching.answer import Answer, Mixture
from napari_asmlp.teaching.encoder import Encoder
from napari_asmlp.teaching.finetune import FinetuneSettings, Finetuning, teaching_sample
from napari_asmlp.teaching.head import fit_head
from napari_asmlp.teaching.maps import Map
from napari_asmlp.teaching.subject import Subject, nearest, spread
from napari_asmlp.training.samples import Sample

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SURE = 128  # doubt, of 255, below which a voxel may teach the network


class NetworkLearner:
    """Teaches a network by volumes.

    Parameters
    ----------
    network : with an output for each class; changed in place

    """

    def __init__(self, network: Asmlp, settings: FinetuneSettings, seed: int) -> None:
        self.network = network
        self._classes = network.config.out_channels
        self._settings, self._seed = settings, seed
        self._steps = Finetuning(network, settings, seed)
        self._samples: list[Sample] = []

    @property
    def steps(self) -> int:
        """Taken so far."""
        return self._steps.step

    def kept(self) -> NetworkLearner:
        """Return a copy that goes on from here, with nothing to learn from yet."""
        return self.going_on(copy.deepcopy(self.network))

    def going_on(self, network: Asmlp) -> NetworkLearner:
        """Return a learner that counts its steps from here."""
        learner = NetworkLearner(network, self._settings, self._seed)
        learner._steps.step = self.steps
        return learner

    def listen(self, heard: Sequence[tuple[Subject, NDArray[np.int16], Answer | None]]) -> None:
        """Learn from now on from annotations of volumes, and from what answers are sure of.

        Parameters
        ----------
        heard : of each volume the classes to learn from, (X, Y, Z), `UNANNOTATED` elsewhere; and
            an answer learnt from the same ones, or None
        """
        self._samples = [self._sample(*one) for one in heard]
        if not self.steps:  # before the first step its last layer is new
            fit_head(self.network, self._samples, self._settings.crop, self._seed)

    def descend(self, done: float) -> None:
        """Take a step; `done` is the share of the run that is over."""
        if not self._samples:
            raise RuntimeError("nothing to learn from yet")
        self.network.train()
        self._steps.descend(self._samples[self.steps % len(self._samples)], done)

    def logits(self, subject: Subject) -> Map:
        """Return what the network says of a volume now."""
        runs = Encoder(self.network.eval(), features=False)
        return runs.map(subject.seen(), subject.shape)

    def _sample(
        self, subject: Subject, classes: NDArray[np.int16], answer: Answer | None
    ) -> Sample:
        sure = np.full(classes.shape, UNANNOTATED, np.int16)
        if answer is not None:
            taken = (answer.doubt <= _SURE) & (classes == UNANNOTATED)
            sure[taken] = answer.classes[taken]
        seen = subject.seen()
        shape = seen.shape[1:]
        return teaching_sample(seen, spread(classes, shape), nearest(sure, shape), self._classes)


@dataclass(frozen=True)
class Asked:
    """What learners are asked: voxels (N, 3) that they have not learnt from, and their classes."""

    mixture: Mixture
    places: NDArray[np.int64]
    classes: NDArray[np.int16]


def shares_scored(asked: Sequence[Asked], count: int) -> dict[float, float]:
    """Return the mean Dice of each share that the network may have.

    Parameters
    ----------
    asked : of each volume
    count : classes
    """
    truth = np.concatenate([one.classes for one in asked])
    with torch.inference_mode():
        parts = [one.mixture.parts_at(one.places) for one in asked]
        light, network = (torch.cat(of_all, dim=1) for of_all in zip(*parts, strict=True))
        found = {share: light.lerp(network, share).argmax(dim=0).numpy() for share in SHARES}
    return {share: mean_dice(labels, truth, count) for share, labels in found.items()}


def mean_dice(found: NDArray[np.int64], truth: NDArray[np.int16], count: int) -> float:
    """Mean Dice of the classes but background, where the truth has them; 0 where it has none."""
    scores = []
    for value in range(1, count):
        mine, theirs = found == value, truth == value
        if theirs.any():
            both = np.count_nonzero(mine & theirs)
            scores.append(2 * both / (np.count_nonzero(mine) + np.count_nonzero(theirs)))
    return float(np.mean(scores)) if scores else 0.0
