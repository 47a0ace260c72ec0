"""Names and colours go with labels: inside NIfTI, and in a table beside any format."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume, write_labels, write_volume
from napari_asmlp.volume import Volume

NAMES, COLOURS = {1: "Großhirn", 70_000: "left lung"}, {1: (1, 2, 3), 70_000: (255, 0, 7)}
ARRAY = np.array([0, 1, 70_000, 0] * 6, np.uint32).reshape(2, 3, 4)
FOREIGN = Nifti1Extension(6, b"a comment of somebody else")


@pytest.fixture
def labels():
    grid = Grid((2, 3, 4), np.diag([1.0, 1, 2, 1]))
    return Volume(ARRAY, grid, "labels", label_names=NAMES, label_colours=COLOURS)


def inside(path):
    return [each.get_content() for each in nib.load(path).header.extensions]


@pytest.mark.parametrize("names", [None, "ITK-SNAP", "3D Slicer", "FreeSurfer"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr", ".mgz"])
def test_names_and_colours_are_read_back(labels, tmp_path, suffix, names):
    path = write_labels(labels, tmp_path / f"a{suffix}", names=names)
    again = read_volume(path, kind="labels")
    np.testing.assert_array_equal(again.array(), ARRAY)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), ARRAY)
    lost = suffix == ".mgz" and names is None
    gap = "_" if names in ("3D Slicer", "FreeSurfer") else " "
    found = {value: name.replace(" ", gap) for value, name in NAMES.items()}
    assert again.label_names == ({} if lost else found)
    assert again.label_colours == ({} if lost else COLOURS)
    assert not again.notes


def test_the_table_beside_comes_before_the_names_inside(labels, tmp_path):
    path = write_labels(labels, tmp_path / "a.nii.gz")
    table = tmp_path / "a.labels.txt"
    table.write_text('1 9 9 9 1 1 1 "renamed"\nnonsense\n')
    again = read_volume(path, kind="labels")
    assert (again.label_names, again.label_colours) == ({1: "renamed"}, {1: (9, 9, 9)})
    assert [note for note in again.notes if "line 2" in note]
    table.write_text("nonsense\n")
    again = read_volume(path, kind="labels")
    assert again.label_names == NAMES
    assert [note for note in again.notes if str(table) in note]


def test_other_extensions_stay_and_names_never_go_to_other_voxels(labels, tmp_path, make_nifti):
    source = nib.load(make_nifti(voxels=np.ones((2, 3, 4), np.int16)))
    source.header.extensions.append(FOREIGN)
    nib.save(source, tmp_path / "scan.nii")
    scan = read_volume(tmp_path / "scan.nii")
    named = write_labels(scan.with_labels(ARRAY, NAMES, COLOURS), tmp_path / "named.nii")
    foreign, ours = inside(named)
    assert "somebody else" in str(foreign) and json.loads(ours)["napari-asmlp"] == "label names"

    again = read_volume(named, kind="labels")
    renamed = write_labels(again.with_labels(ARRAY, {1: "b"}), tmp_path / "renamed.nii")
    assert len(inside(renamed)) == 2
    assert read_volume(renamed, kind="labels").label_names == {1: "b"}
    bare = write_labels(again.with_labels(ARRAY), tmp_path / "bare.nii")
    image = write_volume(read_volume(named), tmp_path / "image.nii")
    assert len(inside(bare)) == len(inside(image)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"napari-asmlp": "label names", "labels": [{"value": 1}]}',
        b'{"napari-asmlp": "label names", "labels": [{"value": "1", "name": "a"}]}',
        b'{"napari-asmlp": "label names", "labels": [{"value": -1, "name": "a"}]}',
        b'{"napari-asmlp": "label names", "labels": [{"value": 1, "name": "a", "colour": 7}]}',
        b'{"napari-asmlp": "label names", "labels": 3}',
        b'{"napari-asmlp": "label names"' + b"[" * 100_000,
    ],
)
def test_damaged_names_inside_only_make_a_note(tmp_path, body):
    image = nib.Nifti1Image(ARRAY, np.eye(4))
    image.header.extensions.append(Nifti1Extension(6, body))
    nib.save(image, tmp_path / "a.nii")
    labels = read_volume(tmp_path / "a.nii", kind="labels")
    assert labels.label_names == {}
    assert "damaged" in labels.notes[0]
