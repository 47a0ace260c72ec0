"""The option that every command with labels as its output has: how their names are written."""

from __future__ import annotations

import argparse

from napari_asmlp.io import NAME_SUFFIXES, NameFormat

_FORMATS: dict[str, NameFormat | None] = {
    "itksnap": "ITK-SNAP",
    "slicer": "3D Slicer",
    "freesurfer": "FreeSurfer",
    "none": None,
}
_DEFAULT = "itksnap"


def names_option(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option ``--names``."""
    suffixes = ", ".join(
        f"{word} NAME{NAME_SUFFIXES[format_]}" for word, format_ in _FORMATS.items() if format_
    )
    parser.add_argument(
        "--names",
        choices=tuple(_FORMATS),
        default=_DEFAULT,
        help=f"the table of names and colours that is written beside the labels: {suffixes}; none"
        f" writes no table, and NIfTI holds them inside all the same (default: {_DEFAULT})",
    )


def names_format(options: argparse.Namespace) -> NameFormat | None:
    """Return the format that ``--names`` asks for; None for no table."""
    return _FORMATS[options.names]
