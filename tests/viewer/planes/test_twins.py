"""Layers that are shown in several views, without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points

from napari_asmlp.viewer.anatomy import CORONAL, SAGITTAL, order_of
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import PREVIEW_KEY
from napari_asmlp.viewer.planes.twins import Twins

SHAPE = (5, 6, 7)


class Scene:
    """A viewer with an image and labels, the labels selected, and a coronal and sagittal view."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        self.image = self.viewer.add_layer(Image(np.zeros(SHAPE), scale=(3, 1, 2), name="image"))
        self.labels = self.viewer.add_layer(
            Labels(np.zeros(SHAPE, np.uint8), scale=(3, 1, 2), name="labels")
        )
        self.views = (ViewerModel(), ViewerModel())
        self.due = 0
        self.twins = Twins(self.viewer, self.views, self._make_due)
        for view, plane in zip(self.views, (CORONAL, SAGITTAL), strict=True):
            view.dims.order = order_of(plane, 3)
        self.redraw()

    def redraw(self) -> int:
        """Redraw and return how often that was asked for since the last time."""
        due, self.due = self.due, 0
        self.twins.redraw()
        return due

    def _make_due(self) -> None:
        self.due += 1

    def names(self) -> list[list[str]]:
        """Return the layers of the viewer and of each view."""
        return [[layer.name for layer in view.layers] for view in (self.viewer, *self.views)]

    def family(self, layer: Any) -> tuple[Any, ...]:
        """Return a layer and its twins."""
        return layer, *self.twins.of(layer)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_views_show_the_same_arrays(scene: Scene) -> None:
    assert scene.names() == [["image", "labels"]] * 3
    for layer in scene.viewer.layers:
        for twin in scene.twins.of(layer):
            assert twin.data is layer.data
            np.testing.assert_array_equal(twin.scale, (3, 1, 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "paint"),
        ("mode", "fill"),
        ("mode", "erase"),
        ("mode", "polygon"),
        ("selected_label", 3),
        ("brush_size", 7),
        ("contour", 2),
        ("opacity", 0.25),
        ("visible", False),
        ("show_selected_label", True),
        ("preserve_labels", True),
        ("n_edit_dimensions", 3),
        ("contiguous", False),
        ("editable", False),
    ],
)
@pytest.mark.parametrize("member", [0, 1, 2])
def test_labels_stay_in_step(scene: Scene, name: str, value: Any, member: int) -> None:
    setattr(scene.family(scene.labels)[member], name, value)
    assert [getattr(layer, name) for layer in scene.family(scene.labels)] == [value] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("contrast_limits", [0.25, 0.5]), ("gamma", 0.5), ("visible", False), ("opacity", 0.5)],
)
@pytest.mark.parametrize("member", [0, 1, 2])
def test_images_stay_in_step(scene: Scene, name: str, value: Any, member: int) -> None:
    setattr(scene.family(scene.image)[member], name, value)
    assert [getattr(layer, name) for layer in scene.family(scene.image)] == [value] * 3


def test_colours_stay_in_step(scene: Scene) -> None:
    scene.image.colormap = "magma"
    assert [layer.colormap.name for layer in scene.family(scene.image)] == ["magma"] * 3
    scene.labels.colormap = {1: "red", None: "blue"}
    for layer in scene.family(scene.labels):
        np.testing.assert_array_equal(layer.get_color(1), (1, 0, 0, 1))


def test_the_tool_survives_being_hidden(scene: Scene) -> None:
    """napari itself puts the tool of a hidden layer away."""
    scene.labels.mode = "paint"
    scene.labels.visible = False
    scene.labels.visible = True
    modes = {layer.mode for layer in scene.family(scene.labels)}
    assert len(modes) == 1


@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_stroke_anywhere_is_one_step_of_one_history(scene: Scene, member: int) -> None:
    layer = scene.family(scene.labels)[member]
    layer.brush_size = 1
    layer.paint((1, 2, 3), 4)
    assert scene.labels.data[1, 2, 3] == 4
    assert np.count_nonzero(scene.labels.data) == 1
    history = edits_of(scene.labels).history
    assert len(history.past) == 1
    for undoing in scene.family(scene.labels):
        undoing.undo()
        assert not scene.labels.data.any()
        undoing.redo()
        assert scene.labels.data[1, 2, 3] == 4
    assert len(history.past) == 1


