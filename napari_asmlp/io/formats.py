"""The one table of image formats, and what file names say by it.

A format is known by the end of the file's name, in either case. NIfTI may lie in two files, a
header ``.hdr`` and its voxels ``.img``; the name of either stands for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

AnyPath = str | PathLike[str]


@dataclass(frozen=True)
class Format:
    """A way to store a volume: the end of the name, the family of headers, gzip or not."""

    suffix: str
    family: Literal["nifti", "mgh"]
    compressed: bool = False

    @property
    def is_pair(self) -> bool:
        """Whether header and voxels are two files."""
        return self.suffix in (".hdr", ".img")


FORMATS = (
    Format(".nii.gz", "nifti", compressed=True),
    Format(".nii", "nifti"),
    Format(".hdr", "nifti"),
    Format(".img", "nifti"),
    Format(".mgz", "mgh", compressed=True),
    Format(".mgh", "mgh"),
)
KNOWN = ", ".join(format_.suffix for format_ in FORMATS)


def format_of(path: AnyPath) -> Format | None:
    """Return the format a file's name stands for, or None."""
    name = Path(path).name.lower()
    return next((f for f in FORMATS if name.endswith(f.suffix) and name != f.suffix), None)


def suffix_of(path: AnyPath) -> str:
    """Return the end of a file's name that tells its format, as written: ``.nii.gz``, ``.csv``."""
    format_ = format_of(path)
    return Path(path).name[-len(format_.suffix) :] if format_ else Path(path).suffix


def base_name(path: AnyPath) -> str:
    """Return a file's name without folder and suffix: ``scan`` of ``data/scan.nii.gz``."""
    return Path(path).name.removesuffix(suffix_of(path))


def files_of(path: AnyPath) -> tuple[Path, ...]:
    """Return the files a volume consists of: (header, voxels) of a pair, else the file alone."""
    path = Path(path)
    format_ = format_of(path)
    if format_ is None or not format_.is_pair:
        return (path,)
    endings = (".hdr", ".img")
    if path.suffix.isupper():
        endings = (".HDR", ".IMG")
    header, voxels = (path.with_suffix(ending) for ending in endings)
    return header, voxels
