"""The planes in a real window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from napari.qt import QtViewer
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.commands import new_labels
from napari_asmlp.viewer.edit.table import lock
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.planes import (
    hide_planes,
    planes_shown,
    set_convention,
    show_letters,
    show_planes,
    toggle_planes,
)
from napari_asmlp.viewer.planes.annotations import Annotations
from napari_asmlp.viewer.planes.window import Planes, main_canvas
from tests.viewer.conftest import SHAPE


@pytest.fixture(autouse=True)
def no_habits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No remembered settings."""
    monkeypatch.setenv("NAPARI_ASMLP_CONFIG", str(tmp_path / "settings"))


@pytest.fixture
def opened(window: Any, scan: Path) -> Any:
    """A window with the scan and empty labels on it, the labels selected."""
    window.open(str(scan), plugin="napari-asmlp")
    new_labels(window)
    return window


def captions(planes: Planes) -> list[str]:
    """Return what each view says it shows."""
    return [notes.caption() for notes in planes._notes]


def test_the_other_planes_come_and_go(opened: Any, qtbot: Any) -> None:
    planes = show_planes(opened)
    assert planes_shown(opened)
    assert show_planes(opened) is planes
    main_window = planes._main.window()
    assert len(main_window.findChildren(QtViewer)) == 3
    # voxel (3, 3, 4) of the file: 10 - 3, 20 - 3 * 4 and -30 + 2 * 3 mm along R, A and S
    assert captions(planes) == ["Axial  S −24.0 mm", "Coronal  A 8.0 mm", "Sagittal  R 7.0 mm"]
    toggle_planes(opened)
    assert not planes_shown(opened)
    qtbot.waitUntil(lambda: len(main_window.findChildren(QtViewer)) == 1)
    hide_planes(opened)
    assert not planes_shown(opened)


def test_the_main_canvas_is_fitted_to_its_new_size(opened: Any, qtbot: Any) -> None:
    main = show_planes(opened)._main
    hide_planes(opened)
    main.window().resize(1000, 500)
    main.window().show()
    qtbot.waitUntil(lambda: main.canvas.native.width() > 400)
    opened.reset_view()
    opened.scene.camera.zoom *= 10
    before = opened.scene.camera.zoom
    show_planes(opened)
    qtbot.waitUntil(lambda: opened.scene.camera.zoom < before / 5)


def test_the_planes_are_those_that_the_main_canvas_does_not_show(opened: Any) -> None:
    planes = show_planes(opened)
    opened.dims.order = (2, 0, 1)
    assert [text.split()[0] for text in captions(planes)] == ["Sagittal", "Axial", "Coronal"]
    opened.dims.ndisplay = 3
    assert [view.viewer.dims.ndisplay for view in planes.views] == [2, 2]


def test_closing_the_window_takes_the_planes_along(opened: Any) -> None:
    show_planes(opened)
    opened.close()
    assert not planes_shown(opened)


def at_crosshair(planes: Planes, number: int, voxel: tuple[int, ...], qtbot: Any) -> QPoint:
    """Put the cursor on a voxel, and return where a canvas, now shown, draws its crosshair."""
    planes._viewer.window.show()
    canvas, notes = (planes._main, *planes.views)[number], planes._notes[number]
    qtbot.waitUntil(lambda: tuple(canvas.canvas.size) == (notes.height(), notes.width()))
    qtbot.wait(100)  # drawn
    canvas.viewer.reset_view()
    planes.cursor.move(planes._viewer.layers[-1].data_to_world(voxel))
    return notes._pixel().toPoint()


def click(planes: Planes, number: int, pixel: QPoint) -> None:
    """Click in the main canvas (0) or one beside it."""
    canvas = (planes._main, *planes.views)[number]
    QTest.mouseClick(canvas.canvas.native, Qt.MouseButton.LeftButton, pos=pixel)


def test_painting_with_the_mouse_writes_the_voxels_under_it(opened: Any, qtbot: Any) -> None:
    """A dab of one voxel in each plane, each undone by a key pressed there."""
    planes = show_planes(opened)
    labels = opened.layers[-1]
    labels.mode, labels.brush_size, labels.selected_label = "paint", 1, 5
    for number, voxel in enumerate([(3, 2, 1), (1, 4, 4), (5, 5, 2)]):
        click(planes, number, at_crosshair(planes, number, voxel, qtbot))
        assert np.argwhere(labels.data).tolist() == [list(voxel)]
        assert edits_of(labels).undo_title == "brush stroke"
        assert all(view.viewer.layers[-1].data is labels.data for view in planes.views)
        planes.views[number - 1].viewer.layers[-1].undo()
        assert not labels.data.any()


def test_a_click_in_a_plane_moves_all(opened: Any, qtbot: Any) -> None:
    planes = show_planes(opened)
    pixel = at_crosshair(planes, 2, (3, 2, 1), qtbot)
    planes.cursor.move(opened.layers[-1].data_to_world((0, 0, 1)))
    click(planes, 2, pixel)
    steps = [view.dims.current_step for view in (opened, planes.views[0].viewer)]
    assert (steps[0][0], steps[1][1]) == (3, 2)


def test_keys_mean_the_same_in_a_plane(opened: Any, qtbot: Any) -> None:
    pressed: list[Any] = []
    opened.bind_key("Shift-F", pressed.append)
    planes = show_planes(opened)
    canvas = planes.views[0].canvas.native
    QTest.keyClick(canvas, Qt.Key.Key_F, Qt.KeyboardModifier.ShiftModifier)
    assert pressed == [planes._viewer]


