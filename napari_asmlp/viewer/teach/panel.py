"""The Teach panel: paint a little, get the rest, correct, get better."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.viewer.current import has_brush
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.history.edits import is_editable
from napari_asmlp.viewer.layers import add_labels
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.teach import classes
from napari_asmlp.viewer.teach.class_box import ClassBox
from napari_asmlp.viewer.teach.class_editing import ClassEditing, take_brush
from napari_asmlp.viewer.teach.course import Course, pair_texts
from napari_asmlp.viewer.teach.fine_tuning import open_fine_tuning
from napari_asmlp.viewer.teach.looks import DOUBT_KEY, add_doubt, ask_image, renew_doubt
from napari_asmlp.viewer.teach.next_box import NextBox, UseBox
from napari_asmlp.viewer.teach.next_place import following, go_to, place_text
from napari_asmlp.viewer.teach.project_work import ProjectWork
from napari_asmlp.viewer.teach.run_row import RunRow
from napari_asmlp.viewer.teach.saving import ask_path, choose_in_segment, save_as, worth_alone
from napari_asmlp.viewer.teach.source_box import SourceBox, may_annotate
from napari_asmlp.viewer.teach.tally import hint, missing
from napari_asmlp.viewer.teach.taught import show_classes
from napari_asmlp.viewer.teach.watch import Watch
from napari_asmlp.viewer.widgets import Scrolled, line

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_asmlp.model import Model
    from napari_asmlp.teaching.doubt import Place
    from napari_asmlp.viewer.teach.pairs import Pair

_MARGIN = 6  # pixels
_BEGIN = "Press New to begin: it adds annotations"


class TeachPanel(Panel):
    """Teaches classes that are painted in an image, round after round.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self.course = Course(self._viewer, self)
        self.watch = Watch(self, lambda: self.course.labels.is_writing)
        self.sources = SourceBox(self._viewer, self._pair_of)
        self._choosers.append(self.sources.image_combo)
        self.classes = ClassBox()
        self.running = RunRow()
        self.next = NextBox()
        self.use = UseBox()
        self.projects = ProjectWork(self._viewer, self.course, self._settings, self)
        self._place: Place | None = None  # gone to last
        self._lay_out()
        self._listen()
        self._listen_to_course()
        self.follow_current()

    @property
    def pair(self) -> Pair | None:
        """The image that is looked at, and what belongs to it."""
        image = self.sources.image
        return None if image is None else self._pair_of(image)

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        self.course.forget_gone()
        self.sources.reset()
        super().reset_choices()

    def follow_current(self) -> None:
        """Turn to the current image; its first annotations are the labels that are painted."""
        image, labels = self.current.image, self.current.labels
        if image in self.sources.images:
            pair = self._pair_of(image)
            if pair.annotations is None and self._is_free(labels, pair.image):
                pair.annotations = labels
            self.sources.choose(pair.image, pair.annotations)
        self._show_all()

    def _is_free(self, labels: Labels | None, image: Image) -> bool:
        """Tell whether labels are painted in on an image, and are of no other image."""
        taken = {pair.annotations for pair in self.course.pairs}
        return (
            has_brush(labels)
            and may_annotate(labels, image)
            and is_editable(labels)
            and labels not in taken
        )

    def opened(self) -> None:
        """Follow what is painted."""
        self.follow_current()

    def closed(self) -> None:
        """Stop what runs, and let go of the layers; labels and what was learnt stay."""
        self.course.close()
        self.projects.close()
        self.watch.stop()

    def cancel(self) -> None:
        """Stop the round that runs; labels and what was learnt stay."""
        self.course.rounds.stop()

    def teach(self) -> None:
        """Begin a round with all that is painted by now; wrong input is shown as a notification."""
        with self._refusals():
            self.course.teach(self.pair, float(self.running.seconds.value()))

    def new_annotations(self) -> None:
        """Add empty annotations on the grid of the image, and take up the brush."""
        with self._refusals():
            image = self.sources.image
            if image is None:
                raise SettingsError("there is no image: open a volume first")
            is_first = "annotations" not in self._viewer.layers
            name = "annotations" if is_first else f"annotations: {image.name}"
            layer = classes.new_annotations(image, name)
            add_labels(self._viewer, layer)
            layer.opacity = 1.0  # or it could not be told from what is taught below it
            self._pair_of(image).annotations = layer
            take_brush(self._viewer, layer)
            self._show_all()

    def where_next(self) -> None:
        """Go to where painting is worth most; again, to the next best place."""
        pair = self.pair
        with self._refusals():
            if pair is None:
                raise SettingsError("there is no image: open a volume first")
            self.course.find_place(pair, lambda places: self._go(pair, places))

    def apply_to(self, image: Image | None) -> None:
        """Label another image by what was taught; None asks for a file."""
        with self._refusals():
            image = image or ask_image(self._viewer, self)
            if image is not None:
                self.course.apply(image)

    def save_model(self) -> None:
        """Save what was taught as a model file, in a dialog."""
        with self._refusals():
            self.course.with_model(self._save)

    def _save(self, model: Model) -> None:
        chosen = ask_path(self)
        if chosen:
            with self._refusals():
                path = save_as(model, chosen, self.course.entries())
                choose_in_segment(self._viewer, path)
                alone = worth_alone(self.course.report)
                self.running.say(f"{path.name} can be chosen in the Segment panel now. {alone}")
                show_info(f"Model written to {path}. {alone}")

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        parts = (
            self.sources, self.classes, line(), self.running, line(), self.next, line(), self.use,
        )  # fmt: skip
        for part in parts:
            column.addWidget(part)
        column.addStretch()
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(Scrolled(inside))

    def _listen(self) -> None:
        sources, running, use = self.sources, self.running, self.use
        sources.image_chosen.connect(self._choose_image)
        sources.annotations_chosen.connect(self._choose_annotations)
        sources.channels_chosen.connect(self._choose_channels)
        sources.new_wanted.connect(self.new_annotations)
        sources.part_taken.connect(lambda pair, on: setattr(pair, "takes_part", on))
        sources.looked_up.connect(self._look_up)
        editing = ClassEditing(self._viewer, self.classes, self.course, lambda: self.pair, self)
        editing.refused.connect(self._refuse)
        editing.changed.connect(self.watch.count)
        editing.changed.connect(self._show_counts)
        running.teach_button.clicked.connect(self.teach)
        running.auto.toggled.connect(lambda _: self._teach_if_new())
        running.pause_button.clicked.connect(self._pause_or_go_on)
        running.stop_button.clicked.connect(self.cancel)
        running.went_back.connect(self._go_back)
        self.next.button.clicked.connect(self.where_next)
        self.next.doubt.toggled.connect(lambda _: self._show_doubt())
        use.applied.connect(self.apply_to)
        use.save_button.clicked.connect(self.save_model)
        use.tune_button.clicked.connect(lambda: open_fine_tuning(self._viewer))
        use.open_project_button.clicked.connect(self.projects.open)
        use.save_project_button.clicked.connect(self.projects.save)
        self.projects.said.connect(running.say)
        self.projects.opened.connect(self._take_settings)

    def _listen_to_course(self) -> None:
        course, rounds = self.course, self.course.rounds
        rounds.progressed.connect(self.running.show_progress)
        rounds.changed.connect(self._show_state)
        course.said.connect(self.running.say)
        course.assessed.connect(lambda text: self.next.say(worth=text))
        course.answered.connect(self._forget_place)
        course.entered.connect(self._show_entered)
        course.counted.connect(lambda _: self._show_counts())
        self.watch.counted.connect(course.note)
        self.watch.counted.connect(lambda *_: self._teach_if_new())
        self.watch.looked.connect(self._follow_looks)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Show wrong input as a notification, and in the panel."""
        try:
            yield
        except AsmlpError as error:
            self._refuse(str(error))

    def _refuse(self, message: str) -> None:
        show_error(message)
        self.running.say(message)

    def _pair_of(self, image: Image) -> Pair:
        return self.course.pairs.of(image, self._viewer.layers)

    def _show_all(self) -> None:
        """Show what belongs to the image that is chosen now."""
        pair = self.pair
        if pair is not None:
            self.sources.choose(pair.image, pair.annotations)
        if self.parent() is not None:  # in a dock
            self.watch.follow(pair)
        self._show_counts()
        self._show_state()
        chosen = () if pair is None else pair.channels
        self.use.show_images([each for each in self.sources.images if each not in chosen])

    def _show_counts(self) -> None:
        """Show the classes, what is annotated of each, and what is missing."""
        pair, course = self.pair, self.course
        pairs = list(course.pairs)
        self.sources.show_volumes(pairs, list(pair_texts(pairs, course.tallies)))
        layer = None if pair is None else pair.annotations
        found = None if pair is None else course.tallies.get(pair.key)
        counts = {} if found is None else found.counts
        entries = () if layer is None else classes.classes_of(layer, counts)
        value = None if layer is None else int(layer.selected_label)
        self.classes.show_classes(entries, counts, value)
        self.classes.set_open(on=layer is not None)
        names = {} if layer is None else class_names(layer)
        text = "" if found is None else missing(found, names) or hint(found)
        self.classes.say(self._elsewhere() or text if layer is not None else _BEGIN)

    def _elsewhere(self) -> str:
        """Return that another layer is painted in than what is learnt from, if that is so."""
        pair, painted = self.pair, self.current.labels
        if pair is None or painted is None or not self._is_free(painted, pair.image):
            return ""
        return f"You paint in {painted.name!r}: to learn from it, choose it as Annotations"

    def _show_state(self) -> None:
        self.running.show_state(self.course.rounds)
        self.running.show_states(self.course.states.kept)

    def _show_entered(self, pair: Pair) -> None:
        self.running.show_states(self.course.states.kept)
        if pair is self.pair:
            self.watch.follow(pair)
            self._show_doubt()

    def _show_doubt(self) -> None:
        """Show doubt in a layer of the image, or do not."""
        pair, layers = self.pair, self._viewer.layers
        shown = next((layer for layer in layers if DOUBT_KEY in layer.metadata), None)
        look = None if pair is None else self.course.looks.get(pair.key)
        if pair is None or look is None or not self.next.doubt.isChecked():
            if shown is not None:
                layers.remove(shown)
        elif shown is not None and shown.metadata[DOUBT_KEY] == pair.key:
            renew_doubt(shown, pair.image, look.doubt)
        else:
            if shown is not None:
                layers.remove(shown)
            add_doubt(self._viewer, pair.image, look.doubt).metadata[DOUBT_KEY] = pair.key

    def _forget_place(self, _pair: Pair) -> None:
        self._place = None

    def _go(self, pair: Pair, places: list[Place]) -> None:
        place, layer = following(places, self._place), pair.annotations
        if place is None or layer is None or layer not in self._viewer.layers:
            return
        self._place = place
        where = go_to(self._viewer, layer, place)
        self.next.say(why=place_text(layer, place, where))
        take_brush(self._viewer, layer)

    def _teach_if_new(self) -> None:
        """Begin a round by itself, if the user lets us and there is something new to learn from."""
        pair = self.pair
        if pair is not None and self.running.auto.isChecked() and self.course.is_new(pair):
            self.teach()

    def _pause_or_go_on(self) -> None:
        rounds = self.course.rounds
        if not rounds.is_paused:
            rounds.pause()
            self.running.say("Paused: paint on; Go on takes it up again")
            return
        rounds.go_on()
        self._teach_if_new()  # what has been painted meanwhile

    def _go_back(self, state: Any) -> None:
        with self._refusals():
            self.course.go_back(state)

    def _choose_image(self) -> None:
        if self.sources.image is not None:
            self.current.choose(self.sources.image)
        self._show_all()

    def _choose_annotations(self) -> None:
        pair, layer = self.pair, self.sources.annotations
        if pair is None:
            return
        with self._refusals():
            if layer is not None and not is_editable(layer):
                raise SettingsError(f"labels {layer.name!r} are not in memory: save and open them")
            pair.annotations = layer
            if layer is not None:
                self.current.choose(layer)
        self._show_all()

    def _choose_channels(self, layers: tuple[Image, ...]) -> None:
        pair = self.pair
        if pair is not None:
            pair.channels, pair.is_ticked, pair.entry = layers, True, None
            self._show_all()

    def _look_up(self, pair: Pair) -> None:
        self.current.choose(pair.annotations or pair.image)
        self.current.choose(pair.image)
        self.sources.choose(pair.image, pair.annotations)
        self._show_all()

    def _follow_looks(self) -> None:
        """Show other names and colours, in the taught labels too."""
        pair = self.pair
        if pair is not None and pair.annotations is not None and pair.taught is not None:
            show_classes(pair.taught, pair.annotations)
        self._show_counts()

    def _settings(self) -> dict[str, bool | int | float | str]:
        """Return what is kept with a project."""
        running = self.running
        return {"seconds": int(running.seconds.value()), "auto": running.auto.isChecked()}

    def _take_settings(self, settings: dict[str, Any]) -> None:
        """Take up what was kept with a project that has been opened, and show its first volume."""
        seconds, auto = settings.get("seconds"), settings.get("auto")
        if isinstance(seconds, int | float):
            self.running.seconds.setValue(round(seconds))
        if isinstance(auto, bool):
            self.running.auto.setChecked(auto)
        first = next(iter(self.course.pairs), None)
        if first is not None:
            self._look_up(first)
