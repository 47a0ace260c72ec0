"""Label names and colours in a text file beside the labels, as other programs read and write it.

Read are also tables that people edit by hand or export elsewhere: any usual encoding, names with
or without quotes, comma- or tab-separated columns. A line that names no label is left out, with a
note; the others stay.

Sources: the label descriptions that ITK-SNAP exports,
https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html,
https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/AnatomicalROI/FreeSurferColorLUT and
https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html (``dseg.tsv``).
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_asmlp.errors import OutputError, VolumeError
from napari_asmlp.io.files import check_file, replacing
from napari_asmlp.io.formats import AnyPath, base_name, format_of
from napari_asmlp.volume import RGB, Volume

NameFormat = Literal["ITK-SNAP", "3D Slicer", "FreeSurfer"]

NAME_SUFFIXES: dict[NameFormat, str] = {
    "ITK-SNAP": ".labels.txt",
    "3D Slicer": ".ctbl",
    "FreeSurfer": ".lut.txt",
}
_ALSO_READ = (".label", "_ColorTable.ctbl", ".tsv", ".csv")  # ITK-SNAP's, 3D Slicer's, BIDS's
_TITLES: dict[NameFormat, str] = {
    "ITK-SNAP": "# ITK-SnAP Label Description File\n# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
    "3D Slicer": "# Color table file",
    "FreeSurfer": "#No. Label Name: R G B A",
}

_COLOUR = r"\s+(?P<red>\d{1,3})\s+(?P<green>\d{1,3})\s+(?P<blue>\d{1,3})"
_VALUE = r"(?P<value>\d{1,10})"
_ITK_SNAP = re.compile(rf"{_VALUE}{_COLOUR}\s+[\d.]+\s+\d+\s+\d+\s+(?P<name>\S.*)", re.ASCII)
_PLAIN = re.compile(rf"{_VALUE}\s+(?P<name>\S.*?){_COLOUR}(\s+\d{{1,3}})?", re.ASCII)
_HEX = re.compile(r"#?(?P<red>[0-9a-f]{2})(?P<green>[0-9a-f]{2})(?P<blue>[0-9a-f]{2})", re.I)
_COLUMN_OF_VALUES = ("index", "labelvalue")  # BIDS, 3D Slicer; others would be guesses
_COLUMNS_OF_COLOUR = ("color_r", "color_g", "color_b")
_MARKS = {  # longer ones first: that of UTF-16 begins that of UTF-32
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LARGEST = 64 * 2**20  # bytes: a million lines of 64
_LARGEST_VALUE, _BRIGHTEST = 2**32 - 1, 255
_NOTED_LINES = 3
_HEADER_BYTES = 4096
# Okabe and Ito's, for labels that have a name and no colour
_PALETTE: tuple[RGB, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


@dataclass(frozen=True)
class NamedLabel:
    """A label value, its class name, and its colour as red, green and blue from 0 to 255."""

    value: int
    name: str
    colour: RGB


@dataclass(frozen=True)
class NameTable:
    """Named labels by rising value, and notes for the user on lines that name none."""

    labels: tuple[NamedLabel, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> dict[int, str]:
        """Class names by label value."""
        return {each.value: each.name for each in self.labels}

    @property
    def colours(self) -> dict[int, RGB]:
        """Colours by label value."""
        return {each.value: each.colour for each in self.labels}


def named_labels(labels: Volume) -> list[NamedLabel]:
    """Return the labels of a volume that have a name; one without a colour gets one."""
    return [
        NamedLabel(value, name, labels.label_colours.get(value, default_colour(value)))
        for value, name in sorted(labels.label_names.items())
        if value
    ]


def default_colour(value: int) -> RGB:
    """Return the colour of a label for which nobody has chosen one."""
    return _PALETTE[(value - 1) % len(_PALETTE)]


def names_path(path: AnyPath, format_: NameFormat) -> Path:
    """Return where the names of the labels in `path` are written: beside them."""
    return Path(path).with_name(base_name(path) + NAME_SUFFIXES[format_])


def names_to_save(path: AnyPath) -> NameFormat | None:
    """Return the format in which names must lie beside the labels in `path`, to be read again.

    It is that of the table that lies there. Where none does, NIfTI holds the names inside and
    needs no table; other formats do.
    """
    table, format_ = find_names(path), format_of(path)
    if table is None and format_ is not None and format_.family == "nifti":
        return None
    there = (each for each in NAME_SUFFIXES if table == names_path(path, each))
    return next(there, "ITK-SNAP")


def check_names(
    path: AnyPath,
    format_: NameFormat | None,
    *,
    overwrite: bool = False,
    inputs: Iterable[AnyPath] = (),
) -> Path | None:
    """Make sure that the names of the labels in `path` can be written, before any long work.

    Returns
    -------
    Path or None
        Of the table; None without a format.

    Raises
    ------
    OutputError
        If the table exists and `overwrite` is false, it is an input, or the labels' names would
        be read from another table that lies there.
    """
    if format_ is None:
        return None
    table = names_path(path, format_)
    check_file(table, overwrite=overwrite, inputs=inputs)
    for found in _beside(path):
        if found == table:
            return table
        if _is_table(found):
            raise OutputError(
                f"{found}: would be taken for the names of {Path(path).name} before {table.name};"
                " move it away, or give the labels another name"
            )
    return table


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
    """Return the table of names that lies beside the labels in `path`, if there is one.

    Columns in a ``.tsv`` or ``.csv`` are taken for one only if their header says so.
    """
    return next(filter(_is_table, _beside(path)), None)


def _beside(path: AnyPath) -> list[Path]:
    """Return where names of the labels in `path` may lie, the first choice first."""
    suffixes = (*NAME_SUFFIXES.values(), *_ALSO_READ)
    return [Path(path).with_name(base_name(path) + suffix) for suffix in suffixes]


def _is_table(file: Path) -> bool:
    """Tell whether there is a file, and if it has columns whether those are names of labels."""
    if not file.is_file() or file.suffix not in (".tsv", ".csv"):
        return file.is_file()
    try:
        with file.open("rb") as stream:
            start = stream.read(_HEADER_BYTES)
        return _is_columns(_decoded(start).splitlines())
    except (OSError, UnicodeDecodeError):
        return False  # nothing says that it is a table of names


def read_names(path: Path) -> list[NamedLabel]:
    """Read the labels that a table names; see `read_table`."""
    return list(read_table(path).labels)


def read_table(path: Path) -> NameTable:
    """Read a table of label names of any of the formats, background left out.

    A line that names no label, or one for the second time, is left out with a note.

    Raises
    ------
    VolumeError
        If the file cannot be read, or no line in it names a label.
    """
    lines = _text(path).splitlines()
    found: dict[int, NamedLabel] = {}
    wrong: list[int] = []
    for number, label in _columns(path, lines) if _is_columns(lines) else _rows(lines):
        if label is None or label.value in found:
            wrong.append(number)
        else:
            found[label.value] = label
    if wrong and not found:
        raise VolumeError(
            f"{path}: line {wrong[0]} names no label, nor does another; a line is"
            ' VALUE RED GREEN BLUE 1 1 1 "NAME", or VALUE NAME RED GREEN BLUE 255'
        )
    labels = tuple(label for value, label in sorted(found.items()) if value)
    return NameTable(labels, _notes(path, wrong))


def _notes(path: Path, wrong: Sequence[int]) -> tuple[str, ...]:
    if not wrong:
        return ()
    listed = ", ".join(map(str, wrong[:_NOTED_LINES]))
    more = f" and {len(wrong) - _NOTED_LINES} more" if len(wrong) > _NOTED_LINES else ""
    one = len(wrong) == 1
    verb = "line {} was left out: it names" if one else "lines {} were left out: they name"
    what = verb.format(listed + more)
    return (f"{path}: {what} no label, or one for the second time",)


def _text(path: Path) -> str:
    """Return what a file says, in whichever of the usual encodings it says it."""
    unreadable = f"{path}: these label names cannot be read"
    try:
        if path.stat().st_size > _LARGEST:
            raise VolumeError(f"{path}: too large for a table of label names")
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise VolumeError(f"{unreadable} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise VolumeError(f"{unreadable} ({error})") from error
    if "\0" in text:
        raise VolumeError(f"{unreadable}: it is no text")
    return text


def _decoded(raw: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if raw.startswith(mark):
            return raw.decode(encoding)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:  # as Windows wrote it in western Europe; Latin-1 is a part of that
        return raw.decode("cp1252", errors="replace")


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, NamedLabel | None]]:
    """Give each line that is no comment: its number, and the label that it names."""
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            match = _ITK_SNAP.fullmatch(text) or _PLAIN.fullmatch(text)
            yield number, match and _label(match.groupdict())


def _is_columns(lines: Sequence[str]) -> bool:
    names = _column_names(next(iter(lines), ""))
    return "name" in names and any(column in names for column in _COLUMN_OF_VALUES)


def _column_names(header: str) -> list[str]:
    return [name.strip().strip('"').lower() for name in header.split(_separator(header))]


def _separator(header: str) -> str:
    return max("\t,;", key=header.count)


def _columns(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, NamedLabel | None]]:
    """Give each line below a header of columns: its number, and the label that it names."""
    names = _column_names(lines[0])
    reader = csv.reader(lines[1:], delimiter=_separator(lines[0]))
    try:
        for cells in reader:
            if cells:
                row = dict(zip(names, (cell.strip() for cell in cells), strict=False))
                yield reader.line_num + 1, _label(_parts(row))
    except csv.Error as error:
        raise VolumeError(f"{path}: line {reader.line_num + 1}: {error}") from error


def _parts(row: Mapping[str, str]) -> dict[str, str | None]:
    """Return value, name and colour of a row, as text and as far as it has them."""
    value = next((row[column] for column in _COLUMN_OF_VALUES if column in row), "")
    parts: dict[str, str | None] = {"value": value, "name": row.get("name", "")}
    if match := _HEX.fullmatch(row.get("color", "")):
        parts |= {channel: str(int(level, 16)) for channel, level in match.groupdict().items()}
    elif all(row.get(column) for column in _COLUMNS_OF_COLOUR):
        levels = (row[column] for column in _COLUMNS_OF_COLOUR)
        parts |= dict(zip(("red", "green", "blue"), levels, strict=True))
    return parts


def _label(parts: Mapping[str, str | None]) -> NamedLabel | None:
    """Return the label that a row names, or None if the row makes no sense."""
    levels = [parts.get(channel) for channel in ("red", "green", "blue")]
    texts = [parts.get("value"), *levels] if all(levels) else [parts.get("value")]
    if not all(text and text.isascii() and text.isdigit() and len(text) <= 10 for text in texts):
        return None
    value, *colour = (int(text or 0) for text in texts)
    if value > _LARGEST_VALUE or max(colour, default=0) > _BRIGHTEST:
        return None
    words = (parts.get("name") or "").strip().strip('"').split()
    red, green, blue = colour or default_colour(value)
    return NamedLabel(value, " ".join(words) or f"label {value}", (red, green, blue))


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
