import numpy as np
import pytest

from napari_asmlp.edit import CopySlice, InterpolateSlices, Target
from napari_asmlp.errors import SettingsError
from tests.edit.pictures import MM, edited, volume

ONE = Target(1, None)


def after(tool, labels, target=ONE, spacing=MM):
    return edited(labels, tool(labels, target, spacing))


def disc(radius, centre=(15, 15), n=31, spacing=(1, 1)):
    u, v = np.indices((n, n))
    far = np.hypot((u - centre[0]) * spacing[0], (v - centre[1]) * spacing[1])
    return (far <= radius).astype(np.uint8)


def stack(*slices):
    """None stands for an empty slice."""
    return np.stack([np.zeros((31, 31), np.uint8) if s is None else s for s in slices])


def differing(a, b):
    return np.count_nonzero(a != b) / max(1, np.count_nonzero(b))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_two_equal_slices_lies_the_same(axis):
    labels = np.moveaxis(stack(disc(6), None, None, disc(6), None), 0, axis)
    expected = np.moveaxis(stack(*[disc(6)] * 4, None), 0, axis)
    assert np.array_equal(after(InterpolateSlices(axis), labels), expected)


def test_a_cone_between_discs():
    between = after(InterpolateSlices(), stack(disc(10), None, None, None, disc(2)))
    for n, radius in [(1, 8), (2, 6), (3, 4)]:
        assert differing(between[n], disc(radius)) < 0.2


def test_an_oblique_tube_is_not_lost_between_discs_that_do_not_overlap():
    labels = stack(disc(4, (7, 8)), None, None, None, disc(4, (23, 20)))
    between = after(InterpolateSlices(), labels)
    for n in (1, 2, 3):
        assert differing(between[n], disc(4, (7 + 4 * n, 8 + 3 * n))) < 0.1


def test_two_tubes_each_go_to_their_own():
    here = disc(3, (6, 6)) | disc(3, (6, 24))
    there = disc(3, (14, 6)) | disc(3, (14, 24))
    middle = disc(3, (10, 6)) | disc(3, (10, 24))
    between = after(InterpolateSlices(), stack(here, None, there))
    assert differing(between[1], middle) < 0.1


def test_a_branch_that_ends_is_gone_halfway():
    labels = stack(disc(4, (8, 8)) | disc(4, (22, 22)), None, None, None, disc(4, (8, 8)))
    between = after(InterpolateSlices(), labels)
    assert np.array_equal(between[3], disc(4, (8, 8)))
    assert np.array_equal(between[1] - disc(4, (8, 8)), disc(2, (22, 22)))


def test_in_plane_spacing_counts():
    # discs in mm on pixels of 1 mm by 3 mm
    spacing = (1.0, 3.0)
    labels = stack(disc(15, spacing=spacing), None, disc(5, spacing=spacing))
    between = after(InterpolateSlices(), labels, spacing=(2, *spacing))
    assert differing(between[1], disc(10, spacing=spacing)) < 0.15


def test_each_gap_is_filled_and_nothing_beyond():
    labels = stack(None, disc(3), None, disc(5), disc(2), None, disc(4), None)
    between = after(InterpolateSlices(), labels)
    assert between.any(axis=(1, 2)).tolist() == [False] + [True] * 6 + [False]
    assert all(np.array_equal(between[n], labels[n]) for n in (1, 3, 4, 6))
    assert InterpolateSlices()(stack(None, disc(3), None), ONE, MM).count == 0


def test_only_the_slice_of_the_plane_is_filled():
    labels = stack(disc(3), None, None, disc(3))
    between = after(InterpolateSlices(), labels, Target(1, (0, 2)))
    assert np.array_equal(between, stack(disc(3), None, disc(3), disc(3)))
    with pytest.raises(SettingsError, match="choose 3D"):
        InterpolateSlices(0)(labels, Target(1, (1, 15)), MM)


def test_labels_that_meet_share_and_painted_ones_stay():
    left, right = disc(5, (15, 12)), 2 * disc(5, (15, 19))
    both = np.where(left > 0, left, right)
    labels = stack(both, None, both)
    assert np.array_equal(
        after(InterpolateSlices(), labels, Target(None, None)), stack(*[both] * 3)
    )
    labels[1] = 3 * disc(2)
    for target in (Target(None, None), ONE, Target(None, None, frozenset({3}), overwrite=True)):
        assert (after(InterpolateSlices(), labels, target)[1][disc(2) > 0] == 3).all()


def test_a_label_that_fills_its_slices():
    labels = volume(["11", "11"], ["..", ".."], ["11", "11"])
    assert after(InterpolateSlices(), labels).all()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(1, None), ["1123", "....", "13.."]),
        (Target(1, None, overwrite=True), ["1123", "....", "11.."]),
        (Target(None, None), ["1123", "....", "1123"]),
        (Target(None, None, frozenset({3})), ["1123", "....", "132."]),
    ],
)
def test_copied_slice_takes_the_place_of_the_label(target, expected):
    labels = volume(["1123", "....", ".31."])
    copied = after(CopySlice(axis=1, index=0, to=2), labels, target)
    assert copied.tolist() == volume(expected).tolist()


def test_an_empty_slice_is_not_copied():
    labels = volume(["1.", ".."])
    with pytest.raises(SettingsError, match="label 1 is empty in slice 1 of axis 1"):
        CopySlice(axis=1, index=1, to=0)(labels, ONE, MM)
