"""Opening and saving a course as a project: dialogs, and layers that come of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_asmlp.errors import AsmlpError
from napari_asmlp.project import PROJECT_SUFFIX, ProjectVolume
from napari_asmlp.viewer.camera import show_upright
from napari_asmlp.viewer.layers import (
    METADATA_KEY,
    add_labels,
    image_layer_data,
    labels_on,
)
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.teach.classes import background_entry, name_unannotated, set_background
from napari_asmlp.viewer.teach.project_files import (
    Contents,
    Opened,
    OpenedProject,
    iter_open,
    iter_save,
    parts_of,
)
from napari_asmlp.viewer.teach.saving import named
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.model import Model
    from napari_asmlp.viewer.teach.course import Course
    from napari_asmlp.viewer.teach.pairs import Pair

_FILTER = f"Projects (*{PROJECT_SUFFIX})"
Settings = dict[str, bool | int | float | str]


class ProjectWork(QObject):
    """Saves and opens projects of one course.

    Parameters
    ----------
    settings
        Returns what of the panel is kept with a project.

    Signals
    -------
    said(text) : a line on what happens
    opened(settings) : a project has been opened; what the panel kept with it
    """

    said = Signal(str)
    opened = Signal(object)

    def __init__(
        self, viewer: ViewerModel, course: Course, settings: Callable[[], Settings], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._viewer, self._course, self._settings = viewer, course, settings
        self._widget = parent
        self._task: Task | None = None
        self._path: Path | None = None
        self._model_file: Path | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a project is being read or written."""
        return self._task is not None

    def save(self) -> None:
        """Ask for a file, end the round that runs, and write all that is taught."""
        try:
            parts_of(self._course.pairs, self._viewer.layers)
        except AsmlpError as error:
            self._refuse(error)
            return
        suggested = str(self._path or Path.home() / f"teaching{PROJECT_SUFFIX}")
        chosen, _ = QFileDialog.getSaveFileName(self._widget, "Save project", suggested, _FILTER)
        if chosen:
            self._course.rounds.when_idle(lambda: self._save(chosen))

    def open(self) -> None:
        """Ask for a project, and add its volumes to the viewer."""
        folder = str(Path.home() if self._path is None else self._path.parent)
        chosen, _ = QFileDialog.getOpenFileName(self._widget, "Open project", folder, _FILTER)
        if chosen:
            path = Path(chosen)
            job = Job(f"project {path.name}", lambda: iter_open(path))
            self._run(job, lambda found: self._course.rounds.when_idle(partial(self._add, found)))

    def close(self) -> None:
        """Let go of what is being read or written."""
        task, self._task = self._task, None
        if task is not None:
            task.abandon()
            task.deleteLater()

    def _save(self, chosen: str) -> None:
        # the dialog has asked about the name that was typed, not about one that we complete
        path = Path(chosen if chosen.endswith(PROJECT_SUFFIX) else f"{chosen}{PROJECT_SUFFIX}")
        try:
            parts = parts_of(self._course.pairs, self._viewer.layers)
            contents = self._contents(path.name.removesuffix(PROJECT_SUFFIX))
        except AsmlpError as error:
            self._refuse(error)
            return
        overwrite = str(path) == chosen

        def steps() -> Generator[str, None, dict[str, ProjectVolume]]:
            return (yield from iter_save(parts, contents, path, overwrite=overwrite))

        self._run(Job(f"project {path.name}", steps), lambda found: self._note(path, found))

    def _contents(self, name: str) -> Contents:
        course = self._course
        entries = tuple(course.entries())
        model: Model | None = course.rounds.teacher.model() if course.looks else None
        if model is not None:
            model = named(model, name, entries)
        return Contents(entries, self._settings(), model, self._model_file)

    def _note(self, path: Path, entries: dict[str, ProjectVolume]) -> None:
        self._path = path
        for pair in self._course.pairs:
            if pair.key in entries:
                pair.entry = entries[pair.key]
        self.said.emit(f"Project written to {path.name}, with {len(entries)} volumes")
        show_info(f"Project written to {path}")

    def _add(self, found: OpenedProject) -> None:
        """Show the volumes of a project, and go on from its model."""
        show_upright(self._viewer)
        for opened in found.volumes:
            self._add_volume(opened, found)
        self._path, self._model_file = found.path, found.project.model
        self._course.begin_anew(found.model)
        self.opened.emit(dict(found.project.settings))
        self.said.emit(f"{found.path.name}: {len(found.volumes)} volumes; press Teach to go on")

    def _add_volume(self, opened: Opened, found: OpenedProject) -> Pair:
        layers = [layer for volume in opened.images for layer in self._image_layers(volume)]
        entries = [*found.project.classes, background_entry(found.background)]
        name = f"{opened.entry.name} annotations"
        annotations = labels_on(layers[0], opened.annotations, entries, name)
        set_background(annotations, found.background)
        name_unannotated(annotations)
        add_labels(self._viewer, annotations)
        annotations.opacity = 1.0
        pair = self._course.pairs.of(layers[0])
        pair.channels, pair.annotations, pair.entry = tuple(layers), annotations, opened.entry
        pair.taught = None
        return pair

    def _image_layers(self, volume: Volume) -> list[Image]:
        """Return the layers that show a file, those that are open already if there are any."""
        wanted = volume.path
        there = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and _path_of(layer) == wanted
        ]
        if len(there) == volume.channels:
            return there
        return [
            self._viewer.add_image(data, **attributes)
            for data, attributes, _ in image_layer_data(volume)
        ]

    def _run(self, job: Job, then: Callable[[Any], None]) -> None:
        self.close()
        self._task = task = Task(job, self)
        task.stepped.connect(self.said.emit)
        task.returned.connect(then)
        task.failed.connect(self.said.emit)
        task.ended.connect(self._end)
        task.start()

    def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.deleteLater()

    def _refuse(self, error: AsmlpError) -> None:
        show_error(str(error))
        self.said.emit(str(error))


def _path_of(layer: Image) -> Path | None:
    source = layer.metadata.get(METADATA_KEY)
    return source.path.absolute() if isinstance(source, Volume) and source.path else None
