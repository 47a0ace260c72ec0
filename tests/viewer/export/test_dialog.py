"""The export dialog in a real window."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog

from napari_asmlp.viewer import commands, settings
from napari_asmlp.viewer.export.dialog import ExportDialog
from napari_asmlp.viewer.export.order import Order
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.layers import source_view

from ..conftest import AFFINE


def shown(kind):
    """The dialog of a kind that is open."""
    (dialog,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, kind))
    return dialog


@pytest.fixture
def labels(window, scan):
    """Labels 1, 2 and 4 of the scan in a window."""
    window.open(str(scan), plugin="napari-asmlp")
    layer = commands.new_labels(window)
    source_view(layer)[0, 0, :6] = [1, 1, 2, 2, 2, 4]
    return layer


@pytest.fixture
def dialog(window, labels, qtbot):
    """The dialog, as the menu opens it, once the voxels are counted."""
    commands.export_labels_command()
    dialog = shown(ExportDialog)
    qtbot.waitUntil(lambda: dialog._counts is not None)
    return dialog


def save_button(dialog):
    return dialog.buttons.button(QDialogButtonBox.StandardButton.Save)


def plain(dialog):
    return dialog.text.text().replace("\u200b", "")


def test_it_writes_what_it_said(dialog, labels, scan, qtbot, notes):
    out = scan.with_name("scan_labels.nii.gz")
    assert dialog.file.text() == str(out)
    assert "scan_labels.nii.gz: uint8, 3 labels, 6 voxels, 0.036 ml." in plain(dialog)
    assert not dialog.replace.isEnabled()
    with qtbot.waitSignal(dialog.finished):
        save_button(dialog).click()
    image = nibabel.load(out)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), source_view(labels))
    np.testing.assert_allclose(image.affine, AFFINE)
    assert notes == [f"Labels written to {out}"]


def test_ticks_choose_the_labels(dialog):
    rows = [dialog.labels.list.topLevelItem(n) for n in range(3)]
    assert [row.text(0) for row in rows] == ["1", "2", "4"]
    assert [row.text(2) for row in rows] == ["2", "3", "1"]
    rows[1].setCheckState(0, Qt.CheckState.Unchecked)
    assert dialog.wish().values == {1, 4}
    assert "2 labels, 3 voxels" in plain(dialog)
    dialog.renumber.setChecked(True)
    assert "renumbered 1–2; 1 left out" in plain(dialog)
    dialog.labels.tick_all(on=False)
    assert "background only" in plain(dialog)
    assert save_button(dialog).isEnabled()  # an empty result is allowed, but said
    dialog.labels.tick_all(on=True)
    assert dialog.wish().values is None


def test_format_and_name_follow_each_other(dialog, tmp_path):
    dialog.format.setCurrentIndex(dialog.format.findData(".mgz"))
    dialog.format.activated.emit(dialog.format.currentIndex())
    assert dialog.file.text() == str(tmp_path / "scan_labels.mgz")
    for name, suffix in (("a.nii", ".nii"), ("a.img", ".hdr"), ("a.MGH", ".mgh"), ("a.png", None)):
        dialog.file.setText(str(tmp_path / name))
        assert dialog.format.currentData() == suffix
    assert "Not yet: " in plain(dialog)
    assert "no known format" in plain(dialog)
    assert not save_button(dialog).isEnabled()


def test_replacing_needs_a_tick_for_each_name(dialog, tmp_path):
    for name in ("one.nii", "two.nii"):
        (tmp_path / name).touch()
    dialog.file.setText(str(tmp_path / "one.nii"))
    assert "one.nii exists" in plain(dialog)
    assert not save_button(dialog).isEnabled()
    dialog.replace.setChecked(True)
    assert "Replaces one.nii" in plain(dialog)
    assert save_button(dialog).isEnabled()
    dialog.file.setText(str(tmp_path / "two.nii"))
    assert not dialog.replace.isChecked()
    assert not save_button(dialog).isEnabled()


def test_a_moved_layer_is_refused_in_place(window, labels, qtbot):
    labels.translate = (1, 2, 3)
    commands.export_labels_command()
    dialog = shown(ExportDialog)
    assert "were moved" in plain(dialog)
    assert not save_button(dialog).isEnabled()
    qtbot.waitUntil(lambda: dialog._count is None or not dialog._count._worker.is_running)
    dialog.reject()


def test_habits_are_remembered_and_grids_are_not(dialog, window, labels, qtbot, tmp_path):
    dialog.file.setText(str(tmp_path / "out.nii"))
    dialog.names.setCurrentIndex(dialog.names.findData("3D Slicer"))
    dialog.grid.setCurrentIndex(1)
    with qtbot.waitSignal(dialog.finished):
        dialog.accept()
    assert (tmp_path / "out.ctbl").exists()
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "out.nii").affine) == ("R", "A", "S")
    again = ExportDialog(window, labels)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again._counts is not None)
    assert again.file.text() == str(tmp_path / "scan_labels.nii")
    assert again.names.currentData() == "3D Slicer"
    assert again.grid.currentData() == "source"
    assert settings.recall("export.suffix", "") == ".nii"


def test_an_error_leaves_the_dialog_as_it_was(dialog, qtbot, notes, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_asmlp.io.files.os.fsync", fail)
    dialog.accept()
    qtbot.waitUntil(lambda: dialog._export is None)
    assert "No space left" in notes[-1]
    assert dialog.isVisible()
    assert save_button(dialog).isEnabled()
    assert not list(tmp_path.glob("scan_labels*"))


def test_cancelling_stops_before_the_next_file(dialog, qtbot, monkeypatch, tmp_path, pipeline):
    def slow(order, array, path):
        pipeline.go.wait(30)
        path.touch()

    monkeypatch.setattr(Order, "_write", slow)
    dialog.names.setCurrentIndex(1)
    with qtbot.waitSignal(dialog.finished):
        dialog.accept()
        dialog.reject()
        pipeline.go.set()
    assert not (tmp_path / "scan_labels.labels.txt").exists()


@pytest.mark.parametrize(("whole", "calls"), [(True, 1), (False, 0)])
def test_the_journal_hears_of_whole_exports(dialog, labels, qtbot, monkeypatch, whole, calls):
    told = []
    monkeypatch.setattr(journal, "saved", lambda layer, changes: told.append(layer))
    if not whole:
        dialog.labels.list.topLevelItem(0).setCheckState(0, Qt.CheckState.Unchecked)
    with qtbot.waitSignal(dialog.finished):
        dialog.accept()
    assert told == [labels] * calls


def test_browsing_fills_in_the_name(dialog, monkeypatch, tmp_path):
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "mine"), "")
    )
    dialog.browse.click()
    assert dialog.file.text() == str(tmp_path / "mine.nii.gz")


def test_without_labels_the_menu_says_so(window, notes):
    commands.export_labels_command()
    assert notes == ["there are no labels: open, paint or segment some first"]
