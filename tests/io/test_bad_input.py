"""One row for each way a file can be bad: what is done to a good one, and what the user reads.

Each must give one line that begins with the file, says what is wrong, and leaves no log line, no
warning and no nibabel or numpy error behind; and the file stays as it is.
"""

from __future__ import annotations

import gzip
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.errors import AsmlpError, GridError, VolumeError
from napari_asmlp.io import read_volume

SHAPE = (6, 5, 4)
GOOD = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
NIFTI = nib.Nifti1Image(GOOD, np.eye(4)).to_bytes()
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SCL_SLOPE = 40, 70, 76, 108, 112  # byte offsets
QFORM_CODE, SROW_Y = 252, 296

Edit = Callable[[bytes], bytes]
Row = tuple[str, str, Any, str]


def content(data: bytes) -> Edit:
    return lambda _: data


def cut(size: int) -> Edit:
    return lambda good: good[:size]


def put(offset: int, layout: str, *values: float) -> Edit:
    """Return an edit of the header's bytes, of a plain or gzip-compressed file."""

    def edit(good: bytes) -> bytes:
        zipped = good.startswith(b"\x1f\x8b")
        plain = bytearray(gzip.decompress(good) if zipped else good)
        struct.pack_into(f"<{layout}", plain, offset, *values)
        return gzip.compress(plain, mtime=0) if zipped else bytes(plain)

    return edit


def flip_bit(position: int) -> Edit:
    def edit(good: bytes) -> bytes:
        bad = bytearray(good)
        bad[position] ^= 1
        return bytes(bad)

    return edit


