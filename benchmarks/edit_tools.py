"""Time each edit tool against the plain scikit-image/scipy way, on one volume of five labels.

``python benchmarks/edit_tools.py`` prints a table in Markdown: seconds (medians of the repeats),
their ratio, peak memory, and the share of voxels on which the two ways differ, in parts per million
of all. Each side of each row runs in a process of its own, so that memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from phantom import SHAPE, SPACING, phantom
from scipy import ndimage
from skimage import measure, segmentation
from skimage.feature import peak_local_max

from napari_asmlp import edit
from napari_asmlp.edit import Target, Tool
from napari_asmlp.grid import Region

Labels = NDArray[np.uint16]
Plain = Callable[[Labels, NDArray[np.float32], list[int]], Labels]

MM3, SMOOTH_MM, MARGIN_MM, STEP, LOW, HIGH = 50.0, 3.0, 2.0, 5, 0.0, 100.0


def plain_largest(labels: Labels, _image: object, values: list[int]) -> Labels:
    new = labels.copy()
    for value in values:
        islands = measure.label(labels == value, connectivity=3)
        sizes = np.bincount(islands.ravel())
        sizes[0] = 0
        new[(labels == value) & (islands != sizes.argmax())] = 0
    return new


def plain_small(labels: Labels, _image: object, values: list[int]) -> Labels:
    new = labels.copy()
    for value in values:
        islands = measure.label(labels == value, connectivity=3)
        small = np.bincount(islands.ravel()) * np.prod(SPACING) < MM3
        new[(labels == value) & small[islands]] = 0
    return new


def plain_holes(labels: Labels, _image: object, values: list[int]) -> Labels:
    new = labels.copy()
    for value in values:
        new[ndimage.binary_fill_holes(labels == value) & (new == 0)] = value
    return new


def plain_smooth(labels: Labels, _image: object, values: list[int]) -> Labels:
    sigma = [SMOOTH_MM / 2 / step for step in SPACING]
    reach = [int(np.ceil(SMOOTH_MM / step)) for step in SPACING]
    best, new = np.full(labels.shape, -1, np.float32), np.zeros_like(labels)
    for value in range(int(labels.max()) + 1):  # all vote, also where one is asked for
        mask = (labels == value).astype(np.float32)
        vote = ndimage.gaussian_filter(mask, sigma, mode="nearest", radius=reach)
        wins = vote > best
        best[wins], new[wins] = vote[wins], value
    if len(values) == 1:  # it gains from the background, and loses to it
        only = np.isin(labels, [0, *values]) & np.isin(new, [0, *values])
        return np.where(only, new, labels)
    return new


def plain_grow(labels: Labels, _image: object, values: list[int]) -> Labels:
    if len(values) > 1:
        return segmentation.expand_labels(labels, MARGIN_MM, spacing=SPACING)
    distance = ndimage.distance_transform_edt(labels != values[0], sampling=SPACING)
    new = labels.copy()
    new[(distance <= MARGIN_MM * (1 + 1e-6)) & (labels == 0)] = values[0]
    return new


def plain_shrink(labels: Labels, _image: object, values: list[int]) -> Labels:
    new = labels.copy()
    for value in values:
        depth = ndimage.distance_transform_edt(labels == value, sampling=SPACING)
        new[(labels == value) & (depth <= MARGIN_MM * (1 + 1e-6))] = 0
    return new


def plain_interpolate(labels: Labels, _image: object, values: list[int]) -> Labels:
    """Signed distances of whole slices, averaged; outlines are not moved to each other."""
    new = labels.copy()
    for value in values:
        mask = labels == value
        painted = np.flatnonzero(mask.any(axis=(0, 1)))
        signed = {
            n: ndimage.distance_transform_edt(mask[..., n], sampling=SPACING[:2])
            - ndimage.distance_transform_edt(~mask[..., n], sampling=SPACING[:2])
            for n in painted
        }
        for low, high in pairwise(painted):
            for n in range(low + 1, high):
                share = (n - low) / (high - low)
                inside = (1 - share) * signed[low] + share * signed[high] > 0
                new[..., n][inside & (new[..., n] == 0)] = value
    return new


def plain_seeds(labels: Labels, image: NDArray[np.float32], values: list[int]) -> Labels:
    free = (image >= LOW) & (image <= HIGH) & (labels == 0)
    seeds = np.where(np.isin(labels, values), labels, 0).astype(np.int32)
    if len(values) == 1:
        pieces = measure.label(free | (seeds > 0), connectivity=1)
        return np.where(np.isin(pieces, np.unique(pieces[seeds > 0])), values[0], labels)
    flat = np.zeros(labels.shape, np.uint8)
    grown = segmentation.watershed(flat, seeds, mask=free | (seeds > 0))
    return np.where(grown > 0, grown, labels)


def plain_split(labels: Labels, _image: object, values: list[int]) -> Labels:
    """The example of scikit-image's gallery; the rules differ, and so does the answer."""
    new, coming = labels.copy(), int(labels.max()) + 1
    for value in values:
        mask = labels == value
        depth = ndimage.distance_transform_edt(mask, sampling=SPACING)
        markers = np.zeros(labels.shape, np.int32)
        peaks = peak_local_max(depth, min_distance=15, labels=measure.label(mask))
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        bodies = segmentation.watershed(-depth, markers, mask=mask)
        new[bodies > 1] = bodies[bodies > 1] + coming
        coming += int(bodies.max())
    return new


