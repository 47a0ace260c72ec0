"""Volumes that lie at a tilt: the upright grid, the way there and the way back."""

import math
from dataclasses import replace

import numpy as np
import pytest

from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import Preprocessing
from napari_asmlp.pipeline import Partial, SegmentSettings, make_plan, segment
from napari_asmlp.pipeline.plan import excessive_tilt
from napari_asmlp.preprocess import UprightSlabs, iter_raise, place, upright_grid
from napari_asmlp.volume import Volume
from tests.models import small_model
from tests.pipeline_runs import run, stopped

FP32 = SegmentSettings(precision="fp32")


def turned(degrees, axis=2, spacing=(1, 1, 1)):
    """Return an affine whose axes are turned about a world axis."""
    affine, angle = np.eye(4), math.radians(degrees)
    a, b = [n for n in range(3) if n != axis]
    affine[a, a] = affine[b, b] = math.cos(angle)
    affine[a, b], affine[b, a] = -math.sin(angle), math.sin(angle)
    return affine @ np.diag([*spacing, 1])


def sheared(degrees):
    """Return an affine whose k leans over, as that of a CT with a tilted gantry."""
    affine = np.eye(4)
    affine[1:3, 2] = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return affine


@pytest.mark.parametrize(
    ("affine", "tilt"),
    [
        (np.eye(4), 0),
        (np.diag([-1.0, -2, 3, 1]), 0),
        (turned(10), 10),
        (turned(-40, 0, (1, 2, 3)), 40),
        (turned(45, 1), 45),
        (turned(60, 0), 30),
        (turned(90, 0), 0),
        (sheared(25), 25),
    ],
)
def test_tilt(affine, tilt):
    assert Grid((4, 5, 6), affine).tilt_degrees == pytest.approx(tilt, abs=1e-5)


@pytest.mark.parametrize(
    ("affine", "recipe", "shape", "codes"),
    [
        (np.eye(4), Preprocessing(), (10, 20, 4), "RAS"),
        (np.eye(4), Preprocessing(axis_codes="LIP"), (10, 4, 20), "LIP"),
        (turned(90), Preprocessing(), (20, 10, 4), "RAS"),
        (turned(45), Preprocessing(), (22, 22, 4), "RAS"),  # 30 / sqrt 2 = 21.2
        (turned(45), Preprocessing(spacing=(1, 2, 3)), (22, 11, 2), "RAS"),
        (turned(30, 0, (1, 1, 2)), Preprocessing(), (10, 22, 9), "RAS"),
        # 20 cos 30 + 8 sin 30 = 21.3 and (20 sin 30 + 8 cos 30) / 2 = 8.5
    ],
)
def test_the_upright_grid_covers_the_field_of_view(affine, recipe, shape, codes):
    source = Grid((10, 20, 4), affine)
    grid = upright_grid(source, recipe)
    assert (grid.shape, grid.axis_codes) == (shape, codes)
    assert grid.tilt_degrees == 0
    assert not place(grid, recipe).resamples
    centres = [
        g.affine[:3, :3] @ ((np.array(g.shape) - 1) / 2) + g.affine[:3, 3] for g in (source, grid)
    ]
    np.testing.assert_allclose(*centres, atol=1e-9)


def world(grid):
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def raised(volume, region, grid, recipe):
    steps = iter_raise(volume, region, grid, recipe)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_what_is_raised_lies_where_it_lay():
    source = Grid((12, 14, 16), turned(30, 0))
    region, recipe = Region((0, 1, 2), (12, 13, 14)), Preprocessing()
    ramp = world(source) @ (1.0, 2.0, 3.0)
    filled = np.where(np.arange(12)[:, None, None] < 3, -9999, ramp)
    grid = upright_grid(source.cropped(region), recipe)
    volume, fills = raised(Volume(filled, source), region, grid, recipe)
    measured = np.isfinite(volume.data)
    beyond_the_fill = world(grid)[..., 0] > 3.5
    assert 0.3 < measured.mean() < 0.8
    assert [fill.value for fill in fills] == [-9999]
    assert not measured[world(grid)[..., 0] < 2.4].any()
    inside = (
        measured & beyond_the_fill & (np.abs(world(grid) - world(grid).mean((0, 1, 2))) < 4).all(-1)
    )
    expected = world(grid) @ (1.0, 2.0, 3.0)
    assert inside.sum() > 200
    np.testing.assert_allclose(volume.data[inside], expected[inside], atol=1e-4)


