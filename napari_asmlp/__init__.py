"""Segment 3D volumes with axial-shifted MLPs, in napari and without it.

The names below are the whole public interface for scripts::

    from napari_asmlp import load_model, read_volume, segment, write_labels

    volume = read_volume("scan.nii.gz")
    labels = segment(volume, model="hippocampus")
    write_labels(labels, "labels.nii.gz")

`classify` gives the class of a volume, or of each object of a label file.

Each is imported when it is first asked for (PEP 562), so that importing the package, which napari
does at start-up for every plugin, loads neither torch nor napari.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_asmlp.grid import Grid
    from napari_asmlp.io import read_volume, write_labels
    from napari_asmlp.pipeline import classify, segment
    from napari_asmlp.volume import Volume
    from napari_asmlp.zoo import load as load_model

__version__ = "0.1.0"

__all__ = ["Grid", "Volume", "classify", "load_model", "read_volume", "segment", "write_labels"]

_HOMES = {
    "Grid": ("grid", "Grid"),
    "Volume": ("volume", "Volume"),
    "classify": ("pipeline", "classify"),
    "load_model": ("zoo", "load"),
    "read_volume": ("io", "read_volume"),
    "segment": ("pipeline", "segment"),
    "write_labels": ("io", "write_labels"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use and keep it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
