"""How labels look: the colour of each value, whether it is shown, and its name in the status bar.

A hidden label has its own colour, with an opacity of 0: what keeps the colormap keeps that too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap, label_colormap
from napari.utils.colormaps.standardize_color import transform_color

from napari_asmlp.volume import RGB

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_asmlp.model import LabelEntry

Colour = tuple[float, float, float, float]  # red, green, blue, opacity; 0 to 1

_MOST_DEFAULTS = 255  # a table of all 65535 values would slow the display down
TRANSPARENT = (0.0, 0.0, 0.0, 0.0)
GREY = (0.6, 0.6, 0.6, 1.0)
# Okabe and Ito's colours, told apart by colour-blind people too, without the black
_FIRST = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def label_look(
    entries: Iterable[LabelEntry] = (),
    names: Mapping[int, str] | None = None,
    known: Mapping[int, RGB] | None = None,
) -> dict[str, Any]:
    """Return the attributes of a Labels layer that colour and name its values.

    Parameters
    ----------
    entries
        The label table of a model. A value that has no entry gets a default colour.
    names, known
        Class names and colours by label value, where there is no entry.

    Returns
    -------
    dict
        ``colormap``, and where there are names ``features`` with the columns ``index`` (the value)
        and ``name``.
    """
    entries = tuple(entries)
    colours: dict[int | None, Any] = {None: GREY, 0: TRANSPARENT, **_default_colours()}
    colours.update((value, "#" + bytes(rgb).hex()) for value, rgb in (known or {}).items())
    colours.update((entry.value, entry.colour) for entry in entries)
    look: dict[str, Any] = {"colormap": DirectLabelColormap(color_dict=colours)}
    table = {**(names or {}), **{entry.value: entry.name for entry in entries}}
    if table:
        table = {0: "background", **table}
        look["features"] = {"index": list(table), "name": list(table.values())}
    return look


def colour_of(layer: Labels, value: int) -> Colour:
    """Return the colour of a label, also while napari shows only another one."""
    colormap = layer.colormap
    if isinstance(colormap, DirectLabelColormap):
        known = colormap.color_dict
        colour = known[value] if value in known else known.get(None, GREY)
    else:
        colour = colormap.model_copy(update={"use_selection": False}).map(value)
    red, green, blue, opacity = (float(part) for part in colour)
    return red, green, blue, opacity


def recolour(layer: Labels, value: int, colour: Colour) -> None:
    """Give a label another colour; its opacity, and so whether it is shown, stays."""
    _set_colours(layer, {value: (*colour[:3], colour_of(layer, value)[3])})


def is_shown(layer: Labels, value: int) -> bool:
    """Tell whether a label has not been hidden."""
    return colour_of(layer, value)[3] > 0


def show_labels(layer: Labels, values: Iterable[int], *, on: bool) -> None:
    """Show labels or hide them, and leave the others as they are."""
    _set_colours(
        layer, {value: (*colour_of(layer, value)[:3], 1.0 if on else 0.0) for value in values}
    )


def fresh_colour(layer: Labels, used: Iterable[int]) -> Colour:
    """Return the first default colour that none of some labels of a layer has."""
    taken = [colour_of(layer, value)[:3] for value in used]
    defaults = [tuple(float(part) for part in rgba) for rgba in _default_colours().values()]
    free = (c for c in defaults if not any(np.allclose(c[:3], rgb, atol=0.02) for rgb in taken))
    red, green, blue, opacity = next(free, defaults[len(taken) % len(defaults)])
    return red, green, blue, opacity


def _set_colours(layer: Labels, colours: Mapping[int, Colour]) -> None:
    if isinstance(layer.colormap, DirectLabelColormap):
        table = dict(layer.colormap.color_dict)
    else:  # napari's own endless one, which cannot be changed in single values
        values = {*range(1, _MOST_DEFAULTS + 1), int(layer.selected_label)} - {0}
        table = {None: GREY, 0: TRANSPARENT, **{v: colour_of(layer, v) for v in values}}
    table.update(colours)
    colormap = DirectLabelColormap(color_dict=table)
    # napari takes a new colormap as it is, and it would show all labels again
    colormap.use_selection = layer.show_selected_label
    colormap.selection = layer.selected_label
    layer.colormap = colormap


@cache
def _default_colours() -> dict[int | None, Any]:
    """Return the colours of the values from 1 up: a few clear ones, then napari's own."""
    cyclic = label_colormap(_MOST_DEFAULTS + 1)
    colours: dict[int | None, Any] = {
        value: tuple(cyclic.map(value)) for value in range(1, _MOST_DEFAULTS + 1)
    }
    clear = transform_color(_FIRST)
    return {**colours, **{value: tuple(rgba) for value, rgba in enumerate(clear, start=1)}}
