"""What the dialog's state becomes: orders, refusals, texts and files, without a window."""

from __future__ import annotations

from itertools import permutations, product

import dask.array as da
import nibabel
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_asmlp.errors import AsmlpError, GridError, OutputError
from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume
from napari_asmlp.viewer.export.order import describe
from napari_asmlp.viewer.export.request import (
    Wish,
    count_voxels,
    listed_values,
    resolve,
    suggested_path,
)
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import image_layer_data, labels_layer_data, labels_on, source_view
from napari_asmlp.volume import Volume

from ..conftest import AFFINE, ENTRIES, SHAPE

COUNTS = {0: 330, 1: 2, 2: 3, 7: 1}


@pytest.fixture
def layer(scan):
    """Labels of the scan: 2 voxels of 1, 3 of 2 and one of 7, which has no name."""
    ((data, attributes, _),) = image_layer_data(read_volume(scan))
    layer = labels_on(Image(data, **attributes), np.zeros(SHAPE, np.uint8), ENTRIES, name="mine")
    voxels = source_view(layer)
    voxels[0, 0, :6] = [1, 1, 2, 2, 2, 7]
    return layer


def drain(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def export(wish):
    order = resolve(wish)
    return drain(order.job().start())


def wish_for(layer, path, **changes):
    return Wish(layer, str(path), drain(count_voxels(layer)), **changes)


def test_voxels_are_counted_by_value(layer):
    assert drain(count_voxels(layer)) == COUNTS
    assert listed_values(layer, COUNTS) == [1, 2, 7]
    layer.data = layer.data.astype(np.int64)
    source_view(layer)[1, 1, :3] = [-2, 2**20, 2**20]
    assert drain(count_voxels(layer)) == {-2: 1, **COUNTS, 0: 327, 2**20: 2}


@pytest.mark.parametrize(
    ("changes", "table", "left_out"),
    [
        ({}, {1: 1, 2: 2, 7: 7}, 0),
        ({"renumber": True}, {1: 1, 2: 2, 7: 3}, 0),
        ({"values": frozenset({2, 7})}, {2: 2, 7: 7}, 1),
        ({"values": frozenset({2, 7}), "renumber": True}, {2: 1, 7: 2}, 1),
        ({"values": frozenset()}, {}, 3),
    ],
)
def test_which_labels_are_written_as_what(layer, tmp_path, changes, table, left_out):
    order = resolve(wish_for(layer, tmp_path / "out.nii", **changes))
    assert order.table == table
    assert order.left_out == left_out
    written = nibabel.load(export(wish_for(layer, tmp_path / "out.nii", **changes)))
    before = source_view(layer)
    expected = np.vectorize(lambda value: table.get(value, 0))(before)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), expected)


def test_a_named_label_without_voxels_keeps_its_number(layer, tmp_path):
    source_view(layer)[source_view(layer) == 1] = 0
    order = resolve(wish_for(layer, tmp_path / "out.nii", renumber=True))
    assert order.table == {1: 1, 2: 2, 7: 3}
    assert order.counts == {1: 0, 2: 3, 7: 1}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "give the file a name"),
        ("out.png", r"no known format; .*\.nii\.gz"),
        ("absent/out.nii.gz", "the folder does not exist"),
        ("scan.nii.gz", "is the input, which is never written to"),
        ("there.nii.gz", r"there\.nii\.gz exists in .*: tick Replace"),
    ],
)
def test_files_that_are_refused(layer, tmp_path, name, message):
    (tmp_path / "there.nii.gz").touch()
    with pytest.raises(OutputError, match=message):
        resolve(wish_for(layer, name))
    assert sorted(f.name for f in tmp_path.glob("*.nii*")) == ["scan.nii.gz", "there.nii.gz"]


def test_the_image_is_refused_even_if_replacing_is_agreed_to(layer, scan):
    with pytest.raises(OutputError, match="never written to"):
        resolve(wish_for(layer, scan, replace=True))


def test_all_files_that_would_be_replaced_are_named(layer, tmp_path):
    for name in ("out.ctbl", "out_corrected.nii.gz"):
        (tmp_path / name).touch()
    wish = wish_for(layer, tmp_path / "out.nii.gz", names="3D Slicer", corrected=True)
    with pytest.raises(OutputError, match=r"out.ctbl, out_corrected.nii.gz exist in"):
        resolve(wish)
    order = resolve(
        wish_for(layer, tmp_path / "out.nii.gz", names="3D Slicer", corrected=True, replace=True)
    )
    assert "Replaces out.ctbl, out_corrected.nii.gz" in describe(order)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "translate", (1, 2, 3)),
        lambda layer: setattr(layer, "scale", (1, 1, 1)),
        lambda layer: setattr(layer, "rotate", (0, 10, 0)),
        lambda layer: setattr(layer, "data", layer.data[1:]),
        lambda layer: setattr(layer, "data", layer.data[0]),
    ],
    ids=["moved", "scaled", "turned", "reshaped", "2D"],
)
def test_labels_that_left_their_grid_are_refused(layer, tmp_path, change):
    counts = drain(count_voxels(layer))
    change(layer)
    with pytest.raises(GridError, match=r"'mine' were moved.*scan\.nii\.gz.*undo that first"):
        resolve(Wish(layer, str(tmp_path / "out.nii.gz"), counts))
    with pytest.raises(GridError, match="were moved"):
        drain(count_voxels(layer))


