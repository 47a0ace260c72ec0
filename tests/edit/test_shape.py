import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import expand_labels

from napari_asmlp.edit import FillHoles, Grow, Hollow, Shrink, Smooth, Target
from tests.edit.pictures import MM, edited, plane, shown, volume

ONE = Target(1, None)
SPACING = (2.5, 1.0, 0.7)


def after(tool, labels, target=ONE, spacing=MM):
    return edited(labels, tool(labels, target, spacing))


def blobs(seed, share, shape=(11, 12, 13)):
    noise = np.random.default_rng(seed).random(shape)
    return (ndimage.gaussian_filter(noise, 1) < np.quantile(noise, share)).astype(np.uint8)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(1, (0, 0)), ("11111", "11121", "11111")),
        (Target(1, (0, 0), overwrite=True), ("11111", "11111", "11111")),
        (Target(1, (0, 0), frozenset({2}), overwrite=True), ("11111", "11121", "11111")),
        (Target(1, None), ("11111", "1..21", "11111")),  # open above and below
    ],
)
def test_fill_holes(target, expected):
    labels = plane("11111", "1..21", "11111")
    assert shown(after(FillHoles(), labels, target)) == expected


def test_hole_open_to_the_border_is_none():
    for rows in (("111", "1..", "111"), ("11.", "1.1", "1.1")):
        assert FillHoles()(plane(*rows), Target(1, (0, 0)), MM).count == 0


def test_nested_shells_fill_their_own_holes():
    labels = plane("1111111", "1.....1", "1.222.1", "1.2.2.1", "1.222.1", "1.....1", "1111111")
    every = Target(None, (0, 0))
    full = ("1111111", "1111111", "1122211", "1122211", "1122211", "1111111", "1111111")
    assert shown(after(FillHoles(), labels, every)) == full


@pytest.mark.parametrize("seed", range(5))
def test_holes_as_scipy_finds_them(seed):
    labels = (np.random.default_rng(seed).random((9, 10, 11)) < 0.75).astype(np.uint8)
    assert np.array_equal(after(FillHoles(), labels), ndimage.binary_fill_holes(labels))
    flat = after(FillHoles(), labels, Target(1, (1, 4)))[:, 4]
    assert np.array_equal(flat, ndimage.binary_fill_holes(labels[:, 4]))


@pytest.mark.parametrize(
    ("mm", "expected"),
    [
        (0.9, (".....", "..1..", ".....")),
        (1.0, (".....", ".111.", ".....")),
        (1.9, (".....", ".111.", ".....")),
        (2.0, ("..1..", "11111", "..1..")),
        (2.3, (".111.", "11111", ".111.")),  # the diagonal is 2.24 mm
    ],
)
def test_growing_is_in_mm(mm, expected):
    labels = plane(".....", "..1..", ".....")
    assert shown(after(Grow(mm), labels, spacing=(9, 2, 1))) == expected


@pytest.mark.parametrize("mm", [0.7, 1.4, 2.5, 3.0])
def test_growing_and_shrinking_as_distances_say(mm):
    labels = blobs(1, 0.35)
    labels[:3] = 0
    to_label = ndimage.distance_transform_edt(labels == 0, sampling=SPACING)
    assert np.array_equal(after(Grow(mm), labels, spacing=SPACING), to_label <= mm + 1e-6)
    depth = ndimage.distance_transform_edt(labels, sampling=SPACING)
    assert np.array_equal(after(Shrink(mm), labels, spacing=SPACING), depth > mm + 1e-6)


@pytest.mark.parametrize("tool", [Grow(2.6), Shrink(2.6), Smooth(2.6)], ids=str)
@pytest.mark.parametrize("side", [1, 5])
def test_borders_do_not_depend_on_the_blocks(monkeypatch, tool, side):
    labels = blobs(1, 0.35)
    whole = after(tool, labels, spacing=(0.8, 1, 1))
    monkeypatch.setattr("napari_asmlp.edit.blocks._SIDE", side)
    assert np.array_equal(after(tool, labels, spacing=(0.8, 1, 1)), whole)


def test_labels_grow_as_skimage_expands_them():
    labels = np.zeros((20, 40, 70), np.uint8)  # several blocks
    rng = np.random.default_rng(3)
    labels[tuple(rng.integers(0, labels.shape, (12, 3)).T)] = np.arange(1, 13)
    expected = expand_labels(labels, 9.3, spacing=SPACING)
    grown = after(Grow(9.3), labels, Target(None, None), SPACING)
    assert np.array_equal(grown > 0, expected > 0)
    apart = [ndimage.distance_transform_edt(labels != n, sampling=SPACING) for n in range(1, 13)]
    near = np.sort(apart, axis=0)
    clear = near[1] - near[0] > 1e-4  # or either may have it
    assert clear.mean() > 0.9 and np.array_equal(grown[clear], expected[clear])


def test_a_flat_plane_stays_flat():
    labels = np.zeros((40, 12, 12), np.uint8)
    labels[:17] = 1
    assert Smooth(3)(labels, ONE, SPACING).count == 0
    assert after(Grow(2.5), labels, spacing=SPACING)[:, 0, 0].tolist() == [1] * 18 + [0] * 22
    assert after(Shrink(2.5), labels, spacing=SPACING)[:, 0, 0].tolist() == [1] * 16 + [0] * 24


def test_steps_of_a_tenth_add_up():
    labels = plane("1............")
    assert after(Grow(1.0), labels, spacing=(1, 1, 0.1)).sum() == 11


