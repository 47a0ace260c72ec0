"""A project: volumes with their annotations, what the values mean, and the model they taught.

It is a small JSON file, ``NAME.asmlp.json``, whose paths are relative to it, so that a folder
with everything in it can be moved.
"""

from __future__ import annotations

from napari_asmlp.project.content import (
    WHOLE,
    Corrected,
    Project,
    ProjectVolume,
    with_volume,
    without_volume,
)
from napari_asmlp.project.file import PROJECT_SUFFIX, load_project, save_project
from napari_asmlp.project.volumes import (
    UNKNOWN,
    describe_volume,
    known_values,
    open_annotations,
    open_image,
)

__all__ = [
    "PROJECT_SUFFIX",
    "UNKNOWN",
    "WHOLE",
    "Corrected",
    "Project",
    "ProjectVolume",
    "describe_volume",
    "known_values",
    "load_project",
    "open_annotations",
    "open_image",
    "save_project",
    "with_volume",
    "without_volume",
]
