"""How the camera of a viewer is turned, without a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points

from napari_asmlp.viewer.camera import (
    convention_of,
    is_anatomical,
    set_convention,
    show_upright,
)
from napari_asmlp.viewer.layers import AXIS_LABELS


@pytest.fixture(autouse=True)
def no_habits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No remembered settings."""
    monkeypatch.setenv("NAPARI_ASMLP_CONFIG", str(tmp_path))


@pytest.fixture
def viewer() -> ViewerModel:
    """A viewer of one anatomical volume."""
    model = ViewerModel()
    model.add_layer(Image(np.zeros((4, 5, 6)), axis_labels=AXIS_LABELS))
    return model


def turned(viewer: ViewerModel) -> tuple[str, ...]:
    """Return the camera's orientation as words."""
    return tuple(map(str, viewer.scene.camera.orientation))


def test_upright_in_all_planes(viewer: ViewerModel) -> None:
    show_upright(viewer)
    assert turned(viewer) == ("away", "up", "left")
    viewer.dims.order = (1, 0, 2)
    assert turned(viewer) == ("towards", "up", "left")  # else 3D would be mirrored
    viewer.dims.order = (2, 0, 1)
    assert turned(viewer) == ("away", "up", "left")


def test_the_convention_mirrors_all_but_sagittal_planes(viewer: ViewerModel) -> None:
    set_convention(viewer, "neurological")
    assert turned(viewer) == ("towards", "up", "right")
    viewer.dims.order = (2, 0, 1)
    assert turned(viewer) == ("away", "up", "left")
    assert convention_of(viewer) == "neurological"
    set_convention(viewer, "radiological")
    viewer.dims.order = (0, 1, 2)
    assert turned(viewer) == ("away", "up", "left")


def test_volumes_of_others_keep_napari_camera(viewer: ViewerModel) -> None:
    viewer.add_layer(Image(np.zeros((4, 5, 6))))
    show_upright(viewer)
    assert turned(viewer) == ("towards", "down", "right")
    assert not is_anatomical(viewer)


def test_points_do_not_matter(viewer: ViewerModel) -> None:
    viewer.add_layer(Points(np.zeros((1, 3))))
    assert is_anatomical(viewer)


def test_an_empty_viewer_is_turned_before_its_volume_comes() -> None:
    viewer = ViewerModel()
    show_upright(viewer)
    assert turned(viewer) == ("away", "up", "left")
    assert not is_anatomical(viewer)
