"""Teaching from beginning to end, on a ball that is brighter than its surroundings."""

from contextlib import closing
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_asmlp.errors import ModelError
from napari_asmlp.grid import Grid
from napari_asmlp.model import load_model, save_model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.teaching import encoder, progress
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.behind import mean_dice
from napari_asmlp.teaching.finetune import new_network
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.volume import Volume
from tests.models import small_classifier

SHAPE = (20, 18, 16)
BALL = np.linalg.norm(np.indices(SHAPE) - np.reshape([10, 9, 8], (3, 1, 1, 1)), axis=0) < 5
CONFIG = AsmlpConfig(
    patch_size=2, stem_size=4, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)
)
QUICK = TeachSettings(seconds=0.01, light=LightSettings(first=5, trees=10))


@pytest.fixture(autouse=True)
def no_encoder(monkeypatch):
    monkeypatch.setattr(encoder, "is_there", lambda: False)


@pytest.fixture
def small_encoder(monkeypatch):
    torch.manual_seed(0)
    network = Asmlp(CONFIG).eval()
    monkeypatch.setattr(encoder, "is_there", lambda: True)
    monkeypatch.setattr(encoder, "pretrained_network", lambda: network)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that is a second later whenever somebody looks."""
    ticks = count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def ball(codes="RAS"):
    """Return image and annotation of three slices, as a file of these axes has them."""
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    grid = Grid(SHAPE, np.eye(4))
    turn = grid.orientation(codes)
    image = Volume(turn.apply(100 * BALL + 10 * noise), grid.reoriented(turn), title="ball")
    classes = np.full(SHAPE, UNANNOTATED, np.int16)
    for index in (3, 8, 12):
        classes[..., index] = BALL[..., index]
    return image, Annotation(np.ascontiguousarray(turn.apply(classes)), (0, 7)), turn


def taught(image, annotation, settings=QUICK, start=None):
    answers, work = [], iter_teach(image, annotation, settings, start)
    while True:
        try:
            now = next(work)
        except StopIteration as stop:
            return answers, stop.value
        answers += [now.answer] if now.answer else []


@pytest.mark.parametrize("codes", ["RAS", "ILP"])
def test_the_rest_of_the_ball_is_found_on_the_volumes_own_grid(codes):
    image, annotation, turn = ball(codes)
    answers, result = taught(image, annotation)
    labels = result.answer.labels
    assert labels.grid is image.grid
    assert set(np.unique(labels.array())) == {0, 7}
    truth = turn.apply(BALL)
    assert mean_dice((labels.array() == 7).astype(int), truth.astype(np.int16), 2) > 0.9
    assert answers[-1] is result.answer
    assert result.answer.doubt.shape == labels.data.shape


def test_annotated_voxels_keep_what_they_were_given():
    image, annotation, _ = ball()
    annotation.classes[0, 0, :2] = 1  # what nobody would guess
    _, result = taught(image, annotation)
    assert result.answer.labels.array()[0, 0, :2].tolist() == [7, 7]


def test_the_same_seed_gives_the_same_labels():
    image, annotation, _ = ball()
    first, second = (taught(image, annotation)[1].answer for _ in range(2))
    assert (first.labels.array() == second.labels.array()).all()
    assert (first.doubt == second.doubt).all()


@pytest.mark.usefixtures("small_encoder", "ticking")
def test_the_network_is_a_model_like_any_other(tmp_path):
    image, annotation, _ = ball()
    settings = TeachSettings(seconds=200, light=LightSettings(first=5, trees=10))
    answers, result = taught(image, annotation, settings)
    assert [answer.what for answer in answers][:2] == ["first answer", "more trees"]
    assert len(result.report["features"]) == 4
    assert result.report["steps"] > 0
    assert result.report["seconds"] <= 200 + 5  # the clock ticks while the report is written
    assert set(result.report["kept_back"]) == {"0.0", "0.25", "0.5", "0.75", "1.0"}
    path = save_model(result.model, tmp_path / "taught.safetensors")
    model = load_model(path)
    assert model.card.label_names == {7: "label 7"}
    assert model.card.preprocessing.spacing == (1, 1, 1)
    again = taught(image, annotation, start=model)[1]
    assert again.model.card.network == model.card.network


def test_it_can_be_closed_at_any_time():
    image, annotation, _ = ball()
    with closing(iter_teach(image, annotation, QUICK)) as work:
        first = next(work)
    assert first.answer is None


def test_a_classifier_cannot_be_taught():
    image, annotation, _ = ball()
    with pytest.raises(ModelError, match="is a classifier"):
        next(iter_teach(image, annotation, QUICK, small_classifier()))


def test_channels_share_the_kernel_of_one():
    torch.manual_seed(0)
    one = Asmlp(CONFIG)
    three = new_network(one, 3, 4, seed=0)
    image = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(
        three.embedding(image.expand(1, 3, 8, 8, 8)), one.embedding(image), atol=1e-5, rtol=1e-4
    )
    assert three.head[1].weight.shape[0] == 4
