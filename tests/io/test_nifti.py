"""What goes into a file comes out of it: to the bit, and checked with nibabel on both ends."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.errors import OutputError, SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.io import read_volume, write_labels, write_volume
from napari_asmlp.volume import Volume

SPACING = (0.7, 1.1, 2.3)
TURNS = list(product(permutations(range(3)), product((1, -1), repeat=3)))  # all 48


def tilted(axes=(0, 1, 2), signs=(1, 1, 1)):
    """Return an anisotropic affine tilted by 20 degrees about two axes."""
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ (np.eye(3)[:, axes] * signs) * SPACING
    affine[:3, 3] = -11.3, 20.7, 33.1
    return affine


def some_labels(volume, highest=3):
    shape = volume.grid.shape
    return np.arange(np.prod(shape)).reshape(shape) % 3 * (highest // 2)


def set_scaling(path, slope, inter):
    """Put scl_slope and scl_inter into a file's bytes, since nibabel chooses its own on writing."""
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(content)


def assert_same_space(first, second):
    one, two = nib.load(first), nib.load(second)
    np.testing.assert_array_equal(one.affine, two.affine)
    for form in ("get_qform", "get_sform"):
        matrix, code = getattr(one.header, form)(coded=True)
        other_matrix, other_code = getattr(two.header, form)(coded=True)
        assert code == other_code
        np.testing.assert_array_equal(matrix, other_matrix)
    for field in ("pixdim", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "srow_x"):
        np.testing.assert_array_equal(one.header[field], two.header[field])


@pytest.mark.parametrize(("axes", "signs"), TURNS)
def test_labels_round_trip_on_any_grid(make_nifti, tmp_path, axes, signs):
    affine = tilted(axes, signs)
    source = make_nifti(sform=(affine, 1), qform=(affine, 1))
    volume = read_volume(source)
    drawn = some_labels(volume)

    path = write_labels(volume.with_labels(drawn), tmp_path / "labels.nii")

    assert_same_space(source, path)
    again = read_volume(path, kind="labels")
    assert again.grid == volume.grid
    np.testing.assert_array_equal(again.array(), drawn)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), drawn)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("qform_code", "sform_code"), [(0, 0), (1, 0), (0, 2), (1, 1), (1, 4), (3, 2)]
)
def test_codes_and_differing_forms_are_kept(make_nifti, tmp_path, qform_code, sform_code, version):
    qform, sform = tilted(), tilted((1, 2, 0), (1, -1, 1))
    source = make_nifti(qform=(qform, qform_code), sform=(sform, sform_code), version=version)
    volume = read_volume(source)

    path = write_labels(volume.with_labels(some_labels(volume)), tmp_path / "labels.nii.gz")

    assert_same_space(source, path)
    assert read_volume(path).grid == volume.grid
    assert isinstance(nib.load(path), nib.Nifti2Image if version == 2 else nib.Nifti1Image)


def test_header_is_kept_except_what_describes_intensities(make_nifti, tmp_path):
    source = make_nifti(
        voxels=np.ones((2, 3, 4), np.float32),
        descrip=b"a scan",
        aux_file=b"notes",
        xyzt_units=10,
        slice_code=2,
        toffset=1.5,
        cal_max=1000,
        intent_code=3,
        intent_p1=7,
        intent_name=b"t-test",
    )
    set_scaling(source, 2, 5)
    volume = read_volume(source)
    path = write_labels(volume.with_labels(some_labels(volume)), tmp_path / "labels.nii")

    before, after = (nib.Nifti1Header(file.read_bytes()[:348]) for file in (source, path))
    assert {key for key in before if not np.array_equal(before[key], after[key])} == {
        *("datatype", "bitpix", "scl_slope", "scl_inter", "cal_max"),
        *("intent_code", "intent_p1", "intent_name"),
    }
    assert (after["scl_slope"], after["scl_inter"], after["cal_max"], after["datatype"]) == (
        1,
        0,
        0,
        2,
    )


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".img"])
def test_extensions_are_kept(make_nifti, tmp_path, suffix):
    image = nib.load(make_nifti())
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"seen by a radiologist"))
    source = tmp_path / f"extended{suffix}"
    (nib.Nifti1Pair if suffix == ".img" else nib.Nifti1Image)(
        image.dataobj, None, image.header
    ).to_filename(source)
    volume = read_volume(source)

    path = write_labels(volume.with_labels(some_labels(volume)), tmp_path / f"labels{suffix}")

    [extension] = nib.load(path).header.extensions
    assert extension.get_content() == b"seen by a radiologist"
    np.testing.assert_array_equal(read_volume(path).array(), some_labels(volume))


