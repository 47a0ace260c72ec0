"""What holds for every tool: what may change, what is refused, what a change says."""

import numpy as np
import pytest
from scipy import ndimage

from napari_asmlp import edit
from napari_asmlp.edit import Change, Grow, Relabel, Target
from napari_asmlp.errors import AsmlpError, GridError, SettingsError, VolumeError
from napari_asmlp.grid import Region
from tests.edit.pictures import MM, edited, plane, volume

ANY = {
    edit.KeepLargestIsland: {},
    edit.RemoveSmallIslands: {"smallest_mm3": 40.0},
    edit.FillHoles: {},
    edit.Smooth: {"radius_mm": 3.0},
    edit.Grow: {"mm": 2.0},
    edit.Shrink: {"mm": 1.0},
    edit.Hollow: {"thickness_mm": 1.5, "shell": "both"},
    edit.InterpolateSlices: {"axis": 1},
    edit.Threshold: {"low": 0.0, "high": 1.0, "replace": True},
    edit.GrowFromSeeds: {"low": 0.0, "high": 1.0},
    edit.SplitByWatershed: {},
    edit.Merge: {"other": 2},
    edit.Relabel: {"to": 2},
    edit.ClipToRegion: {"region": Region((2, 2, 2), (9, 9, 9))},
    edit.CopySlice: {"axis": 1, "index": 4, "to": 5},
}
SPACING = (2.0, 1.0, 0.5)


def patchwork():
    """Touching blobs of labels 1 to 4 up to the border, with noise in them."""
    rng = np.random.default_rng(3)
    fields = ndimage.gaussian_filter(rng.normal(size=(5, 12, 13, 14)), (0, 2, 2, 2))
    labels = fields.argmax(axis=0).astype(np.uint16)
    noise = rng.random(labels.shape) < 0.1
    labels[noise] = rng.integers(0, 5, int(noise.sum()))
    labels[:, 7] *= labels[:, 7] == 3  # a gap in labels 1, 2 and 4
    return labels, ndimage.gaussian_filter(rng.normal(size=labels.shape), 1)


def test_menu_names_every_tool_once():
    assert list(ANY) == list(edit.TOOLS)
    assert len({tool.title for tool in edit.TOOLS}) == len(edit.TOOLS)
    looking = [tool for tool in edit.TOOLS if tool.needs_image]
    assert looking == [edit.Threshold, edit.GrowFromSeeds]


@pytest.mark.parametrize("flat", [None, (0, 5), (1, 5), (2, 5)])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("value", [1, None])
@pytest.mark.parametrize("tool", ANY, ids=lambda tool: tool.__name__)
def test_only_what_may_change_does(tool, value, overwrite, flat):
    if tool in (edit.Merge, edit.Threshold) and value is None:
        pytest.skip("it needs one label")
    if tool is edit.InterpolateSlices and flat and flat[0] != 1:
        pytest.skip("it runs across slices")
    labels, image = patchwork()
    before = labels.copy()
    labels.flags.writeable = False  # a tool that writes into its input fails
    target = Target(value, flat, locked=frozenset({3}), overwrite=overwrite)
    change = tool(**ANY[tool])(labels, target, SPACING, image)

    after = edited(labels, change)
    differs = after != before
    assert change.count == differs.sum() == sum(change.lost.values()) == sum(change.gained.values())
    assert differs[change.region][change.mask].all()
    assert not ((before == 3) != (after == 3)).any()
    if flat and tool is not edit.CopySlice:
        assert not np.delete(differs, flat[1], axis=flat[0]).any()
    if value == 1 and not overwrite and tool is not edit.Merge:
        assert (before[differs] <= 1).all()
    again = tool(**ANY[tool])(labels, target, SPACING, image)
    assert np.array_equal(again.values, change.values) and again.region == change.region


@pytest.mark.parametrize("tool", ANY, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "i8", ">u2"])
def test_memory_layout_and_type_do_not_matter(tool, dtype):
    labels, image = patchwork()
    target = Target(1, None)
    expected = edited(labels, tool(**ANY[tool])(labels, target, SPACING, image))
    turned = np.asfortranarray(labels).astype(dtype, order="F")[::-1][::-1]
    change = tool(**ANY[tool])(turned, target, SPACING, np.asfortranarray(image))
    assert np.array_equal(edited(turned, change), expected)


@pytest.mark.parametrize("tool", ANY, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 1, 0)])
def test_a_turned_volume_gives_the_turned_answer(tool, axes):
    if tool in (edit.InterpolateSlices, edit.CopySlice, edit.ClipToRegion):
        pytest.skip("it names an axis or a region")
    if tool in (edit.KeepLargestIsland, edit.SplitByWatershed):
        pytest.skip("ties are broken in the order of the voxels")
    labels, image = patchwork()
    expected = edited(labels, tool(**ANY[tool])(labels, Target(1, None), SPACING, image))
    turned = labels.transpose(axes)
    spacing = tuple(SPACING[axis] for axis in axes)
    change = tool(**ANY[tool])(turned, Target(1, None), spacing, image.transpose(axes))
    assert np.array_equal(edited(turned, change), expected.transpose(axes))


