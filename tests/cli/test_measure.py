"""`napari-asmlp measure`: the table as a script meets it."""

from __future__ import annotations

import csv
from io import StringIO

import nibabel
import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.io import NamedLabel, names_path, write_names

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 0, 1.0, -20], [0, 3.0, 0, 5], [0, 0, 0, 1]])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Labels 1 (8 voxels) and 3 (2 voxels apart), an image of the numbers from 0, names."""
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[:2, :2, :2] = 1
    labels[3, 0, 0] = labels[3, 4, 5] = 3
    image = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "labels.nii.gz")
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), tmp_path / "scan.nii.gz")
    four = np.stack([image, image + 1000], -1)
    nibabel.save(nibabel.Nifti1Image(four, AFFINE), tmp_path / "4d.nii.gz")
    table = names_path(tmp_path / "labels.nii.gz", "ITK-SNAP")
    write_names([NamedLabel(1, "left kidney", (1, 2, 3))], table, "ITK-SNAP")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    """Run it; return status, rows and what was said."""

    def run(*words):
        try:
            status = main(["measure", "labels.nii.gz", *map(str, words)])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, list(csv.DictReader(StringIO(said.out))), said.err

    return run


def test_a_row_a_label_to_standard_output(call):
    status, rows, err = call("--image", "scan.nii.gz")
    assert (status, err) == (0, "")
    assert [(row["label"], row["name"], row["voxels"]) for row in rows] == [
        ("1", "left kidney", "8"),
        ("3", "label 3", "2"),
    ]
    assert float(rows[0]["volume_mm3"]) == 48
    centre = [float(rows[0][f"centroid_{axis}_mm"]) for axis in "xyz"]
    assert centre == pytest.approx((10 - 2 * 0.5, -20 + 0.5, 5 + 3 * 0.5))
    # voxel (i, j, k) holds 30 i + 6 j + k
    assert float(rows[0]["mean"]) == pytest.approx(18.5)
    assert rows[0]["box"] == "0:2,0:2,0:2"
    assert rows[1]["elongation"] == ""  # two voxels lie in a line


def test_objects_and_no_image(call):
    rows = call("--objects")[1]
    assert [(row["label"], row["object"], row["mean"]) for row in rows] == [
        ("1", "1", ""),
        ("3", "1", ""),
        ("3", "2", ""),
    ]


def test_a_file_is_written_once(call, folder):
    status, rows, err = call("-o", "t.csv")
    assert (status, rows) == (0, [])
    assert "t.csv: 2 rows" in err
    before = (folder / "t.csv").read_bytes()
    assert b"\r" not in before
    status, _, err = call("-o", "t.csv", "--objects")
    assert status == 2 and "exists already" in err
    assert (folder / "t.csv").read_bytes() == before
    assert call("-o", "t.csv", "--objects", "--overwrite")[0] == 0
    assert (folder / "t.csv").read_bytes() != before


@pytest.mark.parametrize("name", ["labels.nii.gz", "scan.nii.gz", "labels.labels.txt"])
def test_the_inputs_are_never_written_to(call, folder, name):
    before = (folder / name).read_bytes()
    status, _, err = call("--image", "scan.nii.gz", "-o", name, "--overwrite")
    assert status == 2 and "is the input" in err
    assert (folder / name).read_bytes() == before


def test_one_volume_of_several_is_chosen(call):
    status, _, err = call("--image", "4d.nii.gz")
    assert status == 2 and "4d.nii.gz: holds 2 volumes: choose one with --volume N" in err
    rows = call("--image", "4d.nii.gz", "--volume", 1)[1]
    assert float(rows[0]["mean"]) == pytest.approx(1018.5)
    status, _, err = call("--image", "scan.nii.gz", "--volume", 1)
    assert status == 2 and "volume 1" in err


def test_grids_that_differ_are_refused_by_name(call, folder):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6)), np.eye(4)), folder / "other.nii")
    status, _, err = call("--image", "other.nii")
    assert status == 2
    assert "labels.nii.gz" in err and "other.nii" in err and "different grids" in err


def test_a_damaged_table_of_names_is_only_warned_of(call, folder):
    (folder / "labels.labels.txt").write_text("nonsense\n")
    status, rows, err = call()
    assert status == 0 and "names were left out: labels.labels.txt" in err
    assert rows[0]["name"] == "label 1"


@pytest.fixture
def several(folder):
    """Two files of labels in a folder, and images of the same names in another."""
    for room, source in (("found", "labels"), ("scans", "scan")):
        (folder / room).mkdir()
        for name in ("a", "b"):
            content = (folder / f"{source}.nii.gz").read_bytes()
            (folder / room / f"{name}.nii.gz").write_bytes(content)
    return folder


def measured(capsys, *words):
    status = main(["measure", *words])
    said = capsys.readouterr()
    return status, list(csv.DictReader(StringIO(said.out))), said.err


def test_a_folder_is_one_table_with_a_column_of_cases(several, capsys):
    status, rows, _ = measured(capsys, "found", "--image", "scans")
    assert status == 0 and next(iter(rows[0])) == "case"
    assert [(row["case"], row["label"]) for row in rows] == [
        (case, label) for case in "ab" for label in "13"
    ]
    _, (alone, *_), _ = measured(capsys, "labels.nii.gz", "--image", "scan.nii.gz")
    assert {**rows[0], "case": None, "name": None} == {**alone, "case": None, "name": None}
    files = ("found/b.nii.gz", "found/a.nii.gz")
    assert [row["case"] for row in measured(capsys, *files, "--objects")[1]] == list("bbbaaa")


def test_a_file_that_fails_among_several_is_named(several, capsys):
    """As git-annex leaves it where the content was not fetched."""
    (several / "found" / "b.nii.gz").unlink()
    (several / "found" / "b.nii.gz").symlink_to("../gone")
    status, rows, err = measured(capsys, "found")
    assert status == 1 and {row["case"] for row in rows} == {"a"}
    assert "b.nii.gz: failed: " in err and "is a link to a file that is not there" in err
    assert measured(capsys, "found/b.nii.gz")[0] == 2


def test_what_cannot_be_paired_is_refused(several, capsys):
    (several / "scans" / "b.nii.gz").unlink()
    for words, reason in (
        (("found", "--image", "scans"), "no image in it is called b"),
        (("found", "--image", "scan.nii.gz"), "give a folder with an image of the same name"),
        (("found", "found/a.nii.gz"), "both are called a"),
    ):
        status, rows, err = measured(capsys, *words)
        assert (status, rows) == (2, []) and reason in err and err.count("\n") == 1
