"""From what the dialog says to a fine-tuning: corrections into a project, then the run itself."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_asmlp.errors import SettingsError
from napari_asmlp.io import write_labels
from napari_asmlp.io.channels import content_hash
from napari_asmlp.model import SUFFIX, Card
from napari_asmlp.pipeline.fine_tune import FINE_TUNING, FineTuned, FineTuneJob, iter_fine_tune
from napari_asmlp.project import (
    PROJECT_SUFFIX,
    WHOLE,
    Project,
    ProjectVolume,
    load_project,
    save_project,
    with_volume,
)
from napari_asmlp.viewer.files import as_named
from napari_asmlp.viewer.layers import channels_beside, check_same_grid, source_view
from napari_asmlp.viewer.tasks import Job
from napari_asmlp.viewer.teach.project_files import Part, image_files, iter_entry, unlike
from napari_asmlp.viewer.teach.request import volume_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels, Layer

    from napari_asmlp.grid import Region
    from napari_asmlp.training.trainer import Stage, TrainProgress

Steps = Generator["str | Stage | TrainProgress", None, FineTuned]


@dataclass(frozen=True)
class Wish:
    """The state of the dialog.

    Attributes
    ----------
    labels, image : corrected labels, and what they lie on; None where nothing is chosen
    region : that has been looked at; None for all of it
    model, card : that made the labels
    project : where corrections are gathered
    output : model file to write
    forget : whether labels that the corrections do not hold may go
    """

    labels: Labels | None
    image: Image | None
    region: Region | None
    model: Path | None
    card: Card | None
    project: Path
    output: Path
    minutes: float | None = FINE_TUNING.minutes
    forget: bool = False


@dataclass(frozen=True, eq=False)
class Order:
    """A fine-tuning that can begin; `part` goes into the project first."""

    part: Part
    region: Region | None
    card: Card
    job: FineTuneJob

    def work(self) -> Job:
        """Return the work, for a task; it returns a `FineTuned`."""
        return Job(f"fine-tuning of {self.card.name}", self._steps)

    def _steps(self) -> Steps:
        yield from self._gather()
        return (yield from iter_fine_tune(self.job))

    def _gather(self) -> Generator[str, None, None]:
        """Write the corrected labels, and enter them into the project."""
        path, part = self.job.project, self.part
        project = load_project(path) if path.exists() else Project()
        yield "Gathering corrections"
        image = yield from self._image(project)
        name = _name_of(image, project, part.name)
        stem = path.name.removesuffix(PROJECT_SUFFIX)
        place = path.with_name(f"{stem}_{name}_corrected.nii.gz")
        labels = as_named(part.annotations, part.volume, source_view(part.annotations))
        write_labels(labels, place, overwrite=place in _label_files(project))
        corrected = WHOLE if self.region is None else (self.region,)
        entry = replace(image, name=name, annotations=place, corrected=corrected)
        classes = {one.value: one for one in (*self.card.labels, *project.classes)}
        project = replace(project, classes=tuple(classes.values()))
        save_project(with_volume(project, entry), path, overwrite=True)

    def _image(self, project: Project) -> Generator[str, None, ProjectVolume]:
        """Return the entry of the image; one in no file is written, unless the project has it."""
        part, path = self.part, self.job.project
        if not part.files:
            digest = content_hash([part.volume])
            known = next((one for one in project.volumes if one.hash == digest), None)
            if known is not None:
                return known
            part = replace(part, name=unlike([one.name for one in project.volumes], part.name))
        return (yield from iter_entry(part, path, path, overwrite=False))


def resolve(wish: Wish, layers: Sequence[Layer]) -> Order:
    """Turn the state of the dialog into an order.

    Raises
    ------
    AsmlpError
        Saying what is missing or wrong, and what to do.
    """
    labels, image, model, card = wish.labels, wish.image, wish.model, wish.card
    if labels is None or image is None:
        raise SettingsError("there are no labels on an image: segment one, and correct its labels")
    if model is None or card is None:
        raise SettingsError("there is no model: choose the one whose labels were corrected")
    if not wish.project.name.endswith(PROJECT_SUFFIX):
        raise SettingsError(f"{wish.project}: a project file ends in {PROJECT_SUFFIX}")
    if wish.output.suffix != SUFFIX:
        raise SettingsError(f"{wish.output}: a model file ends in {SUFFIX}")
    check_same_grid(labels, image)
    channels = tuple(channels_beside(image, layers)) if card.in_channels > 1 else (image,)
    volume = volume_with(channels)
    name = unlike([], image.name)
    part = Part("", name, volume, image_files(channels, layers), labels, None, None)
    recipe = replace(FINE_TUNING, minutes=wish.minutes)
    job = FineTuneJob(
        wish.project, wish.output, str(model), recipe, forget=wish.forget, overwrite=True
    )
    return Order(part, wish.region, card, job)


def scores_html(tuned: FineTuned) -> str:
    """Return Dice of each label before and after, on corrections that were held back."""
    before, after = (tuned.report["held_back"][when]["mean"] for when in ("before", "after"))
    names = tuned.report["labels"]
    rows = [
        f"<tr><td>{names.get(value, value)}&nbsp;&nbsp;</td><td>{_dice(before.get(value))}"
        f"&nbsp;→&nbsp;</td><td>{_dice(dice)}</td></tr>"
        for value, dice in after.items()
    ]
    return f"Dice before and after, on corrections held back:<table>{''.join(rows)}</table>"


def _dice(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _name_of(image: ProjectVolume, project: Project, wanted: str) -> str:
    """Return the name under which an image is corrected already, or one that is free."""
    for one in project.volumes:
        if one.hash == image.hash and one.corrected is not None:
            return one.name
    return unlike([one.name for one in project.volumes], wanted)


def _label_files(project: Project) -> set[Path]:
    return {one.annotations for one in project.volumes if one.annotations is not None}
