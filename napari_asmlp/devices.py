"""Where a network runs, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, cast

import torch

from napari_asmlp.errors import SettingsError

Precision = Literal["fp32", "bf16", "fp16"]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_TITLES = {"cpu": "CPU", "cuda": "GPU", "mps": "GPU"}
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


def native_precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return the precisions that a device multiplies by itself, the most exact first.

    What it only emulates takes many times as long there: nothing but an explicit wish takes it.
    """
    if device.type == "cpu":
        return ("fp32", "bf16") if _cpu_computes_bf16() else ("fp32",)
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return ("fp32", "bf16", "fp16")
    return ("fp32", "fp16")


def half_precision(device: torch.device) -> Precision | None:
    """Return the half precision that suits a device, None if it would emulate it.

    Not measured on a GPU yet.
    """
    halves = native_precisions(device)[1:]
    return halves[0] if halves else None


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
    if device.type == "mps":
        return "fp32"  # half precision has not been tried there
    return half_precision(device) or "fp32"


def emulation_note(name: str, device: torch.device) -> str | None:
    """Return what a user should know of a precision that a device only emulates, else None."""
    precision = resolve_precision(name, device)
    if precision in native_precisions(device):
        return None
    fastest = resolve_precision("auto", device)
    return (
        f"precision {precision}: this {_TITLES[device.type]} only emulates it, which takes many"
        f" times as long as {fastest}: precision auto takes {fastest} here"
    )


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a network runs in this precision."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def _cpu_computes_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 by itself."""
    # These are private names of torch: where one is gone, fp32 is the safe answer.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
