from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_asmlp.grid import Grid, Region
from napari_asmlp.viewer.layers import image_layer_data
from napari_asmlp.viewer.region import current_region, region_box
from napari_asmlp.viewer.region.box import box_layer, outline_of, region_in
from napari_asmlp.volume import Volume
from tests.viewer.conftest import AFFINE, SHAPE

REGION = Region((1, 2, 3), (3, 6, 5))
GRID = Grid(SHAPE, AFFINE)


@pytest.fixture
def viewer():
    model = ViewerModel()
    ((data, attributes, _),) = image_layer_data(Volume(np.zeros(SHAPE), GRID))
    model.add_image(data, **attributes)
    return model


def test_the_box_covers_the_region_in_the_world(viewer):
    box = box_layer(viewer.layers[0], REGION)
    faces = {tuple(box.data_to_world(corner)[::-1]) for corner in ((-0.5,) * 3, (0.5,) * 3)}
    # i 1 to 2 at 1 mm leftwards, j 2 to 5 at 2 mm upwards, k 3 to 4 at 3 mm backwards
    low = (10 - 2 - 0.5, 20 - 3 * 4 - 1.5, -30 + 2 * 2 - 1)
    high = (10 - 1 + 0.5, 20 - 3 * 3 + 1.5, -30 + 2 * 5 + 1)
    assert faces == {low, high}
    assert box.data.shape == (1, 1, 1)
    assert box.data.all()
    assert not box.bounding_box.visible  # napari crashes after one of these was removed


def test_a_box_does_not_change_what_the_sliders_count(viewer):
    before = viewer.dims.range
    region_box(viewer).put(viewer.layers[0], REGION)
    assert viewer.dims.range == before
    region_box(viewer).put(viewer.layers[0], Region.whole(SHAPE))
    assert viewer.dims.range == before


@pytest.mark.parametrize("region", [REGION, Region.whole(SHAPE), Region((5, 6, 7), (6, 7, 8))])
def test_an_outline_gives_its_region_back(viewer, region):
    image = viewer.layers[0]
    assert region_in(image, outline_of(image, region)) == region


def test_an_outline_beyond_the_image_is_cut(viewer):
    image = viewer.layers[0]
    outline = outline_of(image, None)
    wide = outline.drawn((0, 1), outline.low - 50, outline.high + 50)
    assert region_in(image, wide) == Region.whole(SHAPE)


def test_the_box_cannot_be_painted_and_leaves_the_selection(viewer):
    viewer.layers.selection.active = viewer.layers[0]
    region_box(viewer).put(viewer.layers[0], REGION)
    assert not viewer.layers[-1].editable
    assert viewer.layers.selection.active is viewer.layers[0]


def test_a_viewer_has_one_region_and_one_layer_for_it(viewer):
    region_box(viewer).put(viewer.layers[0], REGION)
    shown = viewer.layers[-1]
    region_box(viewer).put(viewer.layers[0], Region.whole(SHAPE))
    assert list(viewer.layers) == [viewer.layers[0], shown]
    np.testing.assert_allclose(shown.scale, (14, 24, 6))  # S, A, R of all the voxels, in mm
    assert current_region(viewer) == Region.whole(SHAPE)
    region_box(viewer).clear()
    assert current_region(viewer) is None
    assert len(viewer.layers) == 1


@pytest.mark.parametrize("which", [0, 1])
def test_deleting_the_box_or_its_image_clears_the_region(viewer, which):
    box = region_box(viewer)
    box.put(viewer.layers[0], REGION)
    told = []
    box.changed.connect(lambda: told.append(box.region))
    viewer.layers.pop(which)
    assert told == [None]
    assert current_region(viewer) is None
    assert not [layer for layer in viewer.layers if "region" in layer.name]


def test_a_deleted_box_can_be_put_again(viewer):
    box = region_box(viewer)
    box.put(viewer.layers[0], REGION)
    viewer.layers.pop()
    box.put(viewer.layers[0], REGION)
    assert len(viewer.layers) == 2


def test_a_region_is_that_of_its_grid_only(viewer):
    region_box(viewer).put(viewer.layers[0], REGION)
    assert current_region(viewer, GRID) == REGION
    assert current_region(viewer, Grid(SHAPE, np.eye(4))) is None
    other = viewer.add_image(np.zeros(SHAPE))
    assert region_box(viewer).region_on(other) is None


def test_a_region_holds_on_to_no_viewer():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE), name="scan")
    region_box(viewer).put(image, REGION)
    gone = weakref.ref(viewer)
    del viewer, image
    gc.collect()
    assert gone() is None
