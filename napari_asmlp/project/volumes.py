"""The files that a project names: opened, checked against it, and made sense of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import AsmlpError, GridError, VolumeError
from napari_asmlp.io import read_volume
from napari_asmlp.io.channels import content_hash, joined
from napari_asmlp.project.content import Corrected, Project, ProjectVolume
from napari_asmlp.volume import Volume

UNKNOWN = -1


def describe_volume(
    name: str,
    images: Sequence[Path],
    annotations: Path | None = None,
    corrected: Corrected | None = None,
    volume: int | None = None,
) -> ProjectVolume:
    """Return the entry of a volume for a project; its images are read once.

    Raises
    ------
    VolumeError
        Where an image is missing or damaged, or holds NaN or infinity.
    """
    channels = [read_volume(path, volume=volume) for path in images]
    paths = tuple(Path(path).absolute() for path in images)
    where = None if annotations is None else Path(annotations).absolute()
    return ProjectVolume(name, paths, content_hash(channels), where, corrected, volume)


def open_image(entry: ProjectVolume) -> Volume:
    """Open the image of a volume, all channels on one grid.

    Raises
    ------
    VolumeError, GridError
        Where a file is missing or damaged, is not what it was when the project was saved, or its
        channels do not fit together. The volume is named.
    """
    try:
        channels = [read_volume(path, volume=entry.volume) for path in entry.images]
        image = joined(channels)
        if content_hash(channels) != entry.hash:
            names = ", ".join(str(path) for path in entry.images)
            raise VolumeError(
                f"{names}: holds other voxels than when the project was saved; bring the old file"
                " back, or take the volume out and add it anew"
            )
        return image
    except AsmlpError as error:
        raise type(error)(f"volume {entry.name!r}: {error}") from error


def open_annotations(entry: ProjectVolume, image: Volume) -> Volume:
    """Open the annotations of a volume.

    Raises
    ------
    VolumeError, GridError
        Where there are none, they are no labels, or lie on another grid than the image. The
        volume is named.
    """
    if entry.annotations is None:
        raise VolumeError(f"volume {entry.name!r}: has no annotations; paint and save some")
    try:
        labels = read_volume(entry.annotations, kind="labels")
    except AsmlpError as error:
        raise type(error)(f"volume {entry.name!r}: {error}") from error
    if not labels.grid.same_as(image.grid):
        raise GridError(
            f"volume {entry.name!r}: {entry.annotations} does not lie on the grid of {image.name}:"
            f" {labels.grid.difference(image.grid)}"
        )
    return labels


def known_values(project: Project, entry: ProjectVolume, labels: Volume) -> NDArray[np.int32]:
    """Return what is known of each voxel: its label value, 0 for background, or `UNKNOWN`.

    Parameters
    ----------
    labels : (i, j, k), the annotations of `entry`

    Raises
    ------
    SettingsError
        If a corrected region lies outside the volume.
    """
    array = labels.array()
    known = array.astype(np.int32)
    if project.background is not None:
        known[array == project.background] = 0
    if entry.corrected is None or project.unannotated != 0:
        known[array == project.unannotated] = UNKNOWN
    if isinstance(entry.corrected, tuple):
        seen = np.zeros(array.shape, bool)
        for region in entry.corrected:
            seen[region.clipped(array.shape).slices] = True
        known[~seen] = UNKNOWN
    return known
