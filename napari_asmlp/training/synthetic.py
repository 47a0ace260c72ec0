"""Made-up volumes of any contrast, with the truth about them: heads from label maps, and shapes.

A network that never saw a scanner learns anatomy from label maps alone, if every volume it is
shown has other intensities (SynthSeg: Billot et al., Medical Image Analysis 86, 2023). A head is a
label map that is bent, cut out, and painted: each tissue gets a mean and a deviation, then come
blur, bias field, low resolution and noise. Shapes are random fields cut at random levels, painted
the same way, so that borders of things that are no heads are known too.

The hippocampus and the amygdala are painted by themselves, but what is to be learnt calls them
cortex: nothing that learns from here has seen the label of a hippocampus.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Generator, Tensor
from torch.nn import functional

from napari_asmlp.errors import VolumeError
from napari_asmlp.io import read_volume
from napari_asmlp.training.augment import Crop, random_crop
from napari_asmlp.training.recipe import Augmentation
from napari_asmlp.training.samples import Sample


@dataclass(frozen=True)
class Tissue:
    """What is painted with one mean and deviation.

    Attributes
    ----------
    values : of FreeSurfer's label table, left and right; from 500 on extra-cerebral
    target : what the network is to call it, an index of `ANATOMY`
    t1 : usual intensity in a T1-weighted image, of 0 to 1
    """

    values: tuple[int, ...]
    target: int
    t1: float


ANATOMY = (
    "air",
    "extra-cerebral tissue",
    "cerebrospinal fluid",
    "cortex, hippocampus and amygdala",
    "cerebral white matter",
    "lateral ventricle",
    "third and fourth ventricle",
    "thalamus and ventral diencephalon",
    "caudate and accumbens",
    "putamen",
    "pallidum",
    "brain stem",
    "cerebellar cortex",
    "cerebellar white matter",
)
SHAPES = ("outside", "inside", "border")

TISSUES = (
    Tissue((), 0, 0.0),
    Tissue((2, 41, 25, 57, 30, 62, 85), 4, 0.85),
    Tissue((3, 42), 3, 0.55),
    Tissue((17, 53), 3, 0.57),
    Tissue((18, 54), 3, 0.57),
    Tissue((4, 43, 5, 44), 5, 0.17),
    Tissue((136, 137, 163, 164), 5, 0.35),
    Tissue((14, 15, 72), 6, 0.17),
    Tissue((24,), 2, 0.15),
    Tissue((10, 49), 7, 0.67),
    Tissue((28, 60), 7, 0.74),
    Tissue((11, 50, 26, 58), 8, 0.58),
    Tissue((12, 51), 9, 0.62),
    Tissue((13, 52), 10, 0.76),
    Tissue((16,), 11, 0.77),
    Tissue((8, 47), 12, 0.54),
    Tissue((7, 46), 13, 0.84),
    Tissue((507,), 1, 0.45),
    Tissue((511,), 1, 0.60),
    Tissue((515,), 1, 0.12),
    Tissue((516,), 1, 0.65),
    Tissue((502, 506, 508, 509, 512, 514, 530), 1, 0.30),
)
_CSF, _EXTRA = 2, 1  # indices of ANATOMY
_T1, _T2 = 0.7, 0.1  # share of heads painted like these; the rest have any contrast
_MARGIN = 8  # voxels of air that are kept around a head

# How a label map is bent: a child's head, an old one, one that lies tilted.
BENDING = Augmentation(rotation=15, scaling=0.25, elastic=3.0, intensity=0)


def read_label_map(path: str | os.PathLike[str], step: int = 1) -> Sample:
    """Read a map of FreeSurfer's labels as indices of `TISSUES`, in RAS, cut to the head.

    Parameters
    ----------
    step : take every so many voxels of it along each axis

    Raises
    ------
    VolumeError
        If it holds a label that is no tissue here.
    """
    volume = read_volume(path)
    turned = volume.grid.orientation("RAS").apply(volume.array()).astype(np.int64)
    table = np.full(max(1000, int(turned.max()) + 1), 255, np.uint8)
    table[0] = 0
    for index, tissue in enumerate(TISSUES):
        table[list(tissue.values)] = index
    tissues = table[turned]
    if (unknown := np.unique(turned[tissues == 255])).size:
        raise VolumeError(f"{volume.name}: labels {unknown.tolist()} are no tissues known here")
    box = []
    for axis in range(3):
        there = np.flatnonzero(tissues.any(axis=tuple(n for n in range(3) if n != axis)))
        box.append(slice(max(0, int(there[0]) - _MARGIN), int(there[-1]) + 1 + _MARGIN))
    tissues = np.ascontiguousarray(tissues[tuple(box)][::step, ::step, ::step])
    nothing = np.broadcast_to(np.float32(0), (1, *tissues.shape))  # it is painted after the cut
    return Sample.of(volume.name, nothing, tissues)


def synthetic_head(sample: Sample, shape: tuple[int, int, int], generator: Generator) -> Crop:
    """Cut a crop out of a head and paint it.

    Parameters
    ----------
    sample : from `read_label_map`
    shape : voxels (X, Y, Z)

    Returns
    -------
    Crop
        Image (1, X, Y, Z), standardised; classes (X, Y, Z), indices of `ANATOMY`.
    """
    tissues = random_crop(sample, shape, BENDING, generator, foreground=0.7).classes
    targets = torch.tensor([tissue.target for tissue in TISSUES])
    if _chance(0.4, generator):  # without skull, and perhaps without the fluid around the brain
        bare = targets != _EXTRA
        if _chance(0.5, generator):
            bare &= targets != _CSF
        tissues = tissues * bare[tissues]
    means, deviations = _contrast(generator)
    image = _painted(tissues, means, deviations, generator)
    return Crop(_standardised(image, generator)[None], targets[tissues])


def synthetic_shapes(shape: tuple[int, int, int], generator: Generator) -> Crop:
    """Paint random things: blobs, sheets or cells of one to three kinds on a background.

    Returns
    -------
    Crop
        Image (1, X, Y, Z), standardised; classes (X, Y, Z), indices of `SHAPES`: a border is a
        voxel of a thing that touches something else.
    """
    kinds = torch.zeros(shape, dtype=torch.long)
    for kind in range(1, 2 + _draw(3, generator)):
        kinds[_things(shape, generator)] = kind
    means = torch.rand(4, generator=generator)
    while (means[1:] - means[0]).abs().min() < 0.12:
        means = torch.rand(4, generator=generator)
    deviations = 0.12 * torch.rand(4, generator=generator)
    image = _painted(kinds, means, deviations, generator)
    return Crop(_standardised(image, generator)[None], (kinds > 0).long() + _borders(kinds))


def _contrast(generator: Generator) -> tuple[Tensor, Tensor]:
    """Return means and deviations of the tissues: like T1, like T2, or any."""
    t1 = torch.tensor([tissue.t1 for tissue in TISSUES])
    count, kind = len(TISSUES), float(torch.rand((), generator=generator))
    jitter = torch.randn(count, generator=generator)
    extra = torch.tensor([tissue.target == _EXTRA for tissue in TISSUES])
    if kind < _T1:
        means = t1 + 0.04 * jitter + 0.15 * extra * jitter
    elif kind < _T1 + _T2:
        means = 1 - t1 + 0.06 * jitter + 0.15 * extra * jitter
    else:
        means = torch.rand(count, generator=generator)
    if kind < _T1 + _T2:
        means[0] = 0.0
    grain = 0.01 + 0.05 * float(torch.rand((), generator=generator))
    return means, grain * (0.5 + torch.rand(count, generator=generator))


def _painted(classes: Tensor, means: Tensor, deviations: Tensor, generator: Generator) -> Tensor:
    """(X, Y, Z) classes -> image: texture, blur, bias field, low resolution, noise, gamma."""
    shape = classes.shape
    grain = torch.randn(shape, generator=generator)
    if _chance(0.5, generator):  # coarser grain, as of tissue and not of the detector
        coarse = [max(2, n // 2) for n in shape]
        grain += 1.5 * _stretched(torch.randn(coarse, generator=generator), shape)
        grain *= 0.7
    image = means[classes] + deviations[classes] * grain
    image = _blurred(image, 0.2 + 0.5 * float(torch.rand((), generator=generator)))
    if _chance(0.7, generator):  # bias field
        nodes = torch.randn([2 + _draw(3, generator)] * 3, generator=generator)
        image = image * _stretched(0.1 * nodes, shape).exp()
    if _chance(0.3, generator):  # slices thicker than voxels, along any axis
        factors = 1 + torch.rand(3, generator=generator)
        coarse = [max(2, round(n / float(f))) for n, f in zip(shape, factors, strict=True)]
        image = _stretched(_stretched(image, coarse), shape)
    noise = 0.06 * float(torch.rand((), generator=generator)) ** 2
    image = (image + noise * torch.randn(shape, generator=generator)).clamp(min=0)
    bent: Tensor = image ** float(torch.exp(0.15 * torch.randn((), generator=generator)))
    return bent


def _standardised(image: Tensor, generator: Generator) -> Tensor:
    """Clip and standardise as volumes are, but for a random part of what a crop cannot know."""
    some = image[::3, ::3, ::3].flatten()
    low, high = torch.quantile(some, torch.tensor([0.005, 0.995])).tolist()
    image = image.clamp(low, high)
    image = (image - image.mean()) / image.std().clamp(min=1e-6)
    gain, offset = torch.randn(2, generator=generator).tolist()
    image *= float(np.exp(0.2 * gain))
    return image.add_(0.2 * offset)


def _things(shape: tuple[int, int, int], generator: Generator) -> Tensor:
    """Return a mask (X, Y, Z) of blobs, sheets, or balls."""
    kind = _draw(3, generator)
    if kind == 2:
        count, radius = 10 + _draw(200, generator), 3 + _draw(9, generator)
        apart = np.ones(shape, bool)
        centres = (torch.rand(count, 3, generator=generator) * torch.tensor(shape)).long()
        apart[tuple(centres.T.numpy())] = False
        bumps = 2 * _stretched(torch.randn([12] * 3, generator=generator), shape)
        away: Tensor = torch.from_numpy(distance_transform_edt(apart)).float() + bumps
        return away < radius
    nodes = [3 + _draw(14, generator) for _ in range(3)]
    field = _stretched(torch.randn(nodes, generator=generator), shape)
    level = float(torch.randn((), generator=generator).clamp(-1, 1)) * 0.5
    if kind == 0:
        return field > level
    return (field - level).abs() < 0.1 + 0.15 * float(torch.rand((), generator=generator))


def _borders(kinds: Tensor) -> Tensor:
    """(X, Y, Z) -> 1 where a voxel of a thing has a neighbour of another kind, else 0."""
    border = torch.zeros_like(kinds, dtype=torch.bool)
    for axis in range(3):
        differs = kinds.diff(dim=axis) != 0
        first, second = kinds.shape[axis] - 1, 1
        border.narrow(axis, 0, first).logical_or_(differs)
        border.narrow(axis, second, first).logical_or_(differs)
    return (border & (kinds > 0)).long()


def _stretched(field: Tensor, shape: Sequence[int]) -> Tensor:
    """(x, y, z) -> (X, Y, Z), interpolated."""
    stretched: Tensor = functional.interpolate(
        field[None, None], tuple(shape), mode="trilinear", align_corners=True
    )
    return stretched[0, 0]


def _blurred(image: Tensor, deviation: float) -> Tensor:
    """(X, Y, Z) -> the same shape, through a Gaussian of that many voxels."""
    places = torch.arange(-2.0, 3.0)
    kernel = torch.exp(-(places**2) / (2 * deviation**2))
    kernel /= kernel.sum()
    blurred = image[None, None]
    for axis in range(3):
        shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], padding[axis] = 5, 2
        blurred = functional.conv3d(blurred, kernel.reshape(shape), padding=padding)
    return blurred[0, 0]


def _chance(probability: float, generator: Generator) -> bool:
    return bool(torch.rand((), generator=generator) < probability)


def _draw(count: int, generator: Generator) -> int:
    """Return one of 0 to count - 1."""
    return int(torch.randint(count, (), generator=generator))
