"""What a classifier learns from, and everything that can be wrong with it."""

import pickle

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.training.classifier import class_splits, read_class_data
from tests.shapes import shapes, write_csv, write_npz, write_volumes


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_an_npz_gives_cases_of_both_sides_and_no_test_case(tmp_path):
    images, labels = shapes(5)
    path = written(
        tmp_path / "d.npz",
        train_images=images[:3],
        train_labels=labels[:3],
        val_images=images[3:4],
        val_labels=labels[3:4],
        test_images=images[4:],
        test_labels=labels[4:] + 7,
    )
    data = read_class_data(path, ["round", "long"])
    assert [case.side for case in data.cases] == ["training"] * 3 + ["validation"]
    assert data.outputs.tolist() == [1, 0, 0, 1]
    assert (data.cases[3].array == images[3]).all()
    assert data.cases[3].name == "d.npz val_images[0]"
    assert read_class_data(path).classes == ("0", "1")


IMAGES, LABELS = shapes(6)


@pytest.mark.parametrize(
    ("arrays", "classes", "words"),
    [
        ({"images": IMAGES}, (), "train_images"),
        ({"train_images": IMAGES, "train_labels": LABELS[:4]}, (), r"\(4,\) for 6 images"),
        ({"train_images": IMAGES[:, 0], "train_labels": LABELS}, (), r"\(6, 12, 12\).*\(N, X, Y"),
        ({"train_images": IMAGES, "train_labels": LABELS * 0}, (), "all 6 .* class '0'.*needs two"),
        ({"train_images": IMAGES, "train_labels": LABELS * 0.5}, (), "whole numbers"),
        ({"train_images": IMAGES, "train_labels": LABELS * 2}, (), "no case of the class '1'"),
        ({"train_images": IMAGES, "train_labels": LABELS * 2}, ("a", "b"), "class 2, but only 2"),
        ({"train_images": IMAGES, "train_labels": LABELS}, ("a", "b", "c"), "no case .* 'c'"),
        ({"train_images": IMAGES, "train_labels": LABELS}, ("a", "a"), "a name of its own"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, (), "holds no case"),
        ({"train_images": IMAGES.astype(object), "train_labels": LABELS}, (), "not a readable"),
    ],
)
def test_npz_files_that_cannot_be_learnt_from(tmp_path, arrays, classes, words):
    path = written(tmp_path / "d.npz", **arrays)
    with pytest.raises(SettingsError, match=f"{words}") as caught:
        read_class_data(path, classes)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", pickle.dumps([1])])
def test_damaged_npz_files(tmp_path, content):
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(SettingsError, match=r"d\.npz: not a readable \.npz") as found:
        read_class_data(tmp_path / "d.npz")
    assert "pickle" not in str(found.value)  # numpy says how to run the code in a file


def test_a_csv_names_files_from_its_own_folder(tmp_path):
    rows = write_volumes(tmp_path, 3)
    data = read_class_data(write_csv(tmp_path / "d.csv", rows))
    assert data.classes == ("long", "round")
    assert data.outputs.tolist() == [0, 1, 1]
    assert data.cases[2].path == tmp_path / "2.nii.gz"
    assert data.cases[2].name == "d.csv, line 4"
    ordered = read_class_data(tmp_path / "d.csv", ("round", "long"))
    assert ordered.outputs.tolist() == [1, 0, 0]


