"""Cases on the model grid, and the folder they are kept in."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import VolumeError
from napari_asmlp.model import Intensities, Preprocessing
from napari_asmlp.training.dataset import IGNORED, LabelTable, examined, read_dataset
from napari_asmlp.training.samples import (
    Sample,
    SampleFolder,
    check_classes,
    prepare,
    read_sample,
)
from tests.blobs import AFFINE, ball, write_dataset

NAMES = LabelTable({1: "Back", 2: "Front"})


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "balls")


def test_samples_lie_on_the_model_grid(folder):
    """The files' axes are L, S, A: a sample is turned to R, A, S, labels with the image."""
    cases = read_dataset(folder).cases[:1]
    sample = read_sample(cases[0], NAMES, Preprocessing())
    image, labels = ball(0)
    assert sample.image.shape == (1, 14, 12, 18)
    np.testing.assert_array_equal(sample.classes, labels[::-1].transpose(0, 2, 1))
    assert np.corrcoef(sample.image[0].ravel(), image[::-1].transpose(0, 2, 1).ravel())[0, 1] > 0.99
    assert abs(sample.image.mean()) < 1e-5


def test_samples_are_resampled_together(folder):
    cases = read_dataset(folder).cases[:1]
    recipe = Preprocessing(spacing=(2.0, 2.0, 1.0))
    sample = read_sample(cases[0], NAMES, recipe)
    assert sample.image.shape[1:] == sample.classes.shape == (7, 6, 18)
    assert set(np.unique(sample.classes)) == {0, 1, 2}


def test_labels_stored_as_floats_are_read(tmp_path):
    folder = write_dataset(tmp_path / "balls", labels_dtype=np.float32)
    sample = read_sample(
        read_dataset(folder).cases[0], LabelTable({1: "a", 2: "b"}), Preprocessing()
    )
    assert set(np.unique(sample.classes)) == {0, 1, 2}


def test_label_values_may_have_gaps(folder):
    cases = read_dataset(folder).cases[:1]
    labels = nibabel.load(cases[0].labels)
    array = np.asarray(labels.dataobj)
    nibabel.save(nibabel.Nifti1Image(array * 7, AFFINE), cases[0].labels)
    sample = read_sample(cases[0], LabelTable({7: "a", 14: "b"}), Preprocessing())
    assert set(np.unique(sample.classes)) == {0, 1, 2}


def test_an_undeclared_label_is_refused(folder):
    with pytest.raises(VolumeError, match=r"ball_0.*label value 2"):
        read_sample(read_dataset(folder).cases[0], LabelTable({1: "Back"}), Preprocessing())


def test_fixed_intensities_are_the_same_for_all(folder):
    case = read_dataset(folder).cases[0]
    recipe = Preprocessing(fixed=(Intensities(90.0, 150.0, 100.0, 20.0),))
    sample = read_sample(case, NAMES, recipe)
    image, _ = ball(0)
    expected = (image.clip(90, 150) - 100) / 20
    np.testing.assert_allclose(
        sample.image[0], expected[::-1].transpose(0, 2, 1), rtol=0, atol=1e-5
    )


def test_a_folder_gives_what_was_read(folder, tmp_path):
    cases = list(examined(read_dataset(folder).cases))
    entries = list(prepare(tmp_path / "kept", cases, NAMES, Preprocessing()))
    samples = SampleFolder(tmp_path / "kept", entries)
    assert len(samples) == 4
    for case, sample in zip(cases, samples, strict=True):
        expected = read_sample(case, NAMES, Preprocessing())
        assert isinstance(sample.image, np.memmap) and isinstance(sample.classes, np.memmap)
        assert sample.name == expected.name
        for name in ("image", "classes", "floor", "places"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(expected, name))


def test_what_is_there_is_not_made_again(folder, tmp_path):
    """Unless the preprocessing, the labels or the image are others."""
    kept = tmp_path / "kept"
    cases = list(examined(read_dataset(folder).cases[:2]))
    list(prepare(kept, cases, NAMES, Preprocessing()))
    before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(before) == 6
    next(kept.glob("*.npz")).unlink()  # a run was killed between two files
    list(prepare(kept, cases, NAMES, Preprocessing()))
    after = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert after.keys() == before.keys()
    assert sum(after[name] == before[name] for name in before) == 3
    list(prepare(kept, cases, NAMES, Preprocessing(spacing=(2.0, 2.0, 2.0))))
    assert len(list(kept.iterdir())) == 12
    labels = np.asarray(nibabel.load(cases[0].labels).dataobj)
    nibabel.save(nibabel.Nifti1Image(labels[::-1], AFFINE), cases[0].labels)
    list(prepare(kept, cases, NAMES, Preprocessing()))
    assert len(list(kept.iterdir())) == 15


def test_places_are_spread_over_each_class():
    classes = np.zeros((10, 20, 30), np.uint8)
    classes[2:8, 5:15, 10:20] = 1
    classes[0, 0, :2] = 3
    sample = Sample.of("s", np.zeros((1, *classes.shape), np.float32), classes)
    found = {value: sample.places[sample.places[:, 0] == value, 1:] for value in (1, 3)}
    assert sorted(map(tuple, found[3].tolist())) == [(0, 0, 0), (0, 0, 1)]
    assert len(found[1]) == len(np.unique(found[1], axis=0)) == 600
    assert (classes[tuple(found[1].T)] == 1).all()


def test_labels_that_no_case_has_are_named(folder, tmp_path):
    cases = list(examined(read_dataset(folder).cases[:2]))
    names = LabelTable({1: "Back", 2: "Front", 3: "Absent"})
    samples = [read_sample(case, names, Preprocessing()) for case in cases]
    assert check_classes(samples, names) == ["Absent"]
    empty = [replace(sample, places=np.empty((0, 4), np.int32)) for sample in samples]
    with pytest.raises(VolumeError, match="all 2 cases to train on are background"):
        check_classes(empty, names)


def test_ignored_voxels_are_no_places():
    """Of the others some of class 0 are kept, which stand for all that somebody annotated."""
    classes = np.full((4, 4, 4), IGNORED, np.uint8)
    classes[0, 0] = [0, 1, 1, 2]
    places = Sample.of("s", np.zeros((1, 4, 4, 4), np.float32), classes).places
    assert sorted(map(tuple, places[:, [0, 3]].tolist())) == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 3),
    ]  # fmt: skip
    assert not places[:, 1:3].any()
