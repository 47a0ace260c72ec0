"""Rounds to go back to, and the model that is kept."""

import numpy as np

from napari_asmlp.edit.step import Step
from napari_asmlp.model import Card, LabelEntry, Model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.viewer.teach.saving import named, worth_alone
from napari_asmlp.viewer.teach.states import State, States


def whole(value):
    return Step.of_all(np.full((2, 3, 4), value, np.uint8))


def titles(states):
    return [state.title.split(",")[0] for state in states.kept]


def test_a_round_is_kept_when_its_labels_and_what_was_learnt_are_there():
    states = States()
    states.begin()
    states.wrote("a", "first", whole(1))
    states.wrote("a", "second", whole(2))
    assert states.kept == ()
    states.learnt("weights", is_written=True)
    (state,) = states.kept
    assert state.title.endswith("second")
    assert (state.labels() == 2).all()
    assert state.snapshot == "weights"


def test_labels_that_come_late_are_those_of_the_round():
    states = States()
    states.begin()
    states.wrote("a", "first", whole(1))
    states.learnt("weights", is_written=False)
    assert states.kept == ()
    states.wrote("a", "second", whole(2))
    assert [int(state.labels().max()) for state in states.kept] == [2]


def test_rounds_without_an_answer_are_none_and_old_ones_go():
    states = States()
    for number in range(1, 16):
        states.begin()
        if number % 2:
            states.wrote("a", "answer", whole(number))
            states.learnt(number, is_written=True)
    assert titles(states) == [f"round {n}" for n in range(1, 16, 2)]
    for _ in range(20):
        states.begin()
        states.wrote("a", "answer", whole(1))
        states.learnt(0, is_written=True)
    assert len(states.kept) == 12
    assert isinstance(states.kept[0], State)


def test_a_model_gets_the_names_of_the_panel():
    config = AsmlpConfig(out_channels=3, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,))
    entries = (LabelEntry(1, "label 1", "#000000"), LabelEntry(4, "label 4", "#000000"))
    model = Model(Card("taught", "", entries, config, window=(8, 8, 8)), Asmlp(config))
    found = named(model, "mine", [LabelEntry(4, "cell", "#e69f00")]).card
    assert found.name == "mine"
    assert [entry.name for entry in found.labels] == ["label 1", "cell"]


def test_what_the_model_is_worth_alone_is_said_or_that_nobody_knows():
    scored = {"steps": 90, "model_dice": 0.42, "labels_dice": 0.81, "agreement": None}
    assert "the model alone had a Dice of 0.42, the labels in the window 0.81" in worth_alone(
        scored
    )
    compared = {"steps": 90, "model_dice": None, "labels_dice": None, "agreement": 0.987}
    assert worth_alone(compared) == ("The model alone labels 98.7 % of the voxels as they are now")
    assert "has taken 7 steps and was not checked" in worth_alone({"steps": 7})
