"""The Mixer panel: what a volume or each object of it is, by a model or taught by example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.model import Model
from napari_asmlp.viewer.classify.book import Book
from napari_asmlp.viewer.classify.lesson import Lesson
from napari_asmlp.viewer.classify.model_box import ModelBox
from napari_asmlp.viewer.classify.new_layers import add_map, add_objects
from napari_asmlp.viewer.classify.picked import Picked
from napari_asmlp.viewer.classify.record import Record, item_title
from napari_asmlp.viewer.classify.request import (
    OBJECTS,
    Order,
    Pupil,
    School,
    Wish,
    resolve,
    resolve_lesson,
    splitting,
    taught_text,
)
from napari_asmlp.viewer.classify.result_box import ResultBox
from napari_asmlp.viewer.classify.run_row import RunRow
from napari_asmlp.viewer.classify.saving import ask_path, save_as
from napari_asmlp.viewer.classify.sources import Sources
from napari_asmlp.viewer.classify.teach_box import TeachBox
from napari_asmlp.viewer.panel import Panel, open_page
from napari_asmlp.viewer.region import region_box
from napari_asmlp.viewer.settings import recall, remember

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_asmlp.pipeline.by_example import Taught
    from napari_asmlp.pipeline.classification import Item
    from napari_asmlp.volume import Volume

_COLOUR_KEY = "classify.colour"


class MixerPanel(Panel):
    """Classifies an image, a region of it or the objects of labels, and learns by example.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self.book = Book(coloured=recall(_COLOUR_KEY, True))
        self._whole: tuple[Order, Item] | None = None  # of an image or a region
        self.picked = Picked(self._viewer, self)
        self.sources = Sources(self._viewer, self.current)
        self._choosers += [self.sources.image_combo, self.sources.labels_combo]
        self.by_model = ModelBox(self._viewer, self._image)
        self.teach = TeachBox()
        self.running = RunRow()
        self.results = ResultBox()
        self._lay_out()
        self._listen()
        self._change_wish()

    @property
    def record(self) -> Record:
        """What is known of the chosen labels."""
        return self.book.of(self.picked.layer)

    @property
    def is_about_objects(self) -> bool:
        """Whether objects are meant, not an image or a region of it."""
        teaches = self.tabs.currentWidget() is self.teach
        return bool(teaches or self.by_model.what.value == OBJECTS)

    def wish(self) -> Wish:
        """Return what the fields say now."""
        image, chooser = self._image(), self.by_model.model
        return Wish(
            what=self.by_model.what.value,
            image=self.sources.image,
            labels=self.sources.labels,
            region=region_box(self._viewer).region_on(image),
            model=chooser.path,
            card=chooser.card,
        )

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        super().reset_choices()
        layers = self._viewer.layers
        self.book.forget_all_but(layer for layer in layers if isinstance(layer, Labels))
        if self.running.about is not None and self.running.about not in layers:
            self.cancel()

    def follow_current(self) -> None:
        """Turn to the objects of the current labels, in the current image."""
        self.sources.follow()
        self._follow_sources()

    def opened(self) -> None:
        """Follow the viewer."""
        self.by_model.region.follow()
        self.follow_current()

    def closed(self) -> None:
        """Stop what runs, and give mouse and keys back to the viewer."""
        self.running.stop()
        self.by_model.region.let_go()
        self.sources.pick_button.setChecked(False)
        self.picked.follow(None)

    def cancel(self) -> None:
        """Stop what runs; classes that are known by then stay."""
        self.running.cancel()

    def classify(self) -> None:
        """Classify as the fields say; wrong input is shown as a notification."""
        with self._refusals():
            order = resolve(self.wish())
            take = partial(self._take_items, order)
            self.running.start(order.job(), take, order.labels, take_part=take)

    def train(self) -> None:
        """Learn from the examples, and classify all objects."""
        layer, lesson = self.picked.layer, self.teach.lesson
        with self._refusals():
            school = resolve_lesson(layer, self._image(), lesson, self.record.pupil)
            self.running.start(school.job(), partial(self._take_taught, school), school.layer)

    def split(self) -> None:
        """Make a layer in which each connected object is a label of its own."""
        layer = self.picked.layer
        if layer is not None:
            with self._refusals():
                self.running.start(splitting(layer), partial(self._add_objects, layer), layer)

    def show_why(self) -> None:
        """Map what spoke for the class of the image, or of the object that is picked."""
        with self._refusals():
            if self.is_about_objects:
                order, item = self.record.explained(self.picked.value)
            elif self._whole is not None:
                order, item = self._whole
            else:
                raise SettingsError("there is nothing to explain yet: classify first")
            self.running.start(order.why(item), partial(self._add_map, item), order.labels)

    def save(self) -> None:
        """Save what was taught as a model file, in a dialog, and choose it."""
        order = self.record.order
        with self._refusals():
            if order is None or not isinstance(order.model, Model):
                raise SettingsError("nothing has been taught yet: give examples and train first")
            chosen = ask_path(self)
            if chosen:
                path = save_as(order.model, chosen)
                self.by_model.choose(path)
                show_info(f"Model written to {path}: it can be chosen in this panel now")

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.addTab(self.by_model, "By a model")
        self.tabs.addTab(self.teach, "By example")
        column = QVBoxLayout(self)
        for widget in (self.sources, self.tabs, self.running, self.results):
            column.addWidget(widget)
        column.addStretch()

    def _listen(self) -> None:
        sources, results, teach = self.sources, self.results, self.teach
        sources.changed.connect(self._follow_sources)
        sources.pick_button.toggled.connect(self._toggle_picking)
        sources.split_button.clicked.connect(self.split)
        self.by_model.changed.connect(self._change_wish)
        self.by_model.run_button.clicked.connect(self.classify)
        self.tabs.currentChanged.connect(lambda _: self._show_answer())
        self.running.changed.connect(self._show_buttons)
        self.picked.changed.connect(self._show_answer)
        self.picked.pressed.connect(self._press)
        teach.changed.connect(self._keep_lesson)
        teach.named.connect(self._name)
        teach.added.connect(self._begin_class)
        teach.looked_up.connect(lambda v: self.picked.go_to(v, self.record.places.get(v, ())))
        teach.train_button.clicked.connect(self.train)
        teach.save_button.clicked.connect(self.save)
        results.colour.clicked.connect(self._colour)
        results.back_button.clicked.connect(self._go_back)
        results.why_button.clicked.connect(self.show_why)
        results.measure_button.clicked.connect(self._open_measure)

    def _image(self) -> Image | None:
        image = self.sources.image
        return image if isinstance(image, Image) else None

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Show wrong input as a notification, and below the bar."""
        try:
            yield
        except AsmlpError as error:
            show_error(str(error))
            if not self.running.is_busy:
                self.running.show_idle(str(error))

    def _change_wish(self) -> None:
        card = self.by_model.model.card
        self.sources.offer_shapes(card is not None and card.input.what == "mask")
        self._show_answer()

    def _follow_sources(self) -> None:
        """Turn to the labels that are chosen now."""
        if self.parent() is None:  # not in a dock yet, or no more
            return
        self.by_model.region.follow()
        if self.sources.labels is not self.picked.layer:
            self.picked.follow(self.sources.labels)
            # without examples: objects of the next image are of the same classes
            self.teach.show_lesson(self.record.lesson or Lesson(self.teach.lesson.classes))
        self._show_record()

    def _toggle_picking(self, on: bool) -> None:
        try:
            self.picked.toggle(on)
        except AsmlpError as error:
            show_error(str(error))
            self.sources.pick_button.setChecked(False)

    def _press(self, number: int) -> None:
        if not self.running.is_busy:
            self.teach.name_by_key(number)

    def _name(self, name: str) -> None:
        """Take the picked object for an example of a class."""
        if self.picked.value:
            self.teach.give(self.picked.value, name)
        else:
            show_error("There is no object: pick one in the image first")

    def _begin_class(self, name: str) -> None:
        """Take the picked object for the first example of a new class, if it has none yet."""
        if self.picked.value and self.picked.value not in self.teach.lesson.examples:
            self.teach.give(self.picked.value, name)

    def _keep_lesson(self) -> None:
        """Keep the classes and examples of the layer, and show them in it."""
        if self.picked.layer is not None:
            here = {self.picked.value: self.picked.place} if self.picked.place else {}
            places = {**self.record.places, **here}
            self.book.change(self.picked.layer, lesson=self.teach.lesson, places=places)
            self._show_record()

    def _take_items(self, order: Order, items: list[Item]) -> str:
        if order.labels is None:
            self._whole = order, items[0]
            self._show_answer()
            return "Done"
        lesson = self.book.of(order.labels).lesson or Lesson(order.card.classes)  # to correct with
        return self._write(order.labels, items, order=order, lesson=lesson)

    def _take_taught(self, school: School, learnt: tuple[Taught, Pupil]) -> str:
        taught, pupil = learnt
        order = school.order(taught.model)
        text = self._write(school.layer, taught.items, order=order, pupil=pupil)
        return f"{text}. {taught_text(taught)}"

    def _write(self, layer: Labels, items: list[Item], **changes: Any) -> str:
        if layer not in self._viewer.layers:
            return f"Labels {layer.name!r} have been removed"
        self.book.change(layer, items={item.object: item for item in items}, **changes)
        self._show_record()
        return self.book.of(layer).summary()

    def _add_objects(self, layer: Labels, found: NDArray[Any]) -> str:
        if layer not in self._viewer.layers:
            return f"Labels {layer.name!r} have been removed"
        add_objects(self._viewer, layer, found)
        return f"{int(found.max()):,} objects"

    def _add_map(self, item: Item, volume: Volume) -> str:
        what = item.input if item.object is None else f"object {item.object}"
        name = f"why {what} is {item.class_name}"
        add_map(self._viewer, volume, name)
        return f"Layer {name!r}: orange spoke for {item.class_name}, blue against it"

    def _colour(self, on: bool) -> None:
        remember(_COLOUR_KEY, on)
        self.book.coloured = on
        if self.picked.layer is not None:
            self.book.show_colours(self.picked.layer)
        self._show_buttons()

    def _go_back(self) -> None:
        if self.picked.layer is not None and self.book.back(self.picked.layer):
            self.teach.show_lesson(self.record.lesson)
            self._show_record()

    def _open_measure(self) -> None:
        open_page(self._viewer, "measure")
        if self.picked.layer is not None:
            self.current.choose(self.picked.layer)

    def _show_record(self) -> None:
        record = self.record
        if record.lesson is not self.teach.lesson and record.lesson.classes:
            self.teach.show_lesson(record.lesson)
        self.teach.show_items(record.items)
        self._show_answer()

    def _show_answer(self) -> None:
        """Show what is known of the image, or of the object that is picked."""
        bars, record = self.results.bars, self.record
        if self.is_about_objects:
            title = record.title(self.picked.value) if self.picked.value else record.summary()
            bars.show_item(title, record.items.get(self.picked.value), record.colours)
        elif self._whole is None:
            bars.show_item("", None, {})
        else:
            order, item = self._whole
            colours = {entry.name: entry.colour for entry in order.card.classes}
            bars.show_item(item_title(item), item, colours)
        self._show_buttons()

    def _show_buttons(self) -> None:
        """Enable what can be done now."""
        busy, record = self.running.is_busy, self.record
        self.by_model.run_button.setEnabled(not busy)
        self.sources.split_button.setEnabled(not busy and self.picked.layer is not None)
        self.teach.set_busy(busy=busy)
        taught = record.order is not None and isinstance(record.order.model, Model)
        self.teach.save_button.setEnabled(not busy and taught)
        results = self.results
        results.colour.setChecked(self.book.is_coloured(self.picked.layer))
        results.colour.setEnabled(self.is_about_objects)
        results.back_button.setEnabled(not busy and record.before is not None)
        is_known = self.picked.value in record.items if self.is_about_objects else bool(self._whole)
        results.why_button.setEnabled(not busy and is_known)
        results.measure_button.setEnabled(self.picked.layer is not None)
