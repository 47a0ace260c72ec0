"""Tables as text: comma-separated files, and cells as they are written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from napari_asmlp.io.files import replacing

Cell = str | int | float | None
Record = Mapping[str, Cell]


def save_table(
    path: Path, columns: Sequence[str], records: Iterable[Record], *, overwrite: bool = False
) -> Path:
    """Write a table to a file; see `write_table`.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or the system refuses to write.
    """
    with (
        replacing(path, overwrite=overwrite) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        write_table(stream, columns, records)
    return path


def write_table(
    stream: TextIO, columns: Sequence[str], records: Iterable[Record], separator: str = ","
) -> None:
    """Write a row of names, and one for each record; a cell that it lacks, or None, stays empty."""
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell_text(each.get(name)) for name in columns] for each in records)


def cell_text(value: Cell) -> str:
    """Return what a cell holds: numbers to nine digits.

    >>> cell_text(2 / 3), cell_text(1234567890), cell_text(None)
    ('0.666666667', '1234567890', '')
    """
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)
