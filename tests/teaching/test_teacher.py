"""Teaching over several rounds and volumes: bright balls of two kinds on a dark ground."""

from contextlib import closing
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.teaching import encoder, progress, subject
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.teaching.teacher import Teacher
from napari_asmlp.volume import Volume
from tests.teaching.generators import result_of

SHAPE = (20, 18, 16)
QUICK = TeachSettings(seconds=0.01, light=LightSettings(first=5, trees=10))
FOUND = 0.95  # share of voxels


@pytest.fixture(autouse=True)
def no_encoder(monkeypatch):
    monkeypatch.setattr(encoder, "is_there", lambda: False)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that is a second later whenever somebody looks."""
    ticks = count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def ball(value, seed=0, brightness=100.0):
    """Return image, truth and annotation of three slices."""
    centre = np.array([10, 9, 8]) + np.random.default_rng(seed).integers(-1, 2, 3)
    inside = np.linalg.norm(np.indices(SHAPE) - centre.reshape(3, 1, 1, 1), axis=0) < 5
    noise = np.random.default_rng(seed + 1).standard_normal(SHAPE)
    image = Volume(brightness * inside + 10 * noise, Grid(SHAPE, np.eye(4)), title=f"ball {seed}")
    classes = np.full(SHAPE, UNANNOTATED, np.int16)
    for index in (5, 8, 11):
        classes[..., index] = inside[..., index]
    return image, inside * value, Annotation(classes, (0, value))


def agreement(answer, truth):
    return np.mean(answer.labels.array() == truth)


def test_what_is_painted_between_rounds_is_learnt():
    image, truth, annotation = ball(7)
    teacher = Teacher(QUICK)
    teacher.set_volume("a", image, annotation)
    first = result_of(teacher.iter_round("a"))
    assert agreement(first.answer, truth) > FOUND
    swapped = Annotation(np.where(annotation.classes == 1, 2, annotation.classes), (0, 7, 5))
    teacher.set_volume("a", image, swapped)
    second = result_of(teacher.iter_round("a"))
    assert agreement(second.answer, np.where(truth, 5, 0)) > FOUND
    assert set(teacher.model().card.label_names) == {5, 7}


def test_a_volume_is_looked_at_once():
    image, _, annotation = ball(1)
    teacher = Teacher(QUICK)
    teacher.set_volume("a", image, annotation)
    assert "filtering" in {now.what for now in teacher.iter_round("a")}
    teacher.set_volume("a", image, annotation)
    assert "filtering" not in {now.what for now in teacher.iter_round("a")}


def test_values_of_several_volumes_are_united():
    teacher, truths = Teacher(QUICK), {}
    for key, value, brightness in (("a", 7, 100.0), ("b", 3, -100.0)):
        image, truths[key], annotation = ball(value, value, brightness)
        teacher.set_volume(key, image, annotation)
    for key, truth in truths.items():
        assert agreement(result_of(teacher.iter_round(key)).answer, truth) > FOUND
    assert set(teacher.model().card.label_names) == {3, 7}
    teacher.remove("b")
    assert teacher.keys == ("a",)
    result_of(teacher.iter_round("a"))
    assert set(teacher.model().card.label_names) == {7}


def test_another_volume_is_labelled_without_annotations():
    image, _, annotation = ball(7)
    other, truth, _ = ball(7, seed=5)
    teacher = Teacher(QUICK)
    teacher.set_volume("a", image, annotation)
    result_of(teacher.iter_round("a"))
    answer = result_of(teacher.iter_apply(other))
    assert answer.labels.grid is other.grid
    assert agreement(answer, truth) > FOUND
    again = result_of(teacher.iter_apply(other))
    assert (again.labels.array() == answer.labels.array()).all()


def test_seconds_in_which_nobody_asks_do_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    clock = progress.Clock(100.0)

    def work():
        for _ in range(3):
            now[0] += 1
            yield clock.progress("working")
        return clock.seconds

    for step in (counted := clock.counted(work())):
        assert step.seconds == clock.seconds
        now[0] += 50
    assert clock.seconds == 3
    counted.close()


@pytest.mark.usefixtures("ticking")
def test_the_network_goes_on_and_back():
    image, _, annotation = ball(7)
    light = LightSettings(first=5, trees=10)
    teacher = Teacher(TeachSettings(seconds=60, light=light))
    teacher.set_volume("a", image, annotation)
    first = result_of(teacher.iter_round("a"))
    kept, weights = teacher.snapshot(), teacher.model().network.state_dict()
    second = result_of(teacher.iter_round("a"))
    assert second.report["steps"] > first.report["steps"] > 0
    teacher.restore(kept)
    back = teacher.model()
    assert back.card.recipe["steps"] == first.report["steps"]
    assert all(
        (weights[name] == tensor).all() for name, tensor in back.network.state_dict().items()
    )


def test_closed_after_an_answer_it_keeps_what_it_learnt():
    image, truth, annotation = ball(7)
    teacher = Teacher(QUICK)
    teacher.set_volume("a", image, annotation)
    with pytest.raises(SettingsError, match="nothing has been taught"):
        teacher.model()
    with closing(teacher.iter_round("a")) as work:
        answer = next(now.answer for now in work if now.answer)
    assert agreement(answer, truth) > FOUND
    assert agreement(result_of(teacher.iter_apply(image)), truth) > FOUND
    assert teacher.model().card.label_names == {7: "label 7"}


def test_one_round_is_what_the_command_line_does():
    image, _, annotation = ball(7)
    teacher = Teacher(QUICK)
    teacher.set_volume("any", image, annotation)
    panel = result_of(teacher.iter_round("any")).answer
    command = result_of(iter_teach(image, annotation, QUICK)).answer
    assert (panel.labels.array() == command.labels.array()).all()


def test_a_very_large_volume_is_looked_at_coarsely(monkeypatch):
    monkeypatch.setattr(subject, "MOST_VOXELS", 1000)
    image, truth, annotation = ball(7)
    result = result_of(iter_teach(image, annotation, QUICK))
    assert result.answer.labels.grid is image.grid
    assert agreement(result.answer, truth) > 0.9
    annotated = annotation.classes == 1
    assert (result.answer.labels.array()[annotated] == 7).all()


@pytest.mark.parametrize(
    ("spacing", "wanted"),
    [
        ((1, 1, 1), None),
        ((0.5, 0.5, 1), (0.7155, 0.7155, 1.0)),  # the finer axes first
        ((0.25, 0.25, 0.5), (0.8, 0.8, 0.8)),
    ],
)
def test_the_finest_axes_are_made_coarser_first(monkeypatch, spacing, wanted):
    monkeypatch.setattr(subject, "MOST_VOXELS", 1000)
    shape = [round(10 / side) if wanted is None else round(8 / side) for side in spacing]
    grid = Grid(tuple(shape), np.diag([*spacing, 1.0]))
    found = subject.workable_spacing(grid)
    if wanted is None:
        assert found is None
    else:
        assert found == pytest.approx(wanted, rel=0.03)
        assert np.prod(np.array(grid.extent_mm) / found) <= 1000


def test_what_does_not_fit_is_refused():
    image, _, annotation = ball(7)
    teacher = Teacher(QUICK)
    teacher.set_volume("a", image, annotation)
    two = Volume(np.zeros((*SHAPE, 2)), image.grid, title="colour")
    with pytest.raises(VolumeError, match="colour has 2 channels; those taught so far have 1"):
        teacher.set_volume("b", two, annotation)
    small = Annotation(annotation.classes[1:], (0, 7))
    with pytest.raises(VolumeError, match="do not lie on its grid"):
        teacher.set_volume("b", image, small)
    with pytest.raises(SettingsError, match=r"no volume 'b' has been given; there are: a"):
        next(teacher.iter_round("b"))
