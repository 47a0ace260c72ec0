from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_asmlp.edit import Change, runs
from napari_asmlp.edit.history import History
from napari_asmlp.edit.step import Layout, Step
from napari_asmlp.errors import GridError, VolumeError

ROW = np.array([[[0, 0, 1, 1, 2]]], np.uint8)


def written(step, labels, undo=False):
    copy = labels.copy(order="K")
    for _ in step.apply(copy, undo=undo):
        pass
    return copy


def runs_of(step):
    return [
        tuple(run)
        for part in step.runs()
        for run in zip(part.start, part.length, part.old, part.new, strict=True)
    ]


def test_a_step_holds_runs_of_voxels_that_change_alike():
    after = np.array([[[3, 3, 3, 1, 2]]], np.uint8)
    step = Step.between(ROW, after)
    assert runs_of(step) == [(0, 2, 0, 3), (2, 1, 1, 3)]
    assert step.count == 3


def test_places_are_counted_along_the_memory():
    before = np.zeros((2, 3), np.uint8)
    after = before.copy()
    after[1, :2] = 7
    assert runs_of(Step.between(before, after)) == [(3, 2, 0, 7)]
    before = np.asfortranarray(before)
    assert runs_of(Step.between(before, after)) == [(1, 1, 0, 7), (3, 1, 0, 7)]


def test_single_voxels_net_to_first_old_and_last_new():
    places = np.array([4, 1, 1, 2, 4])
    old = np.array([0, 0, 5, 0, 6], np.uint8)
    new = np.array([6, 5, 9, 9, 0], np.uint8)  # place 4 ends as it began
    step = Step.of_voxels(Layout((5,), np.dtype(np.uint8)), (places, old, new), "brush")
    assert runs_of(step) == [(1, 2, 0, 9)]


def test_no_voxels_at_all():
    none = np.zeros(0, np.int64)
    step = Step.of_voxels(Layout((5,), np.dtype(np.uint8)), (none, none, none), "brush")
    assert step.count == 0
    assert Step.between(ROW, ROW).count == 0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16, np.int32, np.int64])
def test_both_ways_in_each_dtype_and_order(order, dtype):
    limits = np.iinfo(dtype)
    values = np.array([0, 1, limits.min, limits.max], dtype)
    rng = np.random.default_rng(0)
    before, after = (np.asarray(rng.choice(values, (4, 5, 6)), order=order) for _ in range(2))
    step = Step.between(before, after)
    assert step.count == np.count_nonzero(before != after)
    assert (written(step, before) == after).all()
    assert (written(step, after, undo=True) == before).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_change_in_a_box(order):
    labels = np.asarray(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), order=order)
    region = (slice(1, 3), slice(0, 2), slice(2, 4))
    mask = np.array([[[1, 0], [0, 1]], [[0, 0], [1, 1]]], bool)
    change = Change(region, mask, np.array([101, 102, 103, 104], np.uint8))
    expected = labels.copy()
    change.apply(expected)
    step = Step.of_change(change, labels, "smooth")
    assert step.count == 4
    assert (written(step, labels) == expected).all()
    assert (written(step, expected, undo=True) == labels).all()


def test_only_some_boxes_are_compared():
    before, after = np.zeros((2, 3), np.uint8), np.ones((2, 3), np.uint8)
    step = Step.between(before, after, boxes=[(slice(1, 2), slice(0, 2))])
    assert written(step, before).tolist() == [[0, 0, 0], [1, 1, 0]]


def test_an_array_that_is_not_contiguous():
    whole = np.zeros((4, 6), np.uint8)
    part = whole[:, ::2]
    step = Step.between(part, np.full((4, 3), 2, np.uint8))
    for _ in step.apply(part):
        pass
    assert (whole[:, ::2] == 2).all()
    assert not whole[:, 1::2].any()


def test_another_order_of_the_same_step():
    before = np.zeros((2, 3), np.uint8)
    after = np.array([[1, 0, 2], [1, 1, 0]], np.uint8)
    fortran = Layout.of(np.asfortranarray(before))
    step = Step.between(before, after).on(fortran)
    assert step.layout == fortran
    assert (written(step, np.asfortranarray(before)) == after).all()
    with pytest.raises(GridError, match="does not fit"):
        step.on(Layout((3, 2), np.dtype(np.uint8)))


