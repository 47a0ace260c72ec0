"""`napari-asmlp fine-tune`: what it writes and says, and what it refuses."""

import json

import nibabel
import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.model import load_model, save_model
from napari_asmlp.project import WHOLE, Project, describe_volume, save_project
from tests.blobs import AFFINE, ball
from tests.models import small_model


@pytest.fixture
def folder(tmp_path):
    """Write a model that knows nothing, and a project with one corrected volume."""
    save_model(small_model(), tmp_path / "start.safetensors")
    for name, array in zip(("image", "labels"), ball(0), strict=True):
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / f"{name}.nii.gz")
    entry = describe_volume("a", [tmp_path / "image.nii.gz"], tmp_path / "labels.nii.gz", WHOLE)
    save_project(Project((entry,)), tmp_path / "p.asmlp.json")
    return tmp_path


def fine_tune(folder, *more):
    return main(
        [
            "fine-tune",
            str(folder / "p.asmlp.json"),
            "--init",
            str(folder / "start.safetensors"),
            "-o",
            str(folder / "out.safetensors"),
            "--device",
            "cpu",
            "--minutes",
            "0.001",
            *more,
        ]
    )


def test_it_writes_a_model_and_a_report_and_says_what_came_of_it(folder, capsys):
    assert fine_tune(folder, "--report", str(folder / "r.json"), "--seed", "3") == 0
    said = capsys.readouterr().err
    assert "two slabs of each region" in said
    assert "mean Dice" in said
    report = json.loads((folder / "r.json").read_text())
    assert report["recipe"]["seed"] == 3
    assert set(report["held_back"]["before"]["mean"]) == {"1", "2"}
    model = load_model(folder / "out.safetensors")
    assert report["model"]["hash"] == model.hash
    expected = "fine-tuned" if "before" in model.card.split else "start"
    assert report["shipped"] == expected


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--minutes", "0"], "--minutes 0"),
        (["--minutes", "nan"], "--minutes nan"),
        (["--seed", "-1"], "--seed -1"),
        (["--init", "nowhere"], "model 'nowhere'"),
    ],
)
def test_wrong_settings_end_in_one_line(folder, capsys, more, words):
    before = sorted(folder.iterdir())
    assert fine_tune(folder, *more) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_inputs_are_not_replaced_and_neither_is_what_is_there(folder, capsys):
    kept = np.asarray(nibabel.load(folder / "labels.nii.gz").dataobj).copy()
    for more in (["--report", str(folder / "p.asmlp.json"), "--overwrite"],):
        assert fine_tune(folder, *more) == 2
    start = str(folder / "start.safetensors")
    assert fine_tune(folder, "-o", start, "--overwrite") == 2
    assert "is the input" in capsys.readouterr().err
    assert (np.asarray(nibabel.load(folder / "labels.nii.gz").dataobj) == kept).all()
    (folder / "out.safetensors").write_bytes(b"precious")
    assert fine_tune(folder) == 2
    assert (folder / "out.safetensors").read_bytes() == b"precious"
