"""The Segment panel in a real window, with a pipeline that waits where a test wants to act."""

from __future__ import annotations

import shutil
from dataclasses import replace

import dask.array as da
import napari
import nibabel
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer import commands
from napari_asmlp.viewer.files import save_labels
from napari_asmlp.viewer.layers import source_view, volume_of
from napari_asmlp.viewer.segment.panel import SegmentPanel
from tests.viewer.conftest import AFFINE, SHAPE, without_dock

PLANES = np.array([1, 2, 1, 2, 1, 2, 1, 2])  # what the pipeline labels along k


def finish(panel, qtbot):
    qtbot.waitUntil(lambda: panel._run is None, timeout=30_000)


def start_and_hold(panel, pipeline, qtbot, hold_at=3):
    """Run until the first planes are on screen and the pipeline waits."""
    pipeline.hold_at = hold_at
    panel.run()
    qtbot.waitUntil(lambda: panel.bar.value() == hold_at, timeout=30_000)


def planes_of(layer):
    view = source_view(layer)
    assert (view == view[:1, :1]).all()
    return view[0, 0].tolist()


def test_the_panel_offers_what_there_is(viewer, panel):
    wish = panel.wish()
    assert wish.image.name == "scan"
    assert wish.model.name == "tiny.safetensors"
    assert wish.target is None
    assert "For tests." in panel.model.summary.text()
    viewer.add_labels(np.zeros((2, 2, 2), int), name="elsewhere")
    commands.new_labels(viewer)
    assert [str(choice) for choice in panel.target.choices] == ["new layer", "scan labels"]


def test_a_run_into_a_new_layer(viewer, panel, pipeline, qtbot, notes):
    panel.run()
    finish(panel, qtbot)
    layer = viewer.layers["scan tiny"]
    assert planes_of(layer) == PLANES.tolist()
    np.testing.assert_allclose(volume_of(layer).grid.affine, AFFINE)
    assert layer.get_color(1) == pytest.approx((0.902, 0.624, 0, 1), abs=0.01)
    assert list(layer.features["name"]) == ["background", "anterior", "posterior"]
    assert "anterior 6 mm³" in panel.sizes.text()
    assert any("anterior 6 mm³ (0.01 ml)" in note for note in notes)
    assert panel.run_button.isEnabled()


def test_a_refused_volume_goes_on_as_a_whole_by_one_button(
    viewer, panel, pipeline, qtbot, notes, monkeypatch
):
    card = replace(panel.model.card, field_of_view_mm=(1.0, 1.0, 1.0))
    monkeypatch.setattr(type(panel.model), "card", property(lambda _: card))
    assert panel.whole_button.isHidden()
    panel.run()
    assert "over twice what model 'tiny' was trained on" in panel.status.text()
    assert not panel.whole_button.isHidden()
    assert "scan tiny" not in viewer.layers
    panel.whole_button.click()
    assert panel.whole_button.isHidden()
    finish(panel, qtbot)
    assert planes_of(viewer.layers["scan tiny"]) == PLANES.tolist()
    assert panel.wish().settings.whole  # for this image and model
    viewer.add_image(np.zeros((4, 4, 4)), name="other")
    panel.image.value = viewer.layers["other"]
    assert not panel.wish().settings.whole


def test_what_is_to_know_of_a_volume_is_shown_once(panel, pipeline, qtbot, notes):
    pipeline.notes = ("15 % of the voxels are -3024",)
    panel.run()
    finish(panel, qtbot)
    assert [note for note in notes if "-3024" in note] == ["scan: 15 % of the voxels are -3024"]
    assert panel.status.text() == "Done\n15 % of the voxels are -3024"


def test_planes_appear_while_it_runs_and_stay_after_cancel(viewer, panel, pipeline, qtbot):
    start_and_hold(panel, pipeline, qtbot)
    layer = viewer.layers["scan tiny"]
    assert planes_of(layer) == [1, 2, 1, 0, 0, 0, 0, 0]
    assert panel.status.text() == "3 of 8 windows · 10.0 a second · 1 s left"
    assert not panel.run_button.isEnabled()
    panel.cancel()
    pipeline.go.set()
    finish(panel, qtbot)
    assert pipeline.closed.is_set()
    assert planes_of(layer)[:3] == [1, 2, 1]
    assert not any(planes_of(layer)[4:])
    assert "scan tiny" in panel.status.text()


