"""`napari-asmlp teach`: labels on the image's own grid, and what it refuses."""

from functools import partial

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.model import load_model, save_model
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.loop import TeachProgress as Progress
from napari_asmlp.teaching.loop import TeachSettings
from tests.models import SMALL, small_classifier, small_model

SHAPE = (16, 12, 10)
TILTED = np.array([[-1, 0.1, 0, 9], [0.1, 1, 0, -4], [0, 0, 2, 3], [0, 0, 0, 1]], float)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(encoder, "is_there", lambda: False)
    settings = partial(TeachSettings, light=LightSettings(first=5, trees=10))
    monkeypatch.setattr("napari_asmlp.cli.teach.TeachSettings", settings)


@pytest.fixture
def case(tmp_path):
    """Write a bright half and a dark one; two slices are annotated, 5 dark and 2 bright."""
    bright = np.zeros(SHAPE, np.float32)
    bright[8:] = 100
    noise = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    strokes = np.zeros(SHAPE, np.uint8)
    for index in (2, 7):
        strokes[..., index] = np.where(bright[..., index] > 0, 2, 5)
    nib.save(nib.Nifti1Image(bright + noise, TILTED), tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image(strokes, TILTED), tmp_path / "strokes.nii.gz")
    return tmp_path


def teach(folder, *more):
    files = [str(folder / name) for name in ("image.nii.gz", "strokes.nii.gz")]
    return main(
        ["teach", *files, "-o", str(folder / "out.safetensors"), "--seconds", "0.01", *more]
    )


def test_labels_lie_on_the_images_grid_and_background_is_0(case):
    labels = case / "labels.nii.gz"
    assert teach(case, "--labels-out", str(labels), "--background", "5") == 0
    written = nib.load(labels)
    np.testing.assert_allclose(written.affine, TILTED)
    found = np.asarray(written.dataobj)
    assert set(np.unique(found)) == {0, 2}
    assert np.mean(found[8:] == 2) > 0.95
    assert np.mean(found[:8] == 0) > 0.95
    assert load_model(case / "out.safetensors").card.label_names == {2: "label 2"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--background", "9"], "has only the values 2, 5"),
        (["--unannotated", "2", "--background", "2"], "value of unannotated voxels too"),
        (["--seconds", "0"], "--seconds 0"),
        (["--seconds", "nan"], "--seconds nan"),
    ],
)
def test_wrong_settings_end_in_one_line(case, capsys, more, words):
    assert teach(case, *more) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (case / "out.safetensors").exists()


def test_annotations_on_another_grid_are_refused(case, capsys):
    strokes = nib.load(case / "strokes.nii.gz")
    moved = nib.Nifti1Image(np.asarray(strokes.dataobj), np.eye(4))
    nib.save(moved, case / "strokes.nii.gz")
    assert teach(case) == 2
    said = capsys.readouterr().err
    assert "strokes.nii.gz" in said
    assert "image.nii.gz" in said


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        (np.zeros(SHAPE, np.uint8), "every voxel is 0, not annotated"),
        (np.full(SHAPE, 3, np.uint8), "only the value 3 is annotated"),
    ],
)
def test_strokes_that_teach_nothing_end_in_one_line(case, capsys, strokes, words):
    nib.save(nib.Nifti1Image(strokes, TILTED), case / "strokes.nii.gz")
    assert teach(case) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("what", ["image.nii.gz", "strokes.nii.gz"])
def test_inputs_are_not_replaced_even_if_told_to(case, capsys, what):
    before = (case / what).read_bytes()
    assert teach(case, "--labels-out", str(case / what), "--overwrite") == 2
    assert (case / what).read_bytes() == before
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_can_be_gone_on_from_and_a_classifier_not(case, tmp_path, capsys):
    first = save_model(small_model(), tmp_path / "first.safetensors")
    assert teach(case, "--init", str(first)) == 0
    assert load_model(case / "out.safetensors").card.network == SMALL
    other = save_model(small_classifier(), tmp_path / "classifier.safetensors")
    capsys.readouterr()
    assert teach(case, "--overwrite", "--init", str(other)) == 2
    assert "is a classifier" in capsys.readouterr().err


def test_cancelled_it_leaves_nothing_behind(case, monkeypatch, capsys):
    def interrupted(*_):
        yield Progress("reading", 0.0, 0.0, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_asmlp.cli.teach.iter_teach", interrupted)
    before = sorted(case.iterdir())
    assert teach(case, "--labels-out", str(case / "labels.nii.gz")) == 130
    assert sorted(case.iterdir()) == before
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_there_is_not_replaced(case, capsys):
    (case / "out.safetensors").write_bytes(b"precious")
    assert teach(case) == 2
    assert (case / "out.safetensors").read_bytes() == b"precious"
    assert "--overwrite" in capsys.readouterr().err
