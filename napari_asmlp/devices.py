"""Where a network runs, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, cast

import torch

from napari_asmlp.errors import SettingsError

Precision = Literal["fp32", "bf16", "fp16"]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto`` (the fastest there is), ``cpu``, ``cuda``, ``mps``.

    Raises
    ------
    SettingsError
        If there is none of this name.
    """
    if name not in DEVICES:
        raise SettingsError(f"device {name!r} is none of {', '.join(DEVICES)}")
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, here in present.items() if here)
    if not present[name]:
        raise SettingsError(f"device {name!r} is not there for PyTorch: use auto or cpu")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Return the precision of a name; ``auto`` is the fastest one that the device computes in.

    Raises
    ------
    SettingsError
        If there is none of this name.
    """
    if name not in PRECISIONS:
        raise SettingsError(f"precision {name!r} is none of {', '.join(PRECISIONS)}")
    if name != "auto":
        return cast("Precision", name)
    if device.type == "cuda" or (device.type == "cpu" and _cpu_computes_bf16()):
        return half_precision(device)
    return "fp32"


def half_precision(device: torch.device) -> Precision:
    """Return the half precision that suits a device; not measured on a GPU yet."""
    if device.type == "cpu":
        return "bf16"
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "fp16"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a network runs in this precision."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def _cpu_computes_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 by itself; emulated it is slower than fp32."""
    # These are private names of torch: where one is gone, fp32 is the safe answer.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
