from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import ClassVar

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_asmlp.edit import (
    ClipToRegion,
    CopySlice,
    Grow,
    GrowFromSeeds,
    InterpolateSlices,
    KeepLargestIsland,
    Relabel,
    Target,
    Tool,
)
from napari_asmlp.edit.change import difference
from napari_asmlp.errors import AsmlpError, GridError, SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.viewer.edit.request import (
    Wish,
    axis_across,
    first_settings,
    removal,
    resolve,
    slice_fields,
)
from napari_asmlp.viewer.edit.table import lock
from napari_asmlp.viewer.edit.words import as_shown, change_text, plane_titles
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import image_layer_data, labels_layer_data, shown_index, source_view
from napari_asmlp.volume import Volume

SHAPE = (4, 5, 6)
TURNS = [*product(permutations(range(3)), ((1, 1, 1), (-1, 1, 1), (1, -1, -1)))]
EVERYTHING = (slice(0, 4), slice(0, 5), slice(0, 6))


@dataclass(frozen=True)
class Fill(Tool):
    """Write a value wherever the target lets it."""

    title: ClassVar[str] = "Fill"
    to: int = 7

    def _change(self, scope):
        draft = scope.draft(scope.window)
        draft.new[...] = self.to
        return draft.change()


def labels_layer(affine=None, voxels=None, **look):
    affine = np.eye(4) if affine is None else affine
    voxels = np.zeros(SHAPE, np.uint8) if voxels is None else voxels
    volume = Volume(voxels, Grid(SHAPE, affine), "labels", **look)
    data, attributes, _ = labels_layer_data(volume, name="mine")
    return Labels(data, **attributes)


def turned(axes, signs):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for n, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, n] = sign * (n + 1)
    affine[:3, 3] = (-10, 20, 5)
    return affine


def run(order):
    return run_job(order.job())


def run_job(job):
    """Do what a task does."""
    steps = job.start()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture
def two_labels():
    """1 in the slices k < 3, 2 in the others, 0 where i is 0."""
    voxels = np.ones(SHAPE, np.uint8)
    voxels[..., 3:] = 2
    voxels[0] = 0
    return labels_layer(voxels=voxels)


@pytest.mark.parametrize(("axes", "signs"), TURNS)
@pytest.mark.parametrize("across", [0, 1, 2])
def test_this_slice_is_the_one_that_the_viewer_shows(axes, signs, across):
    viewer = ViewerModel()
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[0, 0, 0] = 1  # something to edit
    layer = labels_layer(turned(axes, signs), voxels)
    viewer.add_layer(layer)
    viewer.dims.order = (across, *(axis for axis in range(3) if axis != across))
    viewer.dims.set_current_step(across, 2)
    assert axis_across(viewer) == across
    wish = Wish(layer, Fill, {"to": 7}, None, None, True, axis_across(viewer), viewer.dims.point)
    run(resolve(wish)).commit()
    expected = np.zeros(layer.data.shape, bool)
    expected[(slice(None),) * across + (2,)] = True
    np.testing.assert_array_equal(layer.data == 7, expected)
    layer.undo()
    np.testing.assert_array_equal(source_view(layer), voxels)


def test_in_3d_no_slice_is_shown(two_labels):
    viewer = ViewerModel()
    viewer.add_layer(two_labels)
    viewer.dims.ndisplay = 3
    assert axis_across(viewer) is None
    with pytest.raises(SettingsError, match="switch it to 2D"):
        resolve(Wish(two_labels, Fill, slice_only=True, point=viewer.dims.point))
    with pytest.raises(SettingsError, match="outside labels 'mine'"):
        resolve(Wish(two_labels, Fill, slice_only=True, across=0, point=(99.0, 0.0, 0.0)))


def test_axes_of_a_longer_viewer_are_counted_from_the_end(two_labels):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 6, 5, 4)))
    viewer.add_layer(two_labels)
    viewer.dims.set_current_step((0, 1), (1, 3))
    wish = Wish(two_labels, Fill, {}, None, 1, True, axis_across(viewer), viewer.dims.point)
    assert resolve(wish).target.plane == (2, 3)


