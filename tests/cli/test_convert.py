"""`napari-asmlp convert`: the same values on the same grid, or one line that says why not."""

import nibabel
import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.io import read_volume
from tests.blobs import ball

OBLIQUE = np.array([[-0.9, 0.3, 0.1, 8], [0.2, 0.1, 1.4, -4], [0.3, 0.9, -0.2, 3], [0, 0, 0, 1]])


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return status, capsys.readouterr().err

    return run


def save(array, name, affine=OBLIQUE):
    nibabel.save(nibabel.Nifti1Image(array, affine, dtype=array.dtype), name)


def both(before, after):
    """Read two files with nibabel alone."""
    return [nibabel.load(name) for name in (before, after)]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr", ".mgz", ".mgh"])
@pytest.mark.parametrize(
    ("dtype", "stored"), [(np.uint8, np.uint8), (np.float32, np.uint8), (np.int16, np.uint8)]
)
def test_labels_keep_values_and_grid(call, suffix, dtype, stored):
    save(ball(0)[1].astype(dtype), "in.nii.gz")
    status, err = call("convert", "in.nii.gz", f"out{suffix}")
    assert status == 0 and "labels (so it seems; --as image says otherwise)" in err
    before, after = both("in.nii.gz", f"out{suffix}")
    np.testing.assert_array_equal(np.asarray(before.dataobj), np.asarray(after.dataobj))
    np.testing.assert_allclose(before.affine, after.affine, atol=1e-5)
    assert after.get_data_dtype() == stored


def test_there_and_back_is_the_same_file(call, tmp_path):
    """From NIfTI to NIfTI the whole header is kept: also what no volume of ours knows."""
    image = nibabel.Nifti1Image(ball(0)[1], OBLIQUE)
    image.header["descrip"] = b"scanner 7"
    image.set_qform(OBLIQUE, 1, strip_shears=True)
    image.set_sform(OBLIQUE, 4)
    nibabel.save(image, "in.nii")
    assert call("convert", "in.nii", "a.nii.gz")[0] == 0
    assert call("convert", "a.nii.gz", "b.nii")[0] == 0
    first, last = both("in.nii", "b.nii")
    assert first.header["descrip"] == last.header["descrip"]
    assert (last.header["qform_code"], last.header["sform_code"]) == (1, 4)
    np.testing.assert_array_equal(first.get_sform(), last.get_sform())


@pytest.mark.parametrize(
    ("dtype", "suffix", "stored"),
    [
        (np.float64, ".nii", np.float64),
        (np.float32, ".mgz", np.float32),
        (np.int16, ".nii.gz", np.int16),
        (np.int16, ".mgz", np.int16),
        (np.uint16, ".mgz", np.int16),
        (np.uint32, ".mgz", np.int16),
        (np.int64, ".nii", np.int64),
    ],
)
def test_an_image_keeps_every_value(call, dtype, suffix, stored):
    """More than 256 different values, negative ones where there can be."""
    lowest = 0 if np.dtype(dtype).kind == "u" else -7
    array = np.arange(14 * 18 * 12).reshape(14, 18, 12) + lowest
    save(array.astype(dtype), "in.nii")
    status, err = call("convert", "in.nii", f"out{suffix}")
    assert status == 0 and "image (so it seems" in err
    before, after = both("in.nii", f"out{suffix}")
    np.testing.assert_array_equal(np.asarray(before.dataobj), np.asarray(after.dataobj))
    assert after.get_data_dtype().newbyteorder("=") == stored


def test_several_volumes_are_an_image_and_one_of_them_can_be_taken(call):
    array = np.stack([ball(0)[1], ball(1)[1]], axis=-1)
    save(array, "in.nii")
    assert call("convert", "in.nii", "out.mgz")[0] == 0
    np.testing.assert_array_equal(np.asarray(nibabel.load("out.mgz").dataobj), array)
    assert call("convert", "in.nii", "one.nii.gz", "--volume", 1)[0] == 0
    np.testing.assert_array_equal(np.asarray(nibabel.load("one.nii.gz").dataobj), array[..., 1])


def test_nan_and_scaled_integers_keep_their_values(call):
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    array[0] = np.nan
    save(array, "in.nii")
    scaled = nibabel.Nifti1Image(np.arange(210, dtype=np.int16).reshape(5, 6, 7), OBLIQUE)
    scaled.header.set_slope_inter(0.5, -3)
    nibabel.save(scaled, "scaled.nii")
    for name in ("in.nii", "scaled.nii"):
        assert call("convert", name, "out.mgz", "--overwrite")[0] == 0
        np.testing.assert_array_equal(*(read_volume(n).array() for n in (name, "out.mgz")))


def test_whole_floats_can_stay_floats(call):
    save(ball(0)[1].astype(np.float32), "in.nii")
    status, err = call("convert", "in.nii", "out.nii", "--as", "image")
    assert status == 0 and "seems" not in err
    assert nibabel.load("out.nii").get_data_dtype() == np.float32


@pytest.mark.parametrize(
    ("array", "words", "said"),
    [
        (np.full((4, 4, 4), 0.5), ("out.nii", "--as", "labels"), "0.5 is no label"),
        (np.full((4, 4, 4), -1.0), ("out.nii", "--as", "labels"), "-1"),
        (np.full((4, 4, 4), 0.1), ("out.mgz",), "out.mgz: MGH cannot hold its float64 values"),
        (np.full((4, 4, 4), 2**31, np.uint32), ("out.mgz",), "MGH cannot hold label 2147483648"),
        (np.ones((4, 4, 4)), ("in.nii", "--overwrite"), "is the input"),
        (np.ones((4, 4, 4)), ("there.nii",), "there.nii: exists already"),
        (np.ones((4, 4, 4)), ("out.png",), "out.png: no known format"),
        (np.ones((4, 4, 4)), ("absent/out.nii",), "absent"),
        (np.ones((4, 4, 4, 2)), ("out.nii", "--as", "labels"), "holds 2 volumes"),
        (np.ones((4, 4, 4)), ("out.nii", "--volume", "3"), "volume 3"),
    ],
)
def test_what_would_lose_something_is_refused(call, tmp_path, array, words, said):
    save(array, tmp_path / "in.nii")
    (tmp_path / "there.nii").write_bytes(b"mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status, err = call("convert", "in.nii", *words)
    assert (status, err.count("\n")) == (2, 1) and said in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
