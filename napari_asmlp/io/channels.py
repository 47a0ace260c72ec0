"""An image in one file or in several, one for each channel: what it holds, whatever its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from napari_asmlp.errors import CHOOSE_ONE, GridError, VolumeError
from napari_asmlp.io import read_volume, volumes_in
from napari_asmlp.io.formats import AnyPath, base_name
from napari_asmlp.io.joined import JoinedArray
from napari_asmlp.io.planes import each_plane
from napari_asmlp.volume import Volume


def channel_of(path: Path) -> tuple[str, int] | None:
    """Return the case and the channel that a file's name means to nnU-Net, or None.

    ``case_0001.nii.gz`` is channel 1 of ``case``.
    """
    match = re.fullmatch(r"(.+)_(\d{4})", base_name(path))
    return None if match is None else (match[1], int(match[2]))


def case_name(path: Path) -> str:
    """Return the name of the case that a file is a channel of, or that of the file."""
    found = channel_of(path)
    return path.name if found is None else found[0]


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


def joined(channels: Sequence[Volume]) -> Volume:
    """Return an image of its channels, in their order; no voxel is read.

    One volume, of any number of channels, is returned as it is.

    Parameters
    ----------
    channels : (i, j, k) each, one at least

    Raises
    ------
    VolumeError
        Where one of several holds several volumes.
    GridError
        Where they lie on different grids; both are named.
    """
    first = channels[0]
    if len(channels) == 1:
        return first
    for volume in channels:
        if volume.channels > 1:
            raise VolumeError(
                f"{volume.name}: holds {volume.channels} volumes, but is one channel of"
                f" {len(channels)}: {CHOOSE_ONE}"
            )
        if not volume.grid.same_as(first.grid):
            raise GridError(
                f"{volume.path or volume.name} and {first.path or first.name} are channels of one"
                f" image, but lie on different grids ({volume.grid.difference(first.grid)})"
            )
    paths = tuple(volume.path for volume in channels if volume.path is not None)
    return replace(
        first,
        data=JoinedArray(tuple(volume.data for volume in channels)),
        channel_paths=paths if len(paths) == len(channels) else (),
        notes=tuple(note for volume in channels for note in volume.notes),
    )


def read_channels(paths: Sequence[AnyPath], *, volume: int | None = None) -> Volume:
    """Open an image that has a file for each channel, or one file with all of them.

    Parameters
    ----------
    paths : in the order of the channels, one at least
    volume : which one of each 4D file, from 0

    Raises
    ------
    AsmlpError
        As of `read_volume` and `joined`.
    """
    return joined([read_volume(path, volume=volume) for path in paths])


def read_case(name: str, paths: Sequence[Path], count: int, *, volume: int | None = None) -> Volume:
    """Open the image of a case for a model that takes so many channels.

    One file alone is taken as it is: it may hold all channels.

    Parameters
    ----------
    name : of the case
    paths : its files, of which several are named as nnU-Net names channels
    count : of channels
    volume : which one of each 4D file, from 0

    Raises
    ------
    AsmlpError
        As of `check_channels` and `read_channels`.
    """
    whole = paths if len(paths) == 1 else check_channels(name, paths, count)
    return read_channels(whole, volume=volume)


def cases_of(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return the files of each case: those of all its channels, where names have them as nnU-Net.

    Channels that lie beside a file belong to its case, whether they are among `paths` or not.

    Returns
    -------
    dict of Path to list of Path
        In the order of `paths`. The key of a case is ``FOLDER/CASE`` without a suffix, or the file
        itself where its name has no channel.
    """
    cases: dict[Path, list[Path]] = {}
    listed: dict[Path, dict[str, list[Path]]] = {}
    for path in paths:
        found = channel_of(path)
        if found is None:
            cases[path] = [path]
        elif (key := path.with_name(found[0])) not in cases:
            if path.parent not in listed:
                listed[path.parent] = _channels_in(path.parent)
            cases[key] = listed[path.parent].get(found[0], [path])
    return cases


def beside(path: Path) -> list[Path]:
    """Return the files in the folder of a file that nnU-Net takes for channels of the same case."""
    found = channel_of(path)
    return [path] if found is None else _channels_in(path.parent).get(found[0], [path])


def _channels_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files in a folder that are named as channels, by their cases."""
    cases: dict[str, list[Path]] = {}
    try:
        files = volumes_in(folder)
    except VolumeError:  # there is none; reading the file that was asked for says so
        return cases
    for file in files:
        if (found := channel_of(file)) is not None:
            cases.setdefault(found[0], []).append(file)
    return cases