def test_one_undo_restores_exactly_and_redo_repeats(two_labels):
    before = source_view(two_labels).copy()
    run(resolve(Wish(two_labels, Fill))).commit()
    assert (source_view(two_labels) == 7).all()
    two_labels.undo()
    np.testing.assert_array_equal(source_view(two_labels), before)
    two_labels.redo()
    assert (source_view(two_labels) == 7).all()


def test_locked_labels_stay(two_labels):
    before = source_view(two_labels).copy()
    lock(two_labels, 2, on=True)
    lock(two_labels, 1, on=True)
    lock(two_labels, 1, on=False)
    order = resolve(Wish(two_labels, Fill))
    assert order.target == Target(None, None, frozenset({2}), False)
    run(order).commit()
    np.testing.assert_array_equal(source_view(two_labels), np.where(before == 2, 2, 7))


@pytest.mark.parametrize(("overwrite", "others_stay"), [(False, True), (True, False)])
def test_other_labels_stay_unless_told_otherwise(two_labels, overwrite, others_stay):
    other = source_view(two_labels) == 2
    wish = Wish(two_labels, Relabel, {"to": 2}, value=1, overwrite=overwrite)
    assert resolve(wish).target == Target(1, None, frozenset(), overwrite)
    wish = Wish(two_labels, Grow, {"mm": 1.0}, value=1, overwrite=overwrite)
    run(resolve(wish)).commit()
    assert bool((source_view(two_labels)[other] == 2).all()) is others_stay


def test_what_was_painted_meanwhile_is_not_overwritten(two_labels):
    edits_of(two_labels)
    prepared = run(resolve(Wish(two_labels, Fill)))
    assert prepared.is_current
    two_labels.data_setitem((np.array([1]), np.array([1]), np.array([1])), 5)
    assert not prepared.is_current
    painted = two_labels.data.copy()
    with pytest.raises(SettingsError, match="'mine' have changed meanwhile"):
        prepared.commit()
    np.testing.assert_array_equal(two_labels.data, painted)
    two_labels.undo()
    assert not prepared.is_current  # edits are counted, not compared


def test_what_a_script_wrote_meanwhile_is_not_overwritten(two_labels):
    prepared = run(resolve(Wish(two_labels, Fill)))
    two_labels.refresh()
    assert prepared.is_current
    two_labels.data[1, 1, 1] = 5
    two_labels.refresh()
    assert not prepared.is_current
    with pytest.raises(SettingsError, match="'mine' have changed meanwhile"):
        prepared.commit()


def test_a_stroke_under_way_is_ended_and_not_overwritten(two_labels):
    prepared = run(resolve(Wish(two_labels, Fill)))
    with two_labels.block_history():
        two_labels.data_setitem((np.array([1]), np.array([1]), np.array([1])), 5)
        with pytest.raises(SettingsError, match="changed meanwhile"):
            prepared.commit()
    assert len(edits_of(two_labels).history.past) == 1


def test_looking_at_another_slice_is_no_reason_to_compare_voxels(two_labels, monkeypatch):
    viewer = ViewerModel()
    viewer.add_layer(two_labels)
    prepared = run(resolve(Wish(two_labels, Fill)))
    monkeypatch.setattr(type(prepared), "_is_equal", lambda self: pytest.fail("compared"))
    viewer.dims.set_current_step(0, 2)
    viewer.dims.order = (1, 0, 2)
    assert prepared.is_current
    two_labels.data_setitem((np.array([1]), np.array([1]), np.array([1])), 5)
    assert not prepared.is_current


@pytest.mark.parametrize("other", [(4, 5, 6), (6, 5, 5)])
def test_replaced_data_is_not_written_to(two_labels, other):
    prepared = run(resolve(Wish(two_labels, Fill)))
    two_labels.data = np.zeros(other, np.uint8)
    with pytest.raises(SettingsError, match="changed meanwhile"):
        prepared.commit()
    assert not two_labels.data.any()


