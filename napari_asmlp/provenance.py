"""What a run was made of: inputs, model, settings and versions, as plain values for JSON."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_asmlp import __version__

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from napari_asmlp.model import Model
    from napari_asmlp.volume import Volume

_LIBRARIES = ("numpy", "torch", "nibabel", "scikit-image", "safetensors")


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of the libraries a result depends on."""
    found = {"napari-asmlp": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def describe_run(volume: Volume, model: Model, settings: DataclassInstance) -> dict[str, Any]:
    """Return what a segmentation followed from."""
    values = asdict(settings)
    if "region" in values:
        region = getattr(settings, "region", None)
        values["region"] = None if region is None else str(region)
    files = [{"path": str(path), "hash": file_hash(path)} for path in volume.files]
    return {
        "command": "segment",
        "input": files[0] if files else None,
        "channels": files if len(files) > 1 else [],
        "grid": volume.grid.describe(),
        "model": {
            "name": model.card.name,
            "path": None if model.path is None else str(model.path),
            "hash": model.hash,
        },
        "settings": values,
        "versions": versions(),
        "time": now(),
    }


def physical_memory() -> int | None:
    """Return the memory of this machine in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return None


def free_memory() -> int | None:
    """Return what the system can give without swapping, in bytes; None where it does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # only Linux has it
        pass
    return None


def resident_memory() -> int:
    """Return the present size of this process in bytes, or an upper bound; 0 where unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory() or 0


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far in bytes; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows has no such module
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
