from __future__ import annotations

from dataclasses import replace

import pytest

from napari_asmlp.teaching.behind import NetworkLearner
from napari_asmlp.teaching.choice import Features
from napari_asmlp.teaching.finetune import FinetuneSettings, new_network
from napari_asmlp.teaching.learnt import Learnt, Light
from napari_asmlp.teaching.light import LightLearner

PLACED, UNPLACED = Features(position=True), Features()


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    network = NetworkLearner(new_network(None, 1, 2, 0), FinetuneSettings(), 0)
    return Learnt((0, 1), network, light=Light(PLACED, LightLearner((), 2)))


def test_a_network_that_was_never_checked_counts_nothing(learnt: Learnt) -> None:
    assert learnt.share == learnt.share_away == 0


@pytest.mark.parametrize(
    ("unplaced", "network", "away"),
    [(0.6, 0.6, 1.0), (0.7, 0.6, 0.5)],
    ids=["as good as trees without place", "worse than those"],
)
def test_where_place_means_nothing_the_network_counts_for_more(
    learnt: Learnt, unplaced: float, network: float, away: float
) -> None:
    scores = {PLACED: 0.8, UNPLACED: unplaced}
    found = replace(learnt, scores=scores, shares={0.0: 0.8, 0.25: 0.7, 1.0: network})
    assert found.share == 0
    assert found.share_away == away


def test_without_place_it_counts_the_same_everywhere(learnt: Learnt) -> None:
    light = Light(UNPLACED, LightLearner((), 2))
    found = replace(learnt, light=light, shares={0.0: 0.6, 0.25: 0.7, 1.0: 0.65})
    assert found.share == found.share_away == 0.25


def test_what_was_kept_aside_does_not_change(learnt: Learnt) -> None:
    first = replace(learnt, shares={0.0: 1.0})
    kept = first.kept()
    first.shares[0.5] = 2.0
    assert kept.share == 0
