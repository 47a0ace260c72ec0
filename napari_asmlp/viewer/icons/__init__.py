"""Our icons: drawings of one colour, that of the theme's text."""

from __future__ import annotations

from pathlib import Path

from napari.utils.theme import get_theme
from qtpy.QtGui import QIcon, QPixmap

_FOLDER = Path(__file__).parent


def icon(name: str, theme: str) -> QIcon:
    """Return an icon.

    Parameters
    ----------
    name
        Of its file, without the suffix.
    theme
        Name of the theme of napari, such as ``dark``.
    """
    drawing = (_FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    coloured = drawing.replace("currentColor", get_theme(theme).text.as_hex())
    picture = QPixmap()
    picture.loadFromData(coloured.encode(), "SVG")
    return QIcon(picture)


def checked_style(theme: str) -> str:
    """Return a style sheet by which one sees which tool button is down."""
    return f"QToolButton:checked {{ background: {get_theme(theme).current.as_hex()} }}"
