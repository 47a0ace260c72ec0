from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image

from napari_asmlp.errors import GridError, SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import Card, LabelEntry, Preprocessing
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.pipeline import Progress, SegmentSettings
from napari_asmlp.viewer.layers import labels_on
from napari_asmlp.viewer.segment.card import card_html, sizes_text
from napari_asmlp.viewer.segment.request import Wish, box_around, progress_text, resolve

from tests.viewer.conftest import ENTRIES

SHAPE = (10, 20, 30)
CARD = Card(
    "tiny", "A <small> model.", ENTRIES, AsmlpConfig(out_channels=3), window=(8, 8, 8),
    field_of_view_mm=(4, 6, 8), licence="CC BY-SA 4.0", scores={"mean": {"all": {"dice": 0.874}}},
)  # fmt: skip


@pytest.fixture
def image():
    return Image(np.zeros(SHAPE), name="scan")


@pytest.fixture
def wish(image):
    return Wish(image, Path("tiny.safetensors"), CARD)


def test_a_bare_wish_has_the_defaults(wish, image):
    order = resolve(wish)
    assert order.settings == SegmentSettings()
    assert order.volume.grid.shape == SHAPE
    assert order.image is image
    assert order.empty_labels().data.dtype == np.uint8


def test_a_full_wish(wish):
    order = resolve(replace(wish, region=" 1:5,:,20: ", device="cpu", overlap=0.5))
    region = Region((1, 0, 20), (5, 20, 30))
    assert order.settings == SegmentSettings(device="cpu", overlap=0.5, region=region)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "no image"),
        ({"model": None}, "no model"),
        ({"region": "1:50,:,:"}, "1:50"),
        ({"region": "everywhere"}, "everywhere"),
        ({"image": Image(np.zeros((4, 4)), name="flat")}, "flat"),
    ],
)
def test_what_is_missing_or_wrong_is_said(wish, change, message):
    with pytest.raises(SettingsError, match=message):
        resolve(replace(wish, **change))


def test_a_target_lies_on_the_same_grid(wish, image):
    other = Image(np.zeros(SHAPE), scale=(2, 2, 2), name="other")
    with pytest.raises(GridError, match=r"'other labels'.*'scan'"):
        resolve(replace(wish, target=labels_on(other, np.zeros(SHAPE, np.uint8))))
    target = labels_on(image, np.zeros(SHAPE, np.int32))
    order = resolve(replace(wish, target=target))
    assert order.empty_labels().data.dtype == np.int32


def test_a_target_can_hold_all_labels(wish, image):
    card = replace(CARD, labels=(ENTRIES[0], LabelEntry(300, "far", "#ffffff")))
    target = labels_on(image, np.zeros(SHAPE, np.uint8))
    with pytest.raises(SettingsError, match=r"uint8.*300"):
        resolve(replace(wish, card=card, target=target))
    assert resolve(replace(wish, card=card)).empty_labels().data.dtype == np.uint16


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((5, 10, 15), "3:7,7:13,11:19"),
        ((0, 0, 0), "0:4,0:6,0:8"),
        ((9, 19, 29), "6:10,14:20,22:30"),
    ],
)
def test_a_box_of_the_field_of_view_stays_inside(index, expected):
    assert str(box_around(index, Grid(SHAPE, np.eye(4)), CARD)) == expected


def test_a_box_follows_axes_and_spacing_of_the_file():
    # i runs superior at 2 mm, j right at 1 mm, k anterior at 3 mm; 4 x 6 x 8 mm R, A, S
    affine = np.array([[0, 1.0, 0, 0], [0, 0, 3.0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])
    assert box_around((5, 10, 15), Grid(SHAPE, affine), CARD).shape == (4, 4, 2)


def test_a_model_of_any_field_of_view_gives_a_box_of_one_window():
    card = replace(CARD, field_of_view_mm=None, preprocessing=Preprocessing(spacing=(1, 1, 0.5)))
    assert box_around((5, 10, 15), Grid(SHAPE, np.eye(4)), card).shape == (8, 8, 4)


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("reading", 0, 48, 0.0), "0 of 48 windows"),
        (Progress("segmenting", 12, 48, 4.0), "12 of 48 windows · 3.0 a second · 12 s left"),
        (Progress("segmenting", 48, 48, 16.0), "48 of 48 windows · 3.0 a second"),
        (Progress("segmenting", 1, 100, 10.0), "1 of 100 windows · 0.1 a second · 16 min left"),
    ],
)
def test_progress_in_one_line(progress, text):
    assert progress_text(progress) == text


def test_a_card_in_a_few_lines():
    html = card_html(CARD)
    assert "A &lt;small&gt; model." in html
    assert "#e69f00" in html
    assert "Dice 0.87" in html
    assert "4&nbsp;×&nbsp;6&nbsp;×&nbsp;8&nbsp;mm" in html


def test_sizes_in_one_line():
    volumes = {"anterior": 1702.0, "posterior": 1543.6}
    assert sizes_text(volumes) == "anterior 1702 mm³ (1.70 ml), posterior 1544 mm³ (1.54 ml)"
