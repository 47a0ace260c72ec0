"""Random crops of a sample, bent and recoloured: one interpolation for all that moves voxels.

All randomness comes from the generator that is passed in, so that a step of training can be
repeated from its number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_asmlp.training.dataset import Sample
from napari_asmlp.training.recipe import Augmentation

# Coarse lattices on which smooth random fields are drawn, in nodes along each axis.
_ELASTIC_NODES = 5
_BIAS_NODES = 3


@dataclass(frozen=True)
class Crop:
    """What the network is trained on.

    Attributes
    ----------
    image : (C, X, Y, Z) float32
    classes : (X, Y, Z) int64, 0 background
    """

    image: Tensor
    classes: Tensor


def random_crop(
    sample: Sample, shape: tuple[int, int, int], settings: Augmentation, generator: Generator
) -> Crop:
    """Cut a crop at a random place, rotated, scaled, mirrored, bent, and with other intensities.

    Where the crop reaches outside the volume it holds the volume's minimum and background, as a
    padded window does at inference.
    """
    image = torch.from_numpy(sample.image)
    classes = torch.from_numpy(sample.classes)
    lattice = _sampling_lattice(image.shape[1:], shape, settings, generator)
    floor = image.amin(dim=(1, 2, 3), keepdim=True)
    moved = functional.grid_sample((image - floor)[None], lattice, align_corners=True)[0] + floor
    labels = functional.grid_sample(
        classes[None, None].float(), lattice, mode="nearest", align_corners=True
    )
    return Crop(_recolour(moved, settings, generator), labels[0, 0].long())


def _sampling_lattice(
    volume: torch.Size, shape: tuple[int, int, int], settings: Augmentation, generator: Generator
) -> Tensor:
    """Where each voxel of the crop comes from, as `grid_sample` wants it: (1, X, Y, Z, 3)."""
    extent = torch.tensor([float(n) for n in volume])
    axes = [torch.arange(n) - (n - 1) / 2 for n in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    points = points @ _linear_map(settings, generator).T + _centre(extent, shape, generator)
    if settings.elastic > 0:
        coarse = torch.randn(1, 3, *[_ELASTIC_NODES] * 3, generator=generator) * settings.elastic
        bend = functional.interpolate(coarse, shape, mode="trilinear", align_corners=True)
        points = points + bend[0].permute(1, 2, 3, 0)
    return (2 * points / (extent - 1) - 1).flip(-1)[None]


def _centre(extent: Tensor, shape: tuple[int, int, int], generator: Generator) -> Tensor:
    """Place the crop anywhere inside the volume, or around it where it is the larger one."""
    slack = (extent - torch.tensor(shape)).abs() / 2
    return (extent - 1) / 2 + slack * _uniform(3, generator)


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
        deviation = 0.15 * torch.rand((), generator=generator)
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
