import numpy as np
import pytest
from scipy import ndimage

from napari_asmlp.edit import ClipToRegion, GrowFromSeeds, Merge, Relabel, Target, Threshold
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region
from tests.edit.pictures import MM, edited, plane, shown, volume

ONE = Target(1, None)
EVERY = Target(None, None)


def after(tool, labels, target=ONE, image=None):
    return edited(labels, tool(labels, target, MM, image))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ONE, ("111.", "1.2.", "1...")),
        (Target(1, None, overwrite=True), ("111.", "1.1.", "1.11")),  # on through label 2
        (Target(1, None, frozenset({2}), overwrite=True), ("111.", "1.2.", "1...")),
    ],
)
def test_seeds_grow_through_the_range(target, expected):
    image = plane("5558", "5858", "5855").astype(float)
    image[0, 1, 3] = np.nan
    labels = plane("1...", "..2.", "....")
    assert shown(after(GrowFromSeeds(4, 6), labels, target, image)) == expected


def test_ends_of_the_range_are_in_it_and_seeds_need_not_be():
    image = plane("9456")
    assert shown(after(GrowFromSeeds(4, 5), plane("1..."), image=image)) == ("111.",)


def test_growth_goes_by_faces():
    image = plane("5.", ".5")
    assert GrowFromSeeds(5, 5)(plane("1.", ".."), ONE, MM, image).count == 0


def test_growth_as_scipy_finds_it():
    rng = np.random.default_rng(2)
    image = ndimage.gaussian_filter(rng.normal(size=(9, 10, 11)), 1)
    labels = (rng.random(image.shape) < 0.01).astype(np.uint8)
    in_range = (image >= -0.1) & (image <= 0.2)
    expected = ndimage.binary_propagation(labels > 0, mask=in_range | (labels > 0))
    assert np.array_equal(after(GrowFromSeeds(-0.1, 0.2), labels, image=image), expected)


def test_seeds_of_several_labels_share_what_they_reach():
    image = plane("555555.5", "........")
    labels = plane("1....2..", "........")
    grown = after(GrowFromSeeds(5, 5), labels, EVERY, image)
    assert shown(grown) == ("111222..", "........")


def test_growth_in_a_plane():
    image = volume(["55"], ["55"])
    grown = after(GrowFromSeeds(5, 5), volume(["1."], [".."]), Target(1, (0, 0)), image)
    assert grown.tolist() == volume(["11"], [".."]).tolist()


def test_merge():
    assert shown(after(Merge(2), plane("1.2.3"))) == ("1.1.3",)
    with pytest.raises(SettingsError, match="choose the one to merge into"):
        Merge(2)(plane("12"), EVERY, MM)
    with pytest.raises(SettingsError, match="label 0"):
        Merge(0)(plane("12"), ONE, MM)


@pytest.mark.parametrize(
    ("to", "target", "expected"),
    [
        (4, ONE, "4.23"),
        (2, ONE, "2.23"),
        (0, ONE, "..23"),
        (4, EVERY, "4.44"),
        (4, Target(None, None, frozenset({2})), "4.24"),
    ],
)
def test_relabel(to, target, expected):
    assert shown(after(Relabel(to), plane("1.23"), target)) == (expected,)


@pytest.mark.parametrize(
    ("region", "target", "expected"),
    [
        (Region((0, 0, 1), (1, 1, 9)), ONE, (".112.", ".2...")),
        (Region((0, 0, 1), (1, 1, 9)), EVERY, (".112.", ".....")),
        (Region((0, 0, 1), (1, 1, 9)), Target(None, None, frozenset({2})), (".112.", ".2...")),
        (Region((0, 0, 4), (1, 1, 5)), ONE, ("...2.", ".2...")),
        (Region((0, 0, 0), (1, 2, 1)), ONE, ("1..2.", ".2...")),
        (Region((0, 0, 0), (9, 9, 9)), ONE, ("1112.", ".2...")),
    ],
)
def test_clip_to_region(region, target, expected):
    assert shown(after(ClipToRegion(region), plane("1112.", ".2..."), target)) == expected


@pytest.mark.parametrize(
    ("tool", "target", "expected"),
    [
        (Threshold(4, 6), ONE, ("111..1", "1..2..")),
        (Threshold(4, 6, replace=True), ONE, (".11..1", "...2..")),
        (Threshold(4, 6), Target(1, None, overwrite=True), ("111..1", "1..1..")),
        (Threshold(4, 6), Target(1, None, frozenset({2}), overwrite=True), ("111..1", "1..2..")),
        (Threshold(4, 6), Target(3, None), ("133..3", "1..2..")),  # label 3 was empty
    ],
)
def test_threshold_takes_what_is_in_the_range(tool, target, expected):
    image = plane("945306", "000500").astype(float)
    image[0, 0, 4] = np.nan
    labels = plane("1.....", "1..2..")
    assert shown(after(tool, labels, target, image)) == expected


@pytest.mark.parametrize("dtype", ["?", "u1", ">i2", "f2", "f8"])
def test_threshold_of_any_image(dtype):
    image = plane("101", "010").astype(dtype)
    assert shown(after(Threshold(0.5, 1), plane("...", "..."), image=image)) == ("1.1", ".1.")


def test_threshold_needs_one_label_and_a_range():
    image = plane("11")
    with pytest.raises(SettingsError, match="choose the one to give the range to"):
        Threshold()(plane("1."), EVERY, MM, image)
    with pytest.raises(SettingsError, match="range 2 to 1: give low <= high"):
        Threshold(2, 1)(plane("1."), ONE, MM, image)
