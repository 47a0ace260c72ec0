"""What a user may choose about a segmentation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.windows import MAX_OVERLAP

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class SegmentSettings:
    """How a volume is segmented.

    Attributes
    ----------
    device : ``auto``, ``cpu``, ``cuda`` or ``mps``
    precision : ``auto``, ``fp32``, ``bf16`` or ``fp16``
    overlap : share of a window that its neighbour covers too, 0 to 0.9; None leaves it to the
        plan: 0.1 where windows are fitted to the volume, 0.25 where they are the model's
    region : voxels of the source grid to segment; the labels are 0 outside
    probabilities : whether to keep the probability of each class
    uncertainty : whether to keep a map of it: entropy, and with `mirror` disagreement
    mirror : whether each window also runs mirrored, along the axes that the model was trained to
        be mirrored along, or along all where its card does not say; the mean counts. None mirrors
        where that takes a moment: up to a million voxels, and the card says along which axes
    memory : bytes that the process may use at most; None sets no bound
    compiled : whether a CPU runs blocks compiled for it: seconds once, then faster; takes a C++
        compiler. None runs them where they have been compiled already
    whole : whether a volume far larger than those of the training is segmented as a whole, by a
        model that knows its structure in one place only
    upright : whether a volume is brought upright that is tilted by more than such a model learnt
    """

    device: str = "auto"
    precision: str = "auto"
    overlap: float | None = None
    region: Region | None = None
    probabilities: bool = False
    uncertainty: bool = False
    mirror: bool | None = None
    memory: int | None = None
    compiled: bool | None = None
    whole: bool = False
    upright: bool = True

    def __post_init__(self) -> None:
        """Refuse an overlap that windows cannot have."""
        if self.overlap is not None and not 0 <= self.overlap <= MAX_OVERLAP:
            raise SettingsError(f"overlap {self.overlap:g}: give a share from 0 to {MAX_OVERLAP}")


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``2GB``, ``512 MiB`` or ``3000000000``.

    Raises
    ------
    SettingsError
        If the text is none, or it is 0.
    """
    match = _SIZE.fullmatch(text.strip())
    size = 0
    if match is not None:
        unit = 1024 if match[3] else 1000
        size = round(float(match[1]) * unit ** _POWERS[match[2].lower()])
    if not size:
        raise SettingsError(f"memory {text!r}: give a size such as 2GB or 800MB")
    return size


def format_size(size: float) -> str:
    """Return bytes as people say them.

    >>> format_size(2_140_000_000), format_size(81_000_000)
    ('2.1 GB', '81 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
