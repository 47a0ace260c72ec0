"""Axial, coronal and sagittal planes of a volume, linked: look, paint and undo in any of them."""

from napari_asmlp.viewer.planes.show import (
    hide_planes,
    planes_shown,
    set_convention,
    show_crosshair,
    show_letters,
    show_planes,
    toggle_planes,
)

__all__ = [
    "hide_planes",
    "planes_shown",
    "set_convention",
    "show_crosshair",
    "show_letters",
    "show_planes",
    "toggle_planes",
]
