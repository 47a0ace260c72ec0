"""The rows of `engine.py` from file to file: a head, a large volume, memory, cancelling."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from straightforward import Straightforward

import napari_asmlp
from napari_asmlp import load_model, write_labels
from napari_asmlp.model import LabelEntry, Model, save_model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.pipeline import SegmentSettings

Row = Callable[[str, str, str, str, str], None]
CLASSES = 25
GB = 1e9


@dataclass(frozen=True)
class Sizes:
    """How large volumes are, and how much of the other way is run of the head."""

    head: int = 256
    part: int = 128
    large: tuple[int, int, int] = (512, 512, 600)
    deep: tuple[int, int, int] = (512, 512, 1200)
    slab: tuple[int, int, int] = (512, 512, 200)  # of the large one: its shares are the same


QUICK = Sizes(96, 96, (256, 256, 100), (256, 256, 200), (256, 256, 50))


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    status: int
    seconds: float
    peak: int  # bytes of resident memory
    said: str


def rows(row: Row, *, quick: bool, threads: int) -> None:
    sizes = QUICK if quick else Sizes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head(row, folder, sizes)
        memory(row, folder, sizes, threads)
        model = save_model(bundled(), folder / "bundled.safetensors", half=False)
        rest(row, folder, model, sizes, threads)
        cancel(row, folder, model, threads)


def noise(path: Path, shape: tuple[int, int, int]) -> Path:
    """Write an int16 volume of 1 mm that is nowhere constant, so that no window is skipped."""
    rng = np.random.default_rng(0)
    plane = rng.normal(300, 100, shape[:2])
    volume = np.empty(shape, np.int16)
    for k in range(shape[2]):
        volume[..., k] = plane + 100 * np.sin(k / 20) + rng.integers(0, 8, shape[:2])
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    return path


def head(row: Row, folder: Path, sizes: Sizes) -> None:
    """A head with the bundled model, against MONAI over the straightforward network."""
    path, n = noise(folder / "head.nii.gz", (sizes.head,) * 3), sizes.head
    network = Straightforward(load_model("hippocampus").network).eval()
    theirs, share = with_monai(network, path, folder / "theirs.nii.gz", sizes)
    how = "all of it run" if share == 1 else f"1/{share:.1f} of its windows run and scaled"
    for precision, goal in (("fp32", "≥ 8"), ("bf16", "≥ 14")):
        start = time.perf_counter()
        settings = SegmentSettings(precision=precision)
        labels = napari_asmlp.segment(path, bundled(), settings)
        write_labels(labels, folder / f"{precision}.nii.gz")
        ours = time.perf_counter() - start
        what = f"{n}³ head, bundled model, file to file, {precision}, against MONAI fp32 ({how})"
        row(what, f"{ours:.1f} s", f"{theirs:.1f} s", f"{theirs / ours:.1f}", goal)


def with_monai(
    network: torch.nn.Module, path: Path, output: Path, sizes: Sizes
) -> tuple[float, float]:
    """Seconds of the usual way, and by how much its windows were scaled."""
    from monai.inferers import sliding_window_inference  # benchmarks alone need it

    window, volume = 64, sizes.head
    start = time.perf_counter()
    image = nibabel.load(path)
    voxels = torch.from_numpy(image.get_fdata(dtype=np.float32))[None, None]
    voxels = (voxels - voxels.mean()) / voxels.std()
    around = time.perf_counter() - start
    start = time.perf_counter()
    part = voxels[..., : sizes.part, : sizes.part, : sizes.part]
    with torch.inference_mode():
        logits = sliding_window_inference(
            part, (window,) * 3, 1, network, overlap=0.5, mode="gaussian"
        )
        inference = time.perf_counter() - start
        share = (windows_along(volume, window) / windows_along(sizes.part, window)) ** 3
        logits = logits.new_zeros(1, logits.shape[1], *(volume,) * 3)
        start = time.perf_counter()
        labels = logits.softmax(1).argmax(1)[0].numpy().astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), output)
    return around + inference * share + time.perf_counter() - start, share


def bundled() -> Model:
    """Return the bundled model, but that it takes volumes of any extent."""
    model = load_model("hippocampus")
    return replace(model, card=replace(model.card, field_of_view_mm=None), path=None)


def windows_along(length: int, window: int) -> int:
    """How many windows overlap 0.5 lays along an axis."""
    return -(-(length - window) // (window // 2)) + 1


def small_model(path: Path) -> Path:
    """Save a small network of 25 classes with random weights, to measure memory."""
    config = AsmlpConfig(1, CLASSES, 4, 4, (8, 16), (1, 1), (1,), 3, "layer", "upsample")
    card = bundled().card
    labels = tuple(LabelEntry(n, f"class {n}", "#808080") for n in range(1, CLASSES))
    torch.manual_seed(0)
    card = replace(card, name="small", labels=labels, network=config)
    return save_model(Model(card, Asmlp(config)), path)


def segment(*words: object, threads: int) -> Ended:
    """Run the command to its end, watching its memory."""
    start, peak = time.perf_counter(), 0
    with started(*words, threads=threads) as process:
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.05)
        said = process.stderr.read() if process.stderr else ""
    return Ended(process.returncode, time.perf_counter() - start, peak, said.strip())


def started(*words: object, threads: int) -> subprocess.Popen[str]:
    main = "import sys; from napari_asmlp.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main]
    command += ["segment", *map(str, words), "--threads", str(threads), "--overwrite"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def peak_memory(process: int) -> int:
    """Most resident memory of another process so far, bytes; 0 where Linux does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) * 1024 if lines else 0