def test_the_planes_may_be_hidden_by_a_key_pressed_in_one(opened: Any) -> None:
    opened.bind_key("Shift-F", hide_planes)
    canvas = show_planes(opened).views[1].canvas.native
    QTest.keyClick(canvas, Qt.Key.Key_F, Qt.KeyboardModifier.ShiftModifier)
    assert not planes_shown(opened)


def test_the_convention_turns_all_views(opened: Any) -> None:
    planes = show_planes(opened)
    cameras = [canvas.viewer.scene.camera for canvas in (planes._main, *planes.views)]
    assert [str(camera.orientation[2]) for camera in cameras] == ["left", "left", "left"]
    set_convention(opened, "neurological")
    assert [str(camera.orientation[2]) for camera in cameras] == ["right", "right", "left"]


def test_layers_come_and_go_while_the_planes_are_shown(opened: Any, scan: Path) -> None:
    planes = show_planes(opened)
    for _ in range(2):
        labels = new_labels_on(opened)
        assert [len(view.viewer.layers) for view in planes.views] == [3, 3]
        opened.layers.remove(labels)
        assert [len(view.viewer.layers) for view in planes.views] == [2, 2]
    opened.layers.clear()
    opened.open(str(scan), plugin="napari-asmlp")
    assert [view.viewer.dims.order for view in planes.views] == [(1, 0, 2), (2, 0, 1)]


def test_another_volume_is_shown_in_its_middle(opened: Any) -> None:
    planes = show_planes(opened)
    opened.layers.clear()
    opened.add_image(np.zeros((21, 31, 41)))
    assert captions(planes) == ["XY  10", "XZ  15", "YZ  20"]


def new_labels_on(viewer: Any) -> Any:
    """Add labels to the scan."""
    viewer.layers.selection.active = viewer.layers[0]
    return new_labels(viewer)


def test_volumes_without_anatomy_have_indices_and_napari_camera(window: Any) -> None:
    window.add_image(np.zeros(SHAPE))
    planes = show_planes(window)
    assert captions(planes) == ["XY  2", "XZ  3", "YZ  3"]
    assert not any(notes.is_anatomical for notes in planes._notes)
    orientations = {tuple(map(str, v.viewer.scene.camera.orientation)) for v in planes.views}
    assert orientations == {("towards", "down", "right")}


@pytest.mark.parametrize("shape", [(6, 7), (2, 6, 7, 8)])
def test_pictures_and_series_can_be_shown(window: Any, shape: tuple[int, ...]) -> None:
    window.add_image(np.zeros(shape))
    planes = show_planes(window)
    for notes in planes._notes:
        notes.grab()
    assert {view.viewer.dims.ndim for view in planes.views} == {len(shape)}


def test_a_tilted_volume_is_painted_under_the_mouse(
    window: Any, tmp_path: Path, qtbot: Any
) -> None:
    """Anisotropic and oblique: what is painted is what lies under the crosshair."""
    turn = nibabel.eulerangles.euler2mat(0.1, 0.2, 0.3)
    affine = nibabel.affines.from_matvec(turn @ np.diag([0.5, 0.5, 4.0]), [1, 2, 3])
    path = tmp_path / "tilted.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 30, 6), np.int16), affine), path)
    window.open(str(path), plugin="napari-asmlp")
    labels = new_labels(window)
    labels.mode, labels.brush_size = "paint", 1
    planes = show_planes(window)
    voxels = [(1, 20, 5), (2, 10, 10), (4, 3, 15)]
    for number, voxel in enumerate(voxels):
        click(planes, number, at_crosshair(planes, number, voxel, qtbot))
    assert [tuple(voxel) for voxel in np.argwhere(labels.data).tolist()] == voxels


def test_a_viewer_without_window_is_refused() -> None:
    from napari.components import ViewerModel

    with pytest.raises(SettingsError, match="no window"):
        show_planes(ViewerModel())


def test_a_lock_holds_in_each_plane(opened: Any, qtbot: Any) -> None:
    planes = show_planes(opened)
    labels = opened.layers[-1]
    labels.data[3, 2, 1] = 5
    lock(labels, 5, on=True)
    labels.mode, labels.brush_size, labels.selected_label = "paint", 3, 1
    for number in range(3):
        click(planes, number, at_crosshair(planes, number, (3, 2, 1), qtbot))
        assert labels.data[3, 2, 1] == 5
        assert (labels.data == 1).any()
        labels.undo()
        assert np.unique(labels.data).tolist() == [0, 5]


def test_letters_are_there_without_planes_and_can_be_switched_off(opened: Any, qtbot: Any) -> None:
    canvas = main_canvas(opened.__wrapped__).canvas.native
    drawn: list[str] = []
    (notes,) = canvas.findChildren(Annotations)
    notes._draw_letters = lambda _painter: drawn.append("letters")

    def letters() -> bool:
        drawn.clear()
        notes.grab()
        return bool(drawn)

    assert letters()
    show_letters(opened, False)
    assert not letters()
    show_letters(opened)
    planes = show_planes(opened)
    assert planes.has_letters
    assert not letters()  # the planes draw their own
    show_letters(opened, False)
    assert not planes.has_letters
    show_letters(opened)
    hide_planes(opened)
    qtbot.waitUntil(lambda: len(canvas.findChildren(Annotations)) == 1)
    assert letters()
    opened.layers.clear()
    opened.add_image(np.zeros((3, 4, 5)))
    assert not letters()