@pytest.mark.parametrize("target", [".nii", ".nii.gz", ".img", ".hdr", ".mgh", ".mgz"])
@pytest.mark.parametrize("source", [".nii.gz", ".img", ".hdr", ".mgz"])
def test_from_any_format_to_any(make_nifti, tmp_path, source, target):
    if source == ".mgz":
        path = tmp_path / "scan.mgz"
        voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        nib.MGHImage(voxels, tilted()).to_filename(path)
    else:
        path = make_nifti(f"scan{source}", sform=(tilted(), 2), qform=(tilted(), 1))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array().ravel(), range(24))

    written = write_labels(volume.with_labels(some_labels(volume)), tmp_path / f"out{target}")

    again = read_volume(written, kind="labels")
    assert again.grid.same_as(volume.grid, tolerance_mm=1e-4)
    if (source == ".mgz") == target.startswith(".mg"):
        assert again.grid == volume.grid
    np.testing.assert_array_equal(again.array(), some_labels(volume))
    assert nib.load(written).get_data_dtype() == np.uint8


@pytest.mark.parametrize("highest", [3, 1000])
def test_mgh_becomes_nifti_with_scanner_codes(tmp_path, highest):
    nib.MGHImage(np.ones((2, 3, 4), np.float32), tilted()).to_filename(tmp_path / "scan.mgh")
    volume = read_volume(tmp_path / "scan.mgh")

    path = write_labels(volume.with_labels(some_labels(volume, highest)), tmp_path / "out.nii")

    header = nib.load(path).header
    assert (header["qform_code"], header["sform_code"]) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), tilted(), atol=1e-5)
    np.testing.assert_allclose(header.get_sform(), tilted(), atol=1e-5)


def test_a_shear_goes_into_the_sform_alone(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.5
    volume = Volume(np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), affine), kind="labels")

    path = write_labels(volume, tmp_path / "out.nii")

    header = nib.load(path).header
    assert (header["qform_code"], header["sform_code"]) == (0, 1)
    assert read_volume(path).grid == volume.grid


@pytest.mark.parametrize(
    ("highest", "nifti", "mgh"),
    [
        (254, "uint8", "uint8"),
        (256, "uint16", "int16"),
        (40000, "uint16", "int32"),
        (70000, "uint32", "int32"),
        (4294967294, "uint32", None),
    ],
)
def test_smallest_dtype_that_fits(make_nifti, tmp_path, highest, nifti, mgh):
    volume = read_volume(make_nifti())
    labels = volume.with_labels(some_labels(volume, highest))

    path = write_labels(labels, tmp_path / "labels.nii")
    assert nib.load(path).get_data_dtype() == nifti
    if mgh is None:
        with pytest.raises(OutputError, match=f"cannot hold label {highest}"):
            write_labels(labels, tmp_path / "labels.mgz")
        assert not list(tmp_path.glob("*.mgz"))
    else:
        path = write_labels(labels, tmp_path / "labels.mgz")
        assert nib.load(path).get_data_dtype() == np.dtype(mgh).newbyteorder(">")
        assert read_volume(path, kind="labels").array().max() == highest


