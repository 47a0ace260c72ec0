"""Label names inside a NIfTI file, as a header extension.

The extension is a comment (code 6) that holds JSON::

    {"napari-asmlp": "label names", "labels": [{"value": 1, "name": "liver", "colour": "#e69f00"}]}

Other programs skip an extension, or show it as the text that it is. All else in the header, and
the extensions of others, stay as they are.

Source: https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields/nifti1fields_pages/extension.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from nibabel.nifti1 import Nifti1Extension, Nifti1Header

from napari_asmlp.io.names import NamedLabel, NameTable, default_colour

_COMMENT = 6
_KEY, _MARKER = "napari-asmlp", "label names"
_START = json.dumps({_KEY: _MARKER})[:-1].encode()
_LARGEST = 64 * 2**20  # bytes
_LARGEST_VALUE = 2**32 - 1
_HEX = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


def with_names(extensions: Sequence[Any], labels: Sequence[NamedLabel]) -> list[Any]:
    """Return a header's extensions with these names in place of those that it had, if any."""
    others = [each for each in extensions if not _is_ours(each)]
    if not labels:
        return others
    rows = [
        {
            "value": each.value,
            "name": each.name,
            "colour": "#{:02x}{:02x}{:02x}".format(*each.colour),
        }
        for each in labels
    ]
    text = json.dumps({_KEY: _MARKER, "labels": rows})
    return [*others, Nifti1Extension(_COMMENT, text.encode("ascii"))]


def names_inside(header: Any) -> NameTable:
    """Return the names that a file's header holds; a damaged list only makes a note."""
    if not isinstance(header, Nifti1Header):  # of which that of NIfTI-2 is a kind
        return NameTable()
    found = next(filter(_is_ours, header.extensions), None)
    if found is None:
        return NameTable()
    try:
        content = json.loads(_bytes_of(found).rstrip(b"\0"))
        labels = {label.value: label for label in map(_label, content["labels"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        return NameTable((), ("the label names inside the file are damaged, and were left out",))
    return NameTable(tuple(label for value, label in sorted(labels.items()) if value))


def _label(row: Any) -> NamedLabel:
    """Return what a row says; raises what `names_inside` expects of a damaged one."""
    value, name, colour = row["value"], row["name"], row.get("colour", "")
    if type(value) is not int or not 0 <= value <= _LARGEST_VALUE or not isinstance(name, str):
        raise ValueError(f"{row!r} names no label")
    rgb = bytes.fromhex(colour[1:]) if _HEX.fullmatch(colour) else default_colour(value)
    red, green, blue = rgb
    return NamedLabel(value, " ".join(name.split()), (red, green, blue))


def _is_ours(extension: Any) -> bool:
    if extension.get_code() != _COMMENT:
        return False
    raw = _bytes_of(extension)
    return raw.startswith(_START) and len(raw) <= _LARGEST


def _bytes_of(extension: Any) -> bytes:
    """Return what an extension holds, which nibabel may have decoded already."""
    content = extension.get_content()
    return content if isinstance(content, bytes) else str(content).encode()
