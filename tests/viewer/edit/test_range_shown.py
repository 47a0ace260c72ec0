from __future__ import annotations

import numpy as np
from napari.components import ViewerModel

from napari_asmlp.viewer.edit.range_shown import RangeShown
from napari_asmlp.viewer.layers import is_labels
from napari_asmlp.viewer.planes.twins import twin_of


class Watched:
    """An image that knows how much of it was read at once."""

    def __init__(self, voxels):
        self.voxels, self.largest = voxels, 0
        self.shape, self.dtype, self.ndim = voxels.shape, voxels.dtype, voxels.ndim

    def __getitem__(self, key):
        part = self.voxels[key]
        self.largest = max(self.largest, part.size)
        return part


def test_the_slice_shown_is_tinted_where_the_image_lies_in_the_range():
    viewer, voxels = ViewerModel(), np.arange(60.0).reshape(3, 4, 5)
    voxels[1, 0, 0] = np.nan
    image = viewer.add_image(voxels, scale=(3, 1, 1), contrast_limits=(0, 60))
    watched = Watched(voxels)
    shown = RangeShown(viewer)
    shown.show(image, (22.0, 31.0))
    layer = viewer.layers[-1]
    assert viewer.layers.selection.active is image
    assert not is_labels(layer)
    assert not layer.editable
    layer.data._image = watched
    for member in (layer, twin_of(layer)):
        ViewerModel().add_layer(member)
        member._slice_dims(viewer.dims)
        expected = (voxels[1] >= 22) & (voxels[1] <= 31)
        np.testing.assert_array_equal(member._slice.image.raw, expected)
    shown.show(image, (20.0, 21.0))
    np.testing.assert_array_equal(np.argwhere(layer._slice.image.raw), [[0, 1]])
    assert watched.largest <= 20  # one slice
    shown.hide()
    assert list(viewer.layers) == [image]
    shown.show(image, (0.0, 1.0))
    del viewer.layers[-1]  # by the user
    shown.hide()
    assert list(viewer.layers) == [image]
