"""Teach classes of objects by example, against regionprops and a random forest on the same objects.

``python benchmarks/objects.py`` makes volumes of synthetic objects, names a few of each class, and
prints two tables in Markdown: how many of the other objects each way gets right, and how long the
ways take for all objects, in CPU seconds of this process. ``--quick`` takes a minute or two.

The random forest (scikit-learn, 100 trees) gets area, extent, equivalent diameter, axis lengths,
and mean, smallest, largest and deviation of the intensities from ``skimage.measure``.

Worlds: *easy*: balls, long ones, bright ones. *size*: small, middling and large. *texture*: faint,
strong, and strong but coarse.
*pattern*: same size, brightness and contrast, but bright at the rim, in the core, at one end, or in
spots. Sizes, brightness, direction and outline vary in all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops_table
from sklearn.ensemble import RandomForestClassifier

from napari_asmlp.grid import Grid
from napari_asmlp.pipeline import ByExample, classify
from napari_asmlp.pipeline.classification import Item, finish
from napari_asmlp.volume import Volume

Floats = NDArray[np.float64]
Kind = Mapping[str, float]

SIDE, BLUR, NOISE = 26, 0.6, 6.0
PROPERTIES = (
    "area",
    "extent",
    "equivalent_diameter_area",
    "axis_major_length",
    "axis_minor_length",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "intensity_std",
)
WORLDS: dict[str, list[Kind]] = {
    "easy": [{}, {"long": 1}, {"bright": 50}],
    "size": [{"least": 3.5, "most": 4.1}, {"least": 4.4, "most": 5}, {"least": 5.3, "most": 6}],
    "texture": [{}, {"contrast": 18}, {"contrast": 18, "grain": 2.2}],
    "pattern": [{"rim": 1}, {"core": 1}, {"end": 1}, {"spots": 1}],
}


@dataclass(frozen=True)
class World:
    """Objects 1 to N, their image, and which kind each is, (N,)."""

    labels: Volume
    image: Volume
    kinds: NDArray[np.intp]


def make_object(kind: Kind, random: np.random.Generator) -> tuple[NDArray[np.bool_], Floats]:
    """Return shape and intensities of an object in a cube."""
    points = np.stack(np.indices((SIDE,) * 3), axis=-1) - (SIDE - 1) / 2
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    points = points @ turn
    stretch = (1.5, 0.8, 0.8) if "long" in kind else (1, 1, 1)
    radii = (
        random.uniform(kind.get("least", 3.5), kind.get("most", 6))
        * random.uniform(0.9, 1.1, 3)
        * stretch
    )
    far = np.sqrt(((points / radii) ** 2).sum(axis=-1))
    pieces, _ = ndimage.label(far + 0.1 * grain(random, 2.5) < 1)
    mask = pieces == pieces[(SIDE // 2,) * 3]
    image = random.normal(100, 12) + kind.get("bright", 0)
    image = image + kind.get("contrast", 6) * grain(random, kind.get("grain", 1.0))
    if "rim" in kind:
        image += 35 * np.clip((far - 0.55) / 0.45, 0, 1) - 15
    if "core" in kind:
        image += 35 * np.clip(1 - far / 0.8, 0, 1) - 8
    if "end" in kind:
        image += 45 * np.clip(points[..., 0] / radii[0], 0, 1) - 10
    if "spots" in kind:
        for _ in range(5):
            place = random.normal(size=3)
            place *= random.uniform(0, 0.7) * radii / np.linalg.norm(place)
            image += 60 * np.exp(-((points - place) ** 2).sum(axis=-1) / 2.42)
    return mask, image


def grain(random: np.random.Generator, sigma: float) -> Floats:
    """Return smooth noise of deviation 1."""
    noise = ndimage.gaussian_filter(random.normal(size=(SIDE,) * 3), sigma)
    return noise / noise.std()


def make_world(kinds: list[Kind], count: int, seed: int) -> World:
    """Return a volume with a cube for each object."""
    random = np.random.default_rng(seed)
    drawn = random.integers(len(kinds), size=count)
    along = int(np.ceil(count ** (1 / 3)))
    labels = np.zeros((along * SIDE,) * 3, np.uint16)
    image = np.full(labels.shape, 60.0)
    for n, kind in enumerate(drawn):
        mask, intensities = make_object(kinds[kind], random)
        corner = np.array(np.unravel_index(n, (along,) * 3)) * SIDE
        own = tuple(slice(start, start + SIDE) for start in corner)
        labels[own][mask] = n + 1
        image[own][mask] = intensities[mask]
    image = ndimage.gaussian_filter(image, BLUR) + random.normal(0, NOISE, image.shape)
    grid = Grid(labels.shape, np.eye(4))
    return World(
        Volume(labels, grid, "labels", title="objects"),
        Volume(image.astype(np.float32), grid, title="image"),
        drawn,
    )


def pick(kinds: NDArray[np.intp], count: int, seed: int) -> NDArray[np.intp]:
    """Return the indices of some objects of each kind."""
    random = np.random.default_rng(seed)
    own = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    return np.concatenate([random.choice(each, count, replace=False) for each in own])


def measured(world: World) -> Floats:
    """Return what the forest sees, (N, properties)."""
    table = regionprops_table(
        world.labels.array(), world.image.array(), properties=list(PROPERTIES)
    )
    return np.stack([table[name] for name in PROPERTIES], axis=1)


def calibration_error(items: list[Item], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over 10 bins of confidence."""
    sure = np.array([item.confidence for item in items])
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [abs(sure[bins == n].sum() - right[bins == n].sum()) for n in range(10)]
    return float(sum(gaps) / len(items))


