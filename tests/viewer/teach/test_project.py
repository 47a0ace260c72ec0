"""Teaching that goes on another day: saved from a panel, opened in another."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog

from napari_asmlp.io import write_volume
from napari_asmlp.project import load_project
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.teach import classes
from napari_asmlp.viewer.teach.classes import BACKGROUND, background_of
from napari_asmlp.viewer.teach.panel import TeachPanel
from tests.viewer.conftest import without_dock
from tests.viewer.teach.scans import image_volume, paint_slice, scan, stroke

PATIENCE = 30_000


@pytest.fixture
def panel(viewer, teacher, qtbot):
    return without_dock(TeachPanel(viewer), qtbot)


@pytest.fixture
def other(teacher, qtbot):
    """A panel of another viewer."""
    return without_dock(TeachPanel(ViewerModel()), qtbot)


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    path = tmp_path / "study.asmlp.json"
    for dialog in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, dialog, lambda *_: (str(path), ""))
    return path


def settle(panel, qtbot):
    course, projects = panel.course, panel.projects
    qtbot.waitUntil(
        lambda: not (course.rounds.is_busy or course.labels.is_busy or projects.is_busy),
        timeout=PATIENCE,
    )


def add(panel, layer, k):
    panel._viewer.add_layer(layer)
    panel.sources.image_combo.value = layer
    panel.new_annotations()
    paint_slice(panel.pair.annotations, k)


def open_in(panel, qtbot):
    panel.use.open_project_button.click()
    settle(panel, qtbot)
    return list(panel.course.pairs)


def test_volumes_annotations_corrections_and_model_come_back(panel, other, chosen, notes, qtbot):
    add(panel, scan(0), 7)
    classes.rename(panel.pair.annotations, 1, "ball")
    add(panel, scan(1), 9)
    panel.teach()
    settle(panel, qtbot)
    stroke(panel.pair.taught, np.s_[2, 2, 2:5], 0)
    panel.running.seconds.setValue(17)
    panel.use.save_project_button.click()
    settle(panel, qtbot)
    assert notes == [f"Project written to {chosen}"]
    assert sorted(path.name for path in chosen.parent.glob("study*")) == [
        "study.asmlp.json",
        "study.safetensors",
        "study_ball 0.nii.gz",
        "study_ball 0_annotations.nii.gz",
        "study_ball 1.nii.gz",
        "study_ball 1_annotations.nii.gz",
    ]
    assert [entry.name for entry in load_project(chosen).classes] == ["ball"]

    other.running.seconds.setValue(60)
    first, second = open_in(other, qtbot)
    np.testing.assert_allclose(source_view(first.image), image_volume(0).array())
    for mine, theirs in zip((first, second), panel.course.pairs, strict=True):
        expected = source_view(theirs.annotations).copy()
        if theirs.taught is not None:
            expected[2, 2, 2:5] = BACKGROUND
        np.testing.assert_array_equal(source_view(mine.annotations), expected)
        assert background_of(mine.annotations) == BACKGROUND
    assert class_names(first.annotations)[1] == "ball"
    assert other.pair is first
    assert other.running.seconds.value() == 17


def test_images_in_files_are_named_and_not_written_again(panel, other, chosen, tmp_path, qtbot):
    files = [write_volume(image_volume(n), tmp_path / f"scan{n}.nii.gz") for n in (0, 1)]
    for file in files:
        panel._viewer.open(str(file), plugin="napari-asmlp")
    (action,) = panel.sources.channels_menu.actions()
    action.setChecked(True)
    panel.new_annotations()
    paint_slice(panel.pair.annotations, 7)
    panel.use.save_project_button.click()
    settle(panel, qtbot)
    (entry,) = load_project(chosen).volumes
    assert set(entry.images) == set(files)
    assert not (tmp_path / "study_scan0.nii.gz").exists()
    (pair,) = open_in(other, qtbot)
    assert [layer.name for layer in pair.channels] == [path.name[:5] for path in entry.images]
    other.use.save_project_button.click()
    settle(other, qtbot)
    assert load_project(chosen).volumes[0].images == entry.images


def test_all_channels_of_a_file_are_the_file(panel, other, chosen, tmp_path, qtbot):
    file = write_volume(image_volume(channels=2), tmp_path / "both.nii.gz")
    panel._viewer.open(str(file), plugin="napari-asmlp")
    panel.new_annotations()
    paint_slice(panel.pair.annotations, 7)
    panel.use.save_project_button.click()
    settle(panel, qtbot)
    assert load_project(chosen).volumes[0].images == (file,)
    (pair,) = open_in(other, qtbot)
    assert len(pair.channels) == 2


def test_an_image_that_has_changed_is_refused_and_nothing_is_lost(
    panel, other, chosen, tmp_path, notes, qtbot
):
    file = write_volume(image_volume(0), tmp_path / "scan.nii.gz")
    panel._viewer.open(str(file), plugin="napari-asmlp")
    panel.new_annotations()
    paint_slice(panel.pair.annotations, 7)
    panel.use.save_project_button.click()
    settle(panel, qtbot)
    write_volume(image_volume(1), file, overwrite=True)
    add(other, scan(2), 7)
    assert len(open_in(other, qtbot)) == 1
    assert "holds other voxels than when the project was saved" in notes[-1]
    assert notes[-1] in other.running.status.text().replace("\u200b", "")


def test_nothing_to_save_is_said(panel, notes):
    panel.use.save_project_button.click()
    assert notes == ["there is nothing to save yet: choose an image, press New, and paint"]