def test_numbers_as_classes_are_ordered_by_value(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    rows = [("a.nii.gz", name) for name in ("10", "9", "other", "2")]
    data = read_class_data(write_csv(tmp_path / "d.csv", rows))
    assert data.classes == ("2", "9", "10", "other")


def test_rows_about_objects_sides_and_groups(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    header = ("path", "label", "labels", "object", "split", "group")
    rows = [
        ("a.nii.gz", "x", "a.nii.gz", "7", "train", "p1"),
        ("a.nii.gz", "y", "", "", "VAL", ""),
        ("gone.nii.gz", "strange", "", "", "test", ""),
    ]
    one, other = read_class_data(write_csv(tmp_path / "d.csv", rows, header)).cases
    assert (one.object, one.labels, one.side, one.group) == (
        7,
        tmp_path / "a.nii.gz",
        "training",
        "p1",
    )
    assert (other.object, other.side) == (None, "validation")
    assert other.group == str((tmp_path / "a.nii.gz").resolve())


GOOD = ("a.nii.gz", "x", "", "", "")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("b.nii.gz", "x", "", "", ""), "line 3: there is no file .*b.nii.gz"),
        (("a.nii.gz", "z", "", "", ""), "line 3: class 'z' is none of x, y"),
        (("a.nii.gz", "", "", "", ""), "line 3: no label"),
        (("", "x", "", "", ""), "line 3: no path"),
        (("a.nii.gz", "x", "", "3", ""), "line 3: an object needs both"),
        (("a.nii.gz", "x", "a.nii.gz", "0", ""), "line 3: object '0'"),
        (("a.nii.gz", "x", "a.nii.gz", "one", ""), "line 3: object 'one'"),
        (("a.nii.gz", "x", "", "", "later"), "line 3: split 'later'"),
        (("a.nii.gz", "x"), "line 3: has another number of values"),
        (("a.nii.gz", "x", "", "", "", "more"), "line 3: has another number of values"),
    ],
)
def test_rows_that_cannot_be_read_are_named_by_their_line(tmp_path, row, words):
    (tmp_path / "a.nii.gz").touch()
    header = ("path", "label", "labels", "object", "split")
    path = write_csv(tmp_path / "d.csv", [GOOD, row], header)
    with pytest.raises(SettingsError, match=f"d.csv, {words}"):
        read_class_data(path, ("x", "y"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"names no column .path. or .label. \(it has none"),
        (b"file,label\n", "names no column 'path'"),
        (b"path,label\n", "holds no case"),
        (b"path,label\n\xff\xfe,x\n", "not a readable CSV"),
        (b'path,label\n"a,x\n', "not a readable CSV"),
    ],
)
def test_files_that_are_no_such_table(tmp_path, content, words):
    (tmp_path / "d.csv").write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        read_class_data(tmp_path / "d.csv")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="no such file"):
        read_class_data(tmp_path / "d.csv")
    (tmp_path / "d.zip").touch()
    with pytest.raises(SettingsError, match="in MedMNIST's form, or a CSV"):
        read_class_data(tmp_path / "d.zip")


def test_the_validation_cases_of_the_data_are_kept_out(tmp_path):
    data = read_class_data(write_npz(tmp_path / "d.npz", 6, 3))
    (split,) = class_splits(data, 0, seed=0)
    assert split.training.tolist() == [0, 1, 2, 3, 4, 5]
    assert split.kept_out.tolist() == [6, 7, 8]


def test_folds_keep_each_case_out_once_and_classes_as_frequent(tmp_path):
    data = read_class_data(write_npz(tmp_path / "d.npz", 18, 9))
    splits = class_splits(data, 3, seed=0)
    assert sorted(np.concatenate([s.kept_out for s in splits])) == list(range(27))
    assert [int(data.outputs[s.kept_out].sum()) for s in splits] == [3, 3, 3]


def test_without_validation_cases_a_fifth_is_kept_out(tmp_path):
    data = read_class_data(write_npz(tmp_path / "d.npz", 30, 0))
    (split,) = class_splits(data, 0, seed=0)
    assert len(split.kept_out) == 6


VALUES = (1, "x"), (2, "y")


def test_objects_of_one_image_stay_on_one_side(tmp_path):
    for n in range(6):
        (tmp_path / f"{n}.nii.gz").touch()
    rows = [(f"{n}.nii.gz", label, f"{n}.nii.gz", v) for n in range(6) for v, label in VALUES]
    data = read_class_data(
        write_csv(tmp_path / "d.csv", rows, ("path", "label", "labels", "object"))
    )
    for split in class_splits(data, 3, seed=0):
        sides = [{data.cases[n].path for n in side} for side in (split.training, split.kept_out)]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == 2


def test_a_class_of_one_group_cannot_be_split(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    rows = [("a.nii.gz", "x"), ("a.nii.gz", "y"), ("a.nii.gz", "y")]
    data = read_class_data(write_csv(tmp_path / "d.csv", rows))
    with pytest.raises(SettingsError, match="class 'x' has 1 cases"):
        class_splits(data, 0, seed=0)
