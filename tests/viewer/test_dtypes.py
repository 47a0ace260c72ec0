"""Layers of every dtype and layout are looked at, edited, split and exported alike."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_asmlp.io import read_volume
from napari_asmlp.pipeline.classification import finish
from napari_asmlp.viewer.classify.request import splitting
from napari_asmlp.viewer.edit.brush import percentiles_within
from napari_asmlp.viewer.export.request import Wish, count_voxels, resolve
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import image_layer_data, volume_of
from napari_asmlp.viewer.view.contrast import automatic, full_range
from tests.dtypes import IMAGES, LABELS
from tests.test_dtypes import IMAGE, OBJECTS

BRIGHT = {**IMAGES, "bool": lambda array: array > 50}


@pytest.mark.parametrize("kind", BRIGHT)
def test_an_image_is_shown_and_its_range_is_found(kind):
    array = BRIGHT[kind](IMAGE)
    values = np.asarray(array, float)
    ((data, attributes, _),) = image_layer_data(volume_of(Image(array)))
    assert np.array_equal(volume_of(Image(data, **attributes)).array(), values)
    assert finish(full_range(array)) == (values.min(), values.max())
    assert automatic(array).limits == pytest.approx(automatic(values).limits)
    inside = np.percentile(values[OBJECTS == 1], (5, 95))
    assert finish(percentiles_within(array, OBJECTS, 1)) == pytest.approx(tuple(inside))


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_split_and_exported(kind, tmp_path):
    layer = Labels(LABELS[kind](OBJECTS))
    assert finish(splitting(layer).start()).max() == OBJECTS.max()
    wish = Wish(layer, str(tmp_path / "cells.nii.gz"), counts=finish(count_voxels(layer)))
    path = finish(resolve(wish).job().start())
    written = read_volume(path, kind="labels")
    assert sorted(np.unique(written.array(), return_counts=True)[1]) == sorted(
        np.unique(OBJECTS, return_counts=True)[1]
    )


@pytest.mark.parametrize(
    "kind", [kind for kind in LABELS if kind not in ("u1 chunked", "u1 mapped")]
)
def test_painting_writes_the_value_and_undo_takes_it_back(kind):
    layer = Labels(LABELS[kind](OBJECTS))
    edits = edits_of(layer)
    layer.data_setitem(tuple(np.zeros((3, 1), int)), 3)
    assert layer.data[0, 0, 0] == 3
    edits.undo()
    assert np.array_equal(layer.data, OBJECTS)
