"""The Mixer panel without a window: what it shows, writes, keeps and gives back."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtWidgets import QFileDialog

from napari_asmlp.grid import Region
from napari_asmlp.model import load_model
from napari_asmlp.pipeline import classify
from napari_asmlp.viewer.classify import request
from napari_asmlp.viewer.classify.looks import classes_in
from napari_asmlp.viewer.classify.panel import MixerPanel
from napari_asmlp.viewer.classify.request import OBJECTS, REGION, WHOLE
from napari_asmlp.viewer.colours import colour_of
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.region import region_box
from tests.viewer.classify.cells import LONG, ROUND, cells, image_volume, labels_volume
from tests.viewer.classify.conftest import FakeClassify
from tests.viewer.conftest import close_dock, without_dock

PATIENCE = 30_000
ORANGE = pytest.approx((230 / 255, 159 / 255, 0, 1), abs=0.01)


@pytest.fixture
def mixer(filled, qtbot):
    return without_dock(MixerPanel(filled), qtbot)


@pytest.fixture
def layer(filled):
    return filled.layers["cells"]


def settle(mixer, qtbot):
    qtbot.waitUntil(lambda: not mixer.running.is_busy, timeout=PATIENCE)


def run(mixer, qtbot, what, path):
    mixer.by_model.choose(path)
    mixer.by_model.what.value = what
    mixer.classify()
    settle(mixer, qtbot)


def place_of(layer, value):
    """Where in the world an object is."""
    return tuple(layer.data_to_world(np.argwhere(layer.data == value)[0]))


def click(viewer, position):
    event = SimpleNamespace(
        type="mouse_press", is_dragging=False, button=1, modifiers=[], handled=False,
        dims_displayed=list(viewer.dims.displayed), position=position, view_direction=None,
    )  # fmt: skip
    mouse_press_callbacks(viewer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(viewer, event)


def press(layer, key):
    layer.keymap[coerce_keybinding(key)](layer)


def test_only_classifiers_are_offered(mixer, classifiers):
    assert set(mixer.by_model.model._cards) == set(classifiers.values())


def test_objects_get_the_classes_that_python_gives(mixer, layer, classifiers, qtbot):
    expected = classify(image_volume(), classifiers["object"], objects=labels_volume())
    run(mixer, qtbot, OBJECTS, classifiers["object"])
    assert classes_in(layer) == {item.object: item.class_name for item in expected}
    table = layer.features.set_index("index")
    assert table["confidence"][2] == expected[1].confidence
    assert mixer.running.status.text().startswith("6 objects: ")
    layer.selected_label = 2
    assert list(mixer.results.bars.shown) == sorted(
        expected[1].probabilities, key=lambda name: -expected[1].probabilities[name]
    )


def test_a_volume_and_a_region_get_theirs(mixer, filled, classifiers, qtbot):
    (whole,) = classify(image_volume(), classifiers["volume"])
    run(mixer, qtbot, WHOLE, classifiers["volume"])
    assert mixer._whole[1].probabilities == whole.probabilities
    assert mixer.results.bars.title.text().startswith(f"scan · {whole.class_name}")
    region_box(filled).put(filled.layers["scan"], Region((0, 0, 0), (6, 8, 9)))
    run(mixer, qtbot, REGION, classifiers["volume"])
    assert mixer._whole[1].probabilities != whole.probabilities


def test_wrong_input_is_shown_in_one_line(mixer, filled, classifiers, notes, qtbot):
    run(mixer, qtbot, WHOLE, classifiers["object"])
    assert notes == ["model 'object' classifies objects, not the whole image: choose 'each object'"]
    assert mixer.running.status.text() == notes[0]
    source_view(filled.layers["cells"])[:] = 0
    run(mixer, qtbot, OBJECTS, classifiers["object"])
    assert "cells: holds no object" in notes[-1]


def test_colours_come_and_go_with_the_box(mixer, layer, held, qtbot):
    before = layer.colormap
    held.hold_at = None
    mixer.by_model.what.value = OBJECTS
    mixer.classify()
    settle(mixer, qtbot)
    assert colour_of(layer, 3) == ORANGE
    mixer.results.colour.click()
    assert layer.colormap is before
    mixer.results.colour.click()
    assert colour_of(layer, 3) == ORANGE
    mixer.results.back_button.click()
    assert "class" not in layer.features.columns
    assert not mixer.results.back_button.isEnabled()


def test_cancel_keeps_the_classes_that_are_known(mixer, layer, held, qtbot):
    mixer.by_model.what.value = OBJECTS
    mixer.classify()
    qtbot.waitUntil(lambda: len(mixer.running._items) == 2, timeout=PATIENCE)
    assert held.waits.wait(10)  # the window hears of two before the worker asks for the third
    assert not mixer.by_model.run_button.isEnabled()
    mixer.cancel()
    held.go.set()
    settle(mixer, qtbot)
    known = dict.fromkeys((1, 2, 3), "round")  # the third was under way
    assert classes_in(layer) == known
    assert mixer.running.status.text() == "Stopped: 3 objects: 3 round"


@pytest.mark.parametrize("act", ["delete", "rename", "close"])
def test_what_happens_to_the_layer_meanwhile(mixer, filled, layer, held, act, notes, qtbot):
    mixer.by_model.what.value = OBJECTS
    mixer.classify()
    qtbot.waitUntil(lambda: len(mixer.running._items) == 2, timeout=PATIENCE)
    if act == "delete":
        filled.layers.remove(layer)
    elif act == "rename":
        layer.name = "nuclei"
    else:
        close_dock(mixer)
    held.go.set()
    settle(mixer, qtbot)
    assert held.closed.wait(10)
    assert len(classes_in(layer)) == (6 if act == "rename" else 0)
    assert notes == []


def test_classes_of_many_objects_are_written_at_once(mixer, layer, monkeypatch, qtbot):
    monkeypatch.setattr(request, "iter_classify", FakeClassify(range(1, 3001)))
    written = []
    layer.events.features.connect(lambda _: written.append(len(layer.features)))
    mixer.by_model.what.value = OBJECTS
    mixer.classify()
    settle(mixer, qtbot)
    assert written == [3000]


def test_objects_are_picked_and_named_with_mouse_and_keys(mixer, filled, layer, notes):
    mixer.teach.new_class.setText("round")
    mixer.teach.add_button.click()
    mixer.sources.pick_button.click()
    click(filled, place_of(layer, 3))
    assert layer.selected_label == 3
    assert mixer.results.bars.title.text() == "Object 3 has no class yet"
    press(layer, "1")
    mixer.teach.new_class.setText("long")  # of the object picked, which has none
    click(filled, place_of(layer, 2))
    mixer.teach.new_class.returnPressed.emit()
    assert dict(mixer.teach.lesson.examples) == {3: "round", 2: "long"}
    assert classes_in(layer) == {3: "round", 2: "long"}
    click(filled, tuple(layer.data_to_world((0, 0, 0))))  # background
    press(layer, "3")
    assert notes == ["There is no class 3: add it first"]
    assert mixer.picked.value == 2
    mixer.sources.pick_button.click()
    assert coerce_keybinding("1") not in layer.keymap
    click(filled, place_of(layer, 3))
    assert mixer.picked.value == 2


def test_a_key_that_was_bound_comes_back(mixer, layer):
    layer.bind_key("1", lambda _: None)
    before = layer.keymap[coerce_keybinding("1")]
    mixer.sources.pick_button.click()
    mixer.sources.pick_button.click()
    assert layer.keymap == {coerce_keybinding("1"): before}


def teach(mixer, layer, given):
    for name in dict.fromkeys(given.values()):
        if name not in mixer.teach.lesson.names:
            mixer.teach.new_class.setText(name)
            mixer.teach.add_button.click()
    for value, name in given.items():
        mixer.picked.go_to(value, place_of(layer, value))
        mixer.teach._buttons[name].click()


def test_teach_correct_teach_again_save_and_use(
    mixer, filled, layer, tmp_path, monkeypatch, notes, qtbot
):
    mixer.tabs.setCurrentWidget(mixer.teach)
    assert not mixer.teach.train_button.isEnabled()
    teach(mixer, layer, {1: "round", 2: "long", 3: "round", 4: "long"})
    mixer.teach.train_button.click()
    settle(mixer, qtbot)
    given = {1: "round", 2: "long", 3: "round", 4: "long"}
    said = {value: item.class_name for value, item in mixer.record.items.items()}
    assert list(said) == [1, 2, 3, 4, 5, 6]
    assert classes_in(layer) == {**said, **given}
    assert "examples right" in mixer.running.status.text()
    assert mixer.teach.table.item(0, 2).text().startswith(said[4])  # the latest
    pupil = mixer.record.pupil
    teach(mixer, layer, {5: "long"})  # which is wrong
    mixer.teach.train_button.click()
    settle(mixer, qtbot)
    assert mixer.record.pupil is pupil  # nothing is read again
    assert classes_in(layer)[5] == "long"  # the person's word

    path = tmp_path / "mine.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
    mixer.teach.save_button.click()
    assert [entry.name for entry in load_model(path).card.classes] == ["round", "long"]
    assert mixer.by_model.model.path == path
    before = path.read_bytes()
    mixer.teach.save_button.click()  # under a name that the dialog has not asked about
    assert path.read_bytes() == before
    assert "mine.safetensors" in notes[-1]
    expected = classify(image_volume(), path, objects=labels_volume())
    run(mixer, qtbot, OBJECTS, path)
    known = mixer.record.items
    assert [item.probabilities for item in expected] == [known[v].probabilities for v in known]


def test_a_lesson_by_shape_alone(mixer, layer, qtbot):
    mixer.sources.image_combo.value = mixer.sources.image_combo.choices[-1]
    teach(mixer, layer, {ROUND[0]: "round", LONG[0]: "long"})
    mixer.train()
    settle(mixer, qtbot)
    assert mixer.record.order.card.input.what == "mask"
    assert "second example" in mixer.running.status.text()


def test_an_example_that_was_deleted_is_named(mixer, layer, notes, qtbot):
    teach(mixer, layer, {1: "round", 2: "long"})
    source_view(layer)[source_view(layer) == 2] = 0
    mixer.train()
    settle(mixer, qtbot)
    assert notes == ["object 2 of labels 'cells' is gone: take it out of the examples"]
    mixer.teach.table.selectRow(0)
    mixer.teach.remove_button.click()
    assert dict(mixer.teach.lesson.examples) == {1: "round"}


def test_one_step_back_takes_the_last_example(mixer, layer):
    teach(mixer, layer, {1: "round", 2: "round"})
    mixer.results.back_button.click()
    assert dict(mixer.teach.lesson.examples) == {1: "round"}
    assert classes_in(layer) == {1: "round"}


def test_each_layer_has_its_own_examples_and_the_classes_go_along(mixer, filled, layer):
    teach(mixer, layer, {1: "round"})
    other = cells()
    other.name = "others"
    filled.add_layer(other)
    mixer.sources.labels_combo.value = other
    assert mixer.teach.lesson.names == ("round",)
    assert not mixer.teach.lesson.examples
    mixer.sources.labels_combo.value = layer
    assert dict(mixer.teach.lesson.examples) == {1: "round"}


def test_why_is_a_layer_over_the_image(mixer, filled, layer, classifiers, qtbot):
    run(mixer, qtbot, OBJECTS, classifiers["object"])
    assert not mixer.results.why_button.isEnabled()
    layer.selected_label = 2
    mixer.results.why_button.click()
    settle(mixer, qtbot)
    added = filled.layers[-1]
    assert added.name.startswith("why object 2 is ")
    np.testing.assert_allclose(added.scale, layer.scale)
    low, high = added.contrast_limits
    assert low == -high
    assert str(added.units) == str(layer.units)


def test_pieces_become_objects_in_a_layer_of_their_own(mixer, filled, layer, qtbot):
    source_view(layer)[9:11, 12:14, 0] = 1
    before = layer.data.copy()
    mixer.sources.split_button.click()
    settle(mixer, qtbot)
    added = filled.layers[-1]
    assert added.name == "cells objects"
    assert mixer.picked.layer is added
    assert added.data.max() == 7
    np.testing.assert_array_equal(layer.data, before)


def test_a_closed_panel_leaves_the_mouse_alone_and_can_be_opened_again(mixer, filled, layer):
    mixer.sources.pick_button.click()
    close_dock(mixer)
    click(filled, place_of(layer, 3))
    assert layer.selected_label == 1
    assert not mixer.sources.pick_button.isChecked()
    mixer.setParent(mixer.place)
    assert mixer.picked.layer is layer
