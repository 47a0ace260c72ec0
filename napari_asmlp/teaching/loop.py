"""One volume and one round: what the command line does, and the shortest way to teach in Python."""

from __future__ import annotations

from collections.abc import Generator

from napari_asmlp.model import Model
from napari_asmlp.teaching.annotations import Annotation
from napari_asmlp.teaching.progress import Taught, TaughtAnswer, TeachProgress, TeachSettings
from napari_asmlp.teaching.teacher import Teacher
from napari_asmlp.volume import Volume

__all__ = ["Taught", "TaughtAnswer", "TeachProgress", "TeachSettings", "iter_teach"]


def iter_teach(
    volume: Volume,
    annotation: Annotation,
    settings: TeachSettings | None = None,
    start: Model | None = None,
) -> Generator[TeachProgress, None, Taught]:
    """Learn from annotations of a volume and label all of it, better and better.

    Parameters
    ----------
    volume : image
    annotation : from `annotations.read_annotation`, on the volume's grid
    settings : when to stop, and how to learn
    start : model whose weights the network begins with; the package's own encoder if None

    Yields
    ------
    TeachProgress
        Often; some with a new answer. It may be closed after any.

    Raises
    ------
    VolumeError
        If the image has a constant channel, or no finite voxel.
    ModelError
        If `start` is of another architecture.
    """
    teacher = Teacher(settings, start)
    teacher.set_volume(volume.name, volume, annotation)
    return (yield from teacher.iter_round(volume.name))
