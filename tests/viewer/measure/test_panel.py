"""The Measure panel: what it shows, where it goes, and that it follows every edit."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_asmlp.cli import main
from napari_asmlp.measure import iter_measure
from napari_asmlp.viewer.commands import new_labels
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import source_view, volume_of
from napari_asmlp.viewer.measure import request
from napari_asmlp.viewer.measure.panel import MeasurePanel
from tests.viewer.conftest import close_dock, without_dock

PATIENCE = 30_000


@pytest.fixture
def layer(viewer, scan):
    """On the grid of the scan: 4 voxels of label 1, liver; label 2 in pieces of 8 and of 1."""
    viewer.open(str(scan), plugin="napari-asmlp")
    layer = new_labels(viewer)
    voxels = source_view(layer)
    voxels[:2, :2, 0] = 1
    voxels[3:5, :2, :2] = 2
    voxels[5, 6, 7] = 2
    layer.features = {"index": [0, 1], "name": ["background", "liver"]}
    layer.refresh()
    return layer


@pytest.fixture
def measures(viewer, layer, qtbot):
    panel = without_dock(MeasurePanel(viewer), qtbot)
    settle(panel, qtbot)
    return panel


def settle(panel, qtbot):
    """Wait until it shows what is."""
    qtbot.waitUntil(
        lambda: not panel.is_busy and not panel._is_stale and not panel.watch._timer.isActive(),
        timeout=PATIENCE,
    )


def column(panel, name):
    return [row.get(name) for row in panel.table.rows.shown]


def click(panel, row):
    table = panel.table
    QTest.mouseClick(
        table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=table.visualRect(table.rows.index(row, 0)).center(),
    )


def test_it_measures_the_labels_on_the_image_of_their_grid(measures, viewer, layer):
    assert measures.image.value is viewer.layers[0]
    assert column(measures, "name") == ["liver", "label 2"]
    assert column(measures, "voxels") == [4, 9]
    assert column(measures, "volume_mm3") == pytest.approx([24, 54])
    scan = volume_of(viewer.layers[0]).array()
    assert column(measures, "mean")[0] == pytest.approx(scan[:2, :2, 0].mean())
    assert measures.status.text() == "2 labels"


def test_objects_have_a_row_each(measures, qtbot):
    measures.by.value = "connected object"
    settle(measures, qtbot)
    assert [*zip(column(measures, "label"), column(measures, "object"), strict=True)] == [
        (1, 1),
        (2, 1),
        (2, 2),
    ]
    assert measures.status.text() == "3 connected objects"


def test_a_click_goes_to_the_centroid_and_selects_the_label(measures, viewer, layer):
    viewer.dims.point = (0, 0, 0)
    click(measures, 1)
    assert layer.selected_label == 2
    where = np.argwhere(layer.data == 2).mean(axis=0)
    shown = np.array(layer.world_to_data(viewer.dims.point))
    assert np.abs(shown - where).max() <= 0.5  # the nearest voxel
    assert viewer.scene.camera.center[-2:] == pytest.approx(layer.data_to_world(where)[-2:])


def test_strokes_edits_and_undo_are_followed(measures, layer, qtbot):
    layer.paint(np.argwhere(layer.data == 0)[0], 1)
    assert measures._is_stale
    assert "measured again" in measures.status.text()
    settle(measures, qtbot)
    painted = np.count_nonzero(layer.data == 1)
    assert column(measures, "voxels")[0] == painted > 4
    edits_of(layer).undo()
    settle(measures, qtbot)
    assert column(measures, "voxels")[0] == np.count_nonzero(layer.data == 1) < painted
    layer.data = np.zeros_like(layer.data)
    settle(measures, qtbot)
    assert measures.table.rows.shown == []


def test_what_a_program_writes_is_followed_when_it_refreshes(measures, layer, qtbot):
    source_view(layer)[0, 0, 0] = 7
    layer.refresh()
    assert measures._is_stale
    settle(measures, qtbot)
    assert column(measures, "label") == [1, 2, 7]


def test_another_slice_is_no_edit(measures, viewer):
    viewer.dims.set_point(0, viewer.dims.range[0].stop)
    assert not measures._is_stale


def test_names_and_features_come_at_once_without_measuring(measures, layer):
    layer.features = {"index": [1, 2], "name": ["a", "b"], "class": ["mass", "normal"]}
    assert not measures.is_busy
    assert column(measures, "name") == ["a", "b"]
    assert column(measures, "class") == ["mass", "normal"]
    assert "class" in measures.table.rows.table.columns


def test_the_selection_outlives_sorting_and_new_numbers(measures, layer, qtbot):
    click(measures, 1)
    place = measures.table.rows.table.columns.index("voxels")
    measures.table.sortByColumn(place, Qt.SortOrder.DescendingOrder)
    assert column(measures, "label") == [2, 1]
    measures.measure()
    settle(measures, qtbot)
    rows = measures.table.selectionModel().selectedRows()
    assert [measures.table.rows.key(index.row()) for index in rows] == [(2, None)]


def test_copy_is_for_a_spreadsheet(measures):
    click(measures, 1)
    QTest.keyClick(measures.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    measures.table.copy()
    head, row, *rest = QGuiApplication.clipboard().text().splitlines()
    assert head.split("\t")[:3] == ["label", "name", "voxels"]
    assert row.split("\t")[:3] == ["2", "label 2", "9"]
    assert rest == []


def test_the_file_is_what_the_command_line_writes(
    measures, layer, scan, tmp_path, monkeypatch, capsys
):
    from napari_asmlp.viewer.files import save_labels

    asked = []

    def ask(_parent, _title, suggested, _filter):
        asked.append(suggested)
        return str(tmp_path / "mine"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    layer.features = {}
    measures.save()
    assert asked == [str(scan.with_name("scan_labels.csv"))]
    save_labels(layer, tmp_path / "labels.nii.gz")
    capsys.readouterr()  # without a window, napari prints what it would show in one
    main(["measure", str(tmp_path / "labels.nii.gz"), "--image", str(scan)])
    assert (tmp_path / "mine.csv").read_text() == capsys.readouterr().out


def test_a_file_that_the_dialog_did_not_ask_about_is_kept(measures, tmp_path, monkeypatch, notes):
    (tmp_path / "mine.csv").write_text("precious")
    chosen = str(tmp_path / "mine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (chosen, ""))
    measures.save()
    assert "exists already" in notes[-1]
    assert (tmp_path / "mine.csv").read_text() == "precious"


def test_a_table_never_takes_the_place_of_a_volume(measures, tmp_path, monkeypatch):
    (tmp_path / "mine.nii.gz").write_text("precious")
    chosen = str(tmp_path / "mine.nii.gz")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (chosen, ""))
    measures.save()
    assert (tmp_path / "mine.nii.gz").read_text() == "precious"
    assert (tmp_path / "mine.nii.gz.csv").read_text().startswith("label,name,voxels")


def test_filtered_rows_are_counted(measures):
    measures.filter.setText("liver")
    assert column(measures, "label") == [1]
    assert measures.status.text() == "1 of 2 labels"


@pytest.fixture
def held(monkeypatch):
    """Let measuring wait before its second step until it may go on."""
    go = Event()

    def slow(*what, **how):
        work = iter_measure(*what, **how)
        yield next(work)
        go.wait(30)
        return (yield from work)

    monkeypatch.setattr(request, "iter_measure", slow)
    yield go
    go.set()


def test_cancel_leaves_the_old_numbers_marked(measures, held, qtbot):
    measures.measure()
    assert measures.run_button.text() == "Cancel"
    measures.run_button.click()
    held.set()
    qtbot.waitUntil(lambda: not measures.is_busy, timeout=PATIENCE)
    assert "Stopped" in measures.status.text()
    assert column(measures, "voxels") == [4, 9]
    assert measures._is_stale
    measures.run_button.click()
    settle(measures, qtbot)


@pytest.mark.parametrize("how", ["delete", "close"])
def test_layers_and_panels_may_go_while_it_works(measures, viewer, layer, held, how):
    measures.measure()
    if how == "delete":
        viewer.layers.remove(layer)
        assert measures.table.rows.shown == []
    else:
        close_dock(measures)
    assert not measures.is_busy
    held.set()


def test_an_image_on_another_grid_is_refused_by_name(measures, viewer, qtbot):
    other = viewer.add_image(np.zeros((3, 3, 3)), name="other")
    measures.image.value = other
    assert "do not lie on the grid of image 'other'" in measures.status.text().replace("\u200b", "")
    assert measures.table.rows.shown == []
    measures.image.value = "none"
    settle(measures, qtbot)
    assert "mean" not in measures.table.rows.table.columns


def test_labels_that_are_no_volume_are_refused_in_words(measures, viewer):
    flat = viewer.add_labels(np.zeros((4, 4), np.uint8), name="flat")
    measures.layer.value = flat
    assert "layer 'flat' has 2 axes" in measures.status.text()
    assert not measures.save_button.isEnabled()


def test_fifty_thousand_rows_are_all_there(viewer, measures, qtbot, monkeypatch):
    rows = 50_000
    many = measures._rows[:1] * rows
    measures._take(many)
    assert measures.table.rows.rowCount() == rows
    measures.table.selectAll()
    measures._take(many)  # with all of them selected, which Qt's own ways take minutes for
    measures.table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    measures.filter.setText("liver")
    assert measures.status.text().startswith("50,000")


@pytest.fixture
def pair(measures, viewer, layer, qtbot):
    """The labels, and a copy in which a voxel of 1 was added, the piece of 1 voxel taken off."""
    copy = Labels(
        layer.data.copy(),
        **{
            key: getattr(layer, key)
            for key in ("scale", "translate", "units", "axis_labels", "metadata")
        },
        name="reference",
    )
    voxels = source_view(copy)
    voxels[2, 0, 0] = 1
    voxels[5, 6, 7] = 0
    voxels[3, 0, 0] = 1
    viewer.add_layer(copy)
    measures.layer.value = layer
    measures.compare.other.value = copy
    settle(measures, qtbot)
    return layer, copy


def compared(measures, qtbot):
    measures.compare.button.click()
    qtbot.waitUntil(lambda: not measures.compare.is_busy, timeout=PATIENCE)


def test_two_layers_are_compared(measures, viewer, pair, qtbot):
    layer, _ = pair
    compared(measures, qtbot)
    rows = measures.compare.table.rows.shown
    assert [row["name"] for row in rows] == ["liver", "label 2"]
    assert [row["dice"] for row in rows] == pytest.approx([2 * 4 / (4 + 6), 2 * 7 / (9 + 7)])
    changes = viewer.layers[-1]
    assert changes.name == f"{layer.name} against reference"
    voxels = source_view(changes)
    assert voxels[2, 0, 0] == 2 and voxels[5, 6, 7] == 1 and voxels[3, 0, 0] == 3
    assert np.count_nonzero(voxels) == 3
    assert list(changes.features["name"]) == ["background", "added", "removed", "other label"]
    assert measures.layer.value is layer


def test_equal_layers_leave_no_empty_layer_of_changes(measures, viewer, pair, qtbot):
    layer, reference = pair
    reference.data[...] = layer.data
    compared(measures, qtbot)
    assert measures.compare.status.text() == "No voxel differs"
    assert viewer.layers[-1] is reference


def test_a_comparison_is_marked_once_the_labels_change(measures, pair, qtbot):
    compared(measures, qtbot)
    layer, _ = pair
    layer.paint((0, 0, 0), 1)
    assert "compare again" in measures.compare.status.text()
    settle(measures, qtbot)


def test_a_comparison_across_grids_is_refused_by_name(measures, viewer, layer, notes):
    other = viewer.add_labels(np.zeros((3, 3, 3), np.uint8), name="other")
    measures.layer.value = layer
    measures.compare.other.value = other
    measures.compare.button.click()
    assert f"labels {layer.name!r} and 'other' lie on different grids" in notes[-1]
    assert not measures.compare.is_busy


def test_a_compared_layer_may_go(measures, viewer, pair, qtbot):
    compared(measures, qtbot)
    viewer.layers.remove(pair[1])
    assert measures.compare.table.rows.shown == []


def test_in_a_window_all_planes_go_there(window, scan, qtbot):
    from napari_asmlp.viewer.planes import show_planes

    window.open(str(scan), plugin="napari-asmlp")
    viewer = window.__wrapped__
    layer = new_labels(viewer)
    source_view(layer)[2, 1, 5] = 4
    _, panel = window.window.add_plugin_dock_widget("napari-asmlp", "Measure")
    planes = show_planes(viewer)
    settle(panel, qtbot)
    click(panel, 0)
    place = layer.data_to_world(np.argwhere(layer.data == 4)[0])
    assert planes.cursor.point == pytest.approx(place)
    for view in (viewer, *(each.viewer for each in planes.views)):
        shown = [place[axis] for axis in view.dims.displayed]
        assert view.scene.camera.center[-2:] == pytest.approx(shown)
    assert layer.selected_label == 4
    panel.measure()  # and the window is closed while it works
