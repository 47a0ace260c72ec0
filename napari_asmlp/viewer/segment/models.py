"""Choosing a model in a panel: those of the zoo, or a file; with what its card says."""

from __future__ import annotations

from pathlib import Path

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
from napari_asmlp.model import SUFFIX, Card, read_card
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.segment.card import card_html
from napari_asmlp.viewer.widgets import shorten, text_label


class ModelChooser(QWidget):
    """A list of models, a button for files, and the chosen model's card.

    Signals
    -------
    changed() : another model is chosen

    Attributes
    ----------
    summary
        Shows the chosen model's card; the panel lays it out, over its whole width.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._cards = _zoo_cards()
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
    def card(self) -> Card | None:
        """The chosen model's card."""
        return self._cards[self.path] if self.path else None

    def add(self, path: Path) -> None:
        """Add a model file to the list and choose it; raises `ModelError`."""
        self._cards[path] = read_card(path)
        self._combo.reset_choices()
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
        self.summary.setText(card_html(card) if card else none)
        self.changed.emit()


def _zoo_cards() -> dict[Path, Card]:
    """Read all cards of the zoo; a damaged file is reported and left out."""
    sound, damaged = zoo.survey()
    for reason in damaged.values():
        show_error(reason)
    return {entry.path: entry.card for entry in sound}


def _title(path: Path, card: Card) -> str:
    return card.name if card.name == path.stem else f"{card.name} ({path.name})"
