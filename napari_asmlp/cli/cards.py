"""What `napari-asmlp models show` says of a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from napari_asmlp.model import (
    AnyCard,
    AnyModel,
    Card,
    ClassifierCard,
    ClassifierInput,
    Preprocessing,
)
from napari_asmlp.networks.cost import count_flops, count_parameters

_SHOWN = {
    "volume": "the whole volume",
    "mask": "a shape: all voxels that are not 0",
    "object": "an object's surroundings, and its shape",
}


def describe(model: AnyModel) -> Iterator[str]:
    """Lines of text about a model."""
    card = model.card
    yield f"name          {card.name}"
    yield f"file          {model.path}"
    yield f"hash          {model.hash}"
    yield f"summary       {card.summary}"
    yield from _answers(card)
    for name, value in asdict(card.network).items():
        yield f"  {name:16} {value}"
    size = card.network.input_size if isinstance(card, ClassifierCard) else card.window
    flops = count_flops(model.network, (card.in_channels, *size))
    yield f"parameters    {count_parameters(model.network):,}"
    what = "a volume" if isinstance(card, ClassifierCard) else "a window"
    yield f"FLOPs         {flops / 1e9:.2f} GFLOP for {what} of {times(size)} voxels"
    yield from _preparation(card)
    yield f"data          {card.training_data or 'not stated'}"
    yield f"licence       {card.licence}"
    if card.attribution:
        yield f"attribution   {card.attribution}"
    yield from _class_scores(card) if isinstance(card, ClassifierCard) else _label_scores(card)
    error = card.calibration.get("ece_after")
    if error is not None:
        yield f"calibration   error {_rounded(error)} with temperature {card.temperature:g}"
    yield f"created       {card.created or 'not stated'}"


def times(values: tuple[float, ...]) -> str:
    """Extents along the axes, in words: ``2x2x3``."""
    return "x".join(f"{value:g}" for value in values)


def _answers(card: AnyCard) -> Iterator[str]:
    if isinstance(card, ClassifierCard):
        classes = (f"{entry.name} ({entry.colour})" for entry in card.classes)
        yield f"classes       {', '.join(classes)}"
        yield f"architecture  {card.architecture}"
    else:
        labels = (f"{entry.value} {entry.name} ({entry.colour})" for entry in card.labels)
        yield f"labels        {', '.join(labels)}"
        yield f"architecture  {card.architecture}, {card.activation}"


def _preparation(card: AnyCard) -> Iterator[str]:
    recipe = card.input if isinstance(card, ClassifierCard) else card.preprocessing
    default = "that of the file" if isinstance(recipe, Preprocessing) else "fits each box"
    spacing = default if recipe.spacing is None else f"{times(recipe.spacing)} mm"
    yield f"spacing       {spacing}; axes {recipe.axis_codes or 'of the file'}"
    if isinstance(recipe, ClassifierInput):
        thickness = ", and how far each voxel of it is from the outside" if recipe.thickness else ""
        yield f"input         {_SHOWN[recipe.what]}{thickness}"
        if recipe.measurements:
            yield f"measurements  {', '.join(one.name for one in recipe.measurements)}"
        if recipe.what != "mask":
            yield f"intensities   clip to percentiles {recipe.clip}, {recipe.normalisation}"
        return
    for channel, one in enumerate(recipe.fixed or (None,)):
        text = f"clip to percentiles {recipe.clip}, {recipe.normalisation}"
        if one is not None:
            text = (
                f"clip to {one.low:g} ... {one.high:g}, less {one.mean:g}, over {one.deviation:g}"
            )
        yield f"intensities   {text}{f' (channel {channel})' if recipe.fixed else ''}"
    if isinstance(card, Card) and card.field_of_view_mm is not None:
        yield f"trained on    fields of view up to {times(card.field_of_view_mm)} mm"
        fixed = "at a fixed place; a volume of over twice that extent needs a region"
        anywhere = "anywhere, in volumes of any extent"
        yield f"labels lie    {fixed if card.place == 'fixed' else anywhere}"


def _class_scores(card: ClassifierCard) -> Iterator[str]:
    if "cases" not in card.scores:
        return
    how = card.scores.get("how", "kept out of training")
    yield f"scores        on {card.scores['cases']} cases: {how}"
    for name in ("roc_auc", "accuracy", "balanced_accuracy"):
        match card.scores.get(name):
            case {"value": value, "interval": [low, high]}:
                yield f"  {name:18} {_rounded(value)} ({_rounded(low)} to {_rounded(high)})"


def _label_scores(card: Card) -> Iterator[str]:
    cases, means = card.scores.get("cases"), card.scores.get("mean")
    if cases and isinstance(cases, dict):
        yield f"scores        on {len(cases)} cases that the scored model had not seen"
    names = {str(value): name for value, name in card.label_names.items()} | {"all": "mean"}
    for label, values in means.items() if isinstance(means, dict) else ():
        match values:
            case {"dice": dice, "hd95_mm": distance}:
                hd95 = "-" if distance is None else f"{_rounded(distance, 2)} mm"
                yield f"  {names.get(label, label):16} Dice {_rounded(dice)}, HD95 {hd95}"


def _rounded(value: object, digits: int = 3) -> str:
    """Return a figure of the card, which may hold anything in its place.

    A label that was never found has no distance: ``-``.
    """
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"
