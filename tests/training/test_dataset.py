"""Data sets on disk: cases, splits, samples on the model grid, and what is wrong with them."""

import json

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import AsmlpError, GridError, SettingsError, VolumeError
from napari_asmlp.model import Preprocessing
from napari_asmlp.training.dataset import read_case, read_dataset, read_samples, split
from tests.blobs import AFFINE, ball, write_dataset


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "balls")


def test_cases_of_the_decathlon_layout(folder):
    dataset = read_dataset(folder)
    assert dataset.name == "Balls"
    assert [case.name for case in dataset.cases] == ["ball_0", "ball_1", "ball_2", "ball_3"]
    assert dataset.label_names == {1: "Back", 2: "Front"}


def test_cases_of_the_nnunet_layout(folder):
    for image in (folder / "imagesTr").iterdir():
        name = image.name.removesuffix(".nii.gz")
        image.rename(image.with_name(f"{name}_0000.nii.gz"))
    second = folder / "imagesTr" / "ball_1_0000.nii.gz"
    for n in range(4):
        nibabel.save(nibabel.load(second), folder / "imagesTr" / f"ball_{n}_0001.nii.gz")
    table = {"background": 0, "Back": 1, "Front": 2}
    (folder / "dataset.json").write_text(json.dumps({"labels": table, "file_ending": ".nii.gz"}))
    dataset = read_dataset(folder)
    assert dataset.label_names == {1: "Back", 2: "Front"}
    image, _ = read_case(dataset.cases[0])
    assert image.channels == 2


def test_the_split_follows_content_not_names(folder):
    cases = read_dataset(folder).cases
    training, kept_out = split(cases, (1, 2))
    assert len(training) == len(kept_out) == 2
    assert {case.name for case in training} | {case.name for case in kept_out} == {
        case.name for case in cases
    }
    again, _ = split(cases[::-1], (1, 2))
    assert again == training
    assert split(cases, None) == (list(cases), [])


def test_folds_cover_all_cases_once(folder):
    cases = read_dataset(folder).cases
    held = [case for part in range(3) for case in split(cases, (part, 3))[1]]
    assert sorted(case.name for case in held) == sorted(case.name for case in cases)


def test_samples_lie_on_the_model_grid(folder):
    """The files' axes are L, S, A: a sample is turned to R, A, S, labels with the image."""
    cases = read_dataset(folder).cases[:1]
    (sample,) = read_samples(cases, {1: "Back", 2: "Front"}, Preprocessing())
    image, labels = ball(0)
    assert sample.image.shape == (1, 14, 12, 18)
    np.testing.assert_array_equal(sample.classes, labels[::-1].transpose(0, 2, 1))
    assert np.corrcoef(sample.image[0].ravel(), image[::-1].transpose(0, 2, 1).ravel())[0, 1] > 0.99
    assert abs(sample.image.mean()) < 1e-5


def test_samples_are_resampled_together(folder):
    cases = read_dataset(folder).cases[:1]
    recipe = Preprocessing(spacing=(2.0, 2.0, 1.0))
    (sample,) = read_samples(cases, {1: "Back", 2: "Front"}, recipe)
    assert sample.image.shape[1:] == sample.classes.shape == (7, 6, 18)
    assert set(np.unique(sample.classes)) == {0, 1, 2}


def test_labels_stored_as_floats_are_read(tmp_path):
    folder = write_dataset(tmp_path / "balls", labels_dtype=np.float32)
    (sample,) = read_samples(read_dataset(folder).cases[:1], {1: "a", 2: "b"}, Preprocessing())
    assert set(np.unique(sample.classes)) == {0, 1, 2}


def test_label_values_may_have_gaps(folder):
    cases = read_dataset(folder).cases[:1]
    labels = nibabel.load(cases[0].labels)
    array = np.asarray(labels.dataobj)
    nibabel.save(nibabel.Nifti1Image(array * 7, AFFINE), cases[0].labels)
    (sample,) = read_samples(cases, {7: "a", 14: "b"}, Preprocessing())
    assert set(np.unique(sample.classes)) == {0, 1, 2}


def test_an_undeclared_label_is_refused(folder):
    with pytest.raises(VolumeError, match=r"ball_0.*label value 2"):
        list(read_samples(read_dataset(folder).cases, {1: "Back"}, Preprocessing()))


def test_labels_on_another_grid_are_refused(folder):
    case = read_dataset(folder).cases[0]
    labels = np.asarray(nibabel.load(case.labels).dataobj)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2, 1, 1, 1])), case.labels)
    with pytest.raises(GridError, match=r"ball_0\.nii\.gz.*different grids"):
        read_case(case)


def break_index(folder, change):
    index = folder / "dataset.json"
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda f: (f / "dataset.json").unlink(), "cannot be read"),
        (lambda f: (f / "dataset.json").write_text("{"), "not JSON"),
        (lambda f: (f / "dataset.json").write_text("[]"), "no table of labels"),
        (lambda f: (f / "imagesTr" / "ball_2.nii.gz").unlink(), "ball_2.*does not exist"),
        (lambda f: break_index(f, lambda c: c.update(training=[])), "no training cases"),
        (lambda f: break_index(f, lambda c: c["training"].append({"image": "x"})), "no pair"),
        (
            lambda f: break_index(
                f, lambda c: c["training"].append({"image": "../../x", "label": "x"})
            ),
            "outside the data set",
        ),
        (lambda f: break_index(f, lambda c: c.update(labels={"0": "background"})), "1 to 254"),
        (lambda f: break_index(f, lambda c: c["labels"].update(x="name")), "not a number"),
        (lambda f: break_index(f, lambda c: c["labels"].update({"99999": "far"})), "99999"),
        (lambda f: break_index(f, lambda c: c["training"].pop()), r"ball_3.*not listed"),
        (lambda f: break_index(f, lambda c: c["training"].append(c["training"][0])), "twice"),
        (
            lambda f: break_index(f, lambda c: c["training"][0].update(image="a\0b")),
            "null",
        ),
    ],
)
def test_a_broken_data_set_is_refused(folder, damage, word):
    damage(folder)
    with pytest.raises(AsmlpError, match=word):
        read_dataset(folder)


def test_too_few_cases_for_the_folds(folder):
    with pytest.raises(SettingsError, match="only 4 cases"):
        split(read_dataset(folder).cases, (0, 5))
