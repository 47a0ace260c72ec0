"""The rows of `engine.py` from file to file: a head, a large volume, memory, cancelling."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import engine_head
import numpy as np
import torch
from engine_head import Row, bundled, noise

from napari_asmlp.model import LabelEntry, Model, save_model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig

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


QUICK = Sizes(160, 96, (256, 256, 100), (256, 256, 200), (256, 256, 50))


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    status: int
    seconds: float
    peak: int  # bytes of resident memory
    said: str


PARTS = ("head", "memory", "rest", "cancel")


def rows(row: Row, parts: Sequence[str], *, quick: bool, threads: int) -> None:
    sizes = QUICK if quick else Sizes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_model(bundled(), folder / "bundled.safetensors", half=False)
        if "head" in parts:
            engine_head.head(row, folder, sizes.head, sizes.part)
        if "memory" in parts:
            memory(row, folder, sizes, threads)
        if "rest" in parts:
            rest(row, folder, model, sizes, threads)
        if "cancel" in parts:
            cancel(row, folder, model, threads)


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
    command += ["--no-compiled"]  # as it is on a machine without a compiler
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
        what = f"{what} ({done.seconds:.0f} s)"
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
    source, waits = noise(folder / "cancel.nii", (256, 256, 256)), []
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
