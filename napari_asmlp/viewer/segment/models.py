"""Choosing a model in a panel: those of the zoo, or a file; with what its card says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from magicgui.widgets import ComboBox
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QWidget,
)

from napari_asmlp import zoo
from napari_asmlp.model import SUFFIX, Card, ClassifierCard, read_card, wrong_kind
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.widgets import shorten, text_label

C = TypeVar("C", Card, ClassifierCard)


class ModelChooser(QWidget, Generic[C]):
    """A list of models of one kind, a button for files, and the chosen model's card.

    Parameters
    ----------
    kind
        Of card: segmenters or classifiers.
    describe
        Returns a card as HTML.

    Signals
    -------
    changed() : another model is chosen

    Attributes
    ----------
    summary
        Shows the chosen model's card; the panel lays it out, over its whole width.
    """

    changed = Signal()

    def __init__(self, kind: type[C], describe: Callable[[C], str]) -> None:
        super().__init__()
        self._kind: type[C] = kind
        self._describe: Callable[[C], str] = describe
        self._cards: dict[Path, C] = _zoo_cards(kind)
        self._combo = ComboBox(
            choices=lambda _: [(_title(path, card), path) for path, card in self._cards.items()],
            tooltip="Models in the package, in your models folder, and files you have browsed to",
        )
        shorten(self._combo)
        self._combo.changed.connect(self._show_card)
        browse = QPushButton("Browse…")
        browse.setToolTip(f"Take a model file ({SUFFIX})")
        browse.clicked.connect(self._browse)
        self.summary = text_label(Qt.TextFormat.RichText)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo.native, stretch=1)
        row.addWidget(browse)
        self._show_card()

    @property
    def path(self) -> Path | None:
        """The chosen model's file."""
        path: Path | None = self._combo.value
        return path

    @property
    def card(self) -> C | None:
        """The chosen model's card."""
        return self._cards[self.path] if self.path else None

    def add(self, path: Path) -> None:
        """Add a model file to the list and choose it; raises `ModelError`."""
        card = read_card(path)
        if not isinstance(card, self._kind):
            raise wrong_kind(card)
        self._cards[path] = card
        self._combo.reset_choices()
        if self.path == path:  # another model under the same name
            self._show_card()
        self._combo.value = path

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Model file", str(zoo.user_folder()), f"Models (*{SUFFIX});;All files (*)"
        )
        if name:
            with errors_shown():
                self.add(Path(name))

    def _show_card(self) -> None:
        card = self.card
        none = f"No model is installed. Browse to a {SUFFIX} file."
        self.summary.setText(self._describe(card) if card else none)
        self.changed.emit()


def _zoo_cards(kind: type[C]) -> dict[Path, C]:
    """Read the cards of one kind of the zoo; a damaged file is reported and left out."""
    sound, damaged = zoo.survey()
    for reason in damaged.values():
        show_error(reason)
    return {entry.path: card for entry in sound if isinstance(card := entry.card, kind)}


def _title(path: Path, card: Card | ClassifierCard) -> str:
    return card.name if card.name == path.stem else f"{card.name} ({path.name})"
