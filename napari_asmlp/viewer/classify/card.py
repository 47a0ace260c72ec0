"""What a classifier's card says, for the panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from napari_asmlp.viewer.segment.card import swatch, unbroken

if TYPE_CHECKING:
    from napari_asmlp.card import ClassifierCard

_LOOKS_AT = {
    "volume": "the whole image, or a region",
    "mask": "a shape",
    "object": "an object and what is around it",
}
_SCORES = {"roc_auc": "AUC", "accuracy": "accuracy"}


def classifier_html(card: ClassifierCard) -> str:
    """Return a card in a few lines: what it is for, classes, training, scores, licence."""
    lines = [escape(card.summary), "&nbsp; ".join(swatch(entry) for entry in card.classes)]
    if card.training_data:
        lines.append(f"Trained on {escape(card.training_data)}")
    lines.append(f"Looks at {_LOOKS_AT[card.input.what]}")
    lines.append(" · ".join((*_scores(card), unbroken(f"licence {card.licence}"))))
    return "<br>".join(line for line in lines if line)


def _scores(card: ClassifierCard) -> Iterator[str]:
    for key, name in _SCORES.items():
        found = card.scores.get(key)
        value = found.get("value") if isinstance(found, Mapping) else found
        if isinstance(value, int | float):
            yield unbroken(f"{name} {value:.2f}")