def test_equal_wishes_give_equal_orders(two_labels):
    wish = Wish(two_labels, Grow, {"mm": 2.0}, value=1)
    assert resolve(wish) == resolve(wish)
    assert resolve(wish) != resolve(replace(wish, settings={"mm": 3.0}))
    order = resolve(wish)
    lock(two_labels, 2, on=True)
    assert resolve(wish) != order


def test_a_renamed_layer_is_the_same(two_labels):
    prepared = run(resolve(Wish(two_labels, Fill)))
    two_labels.name = "yours"
    prepared.commit()
    assert (two_labels.data == 7).all()


@pytest.mark.parametrize(("axes", "signs"), TURNS[::3])
def test_planes_and_slices_are_meant_as_shown(axes, signs):
    layer = labels_layer(turned(axes, signs))
    size = layer.data.shape[1]
    settings = {"axis": 1, "index": 0, "to": size - 1}
    tool = resolve(Wish(layer, CopySlice, settings)).tool
    corner = [0, 0, 0]
    corner[tool.axis] = tool.index
    assert shown_index(layer, corner)[1] == 0
    corner[tool.axis] = tool.to
    assert shown_index(layer, corner)[1] == size - 1
    with pytest.raises(SettingsError, match=f"coronal slice 99: give one from 0 to {size - 1}"):
        resolve(Wish(layer, CopySlice, settings | {"index": 99}))


def test_tools_begin_at_the_slice_shown(two_labels):
    wish = Wish(two_labels, CopySlice, across=0, point=(3.0, 0.0, 0.0))
    assert slice_fields(CopySlice) == ("index", "to")
    assert first_settings(wish) == {"axis": 0, "index": 3, "to": 4}
    assert first_settings(replace(wish, point=(5.0, 0, 0))) == {"axis": 0, "index": 5, "to": 5}
    assert first_settings(replace(wish, tool=InterpolateSlices)) == {"axis": 0}
    assert first_settings(replace(wish, tool=Relabel)) == {}
    assert first_settings(replace(wish, across=None)) == {}


def test_a_region_is_text(two_labels):
    def region(text):
        return resolve(Wish(two_labels, ClipToRegion, {"region": text})).tool.region

    assert region(" ") is None
    assert region("1:3,:,:2") == Region((1, 0, 0), (3, 5, 2))
    with pytest.raises(SettingsError, match="1:9"):
        region("1:9,:,:")


def test_a_tool_that_needs_an_image(two_labels):
    wish = Wish(two_labels, GrowFromSeeds)
    with pytest.raises(SettingsError, match="'Grow from seeds' looks at an image"):
        resolve(wish)
    with pytest.raises(GridError, match="'other'"):
        resolve(replace(wish, image=Image(np.zeros((2, 2, 2)), name="other")))
    ((data, attributes, _),) = image_layer_data(Volume(np.zeros(SHAPE), Grid(SHAPE, np.eye(4))))
    image = Image(data, **attributes)
    assert resolve(replace(wish, image=image)).image is image
    assert resolve(Wish(two_labels, Grow, image=Image(np.zeros((2, 2, 2))))).image is None


def read_only():
    voxels = np.zeros(SHAPE, np.uint8)
    voxels.flags.writeable = False
    return Labels(voxels, name="bad")


def on_dask():
    array = pytest.importorskip("dask.array")
    return Labels(array.zeros(SHAPE, dtype=np.uint8), name="bad")


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: Labels(np.zeros((4, 4), np.uint8), name="bad"), "'bad' has 2 axes"),
        (lambda: Labels(np.zeros((1, 4, 4, 4), np.uint8), name="bad"), "'bad' has 4 axes"),
        (read_only, "'bad' are read-only: duplicate"),
        (on_dask, "'bad' are not in memory"),
        (lambda: None, "there are no labels"),
    ],
)
def test_layers_that_cannot_be_edited_are_refused_with_words(layer, words):
    with pytest.raises(SettingsError, match=words):
        resolve(Wish(layer(), KeepLargestIsland))


