"""Measurements against SimpleITK's label statistics: the largest difference of each, and the time.

Needs SimpleITK; seconds are CPU seconds of one thread::

    OMP_NUM_THREADS=1 python benchmarks/measures.py [--objects 216]

The objects are blobs of several sizes and forms, on tilted grids of several spacings, in an image
of noise. Percentiles are left out: SimpleITK takes them from a histogram. Where spacings differ, so
do the two surface areas: SimpleITK weighs the directions of Crofton's formula as on a cubic grid.
So both are also compared with the areas of ellipsoids, which are known.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import SimpleITK as sitk  # noqa: N813  # as its own manual has it
from scipy import ndimage

from napari_asmlp.grid import Grid
from napari_asmlp.measure import columns, measure, record
from napari_asmlp.volume import Volume

SIDE = 40  # voxels of the room of each object
SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.7, 0.8), (0.9, 0.9, 3.0))
COMPARED = (
    "voxels",
    "volume_mm3",
    "surface_mm2",
    "longest_diameter_mm",
    "elongation",
    "mean",
    "sd",
)
ELLIPSOIDS = 60
TO_LPS = np.array([-1.0, -1.0, 1.0])  # SimpleITK's world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=216)
    count = parser.parse_args().objects
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for spacing in SPACINGS:
        labels, image = blobs(count, spacing)
        start = time.process_time()
        ours = [record(row) for row in measure(labels, image)]
        seconds = time.process_time() - start
        start = time.process_time()
        theirs = by_simpleitk(labels, image)
        print(
            f"{len(ours)} objects, spacing {spacing} mm, tilted: {seconds:.2f} s of ours,", end=" "
        )
        print(f"{time.process_time() - start:.2f} s of SimpleITK")
        report(ours, theirs)
        report_ellipsoids(spacing)


def blobs(count: int, spacing: tuple[float, float, float]) -> tuple[Volume, Volume]:
    """Return labels of `count` ellipsoids with bumps, each alone in its room, and noise."""
    rng = np.random.default_rng(0)
    side = round(count ** (1 / 3))
    array = np.zeros((side * SIDE,) * 3, np.uint16)
    at = np.stack(np.meshgrid(*(np.arange(SIDE) - SIDE / 2,) * 3, indexing="ij"), -1) * spacing
    for number, place in enumerate(np.ndindex(side, side, side), start=1):
        radii = rng.uniform(0.15, 0.42, 3) * SIDE * min(spacing)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        bumps = ndimage.gaussian_filter(rng.normal(size=(SIDE,) * 3), 4) * 4
        inside = ((at @ turn / radii) ** 2).sum(-1) + bumps <= 1
        room = tuple(slice(SIDE * n + 1, SIDE * (n + 1) - 1) for n in place)
        array[room][inside[1:-1, 1:-1, 1:-1]] = number
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * spacing
    affine[:3, 3] = -50, 20, 70
    grid = Grid(array.shape, affine)
    noise = rng.normal(100, 20, array.shape).astype(np.float32)
    return Volume(array, grid, "labels"), Volume(noise, grid)


def by_simpleitk(labels: Volume, image: Volume) -> list[dict[str, float]]:
    """Return SimpleITK's rows under our names of columns."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputeFeretDiameterOn()
    shapes.Execute(as_sitk(labels))
    values = sitk.LabelIntensityStatisticsImageFilter()
    values.Execute(as_sitk(labels), as_sitk(image))
    rows = []
    for label in shapes.GetLabels():
        x, y, z = np.array(shapes.GetCentroid(label)) * TO_LPS
        rows.append(
            {
                "label": label,
                "voxels": shapes.GetNumberOfPixels(label),
                "volume_mm3": shapes.GetPhysicalSize(label),
                "surface_mm2": shapes.GetPerimeter(label),
                "longest_diameter_mm": shapes.GetFeretDiameter(label),
                "elongation": shapes.GetElongation(label),
                "mean": values.GetMean(label),
                "sd": values.GetStandardDeviation(label),
                "centroid_x_mm": x,
                "centroid_y_mm": y,
                "centroid_z_mm": z,
            }
        )
    return rows


def as_sitk(volume: Volume) -> sitk.Image:
    """Return a volume as SimpleITK has it: world LPS, arrays (k, j, i)."""
    picture = sitk.GetImageFromArray(volume.array().transpose(2, 1, 0))
    grid = volume.grid
    picture.SetSpacing(grid.spacing)
    picture.SetOrigin((grid.affine[:3, 3] * TO_LPS).tolist())
    picture.SetDirection((TO_LPS[:, np.newaxis] * grid.directions).ravel().tolist())
    return picture


def report(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    """Print the largest and the median difference of each measure."""
    if [row["label"] for row in ours] != [row["label"] for row in theirs]:
        raise SystemExit("the two found other labels")
    for name in COMPARED:
        a, b = (np.array([row[name] for row in rows], float) for rows in (ours, theirs))
        apart = np.abs(a - b) / b
        print(
            f"  {name:22} largest {100 * apart.max():.4f} %, median {100 * np.median(apart):.4f} %"
        )
    names = [name for name in columns() if name.startswith("centroid")]
    a, b = (np.array([[row[name] for name in names] for row in rows]) for rows in (ours, theirs))
    print(f"  {'centroid':22} largest {np.linalg.norm(a - b, axis=1).max():.2g} mm")


def report_ellipsoids(spacing: tuple[float, float, float]) -> None:
    """Print how far the surface areas of ellipsoids, turned and placed at random, are off."""
    rng, wrong = np.random.default_rng(1), []
    half = [int(22 / step) + 2 for step in spacing]
    at = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in half), indexing="ij"), -1) * spacing
    for _ in range(ELLIPSOIDS):
        radii, turn = rng.uniform(8, 20, 3), np.linalg.qr(rng.normal(size=(3, 3)))[0]
        inside = (((at + rng.uniform(-0.5, 0.5, 3)) @ turn / radii) ** 2).sum(-1) <= 1
        grid = Grid(inside.shape, np.diag([*spacing, 1]))
        labels = Volume(inside.astype(np.uint8), grid, "labels")
        shapes = sitk.LabelShapeStatisticsImageFilter()
        shapes.Execute(as_sitk(labels))
        found = measure(labels)[0].shape.surface_mm2, shapes.GetPerimeter(1)
        wrong.append(np.abs(np.array(found) / area_of_ellipsoid(*radii) - 1))
    ours, theirs = 100 * np.max(wrong, axis=0)
    print(f"  surfaces of {ELLIPSOIDS} ellipsoids: ours {ours:.1f} % off at most,", end=" ")
    print(f"SimpleITK's {theirs:.1f} %")


def area_of_ellipsoid(a: float, b: float, c: float) -> float:
    """Integrate over latitude and longitude."""
    polar, round_ = np.ogrid[0 : np.pi : 400j, 0 : 2 * np.pi : 400j]
    across = (b * np.cos(round_)) ** 2 + (a * np.sin(round_)) ** 2
    piece = np.sin(polar) * np.sqrt(
        (c * np.sin(polar)) ** 2 * across + (a * b * np.cos(polar)) ** 2
    )
    return float(piece[:-1, :-1].sum() * np.pi / 399 * 2 * np.pi / 399)


if __name__ == "__main__":
    main()
