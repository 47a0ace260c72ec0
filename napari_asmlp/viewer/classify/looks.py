"""Classes in a labels layer: columns of its features, colours by class, and one step back.

The voxels are never touched. Classes stand in ``layer.features``, in the columns ``class`` and
``confidence``, joined with all others by the column ``index`` (the label's value).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.colormaps.standardize_color import transform_color

from napari_asmlp.viewer.colours import GREY, TRANSPARENT

if TYPE_CHECKING:
    from napari.layers import Labels

CLASS, CONFIDENCE = "class", "confidence"

_former: WeakKeyDictionary[Labels, Any] = WeakKeyDictionary()  # what classes took the place of


@dataclass(frozen=True)
class Answer:
    """What an object is; `confidence` is None where a person says so."""

    class_name: str
    confidence: float | None = None


@dataclass(frozen=True, eq=False)
class Looks:
    """Features and colours of a layer at one time."""

    features: pd.DataFrame
    colormap: Any
    former: Any

    @classmethod
    def of(cls, layer: Labels) -> Looks:
        """Return those that a layer has now."""
        return cls(layer.features.copy(), layer.colormap, _former.get(layer))

    def put_back(self, layer: Labels) -> None:
        """Give them back to the layer."""
        layer.features = self.features
        if layer.colormap is not self.colormap:
            _set_colormap(layer, self.colormap)
        if self.former is None:
            _former.pop(layer, None)
        else:
            _former[layer] = self.former


def write_answers(layer: Labels, answers: Mapping[int, Answer]) -> None:
    """Write classes into a layer's features at once; those of former answers go.

    Parameters
    ----------
    answers
        By label value.
    """
    layer.features = with_answers(layer.features, answers)


def with_answers(table: pd.DataFrame, answers: Mapping[int, Answer]) -> pd.DataFrame:
    """Return features with classes; other columns and their rows stay."""
    table = table.drop(columns=[CLASS, CONFIDENCE], errors="ignore")
    if not answers:
        return table
    if "index" not in table.columns:  # napari then takes the number of the row for the value
        table.insert(0, "index", np.arange(len(table)))
    known = set(table["index"])
    fresh = np.array([value for value in answers if value not in known], np.int64)
    if fresh.size:
        table = pd.concat([table, pd.DataFrame({"index": fresh})], ignore_index=True)
    names = {value: answer.class_name for value, answer in answers.items()}
    shares = {value: answer.confidence for value, answer in answers.items()}
    table[CLASS] = table["index"].map(names).astype(object)
    table[CONFIDENCE] = table["index"].map(shares).astype(float)
    return table


def classes_in(layer: Labels) -> dict[int, str]:
    """Return the class of each label that has one."""
    table = layer.features
    if not {"index", CLASS} <= set(table.columns):
        return {}
    known = table[table[CLASS].notna()]
    return {int(v): str(name) for v, name in zip(known["index"], known[CLASS], strict=True)}


def colour_by_class(layer: Labels, colours: Mapping[str, str]) -> None:
    """Colour labels by their class; `colour_as_before` gives the former colours back.

    Labels that were hidden stay so; those without a class are grey.

    Parameters
    ----------
    colours
        By class name, such as ``#e69f00``.
    """
    _former.setdefault(layer, layer.colormap)
    rgba = {name: transform_color(colour)[0] for name, colour in colours.items()}
    hidden = _hidden(_former[layer])
    table = {v: rgba[name] for v, name in classes_in(layer).items() if name in rgba}
    clear = {v: np.append(table.get(v, GREY)[:3], 0) for v in hidden}
    colormap = DirectLabelColormap(color_dict={None: GREY, 0: TRANSPARENT})
    # past napari's validation, which takes seconds for 50,000 values
    colormap.color_dict.update({**table, **clear})
    _set_colormap(layer, colormap)


def colour_as_before(layer: Labels) -> None:
    """Give a layer the very colours that it had before `colour_by_class`."""
    former = _former.pop(layer, None)
    if former is not None:
        _set_colormap(layer, former)


def is_by_class(layer: Labels) -> bool:
    """Tell whether labels are coloured by class."""
    return layer in _former


def _set_colormap(layer: Labels, colormap: Any) -> None:
    # napari takes a colormap as it is, and with it whether all labels are shown
    colormap.use_selection = layer.show_selected_label
    colormap.selection = layer.selected_label
    layer.colormap = colormap


def _hidden(colormap: Any) -> list[int]:
    if not isinstance(colormap, DirectLabelColormap):
        return []
    return [v for v, colour in colormap.color_dict.items() if v and not colour[3]]