def test_equal_labels_give_equal_bytes(make_nifti, tmp_path):
    volume = read_volume(make_nifti("scan.nii.gz"))
    labels = volume.with_labels(some_labels(volume))

    first = write_labels(labels, tmp_path / "first.nii.gz")
    second = write_labels(labels, tmp_path / "second.nii.gz")

    assert first.read_bytes() == second.read_bytes()


def test_cropped_grid_is_written_as_such(make_nifti, tmp_path):
    volume = read_volume(make_nifti(sform=(tilted(), 4), qform=(tilted(), 1)))
    region = Region((0, 1, 1), (2, 3, 4))
    crop = Volume(np.zeros(region.shape, np.uint8), volume.grid.cropped(region), "labels")
    crop = Volume(crop.data, crop.grid, "labels", header=volume.header)

    again = read_volume(write_labels(crop, tmp_path / "crop.nii"))

    assert again.grid.same_as(crop.grid, tolerance_mm=1e-4)
    assert again.header["sform_code"] == 4


@pytest.mark.parametrize(
    ("stored", "seen"),
    [
        ((2, 3, 4, 1), (2, 3, 4)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 3, 4, 1, 3), (2, 3, 4, 3)),
        ((2, 3, 4, 1, 1), (2, 3, 4)),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_further_axes_are_channels(make_nifti, tmp_path, stored, seen, suffix):
    voxels = np.arange(np.prod(stored), dtype=np.int16).reshape(stored)
    source = make_nifti(f"scan{suffix}", voxels)

    volume = read_volume(source)

    assert volume.data.shape == seen
    assert volume.channels == (seen[3] if len(seen) == 4 else 1)
    np.testing.assert_array_equal(volume.array(), voxels.reshape(seen))
    path = write_labels(volume.with_labels(some_labels(volume)), tmp_path / f"labels{suffix}")
    assert nib.load(path).shape == (2, 3, 4)
    np.testing.assert_array_equal(nib.load(path).affine, nib.load(source).affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_one_volume_of_several(make_nifti, tmp_path, suffix):
    voxels = np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5)
    source = tmp_path / f"scan{suffix}"
    if suffix == ".mgz":
        nib.MGHImage(voxels, np.eye(4)).to_filename(source)
    else:
        make_nifti(source.name, voxels)

    third = read_volume(source, volume=2)

    assert third.channels == 1
    np.testing.assert_array_equal(third.array(), voxels[..., 2])
    for wrong in (5, -1):
        with pytest.raises(SettingsError, match=f"volume {wrong} .* holds 5"):
            read_volume(source, volume=wrong)


def test_volume_of_a_3d_file(make_nifti):
    source = make_nifti()

    assert read_volume(source, volume=0).array().shape == (2, 3, 4)
    with pytest.raises(SettingsError, match="holds 1"):
        read_volume(source, volume=1)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".img"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "int64", "float32", ">f8"])
def test_voxels_stay_in_the_file_and_keep_their_type(make_nifti, suffix, dtype):
    voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    volume = read_volume(make_nifti(f"scan{suffix}", voxels))

    assert not isinstance(volume.data, np.ndarray)
    assert volume.data.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(volume.data[1, ..., 1:3], voxels[1, ..., 1:3])
    loaded = volume.array()
    assert type(loaded) is np.ndarray
    assert loaded.dtype == volume.data.dtype
    np.testing.assert_array_equal(loaded, voxels)


def test_big_endian_header(make_nifti, tmp_path):
    image = nib.load(make_nifti())
    header = image.header.as_byteswapped(">")
    source = tmp_path / "big.nii"
    nib.Nifti1Image(np.asarray(image.dataobj), None, header).to_filename(source)
    volume = read_volume(source)

    path = write_labels(volume.with_labels(some_labels(volume)), tmp_path / "labels.nii.gz")

    assert_same_space(source, path)
    np.testing.assert_array_equal(read_volume(path).array(), some_labels(volume))