def test_a_region(viewer, panel, pipeline, qtbot):
    panel.region.field.setText("0:2,:,1:3")
    panel.run()
    finish(panel, qtbot)
    view = source_view(viewer.layers["scan tiny"])
    assert (view[:2, :, 1:3] == [2, 1]).all()
    assert np.count_nonzero(view) == 2 * 7 * 2


def test_into_existing_labels_as_one_change(viewer, panel, pipeline, qtbot):
    target = commands.new_labels(viewer)
    source_view(target)[:] = 5
    panel.target.value = panel.target.choices[1]
    start_and_hold(panel, pipeline, qtbot)
    assert planes_of(viewer.layers["scan labels (preview)"])[:4] == [1, 2, 1, 5]
    assert planes_of(target) == [5] * 8
    assert not viewer.layers["scan labels (preview)"].editable  # strokes in it would be lost
    pipeline.go.set()
    finish(panel, qtbot)
    assert [layer.name for layer in viewer.layers] == ["scan", "scan labels"]
    assert planes_of(target) == PLANES.tolist()
    target.undo()
    assert planes_of(target) == [5] * 8
    target.redo()
    assert planes_of(target) == PLANES.tolist()


@pytest.mark.parametrize("deleted", ["scan tiny", "scan"])
def test_deleting_a_layer_during_a_run_is_harmless(viewer, panel, pipeline, qtbot, notes, deleted):
    start_and_hold(panel, pipeline, qtbot)
    del viewer.layers[deleted]
    pipeline.go.set()
    finish(panel, qtbot)
    assert pipeline.closed.is_set()
    assert not [note for note in notes if "rror" in note]
    assert deleted not in viewer.layers


@pytest.mark.parametrize(("painted", "layers"), [(False, ["scan"]), (True, ["scan", "scan tiny"])])
def test_a_run_that_finds_nothing_leaves_no_empty_layer(
    viewer, panel, pipeline, qtbot, notes, painted, layers
):
    pipeline.finds_nothing = True
    start_and_hold(panel, pipeline, qtbot)
    if painted:
        viewer.layers["scan tiny"].paint((0, 0, 0), 1)
    pipeline.go.set()
    finish(panel, qtbot)
    assert [layer.name for layer in viewer.layers] == layers
    assert panel.correct_button.isEnabled() == painted
    said = "No label was found in 'scan': no layer was added"
    assert (panel.status.text() == said, said in notes) == (not painted, not painted)


def test_deleting_the_target_during_a_run_keeps_the_preview(viewer, panel, pipeline, qtbot):
    commands.new_labels(viewer)
    panel.target.value = panel.target.choices[1]
    start_and_hold(panel, pipeline, qtbot)
    del viewer.layers["scan labels"]
    panel.cancel()
    pipeline.go.set()
    finish(panel, qtbot)
    assert [layer.name for layer in viewer.layers] == ["scan", "scan labels"]


def test_closing_the_window_during_a_run_is_harmless(window, docked, pipeline, qtbot, notes):
    start_and_hold(docked, pipeline, qtbot)
    window.close()
    pipeline.go.set()
    qtbot.waitUntil(pipeline.closed.is_set, timeout=30_000)
    assert not [note for note in notes if "rror" in note]


def test_closing_the_panel_stops_the_run_and_keeps_what_is_finished(
    window, docked, pipeline, qtbot
):
    start_and_hold(docked, pipeline, qtbot)
    window.window.remove_dock_widget(docked)
    pipeline.go.set()
    qtbot.waitUntil(pipeline.closed.is_set, timeout=30_000)
    assert planes_of(window.layers["scan tiny"])[:3] == [1, 2, 1]
    with qtbot.waitSignal(docked.destroyed, timeout=30_000):
        docked.deleteLater()  # an orphan now, which this test alone still holds


