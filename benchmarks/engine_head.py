"""The rows of `engine.py` that compare with MONAI: a head, and accuracy on labelled cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from straightforward import Straightforward
from torch import Tensor, nn

import napari_asmlp
from napari_asmlp import load_model, write_labels
from napari_asmlp.model import Card, Model
from napari_asmlp.pipeline import SegmentSettings

Row = Callable[[str, str, str, str, str], None]
Sides = tuple[int, int, int]
WAYS = {  # goals of a head, and how it is segmented
    "eager fp32": ("≥ 8", SegmentSettings(precision="fp32", compiled=False)),
    "eager bf16": ("≥ 14", SegmentSettings(precision="bf16", compiled=False)),
    "compiled fp32": ("≥ 8", SegmentSettings(precision="fp32", compiled=True)),
    "compiled bf16": ("≥ 14", SegmentSettings(precision="bf16", compiled=True)),
}


@dataclass(frozen=True)
class Timed:
    """Seconds of the usual way over a head, and how that was found out."""

    seconds: float
    how: str


def bundled() -> Model:
    """Return the bundled model, but that it takes volumes of any extent."""
    model = load_model("hippocampus")
    return replace(model, card=replace(model.card, field_of_view_mm=None), path=None)


def noise(path: Path, shape: Sides) -> Path:
    """Write an int16 volume of 1 mm that is nowhere constant, so that no window is skipped."""
    rng = np.random.default_rng(0)
    plane = rng.normal(300, 100, shape[:2])
    volume = np.empty(shape, np.int16)
    for k in range(shape[2]):
        volume[..., k] = plane + 100 * np.sin(k / 20) + rng.integers(0, 8, shape[:2])
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    return path


def has_monai(row: Row) -> bool:
    """Tell whether MONAI is there; say so in a row if it is not."""
    try:
        import monai.inferers  # noqa: F401  # whether it can be imported is the question
    except ImportError:
        row("against MONAI", "left out: pip install napari-asmlp[benchmark]", "–", "–", "–")
        return False
    return True


def head(row: Row, folder: Path, side: int, part: int) -> None:
    """A head with the bundled model, against MONAI over the straightforward network.

    MONAI gets the window that it is faster with: the model's, or 64 voxels along each axis.
    """
    if not has_monai(row):
        return
    path, model = noise(folder / "head.nii.gz", (side,) * 3), bundled()
    network = Straightforward(model.network).eval()
    each = [
        with_monai(network, path, folder / "theirs.nii.gz", window, part)
        for window in (model.card.window, (64, 64, 64))
    ]
    theirs = min(each, key=lambda timed: timed.seconds)
    for name, (goal, settings) in WAYS.items():
        start = time.perf_counter()
        labels = napari_asmlp.segment(path, model, settings)
        write_labels(labels, folder / f"{name}.nii.gz")
        ours = time.perf_counter() - start
        what = f"{side}³ head, bundled model, file to file, {name}, against MONAI ({theirs.how})"
        ratio = f"{theirs.seconds / ours:.1f}"
        row(what, f"{ours:.1f} s", f"{theirs.seconds:.1f} s", ratio, goal)


def with_monai(network: nn.Module, path: Path, output: Path, window: Sides, part: int) -> Timed:
    """Time the usual way: all but the windows on the whole, these on a part and scaled."""
    start = time.perf_counter()
    image = nibabel.load(path)
    voxels = torch.from_numpy(image.get_fdata(dtype=np.float32))[None, None]
    voxels = (voxels - voxels.mean()) / voxels.std()
    around = time.perf_counter() - start
    start = time.perf_counter()
    logits = slid(network, voxels[..., :part, :part, :part], window)
    inference = time.perf_counter() - start
    share = windows_of(voxels.shape[2:], window) / windows_of((part,) * 3, window)
    logits = logits.new_zeros(1, logits.shape[1], *voxels.shape[2:])
    start = time.perf_counter()
    labels = logits.softmax(1).argmax(1)[0].numpy().astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), output)
    around += time.perf_counter() - start
    shape = "×".join(map(str, window))
    how = "all run" if share == 1 else f"1/{share:.1f} of its windows run and scaled"
    return Timed(around + inference * share, f"fp32, windows of {shape}, {how}")


def slid(network: nn.Module, voxels: Tensor, window: Sides) -> Tensor:
    """Logits (1, K, X, Y, Z) by MONAI's windows, which share a half; what they lack is dark."""
    from monai.inferers import sliding_window_inference  # benchmarks alone need it

    with torch.inference_mode():
        logits: Tensor = sliding_window_inference(
            voxels, window, 1, network, 0.5, "gaussian", cval=float(voxels.min())
        )
    return logits


def windows_of(shape: tuple[int, ...], window: Sides) -> int:
    """How many windows overlap 0.5 lays."""
    counts = [-(-max(n - w, 0) // (w // 2)) + 1 for n, w in zip(shape, window, strict=True)]
    return int(np.prod(counts))


def accuracy(row: Row, dataset: Path | None, most: int = 40) -> None:
    """Mean Dice on labelled cases of the bundled model's task that it was not trained on."""
    if dataset is None:
        row("Dice on cases", "left out: give a data set with --cases", "–", "–", "–")
        return
    if not has_monai(row):
        return
    model = load_model("hippocampus")
    network = Straightforward(model.network).eval()
    images = sorted((dataset / "imagesTr").glob("[!.]*.nii*"))[:most]
    truths = [np.asarray(nibabel.load(dataset / "labelsTr" / p.name).dataobj) for p in images]
    theirs = [usual_labels(network, path, model.card) for path in images]
    expected = mean_dice(theirs, truths)
    for name, (_, settings) in WAYS.items():
        ours = [napari_asmlp.segment(path, model, settings).array() for path in images]
        found = mean_dice(ours, truths)
        what = f"mean Dice on {len(images)} cases, {name}, against MONAI fp32"
        difference = f"{found - expected:+.4f}"
        row(what, f"{found:.4f}", f"{expected:.4f}", difference, "≥ -0.002")


def usual_labels(network: nn.Module, path: Path, card: Card) -> NDArray[np.uint8]:
    """Labels by MONAI's windows, on the grid of a file that has the model's spacing and axes."""
    image = nibabel.load(path)
    if nibabel.aff2axcodes(image.affine) != tuple(card.preprocessing.axis_codes or "RAS"):
        raise SystemExit(f"{path}: is not {card.preprocessing.axis_codes}")
    voxels = image.get_fdata(dtype=np.float32)
    voxels = voxels.clip(*np.percentile(voxels, card.preprocessing.clip or (0, 100)))
    voxels = ((voxels - voxels.mean()) / voxels.std()).astype(np.float32)
    tensor = torch.from_numpy(voxels)[None, None]
    values = np.array([0, *(entry.value for entry in card.labels)], np.uint8)
    labels: NDArray[np.uint8] = values[slid(network, tensor, card.window).argmax(1)[0].numpy()]
    return labels


def mean_dice(found: list[NDArray[np.uint8]], truths: list[NDArray[np.uint8]]) -> float:
    def each() -> Iterator[float]:
        for labels, truth in zip(found, truths, strict=True):
            for value in np.unique(truth[truth > 0]):
                one, other = labels == value, truth == value
                yield 2 * int((one & other).sum()) / int(one.sum() + other.sum())

    return float(np.mean(list(each())))
