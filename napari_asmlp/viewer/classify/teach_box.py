"""Teaching by example: classes as buttons, examples as a table, and what to do with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.viewer.classify.example_table import ExampleTable
from napari_asmlp.viewer.classify.lesson import Lesson
from napari_asmlp.viewer.classify.pick import KEYS
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.widgets import text_label

if TYPE_CHECKING:
    from napari_asmlp.card import ClassEntry
    from napari_asmlp.pipeline.classification import Item

_SWATCH = 12  # pixels
_PER_ROW = 2
_HOW = (
    "Pick an object, then press the number of its class, or its button. Give a few examples of"
    " each, then train; correct what is wrong, and train again"
)


class TeachBox(QWidget):
    """Classes and examples of one layer; the panel gives it the layer's, and trains.

    Signals
    -------
    changed() : the lesson is another
    named(name) : an object is of this class, says a button or a key
    added(name) : there is a new class
    looked_up(value) : an example was chosen in the table
    """

    changed = Signal()
    named = Signal(str)
    added = Signal(str)
    looked_up = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._lesson = Lesson()
        self._buttons: dict[str, QPushButton] = {}
        self._make_fields()
        self._lay_out()
        self.show_lesson(Lesson())

    @property
    def lesson(self) -> Lesson:
        """Classes and examples as they are now."""
        return self._lesson

    def show_lesson(self, lesson: Lesson) -> None:
        """Show another lesson, such as that of another layer."""
        self._lesson = lesson
        self._show_classes()
        self.table.show_examples(lesson)
        self._show_what_can_be_done()

    def show_items(self, items: Mapping[int, Item]) -> None:
        """Show beside the examples what a model says of them."""
        self.table.show_examples(self._lesson, items)

    def give(self, value: int, name: str) -> None:
        """Take an object as an example of a class; wrong input is shown as a notification."""
        with errors_shown():
            self._set(self._lesson.with_example(value, name))

    def name_by_key(self, number: int) -> None:
        """Press the button of a class by its number, from 1."""
        if number > len(self._lesson.names):
            show_error(f"There is no class {number}: add it first")
            return
        self.named.emit(self._lesson.names[number - 1])

    def set_busy(self, *, busy: bool) -> None:
        """Lock what would change a lesson that is being learnt."""
        for widget in (self.classes, self.table, self.new_class, self.add_button):
            widget.setEnabled(not busy)
        self.remove_button.setEnabled(not busy)
        self.train_button.setEnabled(not busy and self._lesson.is_complete)

    def _make_fields(self) -> None:
        self.how = text_label()
        self.how.setText(_HOW)
        self.classes = QWidget()
        self.new_class = QLineEdit(placeholderText="Name of a class", clearButtonEnabled=True)
        self.new_class.returnPressed.connect(self._add)
        self.add_button = QPushButton("Add class")
        self.add_button.setToolTip("An object that is picked and has no class yet is one of it")
        self.add_button.clicked.connect(self._add)
        self.table = ExampleTable()
        self.table.chosen.connect(self.looked_up)
        self.table.deleted.connect(self._remove)
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip("Take the selected examples out (Delete)")
        self.remove_button.clicked.connect(self._remove)
        self.train_button = QPushButton("Train")
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Keep what was learnt as a model file, for other volumes too")

    def _lay_out(self) -> None:
        self._grid = QGridLayout(self.classes)
        self._grid.setContentsMargins(0, 0, 0, 0)
        column = QVBoxLayout(self)
        for widgets in (
            (self.how,),
            (self.classes,),
            (self.new_class, self.add_button),
            (self.table,),
            (self.remove_button, self.train_button, self.save_button),
        ):
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget)
            column.addLayout(row)

    def _set(self, lesson: Lesson) -> None:
        self.show_lesson(lesson)
        self.changed.emit()

    def _add(self) -> None:
        """Add the class that is typed; one that is there is only named."""
        name = " ".join(self.new_class.text().split())
        known = {taken.casefold(): taken for taken in self._lesson.names}
        with errors_shown():
            if name.casefold() in known:
                self.named.emit(known[name.casefold()])
            else:
                self._set(self._lesson.with_class(name))
                self.added.emit(name)
            self.new_class.clear()

    def _remove(self) -> None:
        self._set(self._lesson.without_examples(self.table.selected))

    def _show_classes(self) -> None:
        for button in self._buttons.values():
            self._grid.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._buttons = {}
        counts = self._lesson.counts
        for n, entry in enumerate(self._lesson.classes):
            button = self._button(n, entry, counts[entry.name])
            self._grid.addWidget(button, *divmod(n, _PER_ROW))
            self._buttons[entry.name] = button

    def _button(self, n: int, entry: ClassEntry, count: int) -> QPushButton:
        key = f"{n + 1}  " if n < len(KEYS) else ""
        button = QPushButton(f"{key}{entry.name.replace('&', '&&')} ({count})")
        button.setIcon(_swatch(entry.colour))
        press = f" (key {n + 1})" if key else ""
        button.setToolTip(f"The picked object is {entry.name}{press}. Right click: rename, remove")
        button.clicked.connect(lambda: self.named.emit(entry.name))
        button.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        button.customContextMenuRequested.connect(partial(self._open_menu, button, entry.name))
        return button

    def _open_menu(self, button: QPushButton, name: str, place: QPoint) -> None:
        menu = QMenu(self)
        menu.addAction("Rename…", lambda: self._rename(name))
        menu.addAction("Remove class", lambda: self._set(self._lesson.without_class(name)))
        menu.popup(button.mapToGlobal(place))

    def _rename(self, name: str) -> None:
        new, is_given = QInputDialog.getText(self, "Rename class", "Name", text=name)
        if is_given:
            with errors_shown():
                self._set(self._lesson.renamed(name, new))

    def _show_what_can_be_done(self) -> None:
        ready = self._lesson.is_complete
        self.train_button.setEnabled(ready)
        self.train_button.setToolTip(
            "Learn from the examples, in seconds, and classify all objects"
            if ready
            else "Give examples of two classes at least"
        )


def _swatch(colour: str) -> QIcon:
    square = QPixmap(_SWATCH, _SWATCH)
    square.fill(QColor(colour))
    return QIcon(square)