@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_stroke_is_seen_in_the_other_views(scene: Scene, member: int) -> None:
    shown = {}
    for layer in scene.family(scene.labels):
        layer.events.set_data.connect(lambda event: shown.update({event.source: True}))
    painted = scene.family(scene.labels)[member]
    painted.paint((1, 2, 3), 4)
    assert scene.redraw() > 0
    assert set(scene.family(scene.labels)) - {painted} <= set(shown)
    assert scene.redraw() == 0  # redrawing asks for no more


def test_voxels_written_by_a_program_are_seen(scene: Scene) -> None:
    scene.labels.data[...] = 2
    scene.labels.refresh()
    assert scene.redraw() == 1


def test_moving_on_in_the_viewer_redraws_no_view(scene: Scene) -> None:
    scene.viewer.dims.set_current_step(0, 3)
    assert scene.redraw() == 0


def test_layers_come_go_and_move(scene: Scene) -> None:
    scene.viewer.add_layer(Labels(np.ones(SHAPE, int), name="more"))
    scene.viewer.add_layer(Points(np.zeros((1, 3)), name="points"))
    volumes = ["image", "labels", "more"]
    assert scene.names() == [[*volumes, "points"], volumes, volumes]
    scene.viewer.layers.move(2, 0)
    assert scene.names()[1:] == [["more", "image", "labels"]] * 2
    scene.labels.name = "renamed"
    assert scene.names()[1:] == [["more", "image", "renamed"]] * 2
    scene.viewer.layers.remove("image")
    assert scene.names()[1:] == [["more", "renamed"]] * 2
    scene.viewer.layers.clear()
    assert scene.names() == [[], [], []]


def test_previews_have_no_twins(scene: Scene) -> None:
    outline = Labels(np.ones(SHAPE, np.uint8), name="outline", metadata={PREVIEW_KEY: True})
    scene.viewer.add_layer(outline)
    assert scene.names() == [["image", "labels", "outline"], *[["image", "labels"]] * 2]
    scene.viewer.layers.move(2, 0)
    scene.viewer.layers.selection.active = outline
    assert scene.names()[1:] == [["image", "labels"]] * 2
    scene.viewer.layers.remove(outline)
    assert scene.names() == [["image", "labels"]] * 3


def test_the_selected_layer_stays_in_step(scene: Scene) -> None:
    scene.viewer.layers.selection.active = scene.image
    assert [view.layers.selection.active.name for view in scene.views] == ["image"] * 2
    scene.views[0].layers.selection.active = scene.views[0].layers["labels"]
    assert scene.viewer.layers.selection.active is scene.labels
    assert scene.views[1].layers.selection.active.name == "labels"
    points = scene.viewer.add_layer(Points(np.zeros((1, 3))))
    assert scene.viewer.layers.selection.active is points
    assert [view.layers.selection.active for view in scene.views] == [None, None]


def test_another_array_brings_other_twins_with_its_history(scene: Scene) -> None:
    scene.labels.data = np.zeros(SHAPE, np.uint16)
    assert all(twin.data is scene.labels.data for twin in scene.twins.of(scene.labels))
    scene.twins.of(scene.labels)[0].paint((1, 2, 3), 300)
    assert scene.labels.data[1, 2, 3] == 300
    assert len(edits_of(scene.labels).history.past) == 1
    assert scene.names() == [["image", "labels"]] * 3


def test_a_stroke_in_a_view_that_closes_is_a_step(scene: Scene) -> None:
    _, twin, _ = scene.family(scene.labels)
    with twin.block_history():
        twin.paint((2, 3, 3), 1)
        scene.twins.close()
    assert len(edits_of(scene.labels).history.past) == 1
    scene.labels.undo()
    assert not scene.labels.data.any()


def test_everything_is_given_up_when_they_close(scene: Scene) -> None:
    twin = scene.twins.of(scene.labels)[0]
    scene.twins.close()
    assert scene.names()[1:] == [[], []]
    scene.labels.mode = "paint"
    twin.selected_label = 5
    assert (str(twin.mode), scene.labels.selected_label) == ("pan_zoom", 1)
    scene.viewer.layers.selection.active = scene.image
    scene.viewer.layers.remove(scene.labels)
