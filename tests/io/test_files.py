"""Where results go: nothing half-written, nothing overwritten by accident, no input ever."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_asmlp.errors import OutputError, VolumeError
from napari_asmlp.io import (
    base_name,
    check_output,
    check_volumes,
    files,
    read_volume,
    replacing,
    volumes_in,
    write_labels,
)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("scan.nii.gz", "scan"),
        ("data/scan.NII.GZ", "scan"),
        ("sub-01.v2.nii", "sub-01.v2"),
        ("brain.mgz", "brain"),
        ("brain.hdr", "brain"),
        ("notes.txt", "notes"),
        ("scan.gz", "scan"),
    ],
)
def test_base_name(path, name):
    assert base_name(path) == name


def test_a_file_appears_whole(tmp_path):
    with replacing(tmp_path / "table.csv") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".csv"
        temporary.write_text("a,b")
        assert not (tmp_path / "table.csv").exists()

    assert names(tmp_path) == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "a,b"


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (OSError(28, "No space left on device"), OutputError),
        (PermissionError(13, "Permission denied"), OutputError),
        (ValueError("a fault"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("before", [None, "old"])
def test_a_failed_write_leaves_things_as_they_were(tmp_path, fault, raised, before):
    path = tmp_path / "labels.nii.gz"
    if before:
        path.write_text(before)

    with pytest.raises(raised), replacing(path, overwrite=True) as temporary:
        temporary.write_text("half of i")
        raise fault

    assert names(tmp_path) == (["labels.nii.gz"] if before else [])
    assert not before or path.read_text() == before


def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)

    with pytest.raises(OutputError, match="no ordinary file"):
        files.check_file(pipe, overwrite=True)
    with (
        pytest.raises(OutputError, match="no ordinary file"),
        replacing(pipe, overwrite=True) as temporary,
    ):
        temporary.write_text("a,b")

    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe.csv"]


def test_a_file_that_appeared_meanwhile_is_kept(tmp_path):
    path = tmp_path / "labels.nii"

    with pytest.raises(OutputError, match="exists already"), replacing(path) as temporary:
        temporary.write_text("new")
        path.write_text("theirs")

    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["labels.nii"]


def test_the_reason_is_named(tmp_path):
    expected = pytest.raises(OutputError, match=r"out\.nii: cannot be written: No space left")
    with expected, replacing(tmp_path / "out.nii"):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("suffix", [".nii.gz", ".img", ".mgz"])
def test_a_full_disk_leaves_no_labels(make_nifti, tmp_path, monkeypatch, suffix):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    volume = read_volume(make_nifti())
    monkeypatch.setattr(files.os, "fsync", full)

    with pytest.raises(OutputError, match="No space left"):
        write_labels(
            volume.with_labels(np.zeros((2, 3, 4), np.uint8)), tmp_path / f"labels{suffix}"
        )

    assert names(tmp_path) == ["scan.nii"]


def test_a_good_output(tmp_path):
    path = tmp_path / "labels.nii.gz"

    assert check_output(path) == path
    assert names(tmp_path) == []
    path.write_text("old")
    assert check_output(path, overwrite=True) == path
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("absent/labels.nii", r"absent: the folder does not exist; make it first"),
        ("scan.nii/labels.nii", r"scan\.nii: is a file, not a folder"),
        ("scan.nii", r"scan\.nii: exists already; .* --overwrite"),
        ("labels.png", r"labels\.png: no known format; .*\.nii\.gz"),
        ("labels", "labels: no known format"),
        (".nii.gz", "no known format"),
        ("pair.img", r"pair\.hdr: exists already"),
        ("folder.nii", "is a folder"),
        ("x" * 300 + ".nii", "cannot be written: File name too long"),
    ],
)
def test_outputs_refused(make_nifti, tmp_path, output, message):
    make_nifti()
    (tmp_path / "pair.hdr").touch()
    (tmp_path / "folder.nii").mkdir()

    with pytest.raises(OutputError, match=message) as error:
        check_output(tmp_path / output)

    assert "\n" not in str(error.value)


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)

    with pytest.raises(OutputError, match=r"cannot be written to \(Read-only file system\)"):
        check_output(tmp_path / "labels.nii")


@pytest.mark.parametrize("source", ["scan.nii", "scan.hdr", "scan.img"])
@pytest.mark.parametrize("way", ["itself", "link", "roundabout"])
def test_an_input_is_never_overwritten(make_nifti, tmp_path, source, way):
    path = make_nifti(source)
    output = path
    if way == "link":
        output = tmp_path / f"link{path.suffix}"
        output.symlink_to(path)
    elif way == "roundabout":
        (tmp_path / "sub").mkdir()
        output = tmp_path / "sub" / ".." / source
    before = path.read_bytes()
    volume = read_volume(path)

    with pytest.raises(OutputError, match="is the input"):
        check_output(output, overwrite=True, inputs=[path])
    with pytest.raises(OutputError, match="is the input"):
        write_labels(volume.with_labels(np.zeros((2, 3, 4), np.uint8)), output, overwrite=True)
    assert path.read_bytes() == before


def test_the_other_half_of_a_pair_is_input_too(make_nifti, tmp_path):
    make_nifti("scan.img")

    with pytest.raises(OutputError, match="is the input"):
        check_output(tmp_path / "scan.hdr", overwrite=True, inputs=[tmp_path / "scan.img"])


def test_overwriting_what_is_no_input(make_nifti, tmp_path):
    volume = read_volume(make_nifti())
    labels = volume.with_labels(np.ones((2, 3, 4), np.uint8))
    path = tmp_path / "labels.nii.gz"
    path.write_text("old")

    with pytest.raises(OutputError, match="exists already"):
        write_labels(labels, path)
    write_labels(labels, path, overwrite=True)

    assert read_volume(path).array().sum() == 24


def test_volumes_in_a_folder(tmp_path):
    for name in ("b.nii.gz", "a.nii", "c.mgz", "pair.hdr", "pair.img", "alone.img"):
        (tmp_path / name).touch()
    for name in (".hidden.nii", "notes.txt", "dataset.json", "image.png"):
        (tmp_path / name).touch()
    (tmp_path / "sub.nii").mkdir()
    (tmp_path / "sub.nii" / "d.nii").touch()

    assert [file.name for file in volumes_in(tmp_path)] == [
        *("a.nii", "alone.img", "b.nii.gz", "c.mgz", "pair.hdr", "sub.nii")
    ]


# Entries of a folder that look like volumes and are none: how each is made, what the error says.
UNREADABLE = {
    "link.nii.gz": (lambda p: p.symlink_to("gone.nii.gz"), r"link to .* not there .gone.nii.gz"),
    "half.hdr": (lambda p: p.write_bytes(b"x"), r"half\.img: is not there, but its other half"),
    "half.img": (lambda p: p.write_bytes(b"x"), r"half\.hdr: is not there, but its other half"),
    "LOUD.NII.GZ": (lambda p: p.touch(), "is empty"),
    "folder.nii.gz": (lambda p: p.mkdir(), "is a folder"),
    "annex.nii.gz": (lambda p: p.write_text("/annex/objects/MD5E-s9--1.nii.gz"), "git annex get"),
    "lfs.nii": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), "lfs pull"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_looks_like_a_volume_is_listed_and_named(tmp_path, name):
    make, message = UNREADABLE[name]
    (tmp_path / "good.nii").write_bytes(b"x")
    make(tmp_path / name)

    found = volumes_in(tmp_path)

    assert {file.name for file in found} == {"good.nii", name}
    with pytest.raises(VolumeError, match=message):
        read_volume(tmp_path / name)
    with pytest.raises(VolumeError, match=message) as caught:
        check_volumes(found)
    assert "more cannot be opened" not in str(caught.value)


def test_a_link_to_nothing_is_no_place_to_write(tmp_path):
    (tmp_path / "link.nii").symlink_to("gone.nii")
    with pytest.raises(OutputError, match="exists already"):
        check_output(tmp_path / "link.nii")


def test_folders_without_volumes(tmp_path):
    (tmp_path / "notes.txt").touch()

    with pytest.raises(VolumeError, match=r"no volume lies directly in it; .*\.nii\.gz"):
        volumes_in(tmp_path)
    with pytest.raises(VolumeError, match=r"absent: cannot be listed \(No such file"):
        volumes_in(tmp_path / "absent")
    with pytest.raises(VolumeError, match=r"cannot be listed \(Not a directory"):
        volumes_in(tmp_path / "notes.txt")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_are_those_of_any_new_file_or_of_the_one_replaced(tmp_path):
    """Some libraries write files that only their owner may read."""
    plain, made = tmp_path / "plain.nii", tmp_path / "made.nii"
    plain.touch()
    with replacing(made) as temporary:
        temporary.write_bytes(b"x")
        temporary.chmod(0o600)
    assert made.stat().st_mode == plain.stat().st_mode
    made.chmod(0o640)
    with replacing(made, overwrite=True) as temporary:
        temporary.write_bytes(b"y")
    assert made.stat().st_mode & 0o777 == 0o640
