"""What a model's card says, for the panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_asmlp.card import Card, ClassEntry, LabelEntry


def card_html(card: Card) -> str:
    """Return a card in a few lines: what it is for, labels, training, score, licence."""
    lines = [escape(card.summary), "&nbsp; ".join(swatch(entry) for entry in card.labels)]
    facts = []
    if card.mean_dice is not None:
        facts.append(f"Dice {card.mean_dice:.2f}")
    if card.place == "anywhere":
        facts.append(unbroken("volumes of any extent"))
    elif card.field_of_view_mm:
        extent = " × ".join(f"{mm:.0f}" for mm in card.field_of_view_mm)
        facts.append(f"field of view {unbroken(extent + ' mm')}")
    facts.append(unbroken(card.licence))
    if card.training_data:
        data = card.training_data.partition(";")[0]  # `models show` has the rest: a dock is small
        lines.append(f"Trained on {escape(data)}")
    lines.append(" · ".join(facts))
    return "<br>".join(line for line in lines if line)


def sizes_html(volumes_mm3: Mapping[str, float], entries: Iterable[LabelEntry]) -> str:
    """Return the size of each class, one a line: a square, ``anterior 1702 mm³ (1.70 ml)``."""
    colours = {entry.name: entry.colour for entry in entries}
    rows = [
        f"{square(colours.get(name, '#999999'))} {escape(name)} {_size(mm3)}"
        for name, mm3 in volumes_mm3.items()
    ]
    return "<br>".join(rows) or "No voxel was labelled."


def sizes_text(volumes_mm3: Mapping[str, float]) -> str:
    """Return the same in one line, for a notification."""
    return ", ".join(f"{name} {_size(mm3)}" for name, mm3 in volumes_mm3.items()) or "no labels"


def unbroken(text: str) -> str:
    """Escape a text that must stay on one line."""
    return escape(text).replace(" ", "&nbsp;").replace("-", "&#8209;")


def _size(mm3: float) -> str:
    return f"{mm3:.0f} mm³ ({mm3 / 1000:.2f} ml)"


def swatch(entry: LabelEntry | ClassEntry) -> str:
    """Return a square in a colour, and the name that has it."""
    return f"{square(entry.colour)} {escape(entry.name)}"


def square(colour: str) -> str:
    """Return a square in a colour such as ``#e69f00``."""
    return f'<span style="color:{escape(colour)}">■</span>'
