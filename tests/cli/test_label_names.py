"""Names and colours of labels from command to command."""

import json

import nibabel
import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.io import read_volume
from napari_asmlp.model import save_model
from tests.blobs import AFFINE, ball
from tests.models import small_model

LUT = "1 left_lung 1 2 3 0\n2 heart 4 5 6 0\n"
NAMES, COLOURS = {1: "left_lung", 2: "heart"}, {1: (1, 2, 3), 2: (4, 5, 6)}


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Run a command in a folder with a volume, its named labels and a model."""
    monkeypatch.chdir(tmp_path)
    image, labels = ball(0)
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), "truth.nii.gz")
    (tmp_path / "truth.lut.txt").write_text(LUT)
    save_model(small_model(), tmp_path / "m.safetensors")

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize(
    ("names", "table"),
    [
        ("itksnap", "out.labels.txt"),
        ("slicer", "out.ctbl"),
        ("freesurfer", "out.lut.txt"),
        ("none", None),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ("segment", "scan.nii.gz", "--model", "m.safetensors", "-o", "out.nii.gz"),
        ("convert", "truth.nii.gz", "out.nii.gz"),
    ],
)
def test_labels_of_a_command_are_read_with_names(call, tmp_path, words, names, table):
    status, _, err = call(*words, "--names", names)
    assert status == 0, err
    beside = {path.name for path in tmp_path.glob("out.*")} - {"out.nii.gz", "out.nii.gz.json"}
    assert beside == ({table} if table else set())
    labels = read_volume("out.nii.gz", kind="labels")
    if words[0] == "convert":
        assert (labels.label_names, labels.label_colours) == (NAMES, COLOURS)
    assert len(labels.label_names) == 2 and labels.label_colours.keys() == {1, 2}
    for path in tmp_path.glob("out.*txt"):  # inside all the same
        path.unlink()
    assert read_volume("out.nii.gz", kind="labels").label_colours == labels.label_colours


def test_a_table_that_is_there_is_kept(call, tmp_path):
    (tmp_path / "out.labels.txt").write_text("precious")
    words = ("segment", "scan.nii.gz", "--model", "m.safetensors", "-o", "out.nii.gz")
    for command in (words, ("convert", "truth.nii.gz", "out.nii.gz")):
        status, _, err = call(*command)
        assert status == 2 and "out.labels.txt: exists already" in err
    assert (tmp_path / "out.labels.txt").read_text() == "precious"
    assert not (tmp_path / "out.nii.gz").exists()
    assert call(*words, "--overwrite")[0] == 0
    assert "precious" not in (tmp_path / "out.labels.txt").read_text()


def test_a_file_beside_its_source_shares_the_table(call, tmp_path):
    before = (tmp_path / "truth.lut.txt").read_text()
    assert call("convert", "truth.nii.gz", "truth.mgz", "--names", "freesurfer")[0] == 0
    assert (tmp_path / "truth.lut.txt").read_text() == before
    assert read_volume("truth.mgz", kind="labels").label_names == NAMES


def test_evaluate_and_measure_say_the_names(call):
    assert call("convert", "truth.nii.gz", "out.nii.gz", "--names", "none")[0] == 0
    status, out, _ = call("evaluate", "out.nii.gz", "truth.nii.gz", "--json", "-")
    result = json.loads(out)
    assert status == 0 and result["names"] == {"1": "left_lung", "2": "heart"}
    assert set(result["mean"]) == {"1", "2", "all"}
    assert "1 left_lung" in call("evaluate", "out.nii.gz", "truth.nii.gz")[1]
    assert "\n1,left_lung," in call("measure", "out.nii.gz")[1]


def test_teach_takes_the_names_of_its_annotations(call, tmp_path):
    strokes = np.zeros_like(np.asarray(nibabel.load("truth.nii.gz").dataobj))
    truth = np.asarray(nibabel.load("truth.nii.gz").dataobj)
    strokes[..., 8] = truth[..., 8] + 1  # 1 for background, 2 and 3
    nibabel.save(nibabel.Nifti1Image(strokes, AFFINE), "strokes.nii.gz")
    (tmp_path / "strokes.labels.txt").write_text('2 9 8 7 1 1 1 "left lung"\nwhat\n')
    words = ("teach", "scan.nii.gz", "strokes.nii.gz", "-o", "t.safetensors", "--seconds", 3)
    status, _, err = call(*words, "--background", 1, "--labels-out", "out.nii.gz")
    assert status == 0 and "strokes.labels.txt: line 2 was left out" in err
    labels = read_volume("out.nii.gz", kind="labels")
    assert labels.label_names[2] == "left lung" and labels.label_colours[2] == (9, 8, 7)


def test_scaled_labels_make_a_note(call):
    image = nibabel.Nifti1Image(ball(0)[1].astype(float), AFFINE)
    image.set_data_dtype(np.uint8)
    nibabel.save(image, "scaled.nii.gz")
    for words in (("measure", "scaled.nii.gz"), ("evaluate", "scaled.nii.gz", "truth.nii.gz")):
        status, _, err = call(*words)
        assert status == 0 and "scl_slope" in err


def test_a_bids_folder_is_named_as_one(call, tmp_path):
    folder = tmp_path / "bids" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (tmp_path / "bids" / "dataset_description.json").write_text("{}")
    (folder / "sub-01_T1w.nii.gz").write_bytes((tmp_path / "scan.nii.gz").read_bytes())
    status, _, err = call("segment", "bids", "--model", "m.safetensors", "-o", "out")
    assert status == 2 and "it is a BIDS data set; volumes lie in 1 folder below it" in err
    assert "sub-01/anat" in err
    status, _, err = call("train", "bids", "-o", "new.safetensors")
    assert status == 2 and "BIDS data set: copy images to imagesTr" in err
