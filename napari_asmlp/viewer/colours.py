"""How labels look: the colour of each value, and its name in the status bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from napari.utils.colormaps import DirectLabelColormap, label_colormap

if TYPE_CHECKING:
    from napari_asmlp.model import LabelEntry

_MOST_DEFAULTS = 255  # a table of all 65535 values would slow the display down
_TRANSPARENT = (0.0, 0.0, 0.0, 0.0)
_GREY = (0.6, 0.6, 0.6, 1.0)


def label_look(
    entries: Iterable[LabelEntry] = (), names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Return the attributes of a Labels layer that colour and name its values.

    Parameters
    ----------
    entries
        The label table of a model. A value that has no entry gets a default colour.
    names
        Class names where there is no entry.

    Returns
    -------
    dict
        ``colormap``, and where there are names ``features`` with the columns ``index`` (the value)
        and ``name``.
    """
    entries = tuple(entries)
    colours: dict[int | None, Any] = {None: _GREY, 0: _TRANSPARENT, **_default_colours()}
    colours.update((entry.value, entry.colour) for entry in entries)
    look: dict[str, Any] = {"colormap": DirectLabelColormap(color_dict=colours)}
    table = {**(names or {}), **{entry.value: entry.name for entry in entries}}
    if table:
        table = {0: "background", **table}
        look["features"] = {"index": list(table), "name": list(table.values())}
    return look


@cache
def _default_colours() -> dict[int | None, Any]:
    """Return napari's own colours of the values from 1 up; neighbours differ clearly."""
    cyclic = label_colormap(_MOST_DEFAULTS + 1)
    return {value: tuple(cyclic.map(value)) for value in range(1, _MOST_DEFAULTS + 1)}