def test_a_layer_that_is_moved_after_all_was_said_is_not_written(layer, tmp_path):
    job = resolve(wish_for(layer, tmp_path / "out.nii.gz")).job()
    layer.translate = (0, 0, 1)
    with pytest.raises(GridError):
        drain(job.start())
    assert not (tmp_path / "out.nii.gz").exists()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Labels(np.zeros((4, 4), int), name="flat"), "'flat' has 2 axes"),
        (Labels(np.zeros((2, 3, 4, 4), int), name="film"), "'film' has 4 axes"),
        (Labels(np.full((2, 3, 4), -3), name="wrong"), "-3 is no label.*relabel 24 voxels"),
        (None, "choose the labels"),
    ],
)
def test_layers_that_are_refused(layer, message, tmp_path):
    counts = {-3: 24} if layer is not None else None
    with pytest.raises(AsmlpError, match=message):
        resolve(Wish(layer, str(tmp_path / "out.nii.gz"), counts))


def test_too_large_a_label_for_the_format_is_said_before(tmp_path):
    layer = Labels(np.full((2, 3, 4), 2**31))
    with pytest.raises(OutputError, match=f"MGH cannot hold label {2**31}"):
        resolve(Wish(layer, str(tmp_path / "out.mgz"), {2**31: 24}))


def test_a_file_that_appears_meanwhile_is_kept(layer, tmp_path):
    job = resolve(wish_for(layer, tmp_path / "out.nii")).job()
    (tmp_path / "out.nii").write_text("theirs")
    with pytest.raises(OutputError, match="exists already"):
        drain(job.start())
    assert (tmp_path / "out.nii").read_text() == "theirs"


def test_nothing_is_promised_while_voxels_are_counted(layer, tmp_path):
    with pytest.raises(AsmlpError, match="being counted"):
        resolve(Wish(layer, str(tmp_path / "out.nii.gz")))


def test_what_will_be_written_is_said(layer, tmp_path):
    wish = wish_for(
        layer, tmp_path / "out.nii.gz", values=frozenset({1, 7}), renumber=True, names="ITK-SNAP"
    )
    assert describe(resolve(wish)).splitlines() == [
        "out.nii.gz: uint8, 2 labels, 3 voxels, 0.018 ml, renumbered 1–2; 1 left out (background).",
        "Grid: 6x7x8, 1x2x3 mm, LSP, as in scan.nii.gz.",
        "out.labels.txt: names and colours, for ITK-SNAP.",
        f"Folder: {tmp_path}.",
    ]
    empty = resolve(wish_for(layer, tmp_path / "out.nii.gz", values=frozenset()))
    assert "uint8, background only: no voxel is labelled" in describe(empty)
    turned = resolve(wish_for(layer, tmp_path / "out.mgz", grid="displayed"))
    assert "6x8x7, 1x3x2 mm, RAS, as in scan.nii.gz, axes turned" in describe(turned)
    foreign = resolve(Wish(Labels(np.ones((2, 3, 4), int)), str(tmp_path / "x.nii"), {1: 24}))
    assert "from the layer's scale and translate" in describe(foreign)


def test_where_exports_are_suggested(layer, tmp_path):
    assert suggested_path(layer) == tmp_path / "scan_labels.nii.gz"
    assert suggested_path(layer, ".mgz") == tmp_path / "scan_labels.mgz"
    again = read_volume(export(wish_for(layer, tmp_path / "mine.nii.gz")), kind="labels")
    data, attributes, _ = labels_layer_data(again)
    assert suggested_path(Labels(data, **attributes), ".mgz") == tmp_path / "mine.nii.gz"
    assert suggested_path(Labels(np.zeros((2, 2, 2), int), name="a/b")).name == "a_b.nii.gz"


def test_a_name_alone_lies_beside_the_image(layer, tmp_path):
    assert resolve(wish_for(layer, "mine.nii")).path == tmp_path / "mine.nii"


@pytest.mark.parametrize(
    ("program", "name", "rows"),
    [
        (
            "ITK-SNAP",
            "out.labels.txt",
            [
                '    0     0    0    0        0  0  0    "Clear Label"',
                '    1   230  159    0        1  1  1    "anterior"',
                '    2    86  180  233        1  1  1    "posterior"',
            ],
        ),
        (
            "3D Slicer",
            "out.ctbl",
            ["0 Background 0 0 0 0", "1 anterior 230 159 0 255", "2 posterior 86 180 233 255"],
        ),
        (
            "FreeSurfer",
            "out.lut.txt",
            ["0 Background 0 0 0 0", "1 anterior 230 159 0 0", "2 posterior 86 180 233 0"],
        ),
    ],
)
def test_names_beside_the_labels(layer, tmp_path, program, name, rows):
    wish = wish_for(layer, tmp_path / "out.nii.gz", names=program, values=frozenset({1, 2}))
    export(wish)
    lines = (tmp_path / name).read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == rows


