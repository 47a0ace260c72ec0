"""The network behind the light learner: it learns for as long as there is time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.teaching.annotations import UNANNOTATED
from napari_asmlp.teaching.answer import Answer, Mixture
from napari_asmlp.teaching.encoder import Encoder
from napari_asmlp.teaching.finetune import FinetuneSettings, Finetuning, teaching_sample
from napari_asmlp.teaching.maps import Map
from napari_asmlp.teaching.subject import Subject, nearest, spread
from napari_asmlp.training.samples import Sample

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SURE = 26  # doubt, of 255, below which a voxel may teach the network


class NetworkLearner:
    """Teaches a network by a subject.

    Parameters
    ----------
    subject : what is taught
    network : with an output for each class; changed in place
    """

    def __init__(
        self, subject: Subject, network: Asmlp, settings: FinetuneSettings, seed: int
    ) -> None:
        self.network = network
        self._subject = subject
        self._steps = Finetuning(network, subject.classes, settings, seed)
        self._sample: Sample | None = None

    @property
    def steps(self) -> int:
        """Taken so far."""
        return self._steps.step

    def listen(self, classes: NDArray[np.int16], answer: Answer) -> None:
        """Learn from now on from these annotations, and from what an answer is sure of.

        Parameters
        ----------
        classes : (X, Y, Z), those to learn from; `UNANNOTATED` elsewhere
        answer : learnt from the same ones
        """
        sure = answer.classes.astype(np.int16)
        sure[answer.doubt > _SURE] = UNANNOTATED
        sure[self._subject.annotation.classes != UNANNOTATED] = UNANNOTATED
        seen = self._subject.seen
        shape = seen.shape[1:]
        self._sample = teaching_sample(
            seen, spread(classes, shape), nearest(sure, shape), self._subject.classes
        )

    def descend(self, done: float) -> None:
        """Take a step; `done` is the share of the run that is over."""
        if self._sample is None:
            raise RuntimeError("nothing to learn from yet")
        self.network.train()
        self._steps.descend(self._sample, done)

    def logits(self) -> Map:
        """Return what the network says of the subject now."""
        runs = Encoder(self.network.eval(), features=False)
        return runs.map(self._subject.seen, self._subject.shape)


def shares_scored(
    mixture: Mixture, classes: NDArray[np.int16], places: NDArray[np.int64], count: int
) -> dict[float, float]:
    """Return the mean Dice of each share that the network may have.

    Parameters
    ----------
    mixture : of learners that have not learnt from `places`
    classes : (X, Y, Z), the truth there
    places : (N, 3) voxels
    count : classes
    """
    truth, scores = classes[tuple(places.T)], {}
    with torch.inference_mode():
        light, network = mixture.parts_at(places)
        for share in SHARES:
            found = light.lerp(network, share).argmax(dim=0).numpy()
            scores[share] = mean_dice(found, truth, count)
    return scores


def mean_dice(found: NDArray[np.int64], truth: NDArray[np.int16], count: int) -> float:
    """Mean Dice of the classes but background, where the truth has them; 0 where it has none."""
    scores = []
    for value in range(1, count):
        mine, theirs = found == value, truth == value
        if theirs.any():
            both = np.count_nonzero(mine & theirs)
            scores.append(2 * both / (np.count_nonzero(mine) + np.count_nonzero(theirs)))
    return float(np.mean(scores)) if scores else 0.0
