"""Cases on the model grid, prepared once and then read from disk a crop at a time.

A folder of samples holds for each case two uncompressed ``.npy`` files that are mapped into memory
when a crop is cut, and a small ``.npz``. Their names follow from the content of the files and from
the preprocessing, and they appear whole or not at all: a run that was killed finds what it had.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray
from skimage.transform import resize

from napari_asmlp.errors import OutputError, VolumeError
from napari_asmlp.io.files import replacing
from napari_asmlp.model import Preprocessing
from napari_asmlp.preprocess import place, to_model_grid
from napari_asmlp.provenance import file_hash
from napari_asmlp.training.dataset import IGNORED, Case, LabelTable, class_indices, read_case
from napari_asmlp.volume import Volume

_PLACES_PER_CLASS = 1000
PREPROCESSING = pydantic.TypeAdapter(Preprocessing)
_VERSION = 2  # of what is written here


@dataclass(frozen=True)
class Sample:
    """A case on the model grid, in memory or mapped.

    Attributes
    ----------
    image : (C, X, Y, Z) float32, normalised
    classes : (X, Y, Z) uint8, see `training.dataset.LabelTable`: 0 background, n the nth label,
        `IGNORED` where nobody annotated
    floor : (C,) float32, the least value of each channel
    places : (N, 4) int32, rows of (class, x, y, z): voxels spread over each class that occurs;
        where some voxels are ignored, also rows of class 0, spread over all the others
    """

    name: str
    image: NDArray[np.float32]
    classes: NDArray[np.uint8]
    floor: NDArray[np.float32]
    places: NDArray[np.int32]

    @classmethod
    def of(cls, name: str, image: NDArray[np.float32], classes: NDArray[np.uint8]) -> Sample:
        """Make a sample of its two arrays."""
        return cls(name, image, classes, image.min(axis=(1, 2, 3)), _places(classes))


class SampleFolder(Sequence[Sample]):
    """Samples of a folder; each is opened when it is asked for, and only what is used is read."""

    def __init__(self, folder: Path, entries: Sequence[tuple[str, str]]) -> None:
        self._folder, self._entries = folder, tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        key, name = self._entries[index]
        image, classes, about = _paths(self._folder, key)
        with np.load(about, allow_pickle=False) as small:
            floor, places = small["floor"], small["places"]
        return Sample(
            name,
            np.load(image, mmap_mode="r", allow_pickle=False),
            np.load(classes, mmap_mode="r", allow_pickle=False),
            floor,
            places,
        )


def prepare(
    folder: Path,
    cases: Sequence[Case],
    table: LabelTable,
    preprocessing: Preprocessing,
) -> Iterator[tuple[str, str]]:
    """Write the samples of cases that the folder does not hold yet.

    Yields
    ------
    (key, name)
        Of each case once it is there, for a `SampleFolder`.
    """
    make_folder(folder)
    for case in cases:
        key = _key(case, table, preprocessing)
        store(folder, key, functools.partial(read_sample, case, table, preprocessing))
        yield key, case.name


def store(folder: Path, key: str, read: Callable[[], Sample]) -> None:
    """Write a sample, unless the folder holds it already."""
    paths = _paths(folder, key)
    if not all(path.exists() for path in paths):
        _save(paths, read())


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there; raises `OutputError` where the system refuses."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error


def read_sample(case: Case, table: LabelTable, preprocessing: Preprocessing) -> Sample:
    """Bring a case to the model grid; raises `AsmlpError` on what cannot be learnt from."""
    image, labels = read_case(case)
    return on_model_grid(case.name, image, class_indices(labels, table), preprocessing)


def on_model_grid(
    name: str, image: Volume, classes: NDArray[np.uint8], preprocessing: Preprocessing
) -> Sample:
    """Bring an image and its classes (i, j, k) to the model grid."""
    placement = place(image.grid, preprocessing)
    turned = placement.orientation.apply(classes)
    if turned.shape != placement.model_grid.shape:
        turned = resize(turned, placement.model_grid.shape, order=0, preserve_range=True)
    normalised = to_model_grid(image, placement, preprocessing)
    return Sample.of(name, normalised, np.ascontiguousarray(turned, dtype=np.uint8))


def check_classes(samples: Sequence[Sample], table: LabelTable) -> list[str]:
    """Return the names of labels that no sample has; raises `VolumeError` if that is all."""
    found = set()
    for sample in samples:
        found |= set(sample.places[:, 0].tolist())
    if not found - {0}:
        raise VolumeError(f"all {len(samples)} cases to train on are background: nothing to learn")
    return table.absent(found)


def _key(case: Case, table: LabelTable, preprocessing: Preprocessing) -> str:
    parts = [
        str(_VERSION),
        case.hash,
        file_hash(case.labels),
        PREPROCESSING.dump_json(preprocessing).decode(),
        ",".join(map(str, table.values)),
        str(table.ignore),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _paths(folder: Path, key: str) -> tuple[Path, Path, Path]:
    return folder / f"{key}.image.npy", folder / f"{key}.classes.npy", folder / f"{key}.npz"


def _save(paths: tuple[Path, Path, Path], sample: Sample) -> None:
    image, classes, about = paths
    for path, array in ((image, sample.image), (classes, sample.classes)):
        with replacing(path, overwrite=True) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    with replacing(about, overwrite=True) as temporary, temporary.open("wb") as stream:
        np.savez(stream, floor=sample.floor, places=sample.places)


def _places(classes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return up to so many voxels of each class, spread evenly over those in memory order."""
    flat = np.flatnonzero((classes > 0) & (classes < IGNORED))
    values = classes.ravel()[flat]
    order = np.argsort(values, kind="stable")
    found, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
    rows = [np.empty((0, 4), np.int32)]
    for value, start, count in zip(found, starts, counts, strict=True):
        rows.append(_rows(value, flat[order[start + _spread(count)]], classes.shape))
    known = np.flatnonzero(classes != IGNORED)
    if len(known) < classes.size:
        rows.append(_rows(0, known[_spread(len(known))], classes.shape))
    return np.concatenate(rows)


def _spread(count: int) -> NDArray[np.intp]:
    """Return up to so many of the numbers below `count`, evenly."""
    return np.linspace(0, count - 1, min(count, _PLACES_PER_CLASS)).astype(np.intp)


def _rows(value: int, flat: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.int32]:
    voxels = np.unravel_index(flat, shape)
    return np.stack([np.full(len(flat), value), *voxels], axis=1).astype(np.int32)