def test_wrong_input_is_a_notification(viewer, panel, pipeline, qtbot, notes):
    panel.region.field.setText("nowhere")
    panel.run()
    assert panel._run is None
    assert any("nowhere" in note for note in notes)
    assert "nowhere" in panel.status.text()  # a notification is cut to its first words


def test_a_refused_run_takes_away_what_the_last_one_said(viewer, panel, pipeline, qtbot):
    panel.run()
    finish(panel, qtbot)
    panel.region.field.setText("nowhere")
    panel.run()
    assert panel.sizes.text() == ""
    assert "Done" not in panel.status.text()


@pytest.mark.parametrize("error", [SettingsError("give a region"), ValueError("a fault")])
def test_an_error_in_the_work_is_a_notification(viewer, panel, pipeline, qtbot, notes, error):
    pipeline.fail_at, pipeline.error = 0, error
    panel.run()
    finish(panel, qtbot)
    assert notes.count(str(error)) == 1
    assert panel.status.text() == str(error)
    assert [layer.name for layer in viewer.layers] == ["scan"]
    assert panel.run_button.isEnabled()


def test_the_later_run_counts(viewer, panel, pipeline, qtbot):
    start_and_hold(panel, pipeline, qtbot)
    pipeline.hold_at = None
    pipeline.go.set()
    panel.run()
    finish(panel, qtbot)
    assert planes_of(viewer.layers[-1]) == PLANES.tolist()


def test_a_box_is_placed_in_the_middle_and_moved_by_a_click(viewer, panel):
    panel.region.place_button.setChecked(True)
    assert panel.region.text  # one window of 8 voxels, cut by the volume
    assert "region of scan" in viewer.layers
    far = volume_of(viewer.layers["scan"]).grid.affine @ (5, 6, 7, 1)
    panel.region.place(tuple(far[2::-1]))
    assert panel.region.text == "0:6,0:7,0:8"
    panel.region.field.clear()
    assert "region of scan" not in viewer.layers


def test_the_box_follows_the_image_and_goes_with_a_region_that_does_not_fit(viewer, panel):
    viewer.add_image(np.zeros(SHAPE), name="same")
    viewer.add_image(np.zeros((2, 2, 2)), name="small")
    panel.image.value = viewer.layers["scan"]
    panel.region.field.setText("0:2,:,1:3")
    panel.region.field.editingFinished.emit()
    panel.image.value = viewer.layers["same"]
    assert [layer.name for layer in viewer.layers if "region" in layer.name] == ["region of same"]
    panel.image.value = viewer.layers["small"]
    assert not panel.region.text
    assert not [layer for layer in viewer.layers if "region" in layer.name]


def test_a_box_does_not_outlive_its_region(viewer, panel, notes):
    for text in ("0:2,:,1:3", "0:99,:,1:3"):
        panel.region.field.setText(text)
        panel.region.field.editingFinished.emit()
    assert any("0:99" in note for note in notes)
    assert not [layer for layer in viewer.layers if "region" in layer.name]


def test_a_damaged_model_does_not_hide_the_others(viewer, model_file, notes, qtbot):
    (model_file.parent / "broken.safetensors").write_bytes(b"?")
    panel = without_dock(SegmentPanel(viewer), qtbot)
    assert panel.wish().model == model_file
    assert any("broken.safetensors" in note for note in notes)


def test_without_a_model_the_panel_says_so(viewer, model_file, notes, qtbot):
    model_file.unlink()
    panel = without_dock(SegmentPanel(viewer), qtbot)
    assert "No model" in panel.model.summary.text()
    panel.run()
    assert any("no image" in note for note in notes)


def test_a_foreign_layer_is_segmented_as_it_lies(viewer, panel, pipeline, qtbot):
    viewer.layers.clear()
    viewer.add_image(np.zeros(SHAPE), name="cells", scale=(3, 2, 1))
    panel.run()
    finish(panel, qtbot)
    layer = viewer.layers["cells tiny"]
    assert layer.data[0, 0].tolist() == PLANES.tolist()
    assert volume_of(layer).grid == volume_of(viewer.layers["cells"]).grid


def test_the_real_pipeline(viewer, panel, qtbot):
    panel.run()
    finish(panel, qtbot)
    layer = viewer.layers["scan tiny"]
    assert set(np.unique(layer.data)) <= {0, 1, 2}
    assert panel.status.text() == "Done"


