"""Round and long shapes, the smallest task for a classifier, as an .npz or as files."""

import csv

import nibabel
import numpy as np

SIDE = 12


def shape(is_long, seed):
    """Return a ball or a bar in 0 and 255, somewhere about the middle, (X, Y, Z) uint8."""
    random = np.random.default_rng(seed)
    axes = np.full(3, 3.0)
    if is_long:
        axes[:] = 1.6
        axes[random.integers(3)] = 5.5
    places = np.indices((SIDE,) * 3).reshape(3, -1).T - random.uniform(5, 6.5, 3)
    inside = ((places / axes) ** 2).sum(axis=1) < 1
    return (255 * inside).astype(np.uint8).reshape((SIDE,) * 3)


def shapes(count, seed=0):
    """Return images (N, X, Y, Z) and labels (N, 1), every third one long."""
    labels = np.array([n % 3 == 0 for n in range(count)], np.uint8)
    return np.stack([shape(one, seed + n) for n, one in enumerate(labels)]), labels[:, None]


def write_npz(path, count=18, validation=9):
    images, labels = shapes(count)
    arrays = {"train_images": images, "train_labels": labels}
    if validation:
        others, their = shapes(validation, seed=1000)
        arrays |= {"val_images": others, "val_labels": their}
    np.savez(path, **arrays)
    return path


def write_csv(path, rows, header=("path", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_volumes(folder, count=6):
    """Write shapes as NIfTI files of 2 mm; return rows of path and label."""
    rows = []
    for n in range(count):
        nibabel.save(
            nibabel.Nifti1Image(shape(n % 3 == 0, n), np.diag([2, 2, 2, 1])),
            folder / f"{n}.nii.gz",
        )
        rows.append((f"{n}.nii.gz", "long" if n % 3 == 0 else "round"))
    return rows
