from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_asmlp.errors import AsmlpError, GridError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.model import Card, LabelEntry
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.pipeline import FieldOfViewError, Progress, SegmentSettings
from napari_asmlp.viewer.layers import labels_on
from napari_asmlp.viewer.segment.card import card_html, sizes_text
from napari_asmlp.viewer.segment.request import Wish, progress_text, resolve
from tests.viewer.conftest import ENTRIES

SHAPE = (10, 20, 30)
CARD = Card(
    "tiny", "A <small> model.", ENTRIES, AsmlpConfig(out_channels=3), window=(8, 8, 8),
    field_of_view_mm=(15, 20, 8), licence="CC BY-SA 4.0", scores={"mean": {"all": {"dice": 0.874}}},
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


def test_a_volume_of_over_twice_the_extent_needs_a_region_or_consent(wish):
    card = replace(CARD, field_of_view_mm=(4, 6, 8))
    with pytest.raises(FieldOfViewError, match=r"30x20x10 mm.*4x6x8 mm.*Whole volume"):
        resolve(replace(wish, card=card))
    assert resolve(replace(wish, card=card, region="0:4,:,:")).settings.region
    assert resolve(replace(wish, card=card, settings=SegmentSettings(whole=True))).settings.whole
    assert resolve(replace(wish, card=replace(card, place="anywhere")))


def test_a_full_wish(wish):
    settings = SegmentSettings(device="cpu", overlap=0.5, mirror=True, uncertainty=True)
    order = resolve(replace(wish, region=" 1:5,:,20: ", memory="2GB", settings=settings))
    region = Region((1, 0, 20), (5, 20, 30))
    assert order.settings == replace(settings, region=region, memory=2_000_000_000)
    assert order.kept_bytes() == 6000 * (1 + 2)  # labels, entropy, disagreement


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "no image"),
        ({"model": None}, "no model"),
        ({"region": "1:50,:,:"}, "1:50"),
        ({"region": "everywhere"}, "everywhere"),
        ({"memory": "much"}, "memory 'much'"),
        ({"image": Image(np.zeros((4, 4)), name="flat")}, r"'flat' has 2 axes.*3D image"),
        (
            {"image": Image(np.zeros((2, 4, 4, 4)), name="film")},
            r"'film' has 4 axes.*Plain 3D layer",
        ),
        ({"image": Image(np.zeros((4, 4, 4, 3)), name="photo", rgb=True)}, r"'photo' is a colour"),
        (
            {"image": Image([np.zeros((8, 8, 8)), np.zeros((4, 4, 4))], name="pyramid")},
            "'pyramid' has several resolutions",
        ),
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


READ_ONLY = np.broadcast_to(np.uint8(0), SHAPE)
LAZY = da.zeros(SHAPE, dtype=np.uint8)
NEGATIVE = np.full(SHAPE, -3, np.int16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (READ_ONLY, "'mine' are read-only: choose a new layer"),
        (LAZY, "'mine' are not in memory.*: choose a new layer"),
        (NEGATIVE, "'mine' hold the negative value -3.*: choose a new layer"),
    ],
    ids=["read-only", "lazy", "negative"],
)
def test_a_target_that_cannot_take_the_result_is_refused(wish, data, message):
    target = Labels(data, name="mine")
    with pytest.raises(SettingsError, match=message):
        resolve(replace(wish, target=target))


def test_a_target_of_another_shape_or_number_of_axes_is_refused(wish):
    for shape in ((10, 20, 31), (20, 30), (2, *SHAPE)):
        with pytest.raises(AsmlpError, match="'mine'"):
            resolve(replace(wish, target=Labels(np.zeros(shape, np.uint8), name="mine")))


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
    assert "15&nbsp;×&nbsp;20&nbsp;×&nbsp;8&nbsp;mm" in html
    assert "any&nbsp;extent" in card_html(replace(CARD, place="anywhere"))


def test_sizes_in_one_line():
    volumes = {"anterior": 1702.0, "posterior": 1543.6}
    assert sizes_text(volumes) == "anterior 1702 mm³ (1.70 ml), posterior 1544 mm³ (1.54 ml)"
