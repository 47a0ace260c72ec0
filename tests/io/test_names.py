from __future__ import annotations

import pytest

from napari_asmlp.errors import OutputError, VolumeError
from napari_asmlp.io.names import (
    NAME_SUFFIXES,
    NamedLabel,
    check_names,
    find_names,
    names_path,
    read_names,
    read_table,
    write_names,
)

LABELS = [
    NamedLabel(2, "left lung", (255, 0, 7)),
    NamedLabel(70_000, "Herz 1 2 3 4", (1, 2, 3)),
    NamedLabel(2**32 - 1, "ø", (0, 0, 0)),
]
ITK = '1 255 0 7 1 1 1 "left lung"'


@pytest.mark.parametrize("format_", NAME_SUFFIXES)
def test_what_was_written_is_found_and_read(tmp_path, format_):
    labels = tmp_path / "out.nii.gz"
    assert find_names(labels) is None
    path = write_names(LABELS, names_path(labels, format_), format_)
    assert find_names(labels) == path
    table = read_table(path)
    gap = " " if format_ == "ITK-SNAP" else "_"
    assert [(each.value, each.colour) for each in table.labels] == [
        (each.value, each.colour) for each in LABELS
    ]
    assert list(table.names.values()) == [
        "left lung".replace(" ", gap),
        *(each.name.replace(" ", gap) for each in LABELS[1:]),
    ]
    assert not table.notes


def test_a_table_as_itk_snap_writes_it(tmp_path):
    path = tmp_path / "out.labels.txt"
    path.write_text(
        "################\n# IDX -R- -G- -B- -A-- VIS MSH LABEL\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '   12   255    0    0      0.5  1  1    "liver (right)"\n\n'
    )
    assert read_names(path) == [NamedLabel(12, "liver (right)", (255, 0, 0))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.labels.txt", ITK.encode()),
        ("a.labels.txt", b"\xef\xbb\xbf" + ITK.encode() + b"\r\n"),
        ("a.labels.txt", ITK.encode("utf-16")),
        ("a.labels.txt", ITK.replace('"', "").encode()),
        ("a.labels.txt", ITK.replace(" ", "\t", 7).encode()),
        ("a.labels.txt", b"1 left lung 255 0 7 0"),  # of FreeSurfer, by another name
        ("a.label", ITK.encode()),
        (
            "a.ctbl",
            b"# Color table file\n# 2 values\n0 Background 0 0 0 0\n1 left lung 255 0 7 255",
        ),
        ("a_ColorTable.ctbl", b"1\tleft lung\t255\t0\t7\t255\r\n"),
        ("a.lut.txt", b"#No. Label Name:\n\n1   left lung   255 0   7   0\n"),
        ("a.lut.txt", b"1 left lung 255 0 7"),
        ("a.csv", b'LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,"left lung",255,0,7,255\n'),
        (
            "a.csv",
            b'\xef\xbb\xbf"LabelValue";Name;Color_R;Color_G;Color_B\r\n1;left lung;255;0;7\r\n',
        ),
        (
            "a.tsv",
            b"index\tname\tabbreviation\tcolor\n0\tBackground\tBG\t#000000\n"
            b"1\tleft lung\tL\t#FF0007\n",
        ),
    ],
)
def test_tables_as_they_come(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    path = find_names(tmp_path / "a.nii.gz")
    assert path == tmp_path / name
    assert read_table(path).labels == (NamedLabel(1, "left lung", (255, 0, 7)),)
    assert not read_table(path).notes


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"h\xe9misph\xe8re", "hémisphère"),
        ("hémisphère".encode(), "hémisphère"),
        (b'""', "label 1"),
    ],
)
def test_names_in_latin_1_and_utf_8(tmp_path, raw, name):
    path = tmp_path / "a.labels.txt"
    path.write_bytes(b"1 255 0 0 1 1 1 " + raw)
    assert [each.name for each in read_names(path)] == [name]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.labels.txt", b"1 256 0 0 1 1 1 x\n2 9 9 9 1 1 1 liver\n", "line 1 was left out"),
        ("a.ctbl", b"-1 x 1 2 3 255\n2 liver 9 9 9 255\n", "line 1 was left out"),
        ("a.ctbl", b"2 liver 9 9 9 255\n2 spleen 1 2 3 255\n", "line 2 was left out"),
        ("a.lut.txt", b"9999999999 x 1 2 3\n2 liver 9 9 9\nx\ny\nz\n", "1, 3, 4 and 1 more"),
        ("a.tsv", b"index\tname\tcolor\n2\tliver\t#090909\nn/a\tx\t\n", "line 3 was left out"),
    ],
)
def test_a_bad_line_is_named_and_loses_no_other(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    table = read_table(path)
    assert table.labels == (NamedLabel(2, "liver", (9, 9, 9)),)
    (note,) = table.notes
    assert note.startswith(str(path)) and said in note


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.labels.txt", b'1 256 0 0 1 1 1 "liver"'),
        ("a.ctbl", b"-1 liver 1 2 3 255"),
        ("a.lut.txt", b"1 liver 1 2"),
        ("a.lut.txt", b"\xff\xfe\x00"),
        ("a.lut.txt", b"1 liver 1 2 3\0\n"),
        ("a.lut.txt", b"#" * (2**26 + 1)),
    ],
    ids=["colour", "negative", "short", "half-utf-16", "binary", "huge"],
)
def test_what_names_nothing_is_refused_by_name(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(VolumeError, match=name.replace(".", "[.]")):
        read_names(path)


def test_columns_of_something_else_are_no_names(tmp_path):
    (tmp_path / "a.csv").write_text("label,name,voxels\n1,liver,12\n")
    assert find_names(tmp_path / "a.nii.gz") is None


@pytest.mark.parametrize(
    ("there", "written", "refusal"),
    [
        ("a.labels.txt", "ITK-SNAP", "exists already"),
        ("a.labels.txt", "3D Slicer", "would be taken for the names of a.nii.gz before a.ctbl"),
        ("a.ctbl", "ITK-SNAP", None),  # which is read after ours
        ("a.labels.txt", None, None),
    ],
)
def test_names_of_other_labels_never_become_those_of_an_output(tmp_path, there, written, refusal):
    (tmp_path / there).write_text(ITK)
    if refusal is None:
        check_names(tmp_path / "a.nii.gz", written)
        return
    with pytest.raises(OutputError, match=refusal):
        check_names(tmp_path / "a.nii.gz", written)
    if written == "ITK-SNAP":
        check_names(tmp_path / "a.nii.gz", written, overwrite=True)
        with pytest.raises(OutputError, match="is the input"):
            check_names(tmp_path / "a.nii.gz", written, overwrite=True, inputs=[tmp_path / there])