@pytest.mark.parametrize("tool", ANY, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target(7, None), "label 7 is empty"),
        (Target(2, (0, 0)), "label 2 is empty in slice 0 of axis 0"),
        (Target(1, None, locked=frozenset({1})), "label 1 is locked"),
        (Target(None, None, locked=frozenset({1, 2})), "is locked"),
        (Target(0, None), "label 0 is the background"),
        (Target(300, None), "label 300 does not fit"),
        (Target(1, (3, 0)), "axis 3"),
        (Target(1, (0, 2)), "slice 2 of axis 0: give one from 0 to 1"),
        (Target(1, (0, -1)), "slice -1 of axis 0"),
    ],
)
def test_wrong_targets_are_refused(tool, target, says):
    labels = volume(["11..", "...."], ["11..", "..22"])
    settings = ANY[tool] | ({"axis": 0} if "axis" in ANY[tool] else {})
    settings |= {"index": 0, "to": 1} if tool is edit.CopySlice else {}
    settings |= {"region": Region((0, 0, 0), (1, 1, 1))} if "region" in settings else {}
    if target.plane == (0, 0) and tool in (edit.InterpolateSlices, edit.CopySlice):
        pytest.skip("it looks at other slices too")
    if tool in (edit.Merge, edit.Relabel) and target.value in (None, 2):
        pytest.skip("label 2 takes part")
    if tool is edit.Threshold and (target.value is None or "empty" in says):
        pytest.skip("it fills an empty label, and one at a time")
    with pytest.raises(SettingsError, match=says):
        tool(**settings)(labels, target, MM, labels)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((3, 3), "u1"), "only 3D"),
        (np.zeros((3, 3, 3, 2), "u1"), "only 3D"),
        (np.zeros((3, 3, 3)), "labels of float64"),
        (np.zeros((3, 3, 3), bool), "labels of bool"),
        (np.full((3, 3, 3), -1), "label -1 is negative"),
        (np.full((3, 3, 3), 65_536), "label 65536 is too large"),
        (np.zeros((0, 3, 3), "u1"), "hold no voxel"),
        ([[[1]]], "held by list"),
    ],
)
def test_labels_that_are_none_are_refused(labels, says):
    with pytest.raises(VolumeError, match=says):
        Grow()(labels, Target(1, None), MM)


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        (edit.Grow(0), "0 mm"),
        (edit.Shrink(-1), "-1 mm"),
        (edit.Smooth(float("nan")), "nan mm"),
        (edit.RemoveSmallIslands(-5), "-5 mm³"),
        (edit.KeepLargestIsland(8), "connectivity 8"),
        (edit.InterpolateSlices(3), "axis 3"),
        (edit.CopySlice(0, 0, 2), "slice 2"),
        (edit.GrowFromSeeds(2, 1), "range 2 to 1"),
        (edit.Merge(1), "label 1 cannot be merged into label 1"),
        (edit.Merge(3), "label 3 is empty"),
        (edit.Relabel(256), "label 256 does not fit"),
        (edit.Relabel(-1), "label -1 does not fit"),
        (edit.ClipToRegion(), "no region"),
        (edit.ClipToRegion(Region((5, 5, 5), (6, 6, 6))), "outside the volume"),
    ],
)
def test_wrong_settings_are_refused(tool, says):
    labels = volume(["11.2"], ["11.."])
    with pytest.raises(SettingsError, match=says):
        tool(labels, Target(1, None), MM, labels)


@pytest.mark.parametrize("spacing", [(1, 1, 0), (1, 1, -1), (1, 1, float("inf"))])
def test_wrong_spacing_is_refused(spacing):
    with pytest.raises(SettingsError, match="spacing"):
        Grow()(plane("1."), Target(1, None), spacing)


def test_image_is_needed_and_of_one_shape():
    labels, grow = plane("1."), edit.GrowFromSeeds(0, 1)
    with pytest.raises(SettingsError, match="image"):
        grow(labels, Target(1, None), MM)
    with pytest.raises(GridError, match=r"\(1, 2, 2\).*\(1, 1, 2\)"):
        grow(labels, Target(1, None), MM, np.zeros((1, 2, 2)))


def test_locked_labels_are_neither_merged_nor_renamed_into():
    labels, locked = plane("1.2"), Target(1, None, locked=frozenset({2}))
    for tool in (edit.Merge(2), edit.Relabel(2)):
        with pytest.raises(SettingsError, match="label 2 is locked"):
            tool(labels, locked, MM)


def test_change_tells_what_it_does():
    labels = plane("11.2", "....")
    change = Relabel(3)(labels, Target(1, None), MM)
    assert (change.count, change.lost, change.gained) == (2, {1: 2}, {3: 2})
    assert change.region == (slice(0, 1), slice(0, 1), slice(0, 2))
    assert change.mask.tolist() == [[[True, True]]] and change.values.tolist() == [3, 3]


def test_no_change_is_a_change_of_nothing():
    labels = plane("11.2")
    change = Relabel(1)(labels, Target(1, None), MM)
    assert (change.count, change.lost, change.gained) == (0, {}, {})
    assert np.array_equal(edited(labels, change), labels)


def test_change_is_refused_where_it_cannot_go():
    change = Grow()(plane("1.", ".."), Target(1, None), MM)
    with pytest.raises(GridError, match=r"\(1, 1, 1\)"):
        change.apply(np.zeros((1, 1, 1), "u1"))
    fixed = plane("1.", "..")
    fixed.flags.writeable = False
    with pytest.raises(VolumeError, match="read-only"):
        change.apply(fixed)


def test_errors_are_of_the_package():
    assert issubclass(SettingsError, AsmlpError)
    assert isinstance(Grow()(plane("1"), Target(1, None), MM), Change)
