"""An image in one file or in several, one for each channel: what it holds, whatever its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from napari_asmlp.errors import VolumeError
from napari_asmlp.io.formats import base_name
from napari_asmlp.io.planes import each_plane
from napari_asmlp.volume import Volume


def channel_of(path: Path) -> tuple[str, int] | None:
    """Return the case and the channel that a file's name means to nnU-Net, or None.

    ``case_0001.nii.gz`` is channel 1 of ``case``.
    """
    match = re.fullmatch(r"(.+)_(\d{4})", base_name(path))
    return None if match is None else (match[1], int(match[2]))


def check_channels(name: str, paths: Iterable[Path], count: int | None = None) -> tuple[Path, ...]:
    """Return the channel files of a case in the order of their numbers.

    Parameters
    ----------
    name : of the case
    paths : one at least, all named as nnU-Net names channels
    count : how many channels there must be; None for as many as there are

    Raises
    ------
    VolumeError
        Saying which channel is missing, there twice, or one too many.
    """
    numbered = sorted((found[1], path) for path in paths if (found := channel_of(path)))
    folder = numbered[0][1].parent
    numbers = [number for number, _ in numbered]
    if twice := [n for n, m in pairwise(numbers) if n == m]:
        raise VolumeError(f"{folder}: channel {twice[0]:04} of {name} is there twice; keep one")
    wanted = max(numbers) + 1 if count is None else count
    if missing := [f"{name}_{n:04}" for n in range(wanted) if n not in numbers]:
        raise VolumeError(
            f"{folder}: {', '.join(missing)} of {wanted} channels of {name} is missing; add it"
        )
    if len(numbers) > wanted:
        raise VolumeError(
            f"{folder}: {name} has {len(numbers)} channels, {wanted} are taken: the last one is"
            f" {numbered[-1][1].name}"
        )
    return tuple(path for _, path in numbered)


def content_hash(images: Sequence[Volume]) -> str:
    """Hash the voxels of an image as float32, plane by plane: 64 hexadecimal digits of SHA-256.

    A renamed, moved or recompressed image keeps its hash.

    Raises
    ------
    VolumeError
        Where a file is damaged, or holds NaN or infinity.
    """
    digest = hashlib.sha256()
    for image in images:
        digest.update(repr(tuple(image.data.shape)).encode())
        for plane in each_plane(image.data):
            if not np.isfinite(plane).all():
                raise VolumeError(
                    f"{image.path}: holds NaN or infinity; put numbers in their places first"
                )
            with np.errstate(over="ignore"):  # 1e300 is a number too, if no useful one
                digest.update(plane.astype(np.float32, order="C").tobytes())
    return digest.hexdigest()


def stacked(channels: Sequence[Volume]) -> Volume:
    """Return an image of its channels, on one grid; raises `VolumeError` where one holds several.

    One volume, of any number of channels, is returned as it is.
    """
    if len(channels) == 1:
        return channels[0]
    if many := [volume for volume in channels if volume.channels > 1]:
        raise VolumeError(
            f"{many[0].path}: holds {many[0].channels} volumes, but is one channel of"
            f" {len(channels)}; --volume N chooses one of them"
        )
    voxels = np.stack([volume.array() for volume in channels], axis=-1)
    return Volume(voxels, channels[0].grid, path=channels[0].path)
