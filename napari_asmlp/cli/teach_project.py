"""What `napari-asmlp teach --project` does: teach from all volumes of a project, and label them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from napari_asmlp.cli.console import Console
from napari_asmlp.cli.label_names import names_format
from napari_asmlp.errors import OutputError, SettingsError
from napari_asmlp.io import check_names, check_output, write_labels
from napari_asmlp.io.files import check_file, check_folder
from napari_asmlp.model import Model, save_model
from napari_asmlp.project import Project, load_project, open_annotations, open_image
from napari_asmlp.teaching.annotations import Annotation
from napari_asmlp.teaching.from_project import (
    check_classes,
    named,
    project_annotation,
    with_annotated,
    with_names_of,
)
from napari_asmlp.teaching.progress import TeachSettings
from napari_asmlp.teaching.teacher import Teacher
from napari_asmlp.volume import Volume
from napari_asmlp.zoo import load_segmenter


def run_project(options: argparse.Namespace, console: Console, settings: TeachSettings) -> int:
    """Teach from all annotated volumes, then write the model and the labels of every volume."""
    project = load_project(options.project)
    outputs = _check_outputs(options, project)
    images = {entry.name: open_image(entry) for entry in project.volumes}
    annotations = _annotations(project, images)
    check_classes(annotations.values())
    teacher = Teacher(settings, _start(options, project))
    for name, annotation in annotations.items():
        teacher.set_volume(name, images[name], annotation)
    shown = next(iter(annotations))
    taught = console.follow(teacher.iter_round(shown), shown)
    model = named(taught.model, project)
    save_model(model, options.output, overwrite=options.overwrite)
    if outputs:
        options.labels_out.mkdir(exist_ok=True)
    for name, path in outputs.items():
        labels = taught.answer.labels
        if name != shown:
            labels = console.follow(teacher.iter_apply(images[name]), name).labels
        if name in annotations:
            labels = with_annotated(labels, annotations[name])
        labels = with_names_of(labels, model.card)
        write_labels(labels, path, overwrite=options.overwrite, names=names_format(options))
    voxels = sum(int(annotation.counts.sum()) for annotation in annotations.values())
    console.note(
        f"{options.output}: taught from {voxels} voxels of {len(annotations)} volumes in"
        f" {taught.report['seconds']:.0f} s, the network in {taught.report['steps']} steps"
    )
    return 0


def _check_outputs(options: argparse.Namespace, project: Project) -> dict[str, Path]:
    """Return where the labels of each volume go; refuse what is there."""
    if not project.volumes:
        raise SettingsError(f"{options.project}: the project has no volumes; add some")
    inputs = [options.project, *(path for entry in project.volumes for path in entry.images)]
    inputs += [entry.annotations for entry in project.volumes if entry.annotations is not None]
    if options.init:
        inputs.append(Path(options.init))
    check_file(options.output, overwrite=options.overwrite, inputs=inputs)
    folder: Path | None = options.labels_out
    if folder is None:
        return {}
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; with --project give a folder for the labels")
    check_folder(folder.parent)
    outputs = {entry.name: folder / f"{entry.name}.nii.gz" for entry in project.volumes}
    if folder.exists():
        for path in outputs.values():
            check_output(path, overwrite=options.overwrite, inputs=inputs)
            check_names(path, names_format(options), overwrite=options.overwrite, inputs=inputs)
    return outputs


def _annotations(project: Project, images: Mapping[str, Volume]) -> dict[str, Annotation]:
    """Return the annotations of the volumes that have some."""
    found = {}
    for entry in project.volumes:
        if entry.annotations is not None:
            labels = open_annotations(entry, images[entry.name])
            annotation = project_annotation(project, entry, labels)
            if annotation.counts.any():
                found[entry.name] = annotation
    return found


def _start(options: argparse.Namespace, project: Project) -> Model | None:
    """Return the model to go on from: as asked, or the project's own where there is one."""
    if options.init:
        return load_segmenter(options.init)
    if project.model is not None and project.model.is_file():
        return load_segmenter(project.model)
    return None
