"""What a run will take, and fitting it into a budget."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid
from napari_asmlp.model import Preprocessing
from napari_asmlp.pipeline import (
    Partial,
    SegmentSettings,
    format_size,
    iter_segment,
    make_plan,
    parse_size,
)
from napari_asmlp.pipeline.plan import mirror_axes
from napari_asmlp.pipeline.segmentation import finish
from napari_asmlp.provenance import resident_memory
from napari_asmlp.volume import Volume
from tests.models import SMALL, small_model
from tests.pipeline_runs import run

FP32 = SegmentSettings(precision="fp32")


class Nothing:
    """Voxels of any shape that take no memory and are never read."""

    dtype = np.dtype(np.int16)

    def __init__(self, *shape):
        self.shape = shape


def large(*shape):
    return Volume(Nothing(*shape), Grid(shape, np.eye(4)))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2_000_000_000),
        ("2 gb", 2_000_000_000),
        ("1.5G", 1_500_000_000),
        ("512MiB", 512 * 2**20),
        ("800m", 800_000_000),
        ("1000", 1000),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "2 parsecs", "1e9", "nan"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(SettingsError, match="such as 2GB"):
        parse_size(text)


def test_a_plan_says_what_it_will_take():
    plan = make_plan(large(100, 90, 80), small_model(), FP32, in_memory=True)
    assert plan.window == (16, 16, 16)
    assert plan.overlap == 0.25
    assert len(plan.boxes) == 8 * 8 * 7  # steps of 12: 100 - 16 in 7, 90 - 16 in 7, 80 - 16 in 6
    assert plan.describe().startswith("448 windows of 16x16x16 voxels, ")
    assert format_size(plan.memory) in plan.describe()


@pytest.mark.parametrize(
    ("norm", "shape", "asked", "window", "overlap"),
    [
        ("layer", (100, 90, 80), None, (16, 16, 16), 0.25),  # small: seconds however it is cut
        ("layer", (100, 90, 80), 0.5, (16, 16, 16), 0.5),
        ("layer", (256, 256, 256), None, (136, 136, 56), 0.1),
        ("layer", (256, 256, 256), 0.25, (148, 148, 42), 0.25),
        ("group", (256, 256, 256), None, (16, 16, 16), 0.25),  # its answer depends on the window
        ("group", (256, 256, 256), 0.1, (16, 16, 16), 0.1),
    ],
)
def test_windows_are_fitted_to_large_volumes(norm, shape, asked, window, overlap):
    model = small_model(replace(SMALL, norm=norm))
    plan = make_plan(large(*shape), model, replace(FP32, overlap=asked), in_memory=False)
    assert (plan.window, plan.overlap) == (window, overlap)
    assert {box.shape for box in plan.boxes} == {window}


def test_files_take_no_memory_and_depth_does_not_matter_to_them():
    model = small_model(replace(SMALL, norm="group"))  # with windows of one size
    shallow, deep = (
        make_plan(large(200, 200, depth), model, FP32, in_memory=False).memory
        for depth in (300, 600)
    )
    assert deep == pytest.approx(shallow, abs=1e7)
    in_memory = make_plan(large(200, 200, 600), model, FP32, in_memory=True).memory
    assert in_memory - deep > 200 * 200 * 600


@pytest.mark.parametrize("shape", [(300, 300, 4000), (1000, 1000, 1000), (2000, 2000, 300)])
def test_fitted_windows_take_no_more_than_ample_memory(shape):
    plan = make_plan(large(*shape), small_model(), FP32, in_memory=False)
    assert plan.memory - resident_memory() < 2.1e9
    assert plan.window > (16, 16, 16)


def test_a_budget_makes_windows_smaller_then_thinner():
    volume, model = large(512, 512, 300), small_model()
    free = make_plan(volume, model, FP32, in_memory=False)
    smaller = make_plan(volume, model, replace(FP32, memory=free.memory - 10**8), in_memory=False)
    assert smaller.memory <= free.memory - 10**8
    assert all(side >= 16 for side in smaller.window)
    least = make_plan(volume, small_model(replace(SMALL, norm="group")), FP32, in_memory=False)
    thinner = make_plan(
        volume, model, replace(FP32, memory=least.memory - 4 * 10**7), in_memory=False
    )
    assert thinner.window[:2] == (16, 16)
    assert 2 <= thinner.window[2] < 16
    assert thinner.window[2] % 2 == 0
    assert len(thinner.boxes) > len(smaller.boxes) > len(free.boxes)


def test_a_budget_that_is_enough_changes_nothing():
    plan = make_plan(
        large(100, 90, 80), small_model(), SegmentSettings(memory=64 * 10**9), in_memory=True
    )
    assert plan.window == (16, 16, 16)


def test_a_budget_that_nothing_fits_in_says_what_does():
    with pytest.raises(SettingsError, match=r"memory 10 MB: .* needs [\d.]+ [MG]B at least"):
        make_plan(
            large(512, 512, 300), small_model(), SegmentSettings(memory=10**7), in_memory=False
        )


def test_a_run_within_a_budget_gives_labels():
    image = np.random.default_rng(0).normal(size=(20, 20, 40))
    volume = Volume(image, Grid(image.shape, np.eye(4)))
    budget = resident_memory() + 10**9
    _, result = run(volume, small_model(), SegmentSettings(precision="fp32", memory=budget))
    assert result.labels.array().any()
    assert result.report["planned_memory_bytes"] <= budget


def test_a_spacing_that_is_absurd_is_refused_before_windows_are_placed():
    model = small_model(preprocessing=Preprocessing(spacing=(1.0, 1.0, 1.0)))
    along = Volume(Nothing(20, 20, 20), Grid((20, 20, 20), np.diag([1, 1, 1e6, 1])))
    across = Volume(Nothing(20, 20, 20), Grid((20, 20, 20), np.diag([1e6, 1e6, 1, 1])))
    with pytest.raises(SettingsError, match=r"over 1000000 windows: check its spacing"):
        make_plan(along, model, FP32, in_memory=True)
    with pytest.raises(SettingsError, match=r"this machine has .*: check its spacing"):
        make_plan(across, model, FP32, in_memory=True)


@pytest.mark.parametrize(
    ("recipe", "axes"),
    [
        ({}, (0, 1, 2)),
        ({"augmentation": {"flip_axes": [0]}}, (0,)),
        ({"augmentation": {"flip_axes": []}}, ()),
        ({"augmentation": "strong"}, (0, 1, 2)),
    ],
)
def test_windows_are_mirrored_as_in_training(recipe, axes):
    assert mirror_axes(small_model(recipe=recipe).card) == axes


def peak_of_a_run(depth, partial):
    """Most that Python and numpy held at a time."""
    image = np.broadcast_to(
        np.random.default_rng(0).integers(0, 99, (96, 96, 1), np.int16), (96, 96, depth)
    )
    volume = Volume(image, Grid(image.shape, np.eye(4)))
    tracemalloc.start()
    finish(iter_segment(volume, small_model(), FP32, partial))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_depth(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_asmlp.preprocess.to_model._SLAB_VOXELS", 1 << 16)
    shallow = peak_of_a_run(60, Partial(tmp_path / "a"))
    deep = peak_of_a_run(120, Partial(tmp_path / "b"))
    assert deep - shallow < 96 * 96 * 60 / 2  # half a byte for each voxel more


@pytest.mark.parametrize(
    ("asked", "present", "runs"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_blocks_that_are_compiled_already_run_unless_told_otherwise(
    monkeypatch, asked, present, runs
):
    monkeypatch.setattr("napari_asmlp.pipeline.plan.is_compiled", lambda: present)
    settings = SegmentSettings(device="cpu", compiled=asked)
    plan = make_plan(large(20, 20, 20), small_model(), settings, in_memory=True)
    assert plan.inference.compiled is runs


def test_there_are_no_compiled_blocks_in_fp16():
    settings = SegmentSettings(device="cpu", precision="fp16", compiled=True)
    plan = make_plan(large(20, 20, 20), small_model(), settings, in_memory=True)
    assert not plan.inference.compiled
