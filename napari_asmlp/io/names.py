"""Label names in a text file beside the labels, in the formats that other programs read.

Sources: the label descriptions that ITK-SNAP exports,
https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html and
https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/AnatomicalROI/FreeSurferColorLUT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_asmlp.errors import VolumeError
from napari_asmlp.io.files import replacing
from napari_asmlp.io.formats import AnyPath, base_name

NameFormat = Literal["ITK-SNAP", "3D Slicer", "FreeSurfer"]

NAME_SUFFIXES: dict[NameFormat, str] = {
    "ITK-SNAP": ".labels.txt",
    "3D Slicer": ".ctbl",
    "FreeSurfer": ".lut.txt",
}
_TITLES: dict[NameFormat, str] = {
    "ITK-SNAP": "# ITK-SnAP Label Description File\n# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
    "3D Slicer": "# Color table file",
    "FreeSurfer": "#No. Label Name: R G B A",
}


_COLOUR = r"\s+(?P<red>\d{1,3})\s+(?P<green>\d{1,3})\s+(?P<blue>\d{1,3})\s+"
_QUOTED = re.compile(
    rf'(?P<value>\d{{1,5}}){_COLOUR}[\d.]+\s+\d+\s+\d+\s+"(?P<name>[^"]*)"', re.ASCII
)
_PLAIN = re.compile(rf"(?P<value>\d{{1,5}})\s+(?P<name>\S+){_COLOUR}\d+", re.ASCII)
_LARGEST = 8 * 2**20  # bytes: 65,535 lines of 128
_LARGEST_VALUE, _BRIGHTEST = 65_535, 255


@dataclass(frozen=True)
class NamedLabel:
    """A label value, its class name, and its colour as red, green and blue from 0 to 255."""

    value: int
    name: str
    colour: tuple[int, int, int]


def names_path(path: AnyPath, format_: NameFormat) -> Path:
    """Return where the names of the labels in `path` are written: beside them."""
    return Path(path).with_name(base_name(path) + NAME_SUFFIXES[format_])


def write_names(
    labels: Iterable[NamedLabel], path: Path, format_: NameFormat, *, overwrite: bool = False
) -> Path:
    """Write a table of label names, background first.

    3D Slicer and FreeSurfer take a space for the end of a name, and get ``_`` for it.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or the system refuses to write.
    """
    background = NamedLabel(0, "Clear Label" if format_ == "ITK-SNAP" else "Background", (0, 0, 0))
    rows = [background, *labels]
    text = "\n".join([_TITLES[format_], *_lines(rows, format_)]) + "\n"
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def find_names(path: AnyPath) -> Path | None:
    """Return the table of names that lies beside the labels in `path`, if there is one."""
    beside = (names_path(path, format_) for format_ in NAME_SUFFIXES)
    return next((file for file in beside if file.is_file()), None)


def read_names(path: Path) -> list[NamedLabel]:
    """Read a table of label names of any of the formats, background left out.

    Raises
    ------
    VolumeError
        Naming the file, and the line in it that is wrong.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise VolumeError(f"{path}: too large for a table of label names")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VolumeError(f"{path}: these label names cannot be read ({error})") from error
    row = _QUOTED if path.name.endswith(NAME_SUFFIXES["ITK-SNAP"]) else _PLAIN
    found: dict[int, NamedLabel] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = row.fullmatch(text)
        label = match and _label(match)
        if not label or label.value in found:
            raise VolumeError(f"{path}: line {number} names no label, or one for the second time")
        found[label.value] = label
    return [label for value, label in sorted(found.items()) if value]


def _label(row: re.Match[str]) -> NamedLabel | None:
    value, red, green, blue = (int(row[part]) for part in ("value", "red", "green", "blue"))
    if value > _LARGEST_VALUE or max(red, green, blue) > _BRIGHTEST:
        return None
    return NamedLabel(value, " ".join(row["name"].split()) or f"label {value}", (red, green, blue))


def _lines(rows: Sequence[NamedLabel], format_: NameFormat) -> Iterable[str]:
    for row in rows:
        red, green, blue = row.colour
        words = row.name.split() or [f"label {row.value}"]
        shown = int(row.value > 0)
        if format_ == "ITK-SNAP":
            name = " ".join(words).replace('"', "'")
            yield (
                f"{row.value:5d} {red:5d} {green:4d} {blue:4d} {shown:8d} {shown:2d} {shown:2d}"
                f'    "{name}"'
            )
            continue
        # 3D Slicer counts opacity, FreeSurfer transparency
        last = 255 * shown if format_ == "3D Slicer" else 0
        yield f"{row.value} {'_'.join(words)} {red} {green} {blue} {last}"
