"""Layers that are no plain volume: each refusal names a way on, and the way leads on."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.layers import PLAIN_MENU, volume_of
from napari_asmlp.viewer.plain import add_plain

VOXELS = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
SERIES = np.stack([VOXELS, VOXELS + 100])
SLANT = [[2, 0, 0, 7], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]]  # turned about S


@pytest.mark.parametrize(
    ("layer", "said", "voxels", "corner"),
    [
        (
            Image([VOXELS, VOXELS[::2, ::2, ::2]], multiscale=True),
            "finest level",
            VOXELS,
            (2, 3, 4),
        ),
        (Image(SERIES, scale=(9, 1, 1, 2)), "slice of its first axes", SERIES[1], (2, 3, 8)),
        (Image(VOXELS, affine=np.diag([2, 1, 1, 1])), "apply that", VOXELS, (4, 3, 4)),
        (Image(VOXELS, affine=SLANT), "apply that", VOXELS, (4 + 7, 0, 5)),
        (Image(VOXELS, scale=(1, 1, -1)), "apply that", VOXELS, (2, 3, -4)),
        (Labels(SERIES.astype(np.uint8)), "slice of its first axes", SERIES[1], (2, 3, 4)),
    ],
)
def test_a_refused_layer_becomes_a_plain_volume(layer, said, voxels, corner):
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.dims.set_point(0, 9 if layer.scale[0] == 9 else 1)
    with pytest.raises(SettingsError, match=f"choose {PLAIN_MENU} to.*{said}"):
        volume_of(layer)
    added = add_plain(viewer)
    volume = volume_of(added)
    array, affine = volume.array(), volume.grid.affine
    assert type(added) is type(layer) and not layer.visible
    assert sorted(array.ravel()) == sorted(voxels.ravel())
    last = np.argwhere(array == voxels.max())[0]  # the voxel (2, 3, 4) of the layer
    assert (affine[:3, :3] @ last + affine[:3, 3])[::-1] == pytest.approx(corner)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Image(np.zeros((3, 4, 5, 3)), rgb=True), "choose Split RGB"),
        (Image(np.zeros((3, 4))), "has 2 axes, and a 3D image is needed: .*Merge to Stack"),
        (Points(np.zeros((1, 3))), "no image or labels are selected"),
    ],
)
def test_what_holds_no_volume_is_refused_with_a_command_of_naparis(layer, said):
    viewer = ViewerModel()
    viewer.add_layer(layer)
    with pytest.raises(SettingsError, match=said):
        add_plain(viewer)
    assert len(viewer.layers) == 1


def test_the_menu_has_the_command(plugin):
    titles = [command.title for command in plugin.manifest.contributions.commands]
    assert PLAIN_MENU.rpartition(" > ")[2] in titles
