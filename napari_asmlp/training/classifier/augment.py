"""Random changes of a batch of classifier inputs: one lattice for geometry, few voxels, no loops.

Inputs are small by then, some 30 voxels a side.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_asmlp.model import ClassifierInput
from napari_asmlp.training.classifier.recipe import Variation


def vary(
    batch: Tensor,
    settings: Variation,
    recipe: ClassifierInput,
    patch: int,
    generator: Generator,
) -> Tensor:
    """Turn, mirror, scale, stretch and shift inputs, and change intensities and measurements.

    Parameters
    ----------
    batch : (B, C, X, Y, Z) float32, cubic voxels; intensities, then what `recipe` has of the shape
    patch : voxels of a patch along each axis; measurements are repeated in each
    """
    if recipe.measurements:
        shown = vary(batch[:, :-1], settings, replace(recipe, measurements=()), patch, generator)
        noise = torch.zeros(len(batch), patch**3)
        known = (len(batch), len(recipe.measurements))
        noise[:, : known[1]] = settings.measuring * torch.randn(known, generator=generator)
        noise = noise.reshape(-1, 1, patch, patch, patch)
        repeats = [side // patch for side in batch.shape[2:]]
        return torch.cat([shown, batch[:, -1:] + noise.repeat(1, 1, *repeats)], dim=1)
    maps, scale = _linear_maps(len(batch), settings, generator)
    # `affine_grid` counts from -1 to 1 over each extent; its first coordinate is the last axis.
    half = torch.tensor([n / 2 for n in batch.shape[2:]])
    maps = (maps * half / half[:, None]).flip(1, 2)
    shift = 2 * settings.shift * _uniform((len(batch), 3, 1), generator)
    lattice = functional.affine_grid(
        torch.cat([maps, shift], dim=2), list(batch.shape), align_corners=False
    )
    shapes = recipe.shape_channels
    intensities = batch.shape[1] - shapes
    # beyond the border an image goes on, where a shape ends
    lowest = batch.amin(dim=(2, 3, 4), keepdim=True)
    moved = functional.grid_sample(batch - lowest, lattice, align_corners=False) + lowest
    if recipe.thickness:
        moved[:, -1] *= scale[:, None, None]
    if settings.intensity and intensities:
        moved[:, :intensities] = _recoloured(moved[:, :intensities], settings, generator)
    return moved


def _linear_maps(count: int, settings: Variation, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return maps from a place in the changed input to that in the original, and the scales.

    Returns
    -------
    (B, 3, 3) and (B, 1)
    """
    scale = _power(settings.scaling, (count, 1), generator)
    stretch = _power(settings.stretching, (count, 3), generator)
    flips = torch.ones(count, 3)
    for axis in settings.flip_axes:
        flips[:, axis] = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    turns = torch.eye(3).expand(count, 3, 3)
    angles = math.radians(settings.rotation) * _uniform((count, 3), generator)
    for number, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        cos, sin = angles[:, number].cos(), angles[:, number].sin()
        turn = torch.eye(3).repeat(count, 1, 1)
        turn[:, a, a], turn[:, b, b], turn[:, a, b], turn[:, b, a] = cos, cos, -sin, sin
        turns = turns @ turn
    return turns * (flips * stretch / scale)[:, None, :], scale


def _recoloured(images: Tensor, settings: Variation, generator: Generator) -> Tensor:
    """Change brightness and contrast of each channel, and add noise."""
    amount, each = settings.intensity, (*images.shape[:2], 1, 1, 1)
    contrast = _power(amount, each, generator)
    brightness = amount * _uniform(each, generator)
    noise = amount / 2 * torch.rand(each, generator=generator)
    grain = torch.randn(images.shape, generator=generator)
    return images * contrast + brightness + noise * grain


def _power(amount: float, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Draw factors from 1 / (1 + amount) to 1 + amount."""
    return torch.exp(math.log1p(amount) * _uniform(shape, generator))


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Draw from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1
