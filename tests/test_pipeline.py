"""From a volume to labels on its grid: the path as a whole, with a small model."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

import napari_asmlp
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import LabelEntry, Preprocessing, save_model
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.pipeline import (
    FieldOfViewError,
    SegmentSettings,
    check_fit,
    iter_segment,
    segment,
)
from napari_asmlp.volume import Volume
from tests.blobs import AFFINE, ball
from tests.models import small_model

SETTINGS = SegmentSettings(precision="fp32")


@pytest.fixture
def volume():
    image, _ = ball(0, shape=(20, 26, 22))
    return Volume(image, Grid(image.shape, AFFINE))


def run(volume, model, settings=SETTINGS):
    """Return all progress and the result."""
    steps, progress = iter_segment(volume, model, settings), []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as stop:
            return progress, stop.value


def test_labels_are_those_of_the_network_run_on_the_whole_turned_volume(volume):
    """One window, no resampling: turn, normalise, pad, run, take the largest, turn back."""
    model = small_model(window=(32, 32, 32))
    turned = volume.data[::-1].transpose(0, 2, 1)
    low, high = np.percentile(turned, (0.5, 99.5))
    normal = np.clip(turned, low, high)
    normal = (normal - normal.mean()) / normal.std()
    margins = [((-n % 2) // 2, (-n % 2) - (-n % 2) // 2) for n in turned.shape]
    padded = np.pad(normal, margins, constant_values=normal.min())
    with torch.inference_mode():
        logits = model.network(torch.from_numpy(padded[None, None].astype(np.float32)))[0]
    inner = tuple(slice(a, a + n) for (a, _), n in zip(margins, turned.shape, strict=True))
    expected = logits.argmax(0).numpy()[inner].transpose(0, 2, 1)[::-1]
    found = segment(volume, model, SETTINGS)
    assert (found.array() != expected).mean() < 1e-3  # near-ties may fall the other way
    assert len(np.unique(expected)) > 1


def test_labels_lie_on_the_grid_of_the_volume(volume):
    labels = segment(volume, small_model(), SETTINGS)
    assert labels.kind == "labels"
    assert labels.grid == volume.grid
    assert labels.array().dtype == np.uint8
    assert labels.label_names == {1: "front", 2: "back"}


def test_progress_counts_windows_and_brings_each_plane_once(volume):
    progress, result = run(volume, small_model())
    assert [p.done for p in progress] == list(range(len(progress)))
    assert progress[-1].done == progress[-1].total == 8  # two along each axis
    assert progress[0].seconds_left is None
    assert progress[-1].seconds_left == 0
    collected = np.full(volume.grid.shape, 255, np.uint8)
    for slab in (p.slab for p in progress if p.slab is not None):
        assert (collected[slab.region.slices] == 255).all()
        collected[slab.region.slices] = slab.labels
    np.testing.assert_array_equal(collected, result.labels.array())


def test_a_region_is_segmented_alone(volume):
    region = Region((4, 6, 2), (16, 20, 18))
    whole = replace(SETTINGS, region=region)
    labels = segment(volume, small_model(), whole).array()
    cropped = Volume(volume.data[region.slices], volume.grid.cropped(region))
    np.testing.assert_array_equal(
        labels[region.slices], segment(cropped, small_model(), SETTINGS).array()
    )
    labels[region.slices] = 0
    assert not labels.any()


def test_probabilities_come_on_the_same_grid(volume):
    _, result = run(volume, small_model(), replace(SETTINGS, probabilities=True))
    chances = result.probabilities
    assert chances.grid == volume.grid
    assert chances.data.shape == (*volume.grid.shape, 3)
    np.testing.assert_allclose(chances.data.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(chances.data.argmax(-1), result.labels.array())


def test_closing_it_stops_and_leaves_the_model_usable(volume):
    model = small_model()
    steps = iter_segment(volume, model, SETTINGS)
    assert [next(steps).done for _ in range(3)] == [0, 1, 2]
    steps.close()
    assert segment(volume, model, SETTINGS).array().any()


def test_the_report_says_what_was_done(volume):
    _, result = run(
        volume, small_model(), replace(SETTINGS, region=Region((0, 0, 0), (16, 16, 16)))
    )
    report = result.report
    assert (report["network"], report["precision"]) == ("folded", "fp32")
    assert report["windows"] == {"run": 1, "skipped": 0}
    assert report["settings"]["region"] == "0:16,0:16,0:16"
    assert report["settings"]["precision"] == "fp32"
    assert report["model"]["name"] == "small"
    assert report["volumes_mm3"].keys() <= {"front", "back"}
    assert report["versions"]["napari-asmlp"] == napari_asmlp.__version__
    assert report["peak_memory_bytes"] > 1e6


def test_volumes_far_beyond_the_trained_field_of_view_need_a_region(volume):
    model = small_model(field_of_view_mm=(10.0, 10.0, 20.0))
    check_fit(volume, small_model(field_of_view_mm=(10.0, 11.0, 13.0)), SETTINGS)
    with pytest.raises(SettingsError, match=r"20x22x26 mm, over twice.*10x10x20 mm.*--region"):
        segment(volume, model, SETTINGS)
    with pytest.raises(FieldOfViewError, match=r"\(Whole volume in the window; --whole\)"):
        segment(volume, model, SETTINGS)
    assert segment(volume, model, replace(SETTINGS, region=Region.whole(volume.grid.shape)))
    assert segment(volume, model, replace(SETTINGS, whole=True))
    assert segment(volume, replace(model, card=replace(model.card, place="anywhere")), SETTINGS)


def test_notes_and_report_name_fill_values(volume):
    data = np.array(volume.data, np.float32)
    data[:, :, :3] = -30240
    progress, result = run(Volume(data, volume.grid), small_model(), SETTINGS)
    share = 3 / data.shape[2]
    assert result.report["fills"] == [
        {"channel": 0, "value": -30240, "share": pytest.approx(share)}
    ]
    (note,) = progress[-1].notes
    assert "% of the voxels are -30240" in note
    assert progress[0].notes == ()


def test_channels_have_to_fit(volume):
    two = Volume(np.stack([volume.data] * 2, -1), volume.grid)
    with pytest.raises(SettingsError, match=r"2 channels.*takes 1.*--volume"):
        segment(two, small_model(), SETTINGS)
    config = AsmlpConfig(
        in_channels=2, out_channels=3, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)
    )
    assert segment(two, small_model(config), SETTINGS).array().any()


def test_labels_are_not_segmented(volume):
    labels = volume.with_labels(np.ones(volume.grid.shape, np.uint8))
    with pytest.raises(VolumeError, match="holds labels"):
        segment(labels, small_model(), SETTINGS)


@pytest.mark.parametrize("value", [0, 7.5])
def test_a_constant_volume_is_refused(value):
    constant = Volume(np.full((8, 8, 8), value), Grid((8, 8, 8), np.eye(4)))
    with pytest.raises(VolumeError, match=f"every voxel is {value:g}"):
        segment(constant, small_model(), SETTINGS)


def test_a_region_outside_the_volume_is_refused(volume):
    with pytest.raises(SettingsError, match="0:99"):
        segment(volume, small_model(), replace(SETTINGS, region=Region((0, 0, 0), (99, 5, 5))))


def test_imported_models_decide_by_their_own_sigmoids(volume):
    labels = tuple(LabelEntry(n, f"class {n}", "#123456") for n in (1, 2, 3))
    recipe = Preprocessing(axis_codes=None, clip=None)
    model = small_model(activation="sigmoid", labels=labels, preprocessing=recipe)
    _, result = run(volume, model, replace(SETTINGS, probabilities=True))
    chances, found = result.probabilities.data, result.labels.array()
    expected = np.where((chances > 0.5).any(-1), chances.argmax(-1) + 1, 0)
    np.testing.assert_array_equal(found, expected)


def test_files_in_files_out_as_the_readme_shows(volume, tmp_path):
    """The public names, a file on disk, and an independent look at what was written."""
    nibabel.save(nibabel.Nifti1Image(volume.data, AFFINE), tmp_path / "scan.nii.gz")
    path = save_model(small_model(), tmp_path / "small.safetensors")
    read = napari_asmlp.read_volume(tmp_path / "scan.nii.gz")
    labels = napari_asmlp.segment(read, model=path)
    napari_asmlp.write_labels(labels, tmp_path / "labels.nii.gz")
    written = nibabel.load(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(written.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels.array())
    assert napari_asmlp.load_model(path).card.name == "small"
