import numpy as np
import pytest
from scipy import ndimage

from napari_asmlp.edit import KeepLargestIsland, RemoveSmallIslands, SplitByWatershed, Target
from napari_asmlp.errors import SettingsError
from tests.edit.pictures import MM, edited, plane, shown, volume

ONE = Target(1, None)


def after(tool, labels, target=ONE, spacing=MM):
    return edited(labels, tool(labels, target, spacing))


def test_largest_island_stays():
    labels = plane("....2", "11.1.", "11...")
    assert shown(after(KeepLargestIsland(), labels)) == ("....2", "11...", "11...")


def test_corners_connect_at_26_but_not_at_6_or_18():
    labels = volume(["11.", "...", "..."], ["...", "..1", "..."])
    assert KeepLargestIsland(26)(labels, ONE, MM).count == 0
    assert KeepLargestIsland(18)(labels, ONE, MM).count == 1
    assert KeepLargestIsland(6)(labels, ONE, MM).count == 1


def test_a_plane_has_islands_of_its_own():
    labels = volume(["11.1"], ["1111"])
    assert KeepLargestIsland()(labels, ONE, MM).count == 0
    assert KeepLargestIsland()(labels, Target(1, (0, 0)), MM).lost == {1: 1}


def test_every_label_keeps_its_largest():
    labels = plane("11.1.2.22.3.3")
    target = Target(None, None, locked=frozenset({3}))
    assert shown(after(KeepLargestIsland(), labels, target)) == ("11.....22.3.3",)


@pytest.mark.parametrize(
    ("smallest_mm3", "expected"),
    [(0.2, "1.11.111"), (0.3, "..11.111"), (0.4, "..11.111"), (0.6, ".....111"), (1, "........")],
)
def test_islands_are_measured_in_mm3(smallest_mm3, expected):
    # a voxel is 0.2 mm³
    labels = plane("1.11.111")
    tool = RemoveSmallIslands(smallest_mm3)
    assert shown(after(tool, labels, spacing=(2, 0.2, 0.5))) == (expected,)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_islands_as_scipy_finds_them(connectivity):
    labels = (np.random.default_rng(0).random((9, 10, 11)) < 0.25).astype(np.uint8)
    rank = {6: 1, 18: 2, 26: 3}[connectivity]
    islands, _ = ndimage.label(labels, ndimage.generate_binary_structure(3, rank))
    sizes = np.bincount(islands.ravel())
    expected = labels * (sizes[islands] >= 4)
    assert np.array_equal(after(RemoveSmallIslands(4, connectivity), labels), expected)
    sizes[0] = 0
    largest = after(KeepLargestIsland(connectivity), labels)
    assert largest.sum() == sizes.max() and len(np.unique(islands[largest > 0])) == 1


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("target", [ONE, Target(None, None)], ids=["one", "all"])
def test_pieces_of_many_small_volumes_as_scipy_finds_them(connectivity, target):
    # cc3d 4.1.1 finds wrong ones in some of them if given bool
    rng = np.random.default_rng(1)
    rank = {6: 1, 18: 2, 26: 3}[connectivity]
    for _ in range(150):
        labels = (rng.random(rng.integers(1, 14, 3)) < 0.6 * rng.random()).astype(np.uint8)
        labels.flat[0] = 1
        labels[rng.random(labels.shape) < 0.1] *= 2 if target.value is None else 1
        expected = np.zeros_like(labels)
        for value in np.unique(labels[labels > 0]):
            shape = ndimage.generate_binary_structure(3, rank)
            islands, _ = ndimage.label(labels == value, shape)
            sizes = np.bincount(islands.ravel())
            expected[(islands > 0) & (sizes[islands] >= 3)] = value
        found = after(RemoveSmallIslands(3, connectivity), labels, target)
        assert np.array_equal(found, expected)


def balls(*centres_radii, shape=(21, 21, 41), spacing=MM):
    at = np.moveaxis(np.indices(shape), 0, -1) * spacing
    labels = np.zeros(shape, np.uint8)
    for centre, radius in centres_radii:
        labels[np.linalg.norm(at - centre, axis=-1) <= radius] = 1
    return labels


def test_touching_balls_are_split_at_the_neck():
    labels = balls(((10, 10, 11), 8), ((10, 10, 24), 7))
    split = after(SplitByWatershed(), labels)
    assert np.unique(split).tolist() == [0, 1, 2]
    assert split[10, 10, 11] == 1 and split[10, 10, 24] == 2  # the larger keeps its value
    assert (split[:, :, :16] != 2).all() and (split[:, :, 21:] != 1).all()


@pytest.mark.parametrize(
    "labels",
    [
        balls(((10, 10, 20), 9)),
        balls(((10, 10, 17), 8), ((10, 10, 22), 8)),  # a capsule: no neck
        np.ones((3, 4, 5), np.uint8),  # no surface at all
        plane("1111111111"),
        plane("......", ".111..", ".1111.", "..111.", "......"),
    ],
)
def test_one_body_stays_one(labels):
    assert SplitByWatershed()(labels, ONE, MM).count == 0


def test_split_sees_mm_and_not_voxels():
    # balls of 8 mm, on planes 4 mm apart
    spacing = (4.0, 1.0, 1.0)
    labels = balls(((20, 10, 11), 8), ((20, 10, 25), 8), shape=(11, 21, 41), spacing=spacing)
    split = after(SplitByWatershed(), labels, spacing=spacing)
    assert np.unique(split).tolist() == [0, 1, 2]
    assert split[5, 10, 11] != split[5, 10, 25]


def test_split_of_every_label_takes_free_values():
    labels = plane("11.1.22.2.5.6")
    target = Target(None, None, locked=frozenset({5, 7}))
    assert shown(after(SplitByWatershed(), labels, target)) == ("11.8.22.9.5.6",)


def test_split_in_a_plane():
    labels = volume(["11.1"], ["1111"])
    split = after(SplitByWatershed(), labels, Target(1, (0, 0)))
    assert split.tolist() == [[[1, 1, 0, 2]], [[1, 1, 1, 1]]]


def test_split_runs_out_of_values():
    labels = plane("1.1.2")
    labels[labels == 2] = 255
    with pytest.raises(SettingsError, match="label 256 does not fit this layer of uint8"):
        SplitByWatershed()(labels, ONE, MM)
