"""Volumes in files: the only room that opens them.

Reading is lazy: `read_volume` reads the header and `Volume.array` the voxels. Writing goes
through a temporary file, so that an output is whole or absent, and no input is ever written to.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.io.bids import where_volumes_lie
from napari_asmlp.io.files import check_output, replacing
from napari_asmlp.io.formats import KNOWN, AnyPath, Format, base_name, files_of, format_of
from napari_asmlp.io.inside import names_inside
from napari_asmlp.io.names import (
    NAME_SUFFIXES,
    NamedLabel,
    NameFormat,
    NameTable,
    check_names,
    find_names,
    named_labels,
    names_path,
    names_to_save,
    read_table,
    write_names,
)
from napari_asmlp.io.nifti import Stored, labels_dtype, open_file, write_file
from napari_asmlp.io.planes import each_plane
from napari_asmlp.io.scaled import stored_labels
from napari_asmlp.io.sniff import SNIFFED, pointer_text
from napari_asmlp.io.stored import StoredArray
from napari_asmlp.volume import Kind, Volume, Voxels, as_labels, smallest_unsigned

__all__ = [
    "NAME_SUFFIXES",
    "NameFormat",
    "NamedLabel",
    "base_name",
    "check_names",
    "check_output",
    "check_volumes",
    "find_names",
    "labels_dtype",
    "names_path",
    "names_to_save",
    "read_volume",
    "replacing",
    "volumes_in",
    "write_labels",
    "write_names",
    "write_shares",
    "write_volume",
]


def read_volume(path: AnyPath, *, volume: int | None = None, kind: Kind = "image") -> Volume:
    """Open a volume; its voxels keep the axis order of the file, with channels last.

    Parameters
    ----------
    path
        NIfTI-1 or -2 (one file or either of a pair), or MGH; gzip-compressed or not.
    volume
        Which one of a 4D file, from 0; None for all of them, as channels.
    kind
        ``"image"`` leaves the voxels in the file until they are asked for. ``"labels"`` loads
        them, whatever their dtype, if each is a whole number from 0 up, and with them the names
        and colours from a table beside the file, else from inside it. Where integers in the file
        are scaled by a slope, a value that differs from a whole number by no more than half the
        slope is rounded. `Volume.notes` says so, and what could not be read of the names.

    Raises
    ------
    VolumeError
        If there is no such file, or it is damaged or holds no usable volume. Damage among the
        voxels shows when they are loaded, and raises the same.
    GridError
        If the file's affine is not finite or not invertible.
    SettingsError
        If the file has no such `volume`.
    """
    path = Path(path)
    format_ = _checked_format(path)
    voxels, grid, header = open_file(path, format_)
    if volume is not None:
        count = voxels.shape[3] if voxels.ndim == 4 else 1
        if not 0 <= volume < count:
            raise SettingsError(f"volume {volume} of {path}: it holds {count}, counted from 0")
        voxels = voxels.channel(volume)
    image = Volume(voxels, grid, "image", path, header)
    if kind == "image":
        return image
    if image.channels > 1:
        raise VolumeError(f"{path}: holds {image.channels} volumes; labels are one: choose it")
    labels, rounded = stored_labels(voxels, str(path))
    table = _names_of(path, header)
    return replace(
        image,
        data=labels,
        kind="labels",
        label_names=table.names,
        label_colours=table.colours,
        notes=(*rounded, *table.notes),
    )


def write_labels(
    labels: Volume, path: AnyPath, *, overwrite: bool = False, names: NameFormat | None = None
) -> Path:
    """Write labels as the smallest unsigned integers that fit, with the source's own header.

    Grid, qform, sform and all else in the header stay as they are in the file the labels' volume
    came from, except what describes intensities. That file itself is never overwritten; an editor
    that saves into the file it opened passes a volume whose `path` is None.

    Names and colours of the labels are written into the header of NIfTI, which `read_volume`
    reads, and beside the labels where a format for that is given.

    Parameters
    ----------
    labels
        Usually from `Volume.with_labels`.
    path
        Its suffix chooses the format.
    overwrite
        Whether an existing file may be replaced.
    names
        For which program names and colours are written to a table beside the labels.

    Returns
    -------
    Path
        Of the file written.

    Raises
    ------
    OutputError
        If a file cannot or must not be written; nothing is left of it then.
    VolumeError
        If the voxels cannot be loaded or are no labels.
    """
    checked = _check_output(labels, path, overwrite=overwrite)
    named = named_labels(labels)
    table = check_names(path, names if named else None, overwrite=overwrite, inputs=labels.files)
    voxels, dtype = _narrowed(labels)
    write_file(voxels, labels, checked, Stored(dtype), overwrite=overwrite)
    if names and table:
        write_names(named, table, names, overwrite=overwrite)
    return checked


def write_volume(volume: Volume, path: AnyPath, *, overwrite: bool = False) -> Path:
    """Write an image, such as probabilities, as float32; labels as `write_labels` does.

    Parameters
    ----------
    volume
        3D, or 4D with channels last.
    path
        Its suffix chooses the format.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        Of the file written.

    Raises
    ------
    OutputError
        If the file cannot or must not be written; nothing is left of it then.
    VolumeError
        If the voxels cannot be loaded.
    """
    if volume.kind == "labels":
        return write_labels(volume, path, overwrite=overwrite)
    checked = _check_output(volume, path, overwrite=overwrite)
    form = Stored(np.dtype(np.float32))
    write_file(volume.data, volume, checked, form, overwrite=overwrite)
    return checked


def write_shares(volume: Volume, path: AnyPath, *, overwrite: bool = False) -> Path:
    """Write uint8 voxels of which 255 stands for 1, such as uncertainties; see `write_volume`."""
    checked = _check_output(volume, path, overwrite=overwrite)
    form = Stored(np.dtype(np.uint8), slope=1 / 255)
    write_file(volume.data, volume, checked, form, overwrite=overwrite)
    return checked


def volumes_in(folder: AnyPath) -> list[Path]:
    """Return what lies directly in a folder and is named like a volume, sorted by name.

    A pair is named by its header, or by its voxels where the header is missing. Hidden files are
    left out. All else is listed whether it can be opened or not (a link to a file that is not
    there, a folder, half a pair): `read_volume` and `check_volumes` say what is wrong with it.

    Raises
    ------
    VolumeError
        If there is no such folder, it cannot be listed, or no volume lies in it.
    """
    folder = Path(folder)
    try:
        files = sorted(f for f in folder.iterdir() if format_of(f) and not f.name.startswith("."))
    except OSError as error:
        raise VolumeError(
            f"{folder}: cannot be listed ({error.strerror}); give a folder"
        ) from error
    present = set(files)
    whole = [f for f in files if f == files_of(f)[0] or files_of(f)[0] not in present]
    if not whole:
        elsewhere = where_volumes_lie(folder) or f"; known formats are {KNOWN}"
        raise VolumeError(f"{folder}: no volume lies directly in it{elsewhere}")
    return whole


def check_volumes(paths: Sequence[AnyPath]) -> None:
    """Refuse files that cannot be opened, before any work begins on them; no header is read.

    Raises
    ------
    VolumeError
        Naming the first of them, what is wrong with it, and how many others there are.
    """
    wrong: list[VolumeError] = []
    for path in paths:
        try:
            _checked_format(Path(path))
        except VolumeError as error:
            wrong.append(error)
    if wrong:
        more = f" ({len(wrong) - 1} more cannot be opened)" if len(wrong) > 1 else ""
        raise VolumeError(f"{wrong[0]}{more}")


def _names_of(path: Path, header: Any) -> NameTable:
    """Return names and colours: those of the table beside a file, else those inside it."""
    inside, table = names_inside(header), find_names(path)
    if table is None:
        return inside
    try:
        beside = read_table(table)
    except VolumeError as error:
        return replace(inside, notes=(*inside.notes, f"names were left out: {error}"))
    return beside


def _narrowed(labels: Volume) -> tuple[Voxels, np.dtype[Any]]:
    """Return labels and the smallest unsigned dtype for them; those of a run stay in their file."""
    if not isinstance(labels.data, StoredArray) or labels.data.dtype.kind != "u":
        array = as_labels(labels.array(), labels.name)
        return array, array.dtype
    highest = max(int(plane.max()) for plane in each_plane(labels.data))
    return labels.data, smallest_unsigned(highest)


def _check_output(volume: Volume, path: AnyPath, *, overwrite: bool) -> Path:
    return check_output(path, overwrite=overwrite, inputs=volume.files)


def _checked_format(path: Path) -> Format:
    """Return the format of a file that is there, is not empty, and has a known name."""
    format_, files = format_of(path), files_of(path)
    for file, other in zip(files, reversed(files), strict=True):
        if other.exists() and not os.path.lexists(file):
            raise VolumeError(
                f"{file}: is not there, but its other half {other.name} is; bring both together"
            )
        _check_there(file)
    if format_ is None:
        raise VolumeError(f"{path}: is of no known format; known are {KNOWN}")
    return format_


def _check_there(file: Path) -> None:
    """Refuse a file that is absent, empty, none, or stands for content that was not fetched."""
    try:
        size = file.stat().st_size
        if file.is_dir():
            raise VolumeError(f"{file}: is a folder; give the name of one volume in it")
        if not file.is_file():
            raise VolumeError(f"{file}: is no ordinary file; give the name of a volume")
        with file.open("rb") as stream:
            start = stream.read(SNIFFED)
    except OSError as error:
        if file.is_symlink() and not file.exists():
            raise VolumeError(
                f"{file}: is a link to a file that is not there ({file.readlink()}); fetch it"
                " (git annex get, datalad get), mend the link or remove it"
            ) from error
        raise VolumeError(
            f"{file}: cannot be opened ({error.strerror}); check its name and permissions"
        ) from error
    if not size:
        raise VolumeError(f"{file}: is empty; get a fresh copy")
    if pointer := pointer_text(start):
        raise VolumeError(f"{file}: {pointer}")