def test_the_text_of_a_change():
    old, new = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    old[0, 0, :3], new[0, 0, :2], new[1] = (2, 2, 1), (1, 2), 3
    change = difference(EVERYTHING, old, new, old != new)
    names = {1: "anterior", 3: "rest"}
    text = "+30 rest, +1 −1 anterior, −1 label 2"
    assert change_text(change, names) == f"32 voxels would change: {text}"
    assert change_text(change, names, done=True) == f"32 voxels changed: {text}"
    nothing = difference(EVERYTHING, old, old, old != old)
    assert change_text(nothing, names) == "No voxel would change"
    many = np.arange(120, dtype=np.uint8).reshape(SHAPE)
    assert change_text(difference(EVERYTHING, old, many, old != many), {}).endswith("more")


def test_deleting_a_label_is_prepared_and_counted(two_labels):
    prepared = run_job(removal(two_labels, 2))
    assert prepared.change.lost == {2: 45}  # 3 x 5 x 3 voxels
    prepared.commit()
    assert not (two_labels.data == 2).any()
    assert (two_labels.data == 1).sum() == 45
    two_labels.undo()
    assert (two_labels.data == 2).sum() == 45


def test_a_label_without_voxels_needs_no_change_to_be_deleted(two_labels):
    assert run_job(removal(two_labels, 9)) is None


def test_a_locked_label_is_not_deleted(two_labels):
    lock(two_labels, 2, on=True)
    with pytest.raises(SettingsError, match="'label 2' is locked: unlock it to delete it"):
        removal(two_labels, 2)


def test_planes_are_named_by_anatomy_only_where_there_is_one():
    assert plane_titles(labels_layer()) == ("axial", "coronal", "sagittal")
    plain = Labels(np.zeros(SHAPE, np.uint8), axis_labels=("z", "y", "x"))
    assert plane_titles(plain) == ("z axis", "y axis", "x axis")
    assert plane_titles(Labels(np.zeros(SHAPE, np.uint8))) == ("axis 0", "axis 1", "axis 2")


def test_messages_count_slices_as_the_slider_does():
    plain = Labels(np.zeros(SHAPE, np.uint8), axis_labels=("z", "y", "x"))
    assert as_shown("label 1 is empty in slice 3 of axis 0", plain) == (
        "label 1 is empty in slice 3 of the z axis"
    )
    # i to the left: sagittal slices count the other way; k is S, the layer's first axis
    ours = labels_layer(np.diag([-1.0, 1, 1, 1]))
    assert as_shown("in slice 1 of axis 0", ours) == "in sagittal slice 2"
    assert as_shown("in slice 1 of axis 2", ours) == "in axial slice 1"
    assert as_shown("slices along axis 1", ours) == "slices along the coronal direction"


def test_an_error_of_a_tool_speaks_of_what_is_shown(two_labels):
    wish = Wish(two_labels, Grow, {"mm": 1.0}, value=1, slice_only=True, across=0, point=(5, 0, 0))
    with pytest.raises(SettingsError, match="label 1 is empty in axial slice 5"):
        run(resolve(wish))


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.full(SHAPE, -3, np.int16), "label -3 is negative"),
        (np.full(SHAPE, 70_000, np.int32), "label 70000 is too large"),
    ],
)
def test_values_that_are_no_labels_are_refused_with_words(voxels, words):
    layer = Labels(voxels, name="bad")
    before = voxels.copy()
    with pytest.raises(AsmlpError, match=words):
        run(resolve(Wish(layer, KeepLargestIsland)))
    np.testing.assert_array_equal(layer.data, before)


@pytest.mark.parametrize("locked", [7, 1])
def test_a_label_locked_meanwhile_is_not_written(two_labels, locked):
    prepared = run(resolve(Wish(two_labels, Fill)))
    before = two_labels.data.copy()
    lock(two_labels, locked, on=True)
    with pytest.raises(SettingsError, match="locked or unlocked meanwhile: apply once more"):
        prepared.commit()
    np.testing.assert_array_equal(two_labels.data, before)