def run(world: World, counts: list[int], seeds: int) -> list[dict[str, float]]:
    """Return a row for each count of examples and seed."""
    started = time.process_time()
    table = measured(world)
    measuring = time.process_time() - started
    lesson, rows = ByExample(world.labels, world.image), []
    for count in counts:
        for seed in range(seeds):
            chosen = pick(world.kinds, count, seed)
            rest = np.setdiff1d(np.arange(len(world.kinds)), chosen)
            started = time.process_time()
            forest = RandomForestClassifier(100, random_state=seed)
            forest.fit(table[chosen], world.kinds[chosen])
            answer = forest.predict(table)
            forest_seconds = time.process_time() - started
            started = time.process_time()
            taught = finish(lesson.learn({int(n) + 1: f"{world.kinds[n]}" for n in chosen}))
            ours = time.process_time() - started
            found = np.array([int(item.class_name) for item in taught.items])
            right = (found == world.kinds)[rest]
            rows.append(
                {
                    "count": count,
                    "ours": float(right.mean()),
                    "forest": float((answer == world.kinds)[rest].mean()),
                    "ece": calibration_error([taught.items[n] for n in rest], right),
                    "ours_s": ours,
                    "forest_s": measuring + forest_seconds,
                }
            )
    return rows


def print_rows(name: str, rows: list[dict[str, float]], counts: list[int]) -> None:
    """Print the mean and the range over seeds for each count."""
    for count in counts:
        own = [row for row in rows if row["count"] == count]
        cells = []
        for key in ("ours", "forest"):
            values = [row[key] for row in own]
            cells.append(f"{np.mean(values):.3f} ({min(values):.2f}–{max(values):.2f})")
        means = {key: np.mean([row[key] for row in own]) for key in ("ece", "ours_s", "forest_s")}
        print(
            f"| {name} | {count} | {cells[0]} | {cells[1]} | {means['ece']:.2f}"
            f" | {means['ours_s']:.1f} | {means['forest_s']:.1f} |",
            flush=True,
        )


def speed(world: World) -> None:
    """Print how long all objects take once the classes are known."""
    chosen = pick(world.kinds, 10, 0)
    examples = {int(n) + 1: f"{world.kinds[n]}" for n in chosen}
    model = finish(ByExample(world.labels, world.image).learn(examples)).model
    forest = RandomForestClassifier(100, random_state=0)
    forest.fit(measured(world)[chosen], world.kinds[chosen])
    cpu, wall = time.process_time(), time.monotonic()
    classify(world.image, model, objects=world.labels)
    ours = time.process_time() - cpu, time.monotonic() - wall
    cpu, wall = time.process_time(), time.monotonic()
    forest.predict(measured(world))
    theirs = time.process_time() - cpu, time.monotonic() - wall
    print("\n| all objects, classes known | CPU seconds | objects a CPU second | seconds |")
    print("|---|---|---|---|")
    for name, (seconds, passed) in {"classify": ours, "regionprops + forest": theirs}.items():
        rate = len(world.kinds) / seconds
        print(f"| {name} | {seconds:.2f} | {rate:.0f} | {passed:.2f} |")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--objects", type=int, default=1000, help="in a world")
    parser.add_argument("--seeds", type=int, default=3, help="choices of examples")
    parser.add_argument("--worlds", nargs="+", choices=[*WORLDS], default=[*WORLDS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="300 objects, one seed, two counts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    objects, seeds, counts = options.objects, options.seeds, [3, 5, 10, 20]
    if options.quick:
        objects, seeds, counts = 300, 1, [3, 10]
    print(f"{objects} objects, {seeds} choices of examples, {options.threads} threads\n")
    print(
        "| world | examples a class | taught Mixer | regionprops + forest | calibration error"
        " | CPU s | CPU s of the forest |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in options.worlds:
        world = make_world(WORLDS[name], objects, 1)
        print_rows(name, run(world, counts, seeds), counts)
    speed(world)


if __name__ == "__main__":
    main()
