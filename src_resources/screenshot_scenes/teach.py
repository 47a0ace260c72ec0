"""The Teach panel: the rounds of one lesson, on the sample.

The hand that paints is the bundled model: whole slices are painted as its labels are, and what it
would not have said is corrected. What comes of it is measured against those same labels.
"""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.planes import show_planes
from napari_asmlp.viewer.teach.classes import BACKGROUND
from screenshot_scenes.stage import (
    add_result,
    open_panel,
    process,
    scene,
    toasts,
    wait_until,
    window_of,
)

ROUND = 30  # seconds
CORONAL = 1  # axis of the layer that the painted slices are across
FIRST, MORE = (14, 28, 42), (21, 35)
BETWEEN = 21  # a slice that nobody has painted in the first round


class Lesson:
    """Annotations of the sample, and a hand that knows what is right."""

    def __init__(self, viewer: napari.Viewer) -> None:
        labels = add_result(viewer)
        self.viewer, self.truth = viewer, labels.data > 0
        viewer.layers.remove(labels)
        toasts(viewer)
        self.panel = open_panel(viewer, "Teach")
        self.panel.new_annotations()
        self.layer = self.panel.pair.annotations
        self.panel.classes.renamed.emit(1, "hippocampus")
        self.planes = show_planes(viewer)

    def paint(self, slices: tuple[int, ...]) -> None:
        """Paint whole slices, hippocampus and all that is not."""
        for index in slices:
            there = np.zeros(self.truth.shape, bool)
            there[:, index] = True
            where = np.nonzero(there)
            values = np.where(self.truth[where], 1, BACKGROUND).astype(np.uint8)
            self.layer.data_setitem(where, values)
        self.panel.watch.count()
        process(1)

    def teach(self) -> None:
        """Teach one round, and tell how right its labels are where nobody has painted."""
        self.panel.running.seconds.setValue(ROUND)
        self.panel.teach()
        course = self.panel.course
        wait_until(lambda: not course.rounds.is_busy and not course.labels.is_busy)
        asked = self.layer.data == 0
        found = self.panel.pair.taught.data[asked] == 1
        dice = 2 * np.sum(found & self.truth[asked]) / (np.sum(found) + np.sum(self.truth[asked]))
        print(f"Dice where nobody has painted: {dice:.3f}")

    def look_at(self, index: int) -> QWidget:
        """Show a coronal slice where the hippocampus is largest."""
        inside = np.argwhere(self.truth[:, index])
        k, i = np.median(inside, axis=0).astype(int)
        self.planes.cursor.move(self.layer.data_to_world((k, index, i)))
        process(1)
        return window_of(self.viewer)


@scene
def teach_paint(viewer: napari.Viewer) -> QWidget:
    lesson = Lesson(viewer)
    lesson.paint(FIRST)
    return lesson.look_at(FIRST[1])


@scene
def teach_first(viewer: napari.Viewer) -> QWidget:
    lesson = Lesson(viewer)
    lesson.paint(FIRST)
    lesson.teach()
    return lesson.look_at(BETWEEN)


@scene
def teach_next(viewer: napari.Viewer) -> QWidget:
    lesson = Lesson(viewer)
    lesson.paint(FIRST)
    lesson.teach()
    lesson.panel.next.doubt.setChecked(True)
    lesson.panel.where_next()
    wait_until(lambda: bool(lesson.panel.next.why.text()))
    return window_of(viewer)


@scene
def teach_second(viewer: napari.Viewer) -> QWidget:
    lesson = Lesson(viewer)
    lesson.paint(FIRST)
    lesson.teach()
    taught: Any = lesson.panel.pair.taught
    wrong = (taught.data == 1) != lesson.truth
    wrong[:, [n for n in range(wrong.shape[1]) if n not in MORE]] = False
    where = np.nonzero(wrong)
    taught.data_setitem(where, lesson.truth[where].astype(np.uint8))
    lesson.teach()
    wait_until(lambda: bool(lesson.panel.next.worth.text()))
    return lesson.look_at(BETWEEN)
