"""What changes of the image cost a model: Dice on labelled cases, each changed in many ways.

``python benchmarks/robustness.py DATASET --model hippocampus --fold 1/5`` segments the cases of a
data set that a fold keeps out (all of them with ``--fold all``), as they are and changed, and
prints a table in Markdown. A case on another spacing is scored on that grid, against its reference
brought there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_asmlp import load_model, segment
from napari_asmlp.evaluate import score_labels, summarise
from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import Model
from napari_asmlp.pipeline import SegmentSettings
from napari_asmlp.resample import resample
from napari_asmlp.training.dataset import examined, read_case, read_dataset
from napari_asmlp.training.folds import split
from napari_asmlp.volume import Volume

Pair = tuple[Volume, Volume]
Change = Callable[[Volume, Volume, np.random.Generator], Pair]


def changes() -> dict[str, Change]:
    """Every way to change a case, by its name in the table."""
    ways: dict[str, Change] = {"as it is": lambda image, labels, _: (image, labels)}
    ways["intensities × 1000"] = on_image(lambda image, _: image * 1000)
    for spacing in (0.7, 0.85, 1.2, 1.5):
        ways[f"{spacing:g} mm, linear"] = on_grid(spacing)
    ways["stored in another orientation"] = reoriented
    ways["left and right swapped"] = mirrored
    for sigma in (0.1, 0.2):
        ways[f"noise, {sigma:.0%} of the range"] = on_image(noise(sigma))
    for strength in (0.2, 0.4):
        ways[f"bias field, ± {strength:.0%}"] = on_image(bias(strength))
    ways["gamma 0.7"] = on_image(lambda image, _: stretched(image) ** 0.7)
    ways["gamma 1.4"] = on_image(lambda image, _: stretched(image) ** 1.4)
    return ways


def on_image(way: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]) -> Change:
    def change(image: Volume, labels: Volume, rng: np.random.Generator) -> Pair:
        return replaced(image, way(image.array().astype(np.float64), rng), image.grid), labels

    return change


def on_grid(spacing: float) -> Change:
    def change(image: Volume, labels: Volume, _: np.random.Generator) -> Pair:
        grid = image.grid.resampled([spacing] * 3)
        return resample(image, grid, "linear"), resample(labels, grid, "nearest")

    return change


def reoriented(image: Volume, labels: Volume, rng: np.random.Generator) -> Pair:
    """One of the 48 orientations, turned by nibabel."""
    turn = np.stack([rng.permutation(3), rng.choice([-1, 1], 3)], axis=1)
    both = []
    for volume in (image, labels):
        turned = nibabel.Nifti1Image(volume.array(), volume.grid.affine).as_reoriented(turn)
        both.append(
            replaced(volume, np.asanyarray(turned.dataobj), Grid(turned.shape, turned.affine))
        )
    return both[0], both[1]


def mirrored(image: Volume, labels: Volume, _: np.random.Generator) -> Pair:
    """The other side: voxels swapped along i, which is left and right here, on the same grid."""
    one, other = (replaced(v, v.array()[::-1].copy(), v.grid) for v in (image, labels))
    return one, other


def noise(sigma: float) -> Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]:
    return lambda image, rng: stretched(image) + sigma * rng.standard_normal(image.shape)


def bias(strength: float) -> Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]:
    def way(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        coarse = rng.uniform(-1, 1, (3, 3, 3))
        zoom = [size / 3 for size in image.shape]
        field = ndimage.zoom(coarse, zoom, order=1, mode="nearest", grid_mode=True)
        return stretched(image) * (1 + strength * field)

    return way


def stretched(image: NDArray[Any]) -> NDArray[Any]:
    """From 0 to 1 over the 0.5 to 99.5 percentiles, cut off outside: the range of most voxels."""
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) / max(high - low, 1e-12), 0, 1)


def replaced(volume: Volume, voxels: NDArray[Any], grid: Grid) -> Volume:
    if volume.kind == "image":
        voxels = voxels.astype(np.float32)
    return replace(volume, data=voxels, grid=grid, path=None, header=None, title=volume.name)


def scores(
    model: Model, pairs: list[Pair], change: Change, *, mirror: bool | None
) -> dict[str, Any]:
    """Mean scores of all cases under one change."""
    cases = {}
    for number, (image, labels) in enumerate(pairs):
        changed, reference = change(image, labels, np.random.default_rng(number))
        settings = SegmentSettings(region=Region.whole(changed.grid.shape), mirror=mirror)
        cases[str(number)] = score_labels(segment(changed, model, settings), reference)
    mean: dict[str, Any] = summarise(cases)["mean"]["all"]
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="hippocampus", help="name or file")
    parser.add_argument("--fold", default="1/5", help="K/N or all")
    parser.add_argument("--cases", type=int, help="the first so many")
    parser.add_argument("--tta", action="store_true", help="mirror at test time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(given.model)
    found = read_dataset(given.dataset)
    if given.fold != "all" and not model.card.split:
        parser.error(
            f"{model.card.name} does not record which cases it was trained on, so a fold may hold"
            " some of them: give --fold all, and a data set of other cases"
        )
    parts = split(list(examined(found.cases)), given.fold, model.card.split)
    pairs = [read_case(case) for case in (parts.held_out or parts.training)[: given.cases]]
    print(f"{model.card.name}, {len(pairs)} cases of {found.name}, fold {given.fold}\n")
    print("| change | Dice | cost | HD95 mm |\n|---|---|---|---|")
    plain = None
    for name, change in changes().items():
        mean = scores(model, pairs, change, mirror=given.tta or None)
        plain = mean["dice"] if plain is None else plain
        cost = plain - mean["dice"]
        print(f"| {name} | {mean['dice']:.4f} | {cost:.4f} | {mean['hd95_mm']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