def memory(row: Row, folder: Path, sizes: Sizes, threads: int) -> None:
    """Peak memory of 25 classes on large volumes."""
    model, first = small_model(folder / "small.safetensors"), 0
    for shape, suffix in ((sizes.large, "nii"), (sizes.large, "nii.gz"), (sizes.deep, "nii")):
        source = noise(folder / f"large.{suffix}", shape)
        output = folder / f"labels.{suffix}"
        done = segment(source, "-o", output, "--model", model, threads=threads)
        source.unlink()
        what = f"peak memory, {'×'.join(map(str, shape))} int16, {CLASSES} classes, .{suffix}"
        if done.status:
            row(what, f"failed: {done.said[-80:]}", "–", "–", "≤ 3 GB")
            continue
        first = first or done.peak
        by_formula = (CLASSES + 1) * np.prod(shape) * 4
        goal = "≤ 3 GB" if shape == sizes.large else f"within 5 % of {first / GB:.2f} GB"
        ours, theirs = f"{done.peak / GB:.2f} GB", f"{by_formula / GB:.1f} GB (MONAI, by formula)"
        row(what, ours, theirs, f"{by_formula / max(done.peak, 1):.1f}", goal)


def rest(row: Row, folder: Path, model: Path, sizes: Sizes, threads: int) -> None:
    """Everything but the network, with the bundled model."""
    source, report = noise(folder / "large.nii", sizes.slab), folder / "report.json"
    words = (source, "-o", folder / "l.nii", "--model", model, "--report", report)
    done = segment(*words, threads=threads)
    source.unlink()
    what = f"all but the network, {'×'.join(map(str, sizes.slab))}, bundled model"
    if done.status:
        row(what, f"failed: {done.said[-80:]}", "–", "–", "≤ 15 %")
        return
    network = json.loads(report.read_text())["seconds"]["network"]
    other = done.seconds - network
    row(
        what,
        f"{other:.1f} s",
        f"{network:.1f} s of the network",
        f"{other / network:.0%}",
        "≤ 15 %",
    )


def cancel(row: Row, folder: Path, model: Path, threads: int) -> None:
    """From Ctrl-C to the end of the process, in the middle of the work."""
    source, waits = noise(folder / "cancel.nii", (160, 160, 160)), []
    for turn in range(3):
        words = (source, "-o", folder / f"c{turn}.nii", "--model", model)
        with started(*words, threads=threads) as process:
            time.sleep(5 + 0.3 * turn)  # python and torch take some seconds to start
            start = time.perf_counter()
            process.send_signal(signal.SIGINT)
            process.wait()
            waits.append(time.perf_counter() - start)
    status = "" if process.returncode == 130 else f" (status {process.returncode}, not 130)"
    row(
        f"from Ctrl-C to the end of the process, bundled model{status}",
        f"{sorted(waits)[1]:.2f} s",
        "–",
        "–",
        "≤ 1 s",
    )