def test_the_real_pipeline_leaves_what_is_outside_the_region(viewer, panel, qtbot):
    target = commands.new_labels(viewer)
    source_view(target)[:] = 7  # a value that the model does not know
    for choice in (panel.target.choices[0], target):
        panel.target.value = choice
        panel.region.field.setText("1:4,2:6,3:5")
        panel.run()
        finish(panel, qtbot)
        view = source_view(viewer.layers["scan tiny"] if choice is not target else target)
        inside = np.zeros(SHAPE, bool)
        inside[1:4, 2:6, 3:5] = True
        assert set(np.unique(view[~inside])) == ({7} if choice is target else {0})
        assert 7 not in view[inside]


def test_a_lazy_image_gives_the_same_labels(viewer, panel, qtbot):
    image = viewer.layers["scan"]
    image.metadata.clear()  # a foreign layer, as a lazy one is
    viewer.add_image(da.from_array(image.data, chunks=3), name="lazy", scale=image.scale)
    for name in ("scan", "lazy"):
        panel.image.value = viewer.layers[name]
        panel.run()
        finish(panel, qtbot)
    np.testing.assert_array_equal(viewer.layers["lazy tiny"].data, viewer.layers["scan tiny"].data)


def test_renaming_layers_during_a_run_is_harmless(viewer, panel, pipeline, qtbot, notes):
    target = commands.new_labels(viewer)
    panel.target.value = target
    start_and_hold(panel, pipeline, qtbot)
    for layer in viewer.layers:
        layer.name = f"other {layer.name}"
    pipeline.go.set()
    finish(panel, qtbot)
    assert planes_of(target) == PLANES.tolist()
    assert [layer.name for layer in viewer.layers] == ["other scan", "other scan labels"]
    assert not [note for note in notes if "rror" in note]


def test_deleting_the_image_leaves_a_result_that_can_be_exported(
    viewer, panel, pipeline, qtbot, tmp_path
):
    start_and_hold(panel, pipeline, qtbot)
    del viewer.layers["scan"]
    pipeline.go.set()
    finish(panel, qtbot)
    written = save_labels(viewer.layers["scan tiny"], tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(nibabel.load(written).dataobj[0, 0], PLANES)


def test_what_is_set_is_remembered(viewer, panel, qtbot, model_file, tmp_path):
    other = tmp_path / "other.safetensors"
    shutil.copy(model_file, other)
    panel.model.add(other)
    panel.advanced.device.value, panel.advanced.overlap.value = "cpu", 0.5
    panel.region.margin.setValue(4)
    again = without_dock(SegmentPanel(viewer), qtbot)
    assert (again.advanced.device.value, again.advanced.overlap.value) == ("cpu", 0.5)
    assert again.region.margin.value() == 4
    assert again.wish().model == other
    other.unlink()
    third = without_dock(SegmentPanel(viewer), qtbot)
    assert third.wish().model == model_file


def test_correcting_takes_up_the_brush_beside_the_edit_panel(
    window, docked, pipeline, qtbot, notes
):
    assert not docked.correct_button.isEnabled()
    docked.run()
    finish(docked, qtbot)
    window.layers.selection.active = window.layers["scan"]
    docked.correct_button.click()
    layer = window.layers["scan tiny"]
    assert window.layers.selection.active == layer
    assert layer.mode == "paint"
    workspace = window.window.dock_widgets["AS-MLP (napari-asmlp)"]
    assert workspace.page == "edit"
    window.layers.remove(layer)
    docked.correct()
    assert any("are gone" in note for note in notes)


def test_the_panel_fits_a_small_screen(docked):
    docked.advanced.expand(animate=False)
    docked.bar.show()
    hint = docked.minimumSizeHint()
    assert hint.width() <= 360
    assert hint.height() <= 690  # of 768, without menu, title and status bar


def test_the_menus_find_the_current_window(window, docked, notes):
    assert napari.current_viewer() is not None
    commands.new_labels_command()
    assert "scan labels" in window.layers
    QApplication.processEvents()
