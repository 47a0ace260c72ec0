"""Answers enter their layer as steps, and never over what a person has said."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QObject

from napari_asmlp.viewer.colours import colour_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.teach.classes import BACKGROUND, add_class, new_annotations, rename
from napari_asmlp.viewer.teach.pairs import Pair, is_taught
from napari_asmlp.viewer.teach.taught import TaughtLabels, kept, show_classes
from tests.viewer.teach.scans import SHAPE, scan, stroke

PATIENCE = 30_000


@pytest.fixture
def pair(viewer):
    image = viewer.add_layer(scan())
    annotations = viewer.add_layer(new_annotations(image))
    return Pair("a", image, (image,), annotations)


@pytest.fixture
def labels(viewer, qtbot):
    parent = QObject()
    yield TaughtLabels(viewer, parent)
    parent.deleteLater()


def enter(labels, pair, value, qtbot):
    labels.take(pair, f"answer {value}", np.full(SHAPE, value, np.uint8))
    qtbot.waitUntil(lambda: not labels.is_busy, timeout=PATIENCE)
    return source_view(pair.taught)


def test_an_answer_is_one_step_in_a_layer_beneath_the_annotations(labels, viewer, pair, qtbot):
    entered = enter(labels, pair, 1, qtbot)
    assert (entered == 1).all()
    assert [layer.name for layer in viewer.layers] == ["ball 0", "taught: ball 0", "annotations"]
    assert viewer.layers.selection.active is pair.annotations
    assert is_taught(pair.taught)
    assert [step.kind for step in edits_of(pair.taught).history.past] == ["prediction"]
    pair.taught.undo()
    assert not entered.any()
    pair.taught.redo()
    assert (entered == 1).all()


def test_annotations_and_corrections_stay(labels, pair, qtbot):
    view = enter(labels, pair, 1, qtbot)
    stroke(pair.annotations, np.s_[1, 1, 1:3], 2)
    stroke(pair.annotations, np.s_[2, 1, 1:3], BACKGROUND)
    stroke(pair.taught, np.s_[3, 1, 1:3], 3)
    stroke(pair.taught, np.s_[4, 1, 1:3], 0)
    enter(labels, pair, 5, qtbot)
    assert [view[n, 1, 1] for n in (1, 2, 3, 4, 5)] == [2, 0, 3, 0, 5]
    assert np.count_nonzero(view != 5) == 8
    pair.taught.undo()  # the answer; the corrections are there before it
    assert [view[n, 1, 1] for n in (1, 2, 3, 4, 5)] == [1, 1, 3, 0, 1]


def test_a_stroke_while_an_answer_is_compared_is_a_step_before_it(labels, pair, qtbot):
    view = enter(labels, pair, 1, qtbot)
    labels.take(pair, "late", np.full(SHAPE, 5, np.uint8))
    stroke(pair.taught, np.s_[3, 1, 1], 3)
    stroke(pair.annotations, np.s_[1, 1, 1], 2)
    qtbot.waitUntil(lambda: not labels.is_busy, timeout=PATIENCE)
    assert [view[n, 1, 1] for n in (1, 3, 5)] == [2, 3, 5]
    kinds = [step.kind for step in edits_of(pair.taught).history.past]
    assert kinds == ["prediction", "edit", "prediction"]


def test_of_answers_that_wait_the_latest_counts(labels, pair, qtbot):
    entered = []
    labels.entered.connect(lambda _, title, __: entered.append(title))
    for value in (1, 2, 3, 4):
        labels.take(pair, f"answer {value}", np.full(SHAPE, value, np.uint8))
    qtbot.waitUntil(lambda: not labels.is_busy, timeout=PATIENCE)
    assert entered == ["answer 1", "answer 4"]
    assert (source_view(pair.taught) == 4).all()


@pytest.mark.parametrize("gone", ["image", "annotations"])
def test_an_answer_for_layers_that_have_gone_is_dropped(labels, viewer, pair, gone, qtbot):
    enter(labels, pair, 1, qtbot)
    viewer.layers.remove(getattr(pair, gone))
    setattr(pair, gone, None)
    labels.take(pair, "late", np.full(SHAPE, 5, np.uint8))
    qtbot.waitUntil(lambda: not labels.is_busy, timeout=PATIENCE)
    assert (source_view(pair.taught) == 1).all()


def test_labels_that_were_deleted_come_in_a_new_layer(labels, viewer, pair, qtbot):
    enter(labels, pair, 1, qtbot)
    before, pair.taught = pair.taught, None
    viewer.layers.remove(before)
    enter(labels, pair, 2, qtbot)
    assert pair.taught in viewer.layers


def test_names_and_colours_follow_the_annotations(labels, pair, qtbot):
    enter(labels, pair, 1, qtbot)
    rename(pair.annotations, 1, "cell")
    value = add_class(pair.annotations)
    show_classes(pair.taught, pair.annotations)
    assert class_names(pair.taught) == {1: "cell", value: "class 2"}
    assert colour_of(pair.taught, value) == pytest.approx(colour_of(pair.annotations, value))
    assert colour_of(pair.taught, 0)[3] == 0


def test_kept_is_worked_out_by_hand():
    row = np.array([[[5, 5, 5, 5]]], np.uint8)
    old = np.array([[[1, 2, 3, 4]]], np.uint8)
    corrected = np.array([[[False, True, False, True]]])
    painted = np.array([[[9, 0, 7, 7]]], np.uint16)
    assert kept(row, (old, corrected), (painted, 9)).tolist() == [[[0, 2, 7, 4]]]
    assert kept(row, (old, ~corrected), (painted, None)).tolist() == [[[1, 5, 3, 7]]]