def test_growing_respects_other_labels():
    labels = plane("1.2", "...")
    assert shown(after(Grow(2), labels)) == ("112", "11.")
    assert shown(after(Grow(2), labels, Target(1, None, overwrite=True))) == ("111", "11.")
    locked = Target(1, None, frozenset({2}), overwrite=True)
    assert shown(after(Grow(2), labels, locked)) == ("112", "11.")


def test_labels_that_grow_together_share_the_space():
    labels = plane("1....2", "......")
    assert shown(after(Grow(9), labels, Target(None, None))) == ("111222", "111222")
    locked = Target(None, None, frozenset({2}))
    assert shown(after(Grow(9), labels, locked)) == ("111112", "111111")


def test_growing_in_a_plane_stays_there():
    labels = volume(["..."], [".1."], ["..."])
    assert (
        after(Grow(1), labels, Target(1, (0, 1))).tolist()
        == volume(["..."], ["111"], ["..."]).tolist()
    )


def test_shrinking_keeps_what_the_border_cuts():
    labels = plane("111.", "111.", "111.")
    assert shown(after(Shrink(1), labels)) == ("11..", "11..", "11..")
    whole = plane("11", "11")
    assert shown(after(Shrink(1), whole)) == ("11", "11")


def test_shrinking_sees_other_labels_as_outside():
    labels = plane("111222")
    assert shown(after(Shrink(1), labels)) == ("11.222",)
    assert shown(after(Shrink(1), labels, Target(None, None))) == ("11..22",)


def test_smoothing_takes_bumps_and_fills_dents():
    labels = plane(".......", "...1...", "1111111", "1111111", "111.111", "1111111")
    smooth = (".......", ".......", "1111111", "1111111", "1111111", "1111111")
    assert shown(after(Smooth(2), labels)) == smooth


def test_smoothing_leaves_no_gap_between_labels():
    labels = plane("1112222", "1111222", "1112222", "1111222", "1112222")
    smooth = after(Smooth(2), labels, Target(None, None))
    assert (smooth > 0).all()
    one_only = after(Smooth(2), labels, ONE)
    assert np.array_equal(one_only, labels)  # its border with another label is the other's too
    over = after(Smooth(2), labels, Target(1, None, overwrite=True))
    assert np.array_equal(over, smooth)


def test_smoothing_is_in_mm():
    labels = np.zeros((5, 9, 9), np.uint8)
    labels[2, 2:7, 2:7] = 1  # a plate of one plane
    assert after(Smooth(2), labels, spacing=(1, 1, 1)).sum() == 0
    kept = after(Smooth(2), labels, spacing=(5, 1, 1))  # the next plane is out of reach
    assert kept[2, 3:6, 3:6].all() and kept.sum() == kept[2].sum()


def test_smoothing_votes_as_a_gaussian_of_every_label():
    rng = np.random.default_rng(5)
    fields = ndimage.gaussian_filter(rng.normal(size=(4, 10, 12, 14)), (0, 2, 2, 2))
    labels = fields.argmax(axis=0).astype(np.uint8)
    noise = rng.random(labels.shape) < 0.2
    labels[noise] = rng.integers(0, 4, int(noise.sum()))
    sigma, reach = [1 / s for s in SPACING], [1, 2, 3]  # 2 mm
    votes = [
        ndimage.gaussian_filter((labels == n).astype(float), sigma, mode="nearest", radius=reach)
        for n in range(4)
    ]
    expected = np.argmax(votes, axis=0)
    got = after(Smooth(2), labels, Target(None, None), SPACING)
    margin = np.sort(votes, axis=0)
    clear = margin[-1] - margin[-2] > 1e-3
    assert clear.mean() > 0.95 and np.array_equal(got[clear], expected[clear])


def test_smoothing_of_one_label_does_not_depend_on_the_box():
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[8:15, 8:15, 8:15] = np.random.default_rng(0).random((7, 7, 7)) < 0.7
    labels[8:15, 15:20, 8:15] = 2
    small = after(Smooth(2), labels[2:22, 2:22, 2:22].copy())
    assert np.array_equal(after(Smooth(2), labels)[2:22, 2:22, 2:22], small)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("inside", (".....", ".111.", ".1.1.", ".111.", ".....")),
        ("outside", (".111.", "1...1", "1...1", "1...1", ".111.")),
    ],
)
def test_a_shell_lies_inside_or_around(shell, expected):
    labels = plane(".....", ".111.", ".111.", ".111.", ".....")
    flat = Target(1, (0, 0))
    assert shown(after(Hollow(1, shell), labels, flat)) == expected


def test_a_shell_as_distances_say():
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[5:25, 5:25, 5:25] = 1
    outside = ndimage.distance_transform_edt(labels == 0, sampling=SPACING)
    inside = ndimage.distance_transform_edt(labels, sampling=SPACING)
    for shell, outer, inner in (("inside", 0, 3.2), ("outside", 3.2, 0), ("both", 1.6, 1.6)):
        expected = (outside <= outer + 1e-6) & (inside <= inner + 1e-6)
        found = after(Hollow(3.2, shell), labels, spacing=SPACING)
        np.testing.assert_array_equal(found, expected)


def test_a_shell_spares_other_labels():
    labels = plane("112", "11.", "...")
    assert shown(after(Hollow(1, "outside"), labels, Target(1, (0, 0)))) == ("..2", "..1", "11.")