@pytest.mark.parametrize(("stored", "seen"), [("int16", "float32"), ("int32", "float64")])
def test_scaled_numbers(make_nifti, stored, seen):
    source = make_nifti(voxels=np.arange(24, dtype=stored).reshape(2, 3, 4))
    set_scaling(source, 0.5, -1)

    volume = read_volume(source)

    assert volume.data.dtype == seen
    assert volume.array().dtype == seen
    np.testing.assert_array_equal(volume.array().ravel(), np.arange(24) / 2 - 1)
    np.testing.assert_array_equal(volume.data[0, 0], [-1, -0.5, 0, 0.5])


def test_a_partly_finite_image_is_left_as_it_is(make_nifti):
    voxels = np.full((2, 3, 4), np.nan, np.float32)
    voxels[0, 0, 0] = 1

    np.testing.assert_array_equal(read_volume(make_nifti(voxels=voxels)).array(), voxels)


def test_labels_stored_as_floats(make_nifti):
    voxels = np.zeros((2, 3, 4, 1), np.float32)
    voxels[1] = 300

    labels = read_volume(make_nifti(voxels=voxels), kind="labels")

    assert labels.kind == "labels"
    assert labels.array().dtype == np.uint16
    np.testing.assert_array_equal(labels.array(), voxels[..., 0])


@pytest.mark.parametrize("suffix", [".nii.gz", ".img", ".mgz"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_probabilities_are_float32(make_nifti, tmp_path, suffix, channels):
    volume = read_volume(make_nifti(sform=(tilted(), 2)))
    values = np.random.default_rng(0).random((2, 3, 4, *channels))

    path = write_volume(
        Volume(values, volume.grid, header=volume.header), tmp_path / f"out{suffix}"
    )

    again = read_volume(path)
    assert again.data.dtype == np.float32
    assert again.grid.same_as(volume.grid)
    np.testing.assert_array_equal(again.array(), values.astype(np.float32))


def test_write_volume_keeps_labels_integers(make_nifti, tmp_path):
    labels = read_volume(make_nifti(), kind="labels")

    path = write_volume(labels, tmp_path / "out.nii")

    assert nib.load(path).get_data_dtype() == np.uint8


def test_header_of_a_real_neighbour_is_not_touched(make_nifti, tmp_path):
    volume = read_volume(make_nifti(cal_max=9))

    write_labels(volume.with_labels(some_labels(volume)), tmp_path / "labels.nii")

    assert volume.header["cal_max"] == 9


def test_labels_of_several_volumes(make_nifti):
    source = make_nifti(voxels=np.ones((2, 3, 4, 2), np.uint8))

    with pytest.raises(VolumeError, match="holds 2 volumes"):
        read_volume(source, kind="labels")
    assert read_volume(source, kind="labels", volume=1).array().shape == (2, 3, 4)


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000.0), ("mm", 1.0), ("micron", 0.001)])
def test_lengths_are_mm_whatever_the_file_counts_in(make_nifti, tmp_path, unit, mm):
    path = make_nifti(xyzt_units=nib.nifti1.unit_codes[unit] + nib.nifti1.unit_codes["sec"])
    volume = read_volume(path)
    np.testing.assert_allclose(volume.grid.spacing, np.array([1, 2, 3]) * mm)
    labels = volume.with_labels(np.ones(volume.grid.shape, np.uint8))
    written = nib.load(write_labels(labels, tmp_path / "labels.nii"))
    source = nib.load(path)
    assert written.header.get_xyzt_units() == (unit, "sec")
    np.testing.assert_array_equal(written.affine, source.affine)
    part = Volume(
        labels.array()[1:],
        volume.grid.cropped(Region((1, 0, 0), (2, 3, 4))),
        "labels",
        header=volume.header,
    )
    cropped = nib.load(write_labels(part, tmp_path / "part.nii"))
    assert cropped.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(cropped.affine, part.grid.affine, rtol=1e-6)