def plain_merge(labels: Labels, _image: object, values: list[int]) -> Labels:
    new = labels.copy()
    new[labels == 2] = values[0]
    return new


def plain_relabel(labels: Labels, _image: object, values: list[int]) -> Labels:
    new = labels.copy()
    new[np.isin(labels, values)] = 9
    return new


def plain_clip(labels: Labels, _image: object, values: list[int]) -> Labels:
    outside = np.isin(labels, values)
    outside[clip_region(labels).slices] = False
    new = labels.copy()
    new[outside] = 0
    return new


def plain_copy(labels: Labels, _image: object, values: list[int]) -> Labels:
    new, middle = labels.copy(), labels.shape[2] // 2
    here, there = labels[..., middle], new[..., middle + 1]
    there[np.isin(there, values)] = 0
    mine = np.isin(here, values) & (there == 0)
    there[mine] = here[mine]
    return new


def clip_region(labels: Labels) -> Region:
    i, j, k = labels.shape
    return Region((i // 5, j // 5, k // 5), (i - i // 5, j - j // 5, k - k // 5))


def tools(labels: Labels) -> dict[str, tuple[Tool, Plain]]:
    middle = labels.shape[2] // 2
    return {
        "largest": (edit.KeepLargestIsland(), plain_largest),
        "small": (edit.RemoveSmallIslands(MM3), plain_small),
        "holes": (edit.FillHoles(), plain_holes),
        "smooth": (edit.Smooth(SMOOTH_MM), plain_smooth),
        "grow": (edit.Grow(MARGIN_MM), plain_grow),
        "shrink": (edit.Shrink(MARGIN_MM), plain_shrink),
        "interpolate": (edit.InterpolateSlices(2), plain_interpolate),
        "seeds": (edit.GrowFromSeeds(LOW, HIGH), plain_seeds),
        "split": (edit.SplitByWatershed(), plain_split),
        "merge": (edit.Merge(2), plain_merge),
        "relabel": (edit.Relabel(9), plain_relabel),
        "clip": (edit.ClipToRegion(clip_region(labels)), plain_clip),
        "copy": (edit.CopySlice(2, middle, middle + 1), plain_copy),
    }


def prepared(name: str, labels: Labels) -> Labels:
    """Return what a tool is given: all, every fifth slice, or seeds."""
    part = {"interpolate": np.s_[..., ::STEP], "seeds": np.s_[::10, ::10, ::10]}.get(name)
    if part is None:
        return labels
    new = np.zeros_like(labels)
    new[part] = labels[part]
    return new


def run(folder: Path, name: str, whose: str, side: str, repeats: int) -> None:
    """Measure one side of one row; print it as JSON and leave its labels in a file."""
    image = np.load(folder / "image.npy") if name == "seeds" else None
    labels = prepared(name, np.load(folder / "labels.npy"))
    tool, plain = tools(labels)[name]
    target = Target(1 if whose == "one" else None, None)
    values = [1] if whose == "one" else [1, 2, 3, 4, 5]
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        if side == "ours":
            answer = tool(labels, target, SPACING, image)
        else:
            answer = plain(labels, image, values)
        seconds.append(time.perf_counter() - start)
    if side == "ours":
        new = labels.copy()
        answer.apply(new)
        answer = new
    np.save(folder / f"{side}.npy", answer.astype(np.uint16))
    print(json.dumps({"seconds": statistics.median(seconds), "mb": peak_mb()}))


def peak_mb() -> float:
    """Return the most memory this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage counts the process that forked this one too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def row(folder: Path, name: str, whose: str, repeats: int) -> str:
    figures = {}
    for side in ("ours", "plain"):
        command = [sys.executable, __file__, "--run", str(folder), name, whose, side]
        command += ["--repeats", str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"| {name} | {whose} | {done.stderr.strip().splitlines()[-1]} |"
        figures[side] = json.loads(done.stdout)
    ours, plain = figures["ours"], figures["plain"]
    new = [np.load(folder / f"{side}.npy") for side in ("ours", "plain")]
    changed = np.count_nonzero(new[0] != prepared(name, np.load(folder / "labels.npy")))
    differ = np.count_nonzero(new[0] != new[1])
    return (
        f"| {name} | {whose} | {ours['seconds']:.2f} | {plain['seconds']:.2f} | "
        f"{plain['seconds'] / ours['seconds']:.1f} | {ours['mb']:.0f} | {plain['mb']:.0f} | "
        f"{changed:,} | {differ:,} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", nargs=3, type=int, default=SHAPE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="names of tools")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        folder, name, whose, side = given.run
        run(Path(folder), name, whose, side, given.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        labels, image = phantom(tuple(given.shape))
        labels = labels.astype(np.uint16)  # splitting hundreds of islands needs as many values
        np.save(Path(folder, "labels.npy"), labels)
        np.save(Path(folder, "image.npy"), image)
        names = given.only or list(tools(labels))
        del labels, image
        print(
            "| tool | labels | ours s | plain s | ratio | ours MB | plain MB | changed | differ |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for name in names:
            for whose in ("one",) if name == "merge" else ("one", "all"):
                print(row(Path(folder), name, whose, given.repeats), flush=True)


if __name__ == "__main__":
    main()
