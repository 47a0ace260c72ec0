"""Annotations of a project's volumes, as a teacher takes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from napari_asmlp.card import Card
from napari_asmlp.errors import VolumeError
from napari_asmlp.model import Model
from napari_asmlp.project import Project, ProjectVolume, known_values
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.volume import Volume


def project_annotation(project: Project, entry: ProjectVolume, labels: Volume) -> Annotation:
    """Return what is annotated in a volume; a single class may be, or nothing at all.

    Parameters
    ----------
    labels : the annotations of `entry`
    """
    known = known_values(project, entry, labels)
    found, index = np.unique(known, return_inverse=True)
    values = (0, *(int(value) for value in found if value > 0))
    table = np.array(
        [values.index(value) if value >= 0 else UNANNOTATED for value in found.tolist()], np.int16
    )
    return Annotation(table[index].reshape(known.shape), values)


def check_classes(annotations: Iterable[Annotation]) -> None:
    """Raise a `VolumeError` unless two classes are annotated in all volumes together."""
    found = {
        annotation.values[number]
        for annotation in annotations
        for number in np.flatnonzero(annotation.counts).tolist()
    }
    if not found:
        raise VolumeError("nothing is annotated in any volume of the project: paint something")
    if len(found) == 1:
        raise VolumeError(
            f"only the value {found.pop()} is annotated in the project; paint a second class, such"
            " as background with a value of its own"
        )


def with_annotated(labels: Volume, annotation: Annotation) -> Volume:
    """Return labels in which annotated voxels have the value they were given."""
    given = annotation.written(annotation.classes.clip(min=0))
    annotated = annotation.classes != UNANNOTATED
    return labels.with_labels(np.where(annotated, given, labels.array()))


def with_names_of(labels: Volume, card: Card) -> Volume:
    """Return labels with the names and colours of a model's label table."""
    return replace(labels, label_names=card.label_names, label_colours=card.label_colours)


def named_as(model: Model, annotations: Volume) -> Model:
    """Return a model whose labels have the names and colours that the annotations come with."""
    names, colours = annotations.label_names, annotations.label_colours
    labels = tuple(
        replace(entry, name=names[entry.value], colour="#" + bytes(colours[entry.value]).hex())
        if entry.value in names and entry.value in colours
        else entry
        for entry in model.card.labels
    )
    return replace(model, card=replace(model.card, labels=labels))


def named(model: Model, project: Project) -> Model:
    """Return a model whose labels have the names and colours that the project gives them."""
    known = {entry.value: entry for entry in project.classes}
    labels = tuple(known.get(entry.value, entry) for entry in model.card.labels)
    return replace(model, card=replace(model.card, labels=labels))
