"""What has been learnt so far: all that a later round goes on from, and that can be kept aside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from napari_asmlp.errors import ModelError
from napari_asmlp.model import Model, segmenter
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.behind import NetworkLearner
from napari_asmlp.teaching.choice import Features
from napari_asmlp.teaching.finetune import last_layer, new_network
from napari_asmlp.teaching.light import LightLearner

_AWAY_AT_LEAST = 0.5  # of the network, where it was found out and place was looked at


@dataclass(frozen=True)
class Light:
    """A light learner and what it looks at."""

    features: Features
    learner: LightLearner


@dataclass
class Learnt:
    """What has been learnt, and goes on being learnt.

    Attributes
    ----------
    values : of the classes, the first one 0
    network : with an output for each class
    scores : mean Dice of light learners on what was kept back, by features
    shares : the same of both learners, by the share of the network; empty if never found out
    light : None before the first answer
    away : the same for volumes without annotations, where place means nothing; made when needed
    """

    values: tuple[int, ...]
    network: NetworkLearner
    scores: dict[Features, float] = field(default_factory=dict)
    shares: dict[float, float] = field(default_factory=dict)
    light: Light | None = None
    away: Light | None = None

    @property
    def share(self) -> float:
        """Of the network beside the light learner, 0 as long as it was not found out."""
        return max(self.shares, key=lambda share: self.shares[share]) if self.shares else 0.0

    @property
    def share_away(self) -> float:
        """The same for volumes without annotations.

        Where the light learner looks at place it says less without, and the network, which never
        did, counts for more: alone, where it is known to do as well as a light learner without.
        """
        if not self.shares or self.light is None or not self.light.features.position:
            return self.share
        without = self.scores.get(replace(self.light.features, position=False), 1.0)
        return 1.0 if self.shares[1.0] >= without else max(self.share, _AWAY_AT_LEAST)

    def kept(self) -> Learnt:
        """Return a copy that later teaching does not change."""
        network, shares = self.network.kept(), dict(self.shares)
        return replace(self, network=network, scores=dict(self.scores), shares=shares)


def beginning(start: Model | None, channels: int, values: tuple[int, ...], seed: int) -> Asmlp:
    """Return the network to teach, with an output for each label value.

    It has the weights of `start` or of the package's own encoder, or none; what `start` knows of
    the same label values is kept.
    """
    if start is None:
        known = encoder.pretrained_network() if encoder.is_there() else None
        return new_network(known, channels, len(values), seed)
    network = teachable(start)
    theirs = (0, *(entry.value for entry in start.card.labels))
    return with_classes(network, theirs, values, channels, seed)


def teachable(start: Model) -> Asmlp:
    """Return the network of a model; raises `ModelError` if it segments by no AS-MLP."""
    network = segmenter(start).network
    if not isinstance(network, Asmlp):
        raise ModelError(f"{start.card.name}: only an AS-MLP can be taught")
    return network


def with_classes(
    network: Asmlp, theirs: tuple[int, ...], mine: tuple[int, ...], channels: int, seed: int
) -> Asmlp:
    """Return a network with an output for each of some label values, and what another one knows.

    Parameters
    ----------
    theirs, mine : label values of the outputs, before and after
    """
    fresh = new_network(network, channels, len(mine), seed)
    old, new = (last_layer(one) for one in (network, fresh))
    if len(theirs) != len(old.weight):  # outputs that each have a sigmoid of their own
        return fresh
    with torch.no_grad():
        for there, value in enumerate(theirs):
            if value in mine:
                new.weight[mine.index(value)] = old.weight[there]
                new.bias[mine.index(value)] = old.bias[there]
    return fresh
