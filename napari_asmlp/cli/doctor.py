"""`napari-asmlp doctor`: versions, devices, window, formats, models, and what is missing."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec

from napari_asmlp import zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.demo import template_path
from napari_asmlp.errors import AsmlpError
from napari_asmlp.io.formats import KNOWN
from napari_asmlp.model import read_card

_CORE = ("napari-asmlp", "numpy", "scipy", "nibabel", "scikit-image", "torch", "safetensors")
_WINDOW = ("napari", "magicgui", "qtpy")
_BINDINGS = ("PyQt5", "PyQt6", "PySide6")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: what was looked at, whether it is fine, and what to do."""

    name: str
    fine: bool
    text: str
    needed: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)


def run(_options: argparse.Namespace, console: Console) -> int:
    """Print the findings; status 1 where something that every job needs is missing."""
    findings = list(examine())
    for finding in findings:
        mark = "ok     " if finding.fine else "MISSING" if finding.needed else "absent "
        console.result([f"{mark} {finding.name:14} {finding.text}"])
    return int(any(finding.needed and not finding.fine for finding in findings))


def examine() -> Iterator[Finding]:
    """Look at everything, one after the other."""
    yield Finding("Python", sys.version_info >= (3, 11), platform.python_version())
    for name in _CORE:
        yield _package(name, "pip install napari-asmlp", needed=True)
    yield from _devices()
    yield Finding("formats", True, KNOWN)
    yield from _models()
    yield _demo_volume()
    for name in _WINDOW:
        yield _package(name, 'pip install "napari-asmlp[all]"', needed=False)
    yield from _window()


def _package(name: str, remedy: str, *, needed: bool) -> Finding:
    try:
        return Finding(name, True, metadata.version(name), needed)
    except metadata.PackageNotFoundError:
        return Finding(name, False, f"get it with: {remedy}", needed)


def _devices() -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    torch = import_module("torch")
    devices = import_module("napari_asmlp.devices")
    precision = devices.resolve_precision("auto", torch.device("cpu"))
    yield Finding("CPU", True, f"{torch.get_num_threads()} threads, {precision}")
    for name in ("cuda", "mps"):
        try:
            devices.resolve_device(name)
        except AsmlpError:
            yield Finding(name, False, "no such GPU, or a torch without it: runs on the CPU", False)
        else:
            yield Finding(name, True, "found")


def _models() -> Iterator[Finding]:
    for name, (path, origin) in zoo.model_paths().items():
        try:
            card = read_card(path)
        except AsmlpError as error:
            yield Finding(name, False, str(error), needed=origin == "bundled")
        else:
            yield Finding(name, True, f"{origin} model: {card.summary}")


def _demo_volume() -> Finding:
    try:
        return Finding("demo volume", True, template_path().name, needed=False)
    except AsmlpError as error:
        return Finding("demo volume", False, str(error), needed=False)


def _window() -> Iterator[Finding]:
    found = [name for name in _BINDINGS if find_spec(name) is not None]
    remedy = 'get one with: pip install "napari-asmlp[pyqt5]"'
    yield Finding("Qt binding", bool(found), ", ".join(found) or remedy, needed=False)
    shown = has_display()
    text = os.environ.get("DISPLAY", "there") if shown else "none: no window can be opened here"
    yield Finding("display", shown, text, needed=False)
    if found and find_spec("OpenGL") is not None:
        yield _opengl()


def _opengl() -> Finding:
    try:
        import_module("OpenGL.GL")
    except (ImportError, OSError, AttributeError) as error:
        return Finding(
            "OpenGL", False, f"{error}; on Debian: apt-get install libgl1 libegl1", False
        )
    return Finding("OpenGL", True, "library found", needed=False)


def has_display() -> bool:
    """Tell whether a window could be opened here."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
