"""Source grid to model grid and back, against hand-computed values and scipy as an oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_asmlp.errors import GridError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import Card, LabelEntry, Preprocessing
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.preprocess import SourceSlabs, decide, normalise, place, to_model_grid
from napari_asmlp.volume import Volume

PLAIN = Preprocessing(clip=None, normalisation="none")
LPS_110 = np.diag([-1.0, -1, 10, 1])  # i to the left, j to posterior, k to superior


def card(*values, activation="softmax", **preprocessing):
    return Card(
        name="test",
        summary="",
        labels=tuple(LabelEntry(value, f"class {value}", "#ff0000") for value in values),
        network=AsmlpConfig(out_channels=len(values) + (activation == "softmax")),
        window=(8, 8, 8),
        activation=activation,
        preprocessing=Preprocessing(**preprocessing),
    )


def one_hot(labels, values):
    """Logits (K, X, Y, Z) that are sure of these labels."""
    return np.stack([np.where(labels == value, 9, -9) for value in values]).astype(np.float32)


def assemble(slabs, shape, dtype=np.uint8):
    """Put slabs together, each voxel once."""
    labels, seen = np.zeros(shape, dtype), np.zeros(shape, int)
    for slab in slabs:
        labels[slab.region.slices] = slab.labels
        seen[slab.region.slices] += 1
    return labels, seen


# Placement


def test_place_turns_and_resamples():
    grid = Grid((4, 6, 5), LPS_110)
    placement = place(grid, Preprocessing(spacing=(2.0, 1.0, 5.0)))
    assert placement.region == Region.whole((4, 6, 5))
    assert placement.orientation.flips == (True, True, False)
    assert placement.canonical_grid.axis_codes == "RAS"
    assert placement.model_grid.shape == (2, 6, 10)
    assert placement.resamples
    assert (placement.slab_axis, placement.slab_reversed) == (2, False)


def test_place_keeps_the_source_where_the_card_says_so():
    grid = Grid((4, 6, 5), LPS_110)
    placement = place(grid, Preprocessing(axis_codes=None, spacing=None))
    assert placement.model_grid == placement.canonical_grid == grid
    assert not placement.resamples


@pytest.mark.parametrize(
    # k of the file points to ...; the model's axes are right, anterior, superior
    ("columns", "axis", "backwards"),
    [
        (((1, 0, 0), (0, 1, 0), (0, 0, 1)), 2, False),
        (((1, 0, 0), (0, 1, 0), (0, 0, -1)), 2, True),  # inferior
        (((0, 1, 0), (0, 0, 1), (-1, 0, 0)), 0, True),  # left
        (((1, 0, 0), (0, 0, -1), (0, 1, 0)), 1, False),  # anterior
    ],
)
def test_slab_axis_is_k_of_the_file(columns, axis, backwards):
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    placement = place(Grid((3, 4, 5), affine), Preprocessing())
    assert (placement.slab_axis, placement.slab_reversed) == (axis, backwards)


def test_source_region_counts_from_the_other_end_when_reversed():
    affine = np.diag([1.0, 1, -1, 1])
    region = Region((1, 2, 10), (4, 6, 20))
    placement = place(Grid((8, 8, 30), affine), Preprocessing(), region)
    assert placement.source_region(range(3)) == Region((1, 2, 17), (4, 6, 20))
    assert placement.source_region(range(8, 10)) == Region((1, 2, 10), (4, 6, 12))


def test_a_region_outside_is_refused():
    with pytest.raises(GridError):
        place(Grid((4, 6, 5), np.eye(4)), Preprocessing(), Region((0, 0, 0), (4, 6, 6)))


# Source grid -> model grid


def test_to_model_grid_turns_the_region():
    data = np.arange(4 * 6 * 5).reshape(4, 6, 5)
    volume = Volume(data, Grid(data.shape, LPS_110))
    region = Region((0, 1, 2), (4, 5, 4))
    image = to_model_grid(volume, place(volume.grid, PLAIN, region), PLAIN)
    np.testing.assert_array_equal(image[0], data[::-1, 4:0:-1, 2:4])
    assert image.dtype == np.float32
    assert image.flags.c_contiguous


def test_channels_come_first_and_are_normalised_each_by_itself():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(4, 5, 6, 2)) * [1, 1000] + [0, 7]
    volume = Volume(data, Grid((4, 5, 6), np.eye(4)))
    image = to_model_grid(volume, place(volume.grid, Preprocessing()), Preprocessing())
    assert image.shape == (2, 4, 5, 6)
    np.testing.assert_allclose(image.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(image.std(axis=(1, 2, 3)), 1, atol=1e-6)


def test_statistics_are_those_of_the_region():
    data = np.random.default_rng(0).normal(size=(6, 6, 6))
    data[3:] += 1000
    volume = Volume(data, Grid(data.shape, np.eye(4)))
    region = Region((0, 0, 0), (3, 6, 6))
    image = to_model_grid(volume, place(volume.grid, Preprocessing(), region), Preprocessing())
    assert abs(image.mean()) < 1e-6
    assert image.std() == pytest.approx(1, abs=1e-6)


def test_a_ramp_stays_a_ramp_when_resampled():
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None] + 0.5, (8, 3, 3))  # world mm of centres
    volume = Volume(ramp, Grid(ramp.shape, np.eye(4)))
    finer = Preprocessing(spacing=(0.5, 1.0, 1.0), clip=None, normalisation="none")
    image = to_model_grid(volume, place(volume.grid, finer), finer)
    expected = (np.arange(16) + 0.5) / 2
    np.testing.assert_allclose(image[0, 1:-1, 1, 1], expected[1:-1], rtol=1e-6)


def test_shrinking_averages_instead_of_picking():
    stripes = np.broadcast_to(np.arange(32)[:, None, None] % 2, (32, 3, 3)) * 1.0
    volume = Volume(stripes, Grid(stripes.shape, np.eye(4)))
    coarse = Preprocessing(spacing=(4.0, 1.0, 1.0), clip=None, normalisation="none")
    image = to_model_grid(volume, place(volume.grid, coarse), coarse)
    assert image.shape == (1, 8, 3, 3)
    np.testing.assert_allclose(image[0, 1:-1], 0.5, atol=0.02)


# Normalisation


def test_zscore_by_hand():
    channel = np.array([1, 2, 3, 4]).reshape(1, 2, 2)
    expected = (np.array([1, 2, 3, 4]) - 2.5) / np.sqrt(1.25)
    result = normalise(channel, Preprocessing(clip=None))
    np.testing.assert_allclose(result.ravel(), expected, rtol=1e-6)


def test_clip_by_hand():
    channel = np.arange(101).reshape(1, 1, 101)  # percentile p is the value p
    result = normalise(channel, Preprocessing(clip=(10, 80), normalisation="none"))
    assert (result.min(), result.max()) == (10, 80)
    assert result[0, 0, 50] == 50


@pytest.mark.parametrize(
    ("scale", "offset"), [(1000, 0), (1, 1e6), (1e-3, -5), (1e30, 0), (1e200, 0), (3, -1e9)]
)
def test_unit_of_the_intensities_does_not_matter(scale, offset):
    channel = np.random.default_rng(1).normal(size=(7, 8, 9)) ** 3
    np.testing.assert_allclose(
        normalise(channel * scale + offset, Preprocessing()),
        normalise(channel, Preprocessing()),
        atol=1e-5,
    )


def test_values_that_are_not_finite_become_the_smallest():
    channel = np.array([np.nan, -1.0, np.inf, 4.0, -np.inf, 2.0]).reshape(1, 2, 3)
    result = normalise(channel, PLAIN)
    assert result.ravel().tolist() == [-1, -1, -1, 4, -1, 2]
    assert np.isnan(channel[0, 0, 0])  # the input is not changed


def test_a_sparse_volume_is_not_constant():
    channel = np.zeros((10, 10, 10), np.uint8)
    channel[5, 5, 5] = 200  # below the 99.5 percentile all is 0
    result = normalise(channel, Preprocessing())
    assert result[5, 5, 5] > 10
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (np.full((3, 3, 3), 7, np.int16), "scan.nii: every voxel is 7"),
        (np.full((3, 3, 3), 0.1), "scan.nii: every voxel is 0.1"),
        (np.full((3, 3, 3), np.nan), "scan.nii: no voxel is finite"),
        (np.full((3, 3, 3), -np.inf), "scan.nii: no voxel is finite"),
    ],
)
def test_a_volume_with_nothing_in_it_is_named(channel, message):
    volume = Volume(channel, Grid(channel.shape, np.eye(4)), path=Path("scan.nii"))
    with pytest.raises(VolumeError, match=message):
        to_model_grid(volume, place(volume.grid, Preprocessing()), Preprocessing())


# Decision


def test_softmax_takes_the_highest_and_the_first_of_equals():
    scores = np.array([[1, 0, 2, 0], [0, 5, 2, 0], [-1, 6, 1, 9]], np.float32)
    values = np.array([0, 4, 300], np.uint16)
    labels = decide(scores.reshape(3, 4, 1, 1), values, softmax=True, above=0)
    assert labels.ravel().tolist() == [0, 300, 0, 300]
    assert labels.dtype == np.uint16


def test_sigmoid_leaves_background_unless_a_logit_is_above_zero():
    scores = np.array([[-1, 0, 3, 1], [-2, -1, 2, 4]], np.float32)
    values = np.array([7, 2], np.uint8)
    labels = decide(scores.reshape(2, 4, 1, 1), values, softmax=False, above=0)
    assert labels.ravel().tolist() == [0, 0, 7, 2]


# Model grid -> source grid


@pytest.mark.parametrize("backwards", [False, True])
def test_slabs_of_equal_grids_lie_where_they_came_from(backwards):
    labels = np.random.default_rng(2).choice([0, 2, 300], size=(3, 4, 6))
    affine = np.diag([1.0, -1, -1 if backwards else 1, 1])
    placement = place(Grid((5, 6, 7), affine), Preprocessing(), Region((1, 1, 1), (4, 5, 7)))
    turned = placement.orientation.apply(labels)
    slabs = SourceSlabs(placement, card(2, 300))
    planes = [4, 2, 0] if backwards else [0, 2, 4]
    given = [
        slab for n in planes for slab in slabs.add(n, one_hot(turned[:, :, n : n + 2], (0, 2, 300)))
    ]
    assert [slab.region.start[2] for slab in given] == [1, 3, 5]  # in the order of the file
    found, seen = assemble(given, (5, 6, 7), np.uint16)
    np.testing.assert_array_equal(found[1:4, 1:5, 1:7], labels)
    assert seen.sum() == labels.size
    assert given[0].labels.dtype == np.uint16
    assert given[0].probabilities is None


SPACINGS = [(0.7, 0.7, 0.7), (1.5, 1.5, 1.5), (0.4, 1.0, 2.6), (3.1, 0.3, 0.9), (40.0, 40.0, 40.0)]
TURNS = [  # which world axis each file axis follows, and its direction
    ((0, 1, 2), (1, 1, 1)),
    ((0, 1, 2), (1, 1, -1)),
    ((1, 2, 0), (-1, 1, 1)),
    ((2, 0, 1), (1, -1, -1)),
]


@pytest.mark.parametrize("thickness", [1, 3, 100])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("worlds", "signs"), TURNS)
def test_slab_by_slab_is_all_at_once(worlds, signs, spacing, thickness):
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, worlds] * signs
    placement = place(Grid((9, 10, 11), affine), Preprocessing(spacing=spacing))
    shape, axis = placement.model_grid.shape, placement.slab_axis
    scores = np.random.default_rng(3).normal(size=(3, *shape)).astype(np.float32) * 3
    (whole,) = SourceSlabs(placement, card(1, 2), probabilities=True).add(0, scores)
    assert whole.region == Region.whole((9, 10, 11))
    slabs = SourceSlabs(placement, card(1, 2), probabilities=True)
    firsts = range(0, shape[axis], thickness)
    parts = []
    for first in reversed(firsts) if placement.slab_reversed else firsts:
        index = [slice(None)] * 4
        index[1 + axis] = slice(first, first + thickness)
        parts += slabs.add(first, scores[tuple(index)])
    labels, seen = assemble(parts, (9, 10, 11))
    np.testing.assert_array_equal(labels, whole.labels)
    assert (seen == 1).all()
    chances = np.concatenate([part.probabilities for part in parts], axis=2)
    np.testing.assert_array_equal(chances, whole.probabilities)
    assert [part.region.start[2] for part in parts] == sorted(p.region.start[2] for p in parts)


def test_interpolation_is_that_of_scipy():
    placement = place(Grid((9, 10, 11), np.eye(4)), Preprocessing(spacing=(0.7, 1.6, 1.0)))
    logits = np.random.default_rng(4).normal(size=(1, *placement.model_grid.shape))
    (slab,) = SourceSlabs(placement, card(1, activation="sigmoid"), probabilities=True).add(
        0, logits.astype(np.float32)
    )
    lengths = zip((9, 10, 11), logits.shape[1:], strict=True)
    at = np.meshgrid(*((np.arange(n) + 0.5) * m / n - 0.5 for n, m in lengths), indexing="ij")
    expected = ndimage.map_coordinates(1 / (1 + np.exp(-logits[0])), at, order=1, mode="nearest")
    np.testing.assert_allclose(slab.probabilities[..., 0], expected, atol=1e-5)
    np.testing.assert_array_equal(slab.labels, slab.probabilities[..., 0] > 0.5)


def test_probabilities_of_equal_grids():
    placement = place(Grid((1, 1, 2), np.eye(4)), Preprocessing())
    logits = np.log([[0.2, 0.5], [0.7, 0.25], [0.1, 0.25]]).reshape(3, 1, 1, 2).astype(np.float32)
    (slab,) = SourceSlabs(placement, card(1, 2), probabilities=True).add(0, logits)
    assert slab.probabilities.shape == (1, 1, 2, 3)
    np.testing.assert_allclose(slab.probabilities[0, 0], [[0.2, 0.7, 0.1], [0.5, 0.25, 0.25]])
    assert slab.labels.ravel().tolist() == [1, 0]


def test_huge_logits_do_not_overflow():
    placement = place(Grid((1, 1, 4), np.eye(4)), Preprocessing(spacing=(1.0, 1.0, 0.5)))
    logits = np.full((1, 1, 1, 8), 2000, np.float32)
    logits[..., :4] *= -1
    (slab,) = SourceSlabs(placement, card(5, activation="sigmoid")).add(0, logits)
    assert slab.labels.ravel().tolist() == [0, 0, 5, 5]


@pytest.mark.parametrize("spacing", [0.7, 1.5])
def test_a_smooth_shape_survives_the_round_trip(spacing):
    x, y, z = np.indices((28, 30, 32)) - np.array([14, 15, 16]).reshape(3, 1, 1, 1)
    ball = (x / 10) ** 2 + (y / 8) ** 2 + (z / 11) ** 2 < 1
    recipe = Preprocessing(spacing=(spacing,) * 3, clip=None, normalisation="none")
    volume = Volume(ball * 1.0, Grid(ball.shape, LPS_110 @ np.diag([1, 1, 0.1, 1])))
    placement = place(volume.grid, recipe)
    image = to_model_grid(volume, placement, recipe)
    (slab,) = SourceSlabs(placement, card(1, activation="sigmoid")).add(0, 20 * (image - 0.5))
    dice = 2 * (slab.labels & ball).sum() / (slab.labels.sum() + ball.sum())
    assert dice > 0.95
