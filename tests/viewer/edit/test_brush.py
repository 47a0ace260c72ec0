from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_asmlp.errors import GridError, SettingsError
from napari_asmlp.viewer.edit.brush import (
    PaintGuard,
    brush_text,
    lock_text,
    paintable,
    percentiles_within,
)
from napari_asmlp.viewer.edit.table import lock
from napari_asmlp.viewer.history.edits import edits_of

LABELS = np.array([[0, 0, 1], [1, 2, 2]])
IMAGE = np.array([[10.0, 20, 30], [np.nan, 20, 40]])


@pytest.mark.parametrize(
    ("locked", "limits", "expected"),
    [
        ((), None, [[1, 1, 1], [1, 1, 1]]),
        ({2}, None, [[1, 1, 1], [1, 0, 0]]),
        ((), (20, 30), [[0, 1, 1], [0, 1, 0]]),  # both ends included, NaN never
        ({1, 2}, (10, 40), [[1, 1, 0], [0, 0, 0]]),
        ({0}, None, [[0, 0, 1], [1, 1, 1]]),
    ],
)
def test_what_may_be_painted(locked, limits, expected):
    may = paintable(LABELS, locked, IMAGE if limits else None, limits)
    np.testing.assert_array_equal(may, np.array(expected, bool))


def test_the_range_of_a_label():
    image, labels = np.arange(300.0).reshape(3, 10, 10), np.zeros((3, 10, 10), int)
    labels[1:, :5] = 4  # 100 to 149 and 200 to 249
    image[1, 0, 0] = np.nan
    inside = [*range(101, 150), *range(200, 250)]
    steps = percentiles_within(image, labels, 4)
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    assert end.value.value == pytest.approx(tuple(np.percentile(inside, [5, 95])))
    with pytest.raises(SettingsError, match="label 9 is empty"):
        list(percentiles_within(image, labels, 9))


@pytest.fixture
def layer():
    """A slice of 20 x 20 voxels: 1 in the lower half, 2 in the last column."""
    voxels = np.zeros((1, 20, 20), np.uint8)
    voxels[:, 10:] = 1
    voxels[..., -1] = 2
    return Labels(voxels, name="mine", scale=(2, 0.5, 1), units="mm")


@pytest.fixture
def image():
    """Its intensity is the number of the column."""
    columns = np.broadcast_to(np.arange(20.0), (1, 20, 20)).copy()
    return Image(columns, name="scan", scale=(2, 0.5, 1), units="mm")


def strokes(layer):
    """Paint with label 3 over everything, as brush, fill and polygon."""
    layer.brush_size, layer.selected_label = 100, 3
    corners = np.array([[0, -1, -1], [0, -1, 30], [0, 30, 30], [0, 30, -1]])
    return {
        "brush": lambda: layer.paint((0, 10, 10), 3),
        "polygon": lambda: layer.paint_polygon(corners, 3),
    }


@pytest.mark.parametrize("stroke", ["brush", "polygon"])
def test_painting_keeps_to_the_range_and_off_locked_labels(layer, image, stroke):
    before = layer.data.copy()
    lock(layer, 1, on=True)
    edits_of(layer).guard = PaintGuard.of(layer, image, (4.0, 19.0))
    strokes(layer)[stroke]()
    expected = before.copy()
    expected[:, :10, 4:] = 3
    expected[..., -1] = 3
    np.testing.assert_array_equal(layer.data, expected)
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_filling_keeps_to_the_range(layer, image):
    edits_of(layer).guard = PaintGuard.of(layer, image, (4.0, 6.0))
    layer.selected_label = 3
    layer.fill((0, 0, 5), 3)
    expected = np.zeros((20, 20), bool)
    expected[:10, 4:7] = True
    np.testing.assert_array_equal(layer.data[0] == 3, expected)


def test_a_locked_label_neither_gains_nor_loses(layer):
    before = layer.data.copy()
    layer.selected_label = 1
    lock(layer, 1, on=True)
    edits_of(layer).guard = PaintGuard(layer)
    layer.paint((0, 5, 5), 1)
    np.testing.assert_array_equal(layer.data, before)
    assert lock_text(layer) == "label 1 is locked: unlock it to paint it"
    layer.mode, layer.brush_size = "erase", 100  # of the others, erasing is no gain
    layer.paint((0, 10, 10), 0)
    np.testing.assert_array_equal(layer.data, np.where(before == 1, 1, 0))


def test_an_image_of_another_grid_is_refused(layer):
    assert PaintGuard.of(layer, None, None).limits is None
    with pytest.raises(SettingsError, match="no image to paint by"):
        PaintGuard.of(layer, None, (0, 1))
    with pytest.raises(GridError, match="'other'"):
        PaintGuard.of(layer, Image(np.zeros((1, 20, 20)), name="other"), (0, 1))


def test_the_size_of_the_brush_is_told_in_mm(layer):
    viewer = ViewerModel()
    viewer.add_layer(layer)
    layer.brush_size = 10
    assert brush_text(layer, viewer.dims) == "Brush 5 mm (10 voxels), in the slice"
    viewer.dims.order = (1, 0, 2)  # the finest axis, of 0.5 mm, is no longer painted along
    assert brush_text(layer, viewer.dims) == "Brush 10 mm (10 voxels), in the slice"
    layer.n_edit_dimensions = 3
    assert brush_text(layer, viewer.dims) == "Brush 5 mm (10 voxels), a ball"
    plain = Labels(np.zeros((4, 4, 4), np.uint8))
    assert brush_text(plain, viewer.dims) == "Brush 10 voxels, in the slice"
