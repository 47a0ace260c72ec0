from __future__ import annotations

import numpy as np
import pytest

from napari_asmlp.edit.beneath import lay_beneath
from napari_asmlp.edit.history import History
from napari_asmlp.edit.step import Step

SHAPE = (4, 5, 6)
HALVES = (slice(0, 4), slice(0, 5), slice(0, 3)), (slice(0, 4), slice(0, 5), slice(3, 6))


def edited(order, count=6):
    """Labels, all states that they went through from 0 on, and the history of it."""
    rng = np.random.default_rng(1)
    labels, history = np.zeros(SHAPE, np.uint16, order=order), History()
    states = [labels.copy(order="K")]
    for _ in range(count):
        after = labels.copy(order="K")
        after[rng.random(SHAPE) < 0.2] = rng.integers(0, 4)
        history.push(Step.between(labels, after))
        labels[:] = after
        states.append(after)
    return labels, states, history


def move(labels, history, *, undo):
    step = history.undo() if undo else history.redo()
    for _ in step.apply(labels, undo=undo):
        pass


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("undone", [0, 2, 6])
def test_every_state_has_the_result_where_it_was_0(order, undone):
    labels, states, history = edited(order)
    for _ in range(undone):
        move(labels, history, undo=True)
    result = np.random.default_rng(2).integers(0, 5, SHAPE, np.uint8)
    for box in HALVES:
        lay_beneath(labels, history, box, result[box])
    expected = [np.where(state == 0, result, state) for state in states]
    assert (labels == expected[len(states) - 1 - undone]).all()
    while history.past:
        move(labels, history, undo=True)
    assert (labels == result).all()
    for state in expected[1:]:
        move(labels, history, undo=False)
        assert (labels == state).all()


def test_outside_the_box_nothing_changes():
    labels, states, history = edited("F")
    lay_beneath(labels, history, HALVES[0], np.full((4, 5, 3), 9, np.uint8))
    assert (labels[HALVES[1]] == states[-1][HALVES[1]]).all()
    for state in states[-2::-1]:
        move(labels, history, undo=True)
        assert (labels[HALVES[1]] == state[HALVES[1]]).all()
    assert (labels[HALVES[0]] == 9).all()


def test_without_a_history_the_result_is_just_written():
    labels = np.array([[[0, 3, 0]]])
    lay_beneath(labels, History(), (slice(0, 1), slice(0, 1), slice(1, 3)), np.array([[[7, 8]]]))
    assert labels.tolist() == [[[0, 3, 8]]]
