"""Planes, conventions and keys."""

from __future__ import annotations

import napari
import nibabel
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.layers import volume_of
from screenshot_scenes import OWN
from screenshot_scenes.stage import (
    add_result,
    open_dialog,
    open_panel,
    process,
    scene,
    window_of,
)


@scene
def view_radiological(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    open_panel(viewer, "View").planes.three_button.click()
    return window_of(viewer)


@scene
def view_neurological(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    box = open_panel(viewer, "View").planes
    box.three_button.click()
    box.convention.value = "neurological"
    return window_of(viewer)


@scene
def shortcuts(viewer: napari.Viewer) -> QWidget:
    open_panel(viewer, "View").keys_button.click()
    return open_dialog()


@scene
def tilt(viewer: napari.Viewer) -> QWidget:
    volume = volume_of(viewer.layers[0])
    turn = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.1, 0.15, 0.2))
    path = OWN / "follow-up.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.array(), turn @ volume.grid.affine), path)
    viewer.open(str(path), plugin="napari-asmlp")
    process(1)
    return window_of(viewer)
