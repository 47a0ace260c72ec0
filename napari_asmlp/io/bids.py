"""Folders in the layout of BIDS: what to say where another layout was expected.

Source: https://bids-specification.readthedocs.io.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from napari_asmlp.io.formats import format_of

_DESCRIPTION = "dataset_description.json"
_DEPTH = 4  # sub-*/ses-*/anat/file
_MOST_LOOKED_AT = 20_000  # entries, so that a wrong folder costs no minutes


def is_bids(folder: Path) -> bool:
    """Tell whether a folder is a BIDS data set."""
    return (folder / _DESCRIPTION).is_file() or any(path.is_dir() for path in folder.glob("sub-*"))


def folders_of_volumes(folder: Path) -> list[Path]:
    """Return the folders below this one in which volumes lie, sorted."""
    patterns = ("/".join("*" * depth) for depth in range(2, _DEPTH + 1))
    below = (file for pattern in patterns for file in folder.glob(pattern))
    return sorted({file.parent for file in islice(below, _MOST_LOOKED_AT) if format_of(file)})


def where_volumes_lie(folder: Path) -> str:
    """Return what to add to a message that no volume lies directly in a folder; may be empty."""
    found = folders_of_volumes(folder)
    if not found:
        return ""
    example = found[0].relative_to(folder)
    places = "1 folder" if len(found) == 1 else f"{len(found)} folders"
    what = "it is a BIDS data set; " if is_bids(folder) else ""
    return f"; {what}volumes lie in {places} below it, such as {example}: give these"