@pytest.mark.parametrize("affine", [turned(30, 0), turned(45, 1), sheared(30), turned(60, 2)])
@pytest.mark.parametrize("finished", [0, 5])
def test_labels_come_back_to_the_source(affine, finished):
    source, region = Grid((18, 20, 22), affine), Region((2, 0, 3), (18, 19, 22))
    model = small_model()
    upright = upright_grid(source.cropped(region), model.card.preprocessing)
    centre = world(source)[9, 10, 12]

    def ball(grid):
        return np.linalg.norm(world(grid) - centre, axis=-1) < 6

    scores = np.full((3, *upright.shape), -20, np.float32)
    scores[0], scores[2] = 0, np.where(ball(upright), 5, -5)
    slabs = UprightSlabs(upright, source, region, model.card, probabilities=True, uncertainty=True)
    if finished:
        assert slabs.skip(finished) == 0
    half = upright.shape[2] // 2
    assert not list(slabs.add(0, scores[..., :half]))
    labels, next_plane = np.zeros(source.shape, np.uint8), 3 + finished
    for slab in slabs.add(half, scores[..., half:]):
        assert slab.region.start == (2, 0, next_plane)
        next_plane = slab.region.stop[2]
        labels[slab.region.slices] = slab.labels
        assert slab.probabilities.shape == (*slab.labels.shape, 3)
        assert slab.uncertainty.shape == slab.labels.shape
    assert next_plane == 22
    expected = np.zeros(source.shape, bool)
    expected[region.slices] = ball(source)[region.slices]
    expected[..., : 3 + finished] = False
    assert set(np.unique(labels)) == {0, 2}
    both = np.count_nonzero(expected & (labels == 2))
    assert 2 * both / (expected.sum() + (labels == 2).sum()) > 0.94


@pytest.mark.parametrize(
    ("degrees", "changes", "expected"),
    [
        (14, {}, 0),
        (16, {}, 16),
        (16, {"recipe": {"augmentation": {"rotation": 20.0}}}, 0),
        (9, {"recipe": {"augmentation": {"rotation": 0.0}}}, 9),
        (4, {"recipe": {"augmentation": {"rotation": 0.0}}}, 0),
        (34, {"tilt_degrees": 20.0}, 0),
        (36, {"tilt_degrees": 20.0}, 36),
        (44, {"place": "anywhere"}, 0),
        (44, {"preprocessing": Preprocessing(axis_codes=None)}, 0),
    ],
)
def test_which_tilt_is_too_much(degrees, changes, expected):
    grid = Grid((4, 5, 6), turned(degrees))
    assert excessive_tilt(grid, small_model(**changes).card) == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def tilted():
    data = np.random.default_rng(0).normal(100, 20, (18, 20, 22)).astype(np.int16)
    return Volume(data, Grid(data.shape, turned(40, 0)))


def test_a_tilted_volume_is_segmented_upright_and_says_so(tilted):
    model = small_model()
    progress, result = run(tilted, model, replace(FP32, probabilities=True, uncertainty=True))
    report = result.report
    assert (report["tilt_degrees"], report["upright"]) == (40, True)
    assert progress[0].notes == (
        "tilted by 40°, more than model 'small' was trained for: brought upright for it",
    )
    assert "upright in memory (tilt 40°)" in progress[0].plan.describe()
    assert result.labels.grid == tilted.grid
    np.testing.assert_array_equal(
        result.labels.array(), result.probabilities.array().argmax(axis=-1)
    )
    as_it_lies = segment(tilted, model, replace(FP32, upright=False)).array()
    assert (as_it_lies != result.labels.array()).mean() > 0.01


def test_outside_a_region_there_is_no_label(tilted):
    region = Region((2, 3, 4), (18, 17, 20))
    labels = segment(tilted, small_model(), replace(FP32, region=region)).array()
    assert labels[region.slices].any()
    labels[region.slices] = 0
    assert not labels.any()


def test_a_stopped_run_of_a_tilted_volume_goes_on(tilted, tmp_path):
    model, folder = small_model(), tmp_path / "partial"
    expected = segment(tilted, model, FP32).array()
    stopped(tilted, model, FP32, Partial(folder), windows=2)
    _, result = run(tilted, model, FP32, Partial(folder, resume=True))
    np.testing.assert_array_equal(result.labels.array(), expected)
    _, again = run(tilted, model, FP32, Partial(folder, resume=True))
    assert again.report["resumed_planes"] == 22
    np.testing.assert_array_equal(again.labels.array(), expected)


class Unread:
    """Voxels that take no memory."""

    dtype, shape = np.dtype(np.int16), (300, 300, 300)


def test_without_memory_it_goes_on_as_it_lies_and_warns():
    volume, model = Volume(Unread(), Grid(Unread.shape, turned(40))), small_model()
    straight = make_plan(volume, model, replace(FP32, upright=False), in_memory=False)
    asked = replace(FP32, memory=straight.memory + 100_000_000)
    plan = make_plan(volume, model, asked, in_memory=False)
    assert plan.upright is None
    assert plan.note.startswith("tilted by 40°, more than model 'small' was trained for, and there")
    roomy = make_plan(volume, model, replace(asked, memory=20_000_000_000), in_memory=False)
    upright_voxels = np.prod(roomy.upright.shape)
    assert roomy.memory - straight.memory > 4 * 4 * upright_voxels  # the image and 3 outputs
