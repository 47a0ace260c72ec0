"""How labels lie over the image, in viewers without a window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_asmlp.io import read_volume
from napari_asmlp.viewer.layers import labels_layer_data
from napari_asmlp.viewer.session import attend
from napari_asmlp.viewer.settings import remember
from napari_asmlp.viewer.view.overlay import (
    CONTOUR_KEY,
    OPACITY_KEY,
    cycle_style,
    hide_labels_meanwhile,
    style_of,
)


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 5)), name="t1")
    viewer.add_image(np.zeros((3, 4, 5)), name="t2")
    viewer.add_labels(np.zeros((3, 4, 5), int), name="old")
    viewer.add_labels(np.zeros((3, 4, 5), int), name="new")
    return viewer


def test_one_key_goes_round(viewer):
    remember(CONTOUR_KEY, 3)
    layer = viewer.layers["new"]
    seen = [(cycle_style(layer), layer.visible, layer.contour) for _ in range(4)]
    assert seen == [
        ("contour", True, 3),
        ("hidden", False, 3),
        ("fill", True, 0),
        ("contour", True, 3),
    ]


@pytest.mark.parametrize(
    ("visible", "contour", "style"),
    [(True, 0, "fill"), (True, 5, "contour"), (False, 0, "hidden"), (False, 5, "hidden")],
)
def test_the_style_is_read_from_the_layer(viewer, visible, contour, style):
    layer = viewer.layers["new"]
    layer.visible, layer.contour = visible, contour
    assert style_of(layer) == style


def test_labels_of_ours_come_with_the_opacity_set_last(scan):
    viewer = ViewerModel()
    attend(viewer)
    remember(OPACITY_KEY, 0.25)
    data, attributes, _ = labels_layer_data(read_volume(scan, kind="labels"))
    ours = viewer.add_labels(data, **attributes)
    other = viewer.add_labels(np.zeros((3, 4, 5), int))
    assert (ours.opacity, other.opacity) == (0.25, 0.7)


def test_a_peek_brings_back_only_what_was_shown(viewer):
    viewer.layers["old"].visible = False
    peek = hide_labels_meanwhile(viewer)
    next(peek)
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False]
    next(peek, None)
    assert [layer.visible for layer in viewer.layers] == [True, True, False, True]