# name, file, how its bytes are spoilt, what the message says
BAD_FILES: list[Row] = [
    ("empty", "x.nii", content(b""), "is empty"),
    ("empty-gz", "x.nii.gz", content(b""), "is empty"),
    ("gz-of-nothing", "x.nii.gz", content(gzip.compress(b"")), "is no NIfTI file"),
    ("header-cut", "x.nii", cut(100), "is no NIfTI file"),
    ("voxels-cut", "x.nii", cut(-1), "truncated.* need 592 bytes, the file has 591"),
    ("voxels-absent", "x.nii", cut(352), "truncated"),
    ("pair-cut", "x.img", cut(-1), r"x\.img: truncated"),
    ("mgh-cut", "x.mgh", cut(400), "truncated"),
    ("mgh-header-cut", "x.mgh", cut(50), "its header is damaged"),
    ("gz-header-cut", "x.nii.gz", cut(30), "cannot be read .Compressed file ended"),
    ("text", "x.nii", content(b"hello " * 100), "is text .'hello hello "),
    ("text-gz", "x.nii.gz", content(b"hello " * 100), "is text .'hello hello "),
    ("text-mgz", "x.mgz", content(gzip.compress(b"hello " * 100)), "is text .'hello hello "),
    ("noise", "x.nii", content(np.random.default_rng(1).bytes(1000)), "is no NIfTI file"),
    ("gz-named-nii", "x.nii", gzip.compress, r"gzip-compressed, .*rename it to x\.nii\.gz"),
    ("nii-named-gz", "x.nii.gz", gzip.decompress, r"not gzip-compressed, .*rename it to x\.nii$"),
    ("mgz-named-mgh", "x.mgh", gzip.compress, r"gzip-compressed, .*rename it to x\.mgz"),
    ("gz-named-hdr", "x.hdr", gzip.compress, "is gzip-compressed, .*unpack it"),
    ("nii-named-mgz", "x.mgz", content(NIFTI), r"a NIFTI file, .*rename it to x\.nii$"),
    ("lfs", "x.nii.gz", content(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    ("annex", "x.nii", content(b"/annex/objects/SHA256E-s1--00.nii\n"), "git annex get"),
    ("annex-link", "x.nii.gz", content(b"../.git/annex/objects/a/b\n"), "git annex get"),
    ("html", "x.nii.gz", content(b"\n<!DOCTYPE html><html>\xc3\xa9"), "a web page"),
    ("html-gz", "x.nii.gz", content(gzip.compress(b"<HTML><body>")), "a web page"),
    ("xml", "x.nii.gz", content(b"<?xml version='1.0'?><Error/>"), "XML text"),
    ("json", "x.nii.gz", content(b'\xef\xbb\xbf{"message": "no"}'), "JSON text"),
    ("zip", "x.nii", content(b"PK\3\4" + bytes(60)), "a zip archive"),
    ("tar-gz", "x.nii.gz", content(gzip.compress(bytes(257) + b"ustar")), "a tar archive"),
    ("dicom", "x.nii", content(bytes(128) + b"DICM\2\0"), "a DICOM file"),
    ("nrrd", "x.nii", content(b"NRRD0004\ntype: short\n"), "an NRRD file"),
    ("png", "x.nii", content(b"\x89PNG\r\n\x1a\n"), "a PNG picture"),
    ("zeros", "x.nii.gz", content(bytes(5000)), "only zeros"),
    ("unknown-gz", "x.nii.gz", content(b"\1\2\3" * 200), "is not gzip-compressed"),
    ("analyze", "x.hdr", put(344, "4s", b"\0\0\0\0"), "Analyze"),
    ("half-a-pair", "x.nii", put(344, "4s", b"ni1\0"), "half a NIfTI pair"),
    ("2d", "x.nii", put(DIM, "8h", 2, 6, 5, 1, 1, 1, 1, 1), "6x5, not 3D"),
    ("one-slice", "x.nii", put(DIM, "8h", 3, 6, 5, 1, 1, 1, 1, 1), "6x5x1, not 3D"),
    ("slice-series", "x.nii", put(DIM, "8h", 4, 6, 5, 1, 4, 1, 1, 1), "6x5x1x4, not 3D"),
    ("zero-size", "x.nii", put(DIM, "8h", 3, 6, 0, 4, 1, 1, 1, 1), "holds no voxel .6x0x4"),
    ("negative-size", "x.nii", put(DIM, "8h", 3, 6, -5, 4, 1, 1, 1, 1), "holds no voxel"),
    ("no-dimensions", "x.nii", put(DIM, "8h", 0, 6, 5, 4, 1, 1, 1, 1), "x.nii: "),
    ("time-and-vectors", "x.nii", put(DIM, "8h", 5, 3, 2, 2, 5, 2, 1, 1), "at most one axis"),
    ("terabytes", "x.nii", put(DIM, "8h", 3, 32000, 32000, 32000, 1, 1, 1, 1), "truncated, or"),
    ("terabytes-gz", "x.nii.gz", put(DIM, "8h", 3, 32000, 32000, 32000, 1, 1, 1, 1), "need 6553"),
    (
        *("overflow", "x.nii", put(DIM, "8h", 7, *[32000] * 3, *[1] * 3, 32000)),
        "truncated, or its header is wrong",
    ),
    ("complex", "x.nii", put(DATATYPE, "2h", 32, 64), "holds complex voxels"),
    ("rgb", "x.nii", put(DATATYPE, "2h", 128, 24), r"holds colour \(RGB\) voxels"),
    ("rgba", "x.nii", put(DATATYPE, "2h", 2304, 32), r"holds colour \(RGB\) voxels"),
    ("one-bit", "x.nii", put(DATATYPE, "2h", 1, 1), "its header is damaged"),
    ("unknown-type", "x.nii", put(DATATYPE, "2h", 9999, 16), "its header is damaged"),
    ("offset-nan", "x.nii", put(VOX_OFFSET, "f", np.nan), "its header is damaged"),
    ("offset-inf", "x.nii", put(VOX_OFFSET, "f", np.inf), "its header is damaged"),
    ("offset-low", "x.nii", put(VOX_OFFSET, "f", 100), "its header is damaged"),
    ("offset-negative", "x.nii", put(VOX_OFFSET, "f", -400), "its header is damaged"),
    ("intercept-nan", "x.nii", put(SCL_SLOPE, "2f", 2, np.nan), "its header is damaged"),
    ("quaternion", "x.nii", put(QFORM_CODE, "2h3f", 1, 0, 9, 9, 9), "its header is damaged"),
    ("mgh-type", "x.mgh", lambda good: good[:20] + b"\0\0\0\x63" + good[24:], "header is damaged"),
    ("unknown-suffix", "x.dat", content(b"hello"), r"no known format; known are \.nii\.gz"),
    ("no-suffix", "x", content(b"hello"), "no known format"),
]

BAD_GRIDS: list[Row] = [
    ("singular", "x.nii", put(SROW_Y, "4f", 0, 0, 0, 0), "singular"),
    ("not-finite", "x.nii", put(SROW_Y, "4f", 0, np.nan, 0, 0), "not finite"),
    ("infinite", "x.nii.gz", put(SROW_Y, "4f", 0, 1, 0, np.inf), "not finite"),
]

# Damage among the voxels, which shows when they are loaded.
BAD_VOXELS: list[Row] = [
    ("gz-cut", "x.nii.gz", cut(-40), "cannot be read .Compressed file ended"),
    ("gz-checksum-cut", "x.nii.gz", cut(-4), "cannot be read .Compressed file ended"),
    ("gz-checksum", "x.nii.gz", flip_bit(-6), "cannot be read .CRC check failed"),
    ("gz-bit", "x.nii.gz", flip_bit(200), "cannot be read"),
    ("mgz-cut", "x.mgz", cut(-100), "cannot be read"),
    ("gz-too-short", "x.nii.gz", put(DIM, "8h", 3, 6, 5, 40, 1, 1, 1, 1), "Expected 2400 bytes"),
]

BAD_IMAGES = [
    ("all-nan", np.full(SHAPE, np.nan, np.float32)),
    ("all-inf", np.full(SHAPE, -np.inf, np.float64)),
]

BAD_LABELS = [
    ("negative", np.full(SHAPE, -1, np.int16), "label -1 is negative"),
    ("fraction", np.full(SHAPE, 0.25, np.float32), "0.25 is no label"),
    ("nan", np.where(GOOD > 500, np.nan, 1).astype(np.float32), "nan is no label"),
    ("too-large", np.full(SHAPE, 2**32, np.int64), "label 4294967296 is too large"),
]


def ids(table: list[Any]) -> Any:
    return pytest.mark.parametrize("row", table, ids=[row[0] for row in table])


@pytest.fixture
def spoil(make_nifti: Any, tmp_path: Path) -> Callable[[str, Edit], Path]:
    """Return a function that writes a good file and then spoils its bytes."""

    def make(name: str, edit: Edit) -> Path:
        path = tmp_path / name
        if name.endswith((".mgh", ".mgz")):
            nib.MGHImage(GOOD, np.eye(4)).to_filename(path)
        elif path.suffix in (".nii", ".gz", ".hdr", ".img"):
            make_nifti(name, GOOD)
        else:
            path.touch()
        path.write_bytes(edit(path.read_bytes()))
        return path

    return make


@pytest.fixture
def raises_one_clear_line(capfd: Any, caplog: Any) -> Any:
    """Return a context manager that expects one error and not a word besides it."""

    @contextmanager
    def expect(kind: type[AsmlpError], path: Path, message: str) -> Iterator[None]:
        before = path.read_bytes() if path.is_file() else None
        with warnings.catch_warnings(), pytest.raises(kind, match=message) as caught:
            warnings.simplefilter("error")
            yield
        text = str(caught.value)
        assert text.startswith(str(path.with_suffix("")))
        assert "\n" not in text
        assert not caplog.records
        assert capfd.readouterr() == ("", "")
        assert before is None or path.read_bytes() == before

    return expect


@ids(BAD_FILES)
def test_bad_file(spoil, raises_one_clear_line, row):
    _, name, edit, message = row
    path = spoil(name, edit)

    with raises_one_clear_line(VolumeError, path, message):
        read_volume(path)


@ids(BAD_GRIDS)
def test_bad_grid(spoil, raises_one_clear_line, row):
    _, name, edit, message = row
    path = spoil(name, edit)

    with raises_one_clear_line(GridError, path, message):
        read_volume(path)


@ids(BAD_VOXELS)
def test_bad_voxels(spoil, raises_one_clear_line, row):
    _, name, edit, message = row
    path = spoil(name, edit)

    with raises_one_clear_line(VolumeError, path, message):
        read_volume(path).array()


@ids(BAD_IMAGES)
def test_bad_image(make_nifti, raises_one_clear_line, row):
    path = make_nifti(voxels=row[1])

    with raises_one_clear_line(VolumeError, path, "every voxel is NaN or infinite"):
        read_volume(path).array()


@ids(BAD_LABELS)
def test_bad_labels(make_nifti, raises_one_clear_line, row):
    _, voxels, message = row
    path = make_nifti(voxels=voxels)

    with raises_one_clear_line(VolumeError, path, message):
        read_volume(path, kind="labels")


def test_missing_file(tmp_path, raises_one_clear_line):
    with raises_one_clear_line(
        VolumeError, tmp_path / "x.nii", r"x\.nii: cannot be opened .No such file"
    ):
        read_volume(tmp_path / "x.nii")


def test_missing_half_of_a_pair(make_nifti, raises_one_clear_line):
    path = make_nifti("x.hdr")
    path.with_suffix(".img").unlink()

    with raises_one_clear_line(
        VolumeError, path, r"x\.img: is not there, but its other half x\.hdr"
    ):
        read_volume(path)


@pytest.mark.parametrize("name", ["folder", "folder.nii"])
def test_folder(tmp_path, raises_one_clear_line, name):
    (tmp_path / name).mkdir()

    with raises_one_clear_line(VolumeError, tmp_path / name, "is a folder"):
        read_volume(tmp_path / name)


def test_file_that_vanished(make_nifti, raises_one_clear_line):
    volume = read_volume(path := make_nifti())
    path.unlink()

    with raises_one_clear_line(VolumeError, path, "cannot be read .*No such file"):
        volume.array()


def test_mended_header_is_read_without_a_word(spoil, capfd, caplog):
    path = spoil("x.nii", put(PIXDIM, "f", 0))  # qfac 0, which nibabel mends and logs

    assert read_volume(path).array().shape == SHAPE
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
