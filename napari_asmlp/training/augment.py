"""Random crops of a sample, bent and recoloured: one interpolation for all that moves voxels.

All randomness comes from the generator that is passed in, so that a step of training can be
repeated from its number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_asmlp.training.recipe import Augmentation
from napari_asmlp.training.samples import Sample

# Coarse lattices on which smooth random fields are drawn, in nodes along each axis.
_ELASTIC_NODES = 5
_BIAS_NODES = 3


@dataclass(frozen=True)
class Crop:
    """What the network is trained on.

    Attributes
    ----------
    image : (C, X, Y, Z) float32
    classes : (X, Y, Z) int64, as those of the sample
    """

    image: Tensor
    classes: Tensor


def random_crop(
    sample: Sample,
    shape: tuple[int, int, int],
    settings: Augmentation,
    generator: Generator,
    foreground: float = 0.0,
) -> Crop:
    """Cut a crop at a random place, rotated, scaled, mirrored, bent, and with other intensities.

    Where the crop reaches outside the volume it holds the volume's minimum and background, as a
    padded window does at inference. Of the sample's arrays only the box around it is read.

    Parameters
    ----------
    foreground : how often the crop is centred on a voxel of a label, as far as it then lies inside;
        all labels of the sample have the same chance. Where some voxels are ignored, all other
        crops are centred on one that is not
    """
    matrix = _linear_map(settings, generator)
    centre = _centre(sample, shape, generator, foreground)
    bend = settings.elastic * torch.randn(1, 3, *[_ELASTIC_NODES] * 3, generator=generator)
    reach = matrix.abs() @ ((torch.tensor(shape) - 1) / 2) + bend.abs().amax(dim=(0, 2, 3, 4))
    box = _box_around(centre, reach, sample.classes.shape)
    lattice = _lattice(shape, matrix, centre, bend, box)
    image = torch.from_numpy(np.array(sample.image[(slice(None), *box)]))
    classes = torch.from_numpy(sample.classes[box].astype(np.float32))
    floor = torch.from_numpy(sample.floor).reshape(-1, 1, 1, 1)
    moved = functional.grid_sample((image - floor)[None], lattice, align_corners=False)[0] + floor
    labels = functional.grid_sample(
        classes[None, None], lattice, mode="nearest", align_corners=False
    )
    return Crop(_recolour(moved, settings, generator), labels[0, 0].long())


def _centre(
    sample: Sample, shape: tuple[int, int, int], generator: Generator, foreground: float
) -> Tensor:
    """Place the crop anywhere inside the volume, or around it where it is the larger one.

    A crop around a voxel of a label has it at ``n // 2`` along an axis of n voxels: a crop that is
    only shifted then holds voxels as they are, and no means of two neighbours.
    """
    extent = torch.tensor(sample.classes.shape)
    middle, slack = (extent - 1) / 2, (extent - torch.tensor(shape)).abs() / 2
    anywhere = middle + slack * _uniform(3, generator)
    chance, label, voxel = torch.rand(3, generator=generator).tolist()
    labels = np.unique(sample.places[sample.places[:, 0] > 0, 0])
    wanted = labels[int(label * len(labels))] if chance < foreground and len(labels) else 0
    chosen = sample.places[sample.places[:, 0] == wanted]
    if not len(chosen):
        return anywhere
    place = torch.from_numpy(chosen[int(voxel * len(chosen)), 1:])
    place = place - (1 - torch.tensor(shape) % 2) / 2
    return torch.maximum(torch.minimum(place, middle + slack), middle - slack)


def _box_around(centre: Tensor, reach: Tensor, volume: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the box of the volume, of at least one voxel, that what is in reach lies in."""
    box = []
    for middle, far, extent in zip(centre.tolist(), reach.tolist(), volume, strict=True):
        start = min(max(math.floor(middle - far) - 1, 0), extent - 1)
        box.append(slice(start, min(max(math.ceil(middle + far) + 2, start + 1), extent)))
    return tuple(box)


def _lattice(
    shape: tuple[int, int, int],
    matrix: Tensor,
    centre: Tensor,
    bend: Tensor,
    box: tuple[slice, ...],
) -> Tensor:
    """Where each voxel of the crop comes from, relative to the box: (1, X, Y, Z, 3).

    As `grid_sample` has it: the box's edges are -1 and 1, and the last axis comes first. All that
    is put into the matrix and the few nodes of the displacement, before there are many points.
    """
    start = torch.tensor([float(part.start) for part in box])
    unit = 2 / torch.tensor([float(part.stop - part.start) for part in box])
    axes = [torch.arange(n) - (n - 1) / 2 for n in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    offset = (centre - start + 0.5) * unit - 1
    lattice = torch.addmm(offset.flip(0), points, (matrix.T * unit).flip(1)).reshape(*shape, 3)
    if bend.any():
        scaled = (bend * unit.reshape(3, 1, 1, 1)).flip(1)
        field = functional.interpolate(scaled, shape, mode="trilinear", align_corners=True)
        lattice += field[0].permute(1, 2, 3, 0)
    return lattice[None]


def _linear_map(settings: Augmentation, generator: Generator) -> Tensor:
    """Rotation about three axes, scaling along each, and mirroring: (3, 3)."""
    angles = _uniform(3, generator) * math.radians(settings.rotation)
    scales = (1 + settings.scaling) ** _uniform(3, generator)
    for axis in settings.flip_axes:
        scales[axis] *= 1 if torch.rand((), generator=generator) < 0.5 else -1
    matrix = torch.diag(scales)
    for angle, (first, second) in zip(angles, ((1, 2), (0, 2), (0, 1)), strict=True):
        turn = torch.eye(3)
        turn[first, first] = turn[second, second] = angle.cos()
        turn[first, second], turn[second, first] = -angle.sin(), angle.sin()
        matrix = matrix @ turn
    return matrix


def _recolour(image: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Gamma, contrast, bias field, low resolution and noise, each now and then."""

    def now() -> bool:
        return bool(torch.rand((), generator=generator) < settings.intensity)

    if now():
        low, high = image.amin(), image.amax()
        exponent = torch.exp(0.35 * _uniform(1, generator))
        image = ((image - low) / (high - low).clamp(min=1e-6)) ** exponent * (high - low) + low
    if now():
        gain, offset = 1.3 ** _uniform(1, generator), 0.3 * _uniform(1, generator)
        image = image * gain + offset
    if now():
        image = image * _bias_field(image.shape[1:], generator)
    if now():
        image = _low_resolution(image, generator)
    if now():
        deviation = settings.noise * torch.rand((), generator=generator)
        image = image + deviation * torch.randn(image.shape, generator=generator)
    return image


def _bias_field(shape: torch.Size, generator: Generator) -> Tensor:
    coarse = 0.15 * torch.randn(1, 1, *[_BIAS_NODES] * 3, generator=generator)
    field = functional.interpolate(coarse, shape, mode="trilinear", align_corners=True)
    return field[0].exp()


def _low_resolution(image: Tensor, generator: Generator) -> Tensor:
    """Coarsen along each axis by up to 2 and interpolate back."""
    factors = 1 + torch.rand(3, generator=generator)
    coarse = [max(2, round(n / float(f))) for n, f in zip(image.shape[1:], factors, strict=True)]
    small = functional.interpolate(image[None], coarse, mode="trilinear")
    return functional.interpolate(small, image.shape[1:], mode="trilinear")[0]


def _uniform(count: int, generator: Generator) -> Tensor:
    """Draw from -1 to 1."""
    return 2 * torch.rand(count, generator=generator) - 1
