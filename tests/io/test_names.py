from __future__ import annotations

import pytest

from napari_asmlp.errors import VolumeError
from napari_asmlp.io.names import (
    NAME_SUFFIXES,
    NamedLabel,
    find_names,
    names_path,
    read_names,
    write_names,
)

LABELS = [NamedLabel(2, "left lung", (255, 0, 7)), NamedLabel(65_535, "heart", (1, 2, 3))]


@pytest.mark.parametrize("format_", NAME_SUFFIXES)
def test_what_was_written_is_found_and_read(tmp_path, format_):
    labels = tmp_path / "out.nii.gz"
    assert find_names(labels) is None
    path = write_names(LABELS, names_path(labels, format_), format_)
    assert find_names(labels) == path
    spaced = "left lung" if format_ == "ITK-SNAP" else "left_lung"
    assert read_names(path) == [NamedLabel(2, spaced, (255, 0, 7)), LABELS[1]]


def test_a_table_as_itk_snap_writes_it(tmp_path):
    path = tmp_path / "out.labels.txt"
    path.write_text(
        "################\n# IDX -R- -G- -B- -A-- VIS MSH LABEL\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '   12   255    0    0      0.5  1  1    "liver (right)"\n\n'
    )
    assert read_names(path) == [NamedLabel(12, "liver (right)", (255, 0, 0))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.labels.txt", b"1 255 0 0 1 1 1 liver"),  # not quoted
        ("a.labels.txt", b'1 256 0 0 1 1 1 "liver"'),
        ("a.ctbl", b"70000 liver 1 2 3 255"),
        ("a.ctbl", b"-1 liver 1 2 3 255"),
        ("a.ctbl", b"1 liver 1 2 3 255\n1 spleen 1 2 3 255"),
        ("a.lut.txt", b"1 liver 1 2"),
        ("a.lut.txt", b"\xff\xfe\x00"),
        ("a.lut.txt", b"#" * 9_000_000),
    ],
)
def test_a_damaged_table_is_refused_by_name(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(VolumeError, match=name.replace(".", "[.]")):
        read_names(path)
