"""Runs that are stopped and go on: the same labels, bit for bit; anything changed is noticed."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.io import read_volume
from napari_asmlp.model import Preprocessing
from napari_asmlp.pipeline import Partial, SegmentSettings
from napari_asmlp.volume import Volume
from tests.blobs import AFFINE, ball
from tests.models import small_model
from tests.pipeline_runs import run, stopped

SETTINGS = SegmentSettings(precision="fp32", overlap=0.5)
DOWNWARDS = np.diag([-1.0, 1, -1, 1])  # the walk along k is backwards on the model grid
FINER, COARSER = (0.8, 0.9, 0.7), (1.3, 1.0, 1.6)


@pytest.fixture
def volume():
    image, _ = ball(0, shape=(18, 20, 44))
    return Volume(image, Grid(image.shape, AFFINE))


@pytest.mark.parametrize("affine", [AFFINE, np.eye(4), DOWNWARDS])
@pytest.mark.parametrize("spacing", [None, FINER, COARSER])
def test_a_stopped_run_goes_on_to_the_same_labels(volume, tmp_path, affine, spacing):
    volume = replace(volume, grid=Grid(volume.grid.shape, affine))
    model = small_model(preprocessing=Preprocessing(spacing=spacing))
    settings = replace(SETTINGS, probabilities=True, uncertainty=True)
    steps, whole = run(volume, model, settings)
    total = steps[-1].total
    for windows in {total // 3, total - 1, total}:
        folder = tmp_path / f"{windows}"
        stopped(volume, model, settings, Partial(folder), windows)
        again, result = run(volume, model, settings, Partial(folder, resume=True))
        np.testing.assert_array_equal(result.labels.array(), whole.labels.array())
        for one, other in (
            (result.probabilities, whole.probabilities),
            (result.uncertainty, whole.uncertainty),
        ):
            np.testing.assert_array_equal(one.array(), other.array())
        assert result.report["volumes_mm3"] == whole.report["volumes_mm3"]
        seen = np.zeros(volume.grid.shape, int)
        for slab in (p.slab for p in again if p.slab is not None):
            seen[slab.region.slices] += 1
        assert (seen == 1).all()
        assert again[-1].done == total


def test_it_does_not_start_over(volume, tmp_path):
    partial = Partial(tmp_path / "p", resume=True)
    steps, whole = run(volume, small_model(), SETTINGS)
    stopped(volume, small_model(), SETTINGS, partial, len(steps) - 3)
    again, result = run(volume, small_model(), SETTINGS, partial)
    assert 0 < result.report["windows"]["run"] < whole.report["windows"]["run"]
    assert result.report["resumed_planes"] > 0
    assert again[0].slab is not None  # what was finished comes first
    _, finished = run(volume, small_model(), SETTINGS, partial)
    assert finished.report["windows"]["run"] == 0


def test_a_region_goes_on_where_it_lies(volume, tmp_path):
    settings = replace(SETTINGS, region=Region((2, 3, 5), (16, 19, 41)))
    partial = Partial(tmp_path / "p", resume=True)
    _, whole = run(volume, small_model(), settings)
    stopped(volume, small_model(), settings, partial, 5)
    _, result = run(volume, small_model(), settings, partial)
    np.testing.assert_array_equal(result.labels.array(), whole.labels.array())


def test_nothing_lies_there_before_the_first_planes_are_finished(volume, tmp_path):
    stopped(volume, small_model(), SETTINGS, Partial(tmp_path / "p"), 0)
    assert not (tmp_path / "p").exists()


def test_without_resume_it_begins_anew(volume, tmp_path):
    stopped(volume, small_model(), SETTINGS, Partial(tmp_path / "p"), 20)
    _, result = run(volume, small_model(), SETTINGS, Partial(tmp_path / "p"))
    assert result.report["resumed_planes"] == 0


def test_the_folder_goes_away_but_not_with_what_is_not_ours(volume, tmp_path):
    partial = Partial(tmp_path / "p")
    stopped(volume, small_model(), SETTINGS, partial, 20)
    assert sorted(file.name for file in partial.folder.iterdir()) == ["labels.raw", "run.json"]
    partial.remove()
    assert not partial.folder.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": replace(SETTINGS, overlap=0.25)}, "setting overlap was 0.5, now it is 0.25"),
        ({"settings": replace(SETTINGS, mirror=True)}, "setting mirror"),
        ({"model": small_model(seed=1)}, "model was sha256:"),
    ],
)
def test_another_model_or_setting_is_refused(volume, tmp_path, change, said):
    made = {"volume": volume, "model": small_model(), "settings": SETTINGS}
    stopped(**made, partial=Partial(tmp_path / "p"), windows=20)
    with pytest.raises(SettingsError, match=said):
        run(**made | change, partial=Partial(tmp_path / "p", resume=True))


def test_another_input_is_refused(volume, tmp_path):
    stopped(volume, small_model(), SETTINGS, Partial(tmp_path / "p"), 20)
    other = volume.data.copy()
    other[0, 0, 0] += 1
    with pytest.raises(SettingsError, match="input was sha256:"):
        run(replace(volume, data=other), small_model(), SETTINGS, Partial(tmp_path / "p", True))


def test_another_file_is_refused(volume, tmp_path):
    for name, data in (("a.nii", volume.data), ("b.nii", volume.data + 1)):
        nibabel.save(nibabel.Nifti1Image(data, AFFINE), tmp_path / name)
    stopped(read_volume(tmp_path / "a.nii"), small_model(), SETTINGS, Partial(tmp_path / "p"), 20)
    with pytest.raises(SettingsError, match="input was sha256:"):
        run(
            read_volume(tmp_path / "b.nii"),
            small_model(),
            SETTINGS,
            Partial(tmp_path / "p", resume=True),
        )


def test_another_version_is_refused(volume, tmp_path, monkeypatch):
    stopped(volume, small_model(), SETTINGS, Partial(tmp_path / "p"), 20)
    monkeypatch.setattr("napari_asmlp.provenance.__version__", "999")
    with pytest.raises(SettingsError, match=r"version of napari-asmlp .* now it is 999"):
        run(volume, small_model(), SETTINGS, Partial(tmp_path / "p", resume=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"{"),
        ("run.json", b"[]"),
        ("run.json", b'{"identity": {}, "finished": {"planes": -1}}'),
        ("labels.raw", b"short"),
    ],
)
def test_damage_is_noticed(volume, tmp_path, name, content):
    stopped(volume, small_model(), SETTINGS, Partial(tmp_path / "p"), 20)
    (tmp_path / "p" / name).write_bytes(content)
    with pytest.raises(SettingsError, match="damaged"):
        run(volume, small_model(), SETTINGS, Partial(tmp_path / "p", resume=True))
