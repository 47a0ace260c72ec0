"""Pairs of label files to the table that CLI.md promises."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.evaluate import (
    MEASURES,
    Doubts,
    evaluate,
    format_table,
    iter_evaluate,
    score_labels,
)
from napari_asmlp.io import read_volume

NOTHING = dict.fromkeys(MEASURES)


def rod(*values, width=8):
    """Labels along i in an otherwise empty (width, 3, 3) array."""
    labels = np.zeros((width, 3, 3), np.uint8)
    labels[: len(values), 1, 1] = values
    return labels


def save(path, labels, affine=None):
    path.parent.mkdir(exist_ok=True)
    affine = np.diag([2.0, 1, 1, 1]) if affine is None else affine
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Two cases of 2 mm voxels along i; label 5 occurs in neither file of case "b"."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    save(predictions / "a.nii.gz", rod(1, 1, 0, 5))
    save(references / "a.nii.gz", rod(1, 1, 1, 5))
    save(predictions / "b.nii", rod(0, 0, 3))
    save(references / "b.nii.gz", rod(1, 0, 3).astype(np.float32))
    return predictions, references


def scores(dice, hd95, assd, volume, reference):
    return pytest.approx(dict(zip(MEASURES, (dice, hd95, assd, volume, reference), strict=True)))


def test_two_folders(folders):
    result = evaluate(*folders)
    assert list(result["cases"]) == ["a", "b"]
    # forth [0, 0], back [0, 0, 2]: the 95th percentile lies at rank 1.9
    assert result["cases"]["a"] == {
        "1": scores(0.8, 1.8, 0.4, 4, 6),
        "3": NOTHING,
        "5": scores(1, 0, 0, 2, 2),
    }
    missed = {"dice": 0, "hd95_mm": None, "assd_mm": None, "volume_mm3": 0, "reference_mm3": 2}
    assert result["cases"]["b"] == {"1": missed, "3": scores(1, 0, 0, 2, 2), "5": NOTHING}
    assert result["mean"] == {
        "1": scores(0.4, 1.8, 0.4, 2, 4),
        "3": scores(1, 0, 0, 2, 2),
        "5": scores(1, 0, 0, 2, 2),
        "all": scores(0.8, 0.6, 0.4 / 3, 2, 8 / 3),
    }


def test_labels_are_in_order_of_their_values(tmp_path):
    path = save(tmp_path / "a.nii", rod(10, 9, 100))
    assert list(evaluate(path, path)["mean"]) == ["9", "10", "100", "all"]


def test_result_is_json(folders):
    result = evaluate(*folders)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    prediction = save(tmp_path / "output.nii.gz", rod(1))
    reference = save(tmp_path / "truth.nii", rod(1, 1))
    result = evaluate(prediction, reference)
    assert list(result["cases"]) == ["output"]
    assert result["cases"]["output"]["1"]["dice"] == pytest.approx(2 / 3)


def test_a_file_against_a_folder_pairs_by_name(tmp_path):
    prediction = save(tmp_path / "a.nii.gz", rod(1))
    save(tmp_path / "references" / "a.nii", rod(1))
    assert evaluate(prediction, tmp_path / "references")["mean"]["all"]["dice"] == 1


def test_nothing_but_background(tmp_path):
    path = save(tmp_path / "a.nii", rod())
    assert evaluate(path, path) == {"cases": {"a": {}}, "mean": {"all": NOTHING}}


def test_volumes_come_from_the_determinant(tmp_path):
    sheared = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    path = save(tmp_path / "a.nii", rod(1, 1, 1), sheared)
    assert evaluate(path, path)["mean"]["1"]["volume_mm3"] == pytest.approx(6)


def test_progress(folders):
    assert list(iter_evaluate(*folders)) == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("side", [0, 1])
def test_an_unpaired_file_is_named_before_any_work(folders, side):
    lonely = save(folders[side] / "c.nii.gz", rod(1))
    with pytest.raises(SettingsError) as error:
        next(iter_evaluate(*folders))
    assert str(lonely) in str(error.value)
    assert str(folders[1 - side]) in str(error.value)


def test_one_name_twice(folders):
    again = save(folders[0] / "a.nii", rod(1))
    with pytest.raises(SettingsError, match="same name twice") as error:
        evaluate(*folders)
    assert str(again) in str(error.value)


@pytest.mark.parametrize("side", [0, 1])
def test_a_path_that_is_not_there(folders, side):
    paths = list(folders)
    paths[side] = paths[side].parent / "nowhere"
    with pytest.raises(SettingsError, match="nowhere"):
        evaluate(*paths)


def test_a_folder_without_volumes(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VolumeError, match="empty"):
        evaluate(tmp_path / "empty", folders[1])


@pytest.mark.parametrize(
    ("labels", "affine"),
    [(rod(1, width=9), np.diag([2.0, 1, 1, 1])), (rod(1), np.diag([2.0, 1, 1.1, 1]))],
)
def test_different_grids_name_both_files(tmp_path, labels, affine):
    prediction = save(tmp_path / "moved.nii", labels, affine)
    reference = save(tmp_path / "truth.nii", rod(1))
    with pytest.raises(GridError, match=r"moved\.nii.*truth\.nii"):
        evaluate(prediction, reference)


def test_a_4d_file_needs_a_choice(tmp_path):
    path = save(tmp_path / "a.nii", np.stack([rod(1), rod(2, 2)], axis=-1))
    with pytest.raises(VolumeError, match=r"a\.nii"):
        evaluate(path, path)
    assert list(evaluate(path, path, volume=1)["mean"]) == ["2", "all"]


def test_table(folders):
    assert format_table(evaluate(*folders)).splitlines() == [
        "case  label    dice  hd95_mm  assd_mm  volume_mm3  reference_mm3",
        "----------------------------------------------------------------",
        "a         1  0.8000     1.80    0.400         4.0            6.0",
        "a         3       -        -        -           -              -",
        "a         5  1.0000     0.00    0.000         2.0            2.0",
        "b         1  0.0000        -        -         0.0            2.0",
        "b         3  1.0000     0.00    0.000         2.0            2.0",
        "b         5       -        -        -           -              -",
        "----------------------------------------------------------------",
        "mean      1  0.4000     1.80    0.400         2.0            4.0",
        "mean      3  1.0000     0.00    0.000         2.0            2.0",
        "mean      5  1.0000     0.00    0.000         2.0            2.0",
        "mean    all  0.8000     0.60    0.133         2.0            2.7",
    ]


def test_doubts_are_judged_where_something_is_labelled(folders):
    """Case "a": prediction 1 1 0 5, reference 1 1 1 5; case "b": 0 0 3 and 1 0 3."""
    predictions, references = folders
    sure = {"a": [0.9, 0.9, 0.9, 0.5], "b": [0.7, 1.0, 1.0]}
    for name, row in sure.items():
        confidence = np.zeros((8, 3, 3))
        confidence[: len(row), 1, 1] = row
        chances = np.stack([1 - confidence, confidence], -1)
        folder = predictions.parent
        save(folder / "probabilities" / f"{name}.nii.gz", chances)
        save(folder / "uncertainty" / f"{name}.nii.gz", 1 - confidence)
    doubts = Doubts(folder / "probabilities", folder / "uncertainty")
    found = evaluate(predictions, references, doubts=doubts)["calibration"]
    # Six voxels: confidences 0.9 (two of three right), 0.5 (right), 0.7 (wrong), 1 (right).
    assert found["voxels"] == 6
    assert found["ece"] == pytest.approx((0.7 + 0.5 + 0.7 + 0) / 6)
    assert found["risk"] == pytest.approx(2 / 6)
    # In order: 1 right; 0.9 thrice, with 1/3 of an error each; 0.7 wrong; 0.5 right.
    risks = [0, 1 / 3 / 2, 2 / 3 / 3, 1 / 4, 2 / 5, 2 / 6]
    assert found["risk_coverage_area"] == pytest.approx(np.mean(risks))
    assert "calibration" not in evaluate(predictions, references)
    only = evaluate(predictions, references, doubts=Doubts(uncertainty=folder / "uncertainty"))
    assert only["calibration"]["ece"] is None
    assert "risk_coverage_area: 0.2287" in format_table(only)


@pytest.mark.parametrize(
    ("array", "affine", "error", "words"),
    [
        (np.full((8, 3, 3), 7.0), None, VolumeError, r"7 to 7; .* between 0 and 1"),
        (np.zeros((8, 3, 3)), np.eye(4), GridError, "different grids"),
    ],
)
def test_doubts_that_are_none_are_refused(folders, array, affine, error, words):
    predictions, references = folders
    for name in ("a", "b"):
        save(predictions.parent / "doubts" / f"{name}.nii.gz", array, affine)
    with pytest.raises(error, match=words):
        evaluate(predictions, references, doubts=Doubts(predictions.parent / "doubts"))
    (predictions.parent / "doubts" / "b.nii.gz").unlink()
    with pytest.raises(SettingsError, match=r"b\.nii: no file of that name"):
        evaluate(predictions, references, doubts=Doubts(predictions.parent / "doubts"))


def test_voxels_to_ignore_are_left_out(tmp_path):
    """Of the reference's 9 no score is made, whatever was predicted there."""
    predictions = save(tmp_path / "p.nii.gz", rod(1, 1, 0, 2, 1))
    references = save(tmp_path / "r.nii.gz", rod(1, 1, 1, 9, 9))
    case = evaluate(predictions, references, ignore=9)["cases"]["p"]
    assert list(case) == ["1"]
    assert case["1"]["dice"] == pytest.approx(4 / 5)
    assert (case["1"]["volume_mm3"], case["1"]["reference_mm3"]) == (4, 6)


def test_regions_are_scored_as_a_whole(tmp_path):
    """Values 1 and 2 are of the whole, 2 of its core."""
    pair = [
        read_volume(save(tmp_path / f"{n}.nii.gz", labels), kind="labels")
        for n, labels in enumerate((rod(1, 1, 2, 0), rod(1, 2, 1, 0)))
    ]
    case = score_labels(*pair, {1: (1, 2), 2: (2,), 3: (3,)})
    assert {label: scores["dice"] for label, scores in case.items()} == {"1": 1.0, "2": 0.0}