def test_large_steps_are_written_in_parts(monkeypatch):
    monkeypatch.setattr(runs, "PART", 10)
    monkeypatch.setattr(runs, "_BLOCK", 12)
    before, after = np.zeros((5, 6), np.uint8), np.ones((5, 6), np.uint8)
    step = Step.between(before, after)
    assert [part.voxels for part in step.parts] == [6, 6, 6, 6, 6]
    assert (written(step, before) == 1).all()


def test_a_step_refuses_what_it_was_not_made_for():
    step = Step.between(np.zeros(3, np.uint8), np.ones(3, np.uint8))
    with pytest.raises(GridError, match=r"\(3,\)"):
        next(step.apply(np.zeros(4, np.uint8)))
    frozen = np.zeros(3, np.uint8)
    frozen.flags.writeable = False
    with pytest.raises(VolumeError, match="read-only"):
        next(step.apply(frozen))
    with pytest.raises(GridError, match="cannot be compared"):
        Step.between(np.zeros(3, np.uint8), np.zeros(4, np.uint8))


def test_bytes_and_back():
    rng = np.random.default_rng(1)
    before, after = rng.integers(-3, 9, (2, 4, 5, 6), np.int32)
    step = Step.between(before, after, "grow β", "prediction")
    again = Step.from_bytes(step.to_bytes(), step.layout)
    assert again == step
    assert (written(again, before) == after).all()


def test_damaged_bytes_are_refused():
    step = Step.between(np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8))
    data = step.to_bytes()
    for end in range(1, len(data)):
        if end == 2 + len(step.title):  # a step without parts is whole
            continue
        with pytest.raises(VolumeError):
            Step.from_bytes(data[:end], step.layout)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        try:
            again = Step.from_bytes(bytes(changed), step.layout)
        except VolumeError:
            continue
        assert again.count <= step.layout.size  # the title, or values: it stays inside
    smaller = Layout((4, 4), step.layout.dtype)
    with pytest.raises(VolumeError):
        Step.from_bytes(data, smaller)


def edit(labels, index, value, kind="edit"):
    after = labels.copy()
    after[index] = value
    return Step.between(labels, after, f"{kind} {value}", kind), after


def test_undo_and_redo_go_back_and_forth():
    history, labels = History(), np.zeros(4, np.uint8)
    first, one = edit(labels, 0, 1)
    second, _ = edit(one, 1, 2)
    history.push(first)
    history.push(second)
    assert history.undo() is second
    assert history.undo() is first
    assert history.undo() is None
    assert history.redo() is first
    third, _ = edit(one, 2, 3)
    history.push(third)
    assert history.redo() is None
    assert history.past == (first, third)


def test_what_a_person_edited_since_a_prediction():
    history, labels = History(), np.zeros(6, np.uint8)
    for index, value, kind in [
        (slice(0, 4), 1, "edit"),
        (slice(2, 5), 2, "prediction"),
        (slice(4, 6), 3, "edit"),
    ]:
        step, labels = edit(labels, index, value, kind)
        history.push(step)
    assert history.corrected((6,)).tolist() == [True, True, False, False, True, True]
    history.undo()
    assert history.corrected((6,)).tolist() == [True, True, False, False, False, False]


def test_dropped_steps_can_not_be_undone_but_stay_corrected():
    history, labels = History(limit_bytes=1), np.zeros(6, np.uint8)
    for index in range(3):
        step, labels = edit(labels, index, 1)
        history.push(step)
    assert history.past == (step,)
    assert history.corrected((6,)).tolist() == [True, True, True, False, False, False]
    history.clear()
    assert not history.corrected((6,)).any()


STROKES = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(1, 5), st.integers(0, 3))
ACTIONS = st.lists(st.one_of(STROKES, st.sampled_from(["undo", "redo"])), max_size=30)


@settings(deadline=None)
@given(actions=ACTIONS, order=st.sampled_from(["C", "F"]))
def test_any_sequence_equals_a_list_of_full_copies(actions, order):
    labels = np.zeros((4, 5), np.uint16, order=order)
    states, at, history = [labels.copy()], 0, History()
    for action in actions:
        if action == "undo":
            step, at = history.undo(), max(0, at - 1)
        elif action == "redo":
            step, at = history.redo(), min(len(states) - 1, at + 1)
        else:
            row, column, size, value = action
            after = labels.copy(order="K")
            after[row : row + size, column : column + size] = value
            if (after == labels).all():
                continue
            step = Step.between(labels, after)
            history.push(step)
            states, at = [*states[: at + 1], after.copy()], at + 1
        if step is not None:
            labels = written(step, labels, undo=action == "undo")
        assert (labels == states[at]).all()