def test_corrected_voxels_lie_in_a_second_file_on_the_same_grid(layer, tmp_path):
    edits_of(layer)
    at = (slice(0, 1), slice(0, 2), slice(0, 1))
    layer.data_setitem((np.array([0, 0]), np.array([0, 1]), np.array([0, 0])), 2)
    corrected = edits_of(layer).corrected()
    assert corrected.sum() == 2
    export(wish_for(layer, tmp_path / "out.nii.gz", corrected=True))
    image = nibabel.load(tmp_path / "out_corrected.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), corrected)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert layer.data[at].tolist() == [[[2], [2]]]


def oblique(codes: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """An affine of this axis order, at a tilt of 12 degrees."""
    angle = np.deg2rad(12)
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = (tilt @ np.eye(3)[:, list(codes)]) * signs * (1.0, 1.5, 2.0)
    affine[:3, 3] = (-11, 7, 23)
    return affine


@pytest.mark.parametrize(
    "affine",
    [oblique(p, s) for p, s in product(permutations(range(3)), [(1, 1, 1), (-1, 1, -1)])],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
@pytest.mark.parametrize("grid", ["source", "displayed"])
def test_what_is_exported_reopens_where_it_was(tmp_path, affine, suffix, grid):
    scan = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine), scan)
    ((data, attributes, _),) = image_layer_data(read_volume(scan))
    values = np.random.default_rng(3).integers(0, 300, (4, 5, 6)).astype(np.uint16)
    layer = labels_on(Image(data, **attributes), values)
    path = export(wish_for(layer, tmp_path / f"out{suffix}", grid=grid))
    image = nibabel.load(path)
    if grid == "source":
        assert image.shape == (4, 5, 6)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    else:
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    there = np.argwhere(values == values.max())[0]
    here = np.argwhere(np.asanyarray(image.dataobj) == values.max())[0]
    np.testing.assert_allclose(image.affine @ [*here, 1], affine @ [*there, 1], atol=1e-4)
    again, attributes, _ = labels_layer_data(read_volume(path, kind="labels"))
    np.testing.assert_array_equal(again, layer.data)
    np.testing.assert_allclose(attributes["translate"], layer.translate, atol=1e-4)


def test_the_header_of_the_source_is_kept_and_stays_true_when_turned(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), AFFINE)
    image.set_sform(AFFINE, 4)
    image.set_qform(AFFINE, 1)
    image.header.set_dim_info(freq=0, phase=1, slice=2)
    image.header["descrip"] = b"scanner"
    nibabel.save(image, tmp_path / "scan.nii")
    ((data, attributes, _),) = image_layer_data(read_volume(tmp_path / "scan.nii"))
    layer = labels_on(Image(data, **attributes), np.ones((3, 4, 5), np.uint8))
    same = nibabel.load(export(wish_for(layer, tmp_path / "same.nii"))).header
    assert (int(same["sform_code"]), int(same["qform_code"])) == (4, 1)
    assert same.get_dim_info() == (0, 1, 2)
    turned = nibabel.load(export(wish_for(layer, tmp_path / "turned.nii", grid="displayed"))).header
    assert int(turned["sform_code"]) == 4
    assert turned.get_dim_info() == (None, None, None)
    assert bytes(turned["descrip"]).rstrip(b"\0") == b"scanner"


def test_lazy_and_read_only_labels_are_written_too(tmp_path):
    values = np.arange(24).reshape(2, 3, 4)
    values.setflags(write=False)
    for name, data in (("lazy", da.from_array(values)), ("fixed", values)):
        path = export(wish_for(Labels(data), tmp_path / f"{name}.nii"))
        image = nibabel.load(path)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), values)


def test_no_history_is_kept_of_lazy_labels(tmp_path):
    layer = Labels(da.zeros((2, 3, 4), dtype=int), name="lazy")
    with pytest.raises(AsmlpError, match="no history is kept of 'lazy'"):
        resolve(wish_for(layer, tmp_path / "lazy.nii", corrected=True))


def test_other_layers_keep_their_place(tmp_path):
    layer = Labels(np.ones((2, 3, 4), np.uint8), scale=(3, 2, 1), translate=(30, 20, 10))
    volume = read_volume(export(wish_for(layer, tmp_path / "out.nii.gz")))
    assert volume.grid.same_as(
        Grid((2, 3, 4), np.array([[0, 0, 1, 10], [0, 2, 0, 20], [3, 0, 0, 30], [0, 0, 0, 1]]))
    )
    assert isinstance(volume, Volume)
