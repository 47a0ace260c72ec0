"""What the window remembers: by type, over damaged files, beside other windows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from magicgui.widgets import ComboBox, FloatSpinBox
from qtpy.QtWidgets import QCheckBox, QComboBox, QSlider

from napari_asmlp.viewer.settings import recall, remember, remembered, settings_path


@pytest.fixture
def folder(own_settings):
    return settings_path().parent


def test_nothing_is_written_by_asking(folder):
    assert recall("opacity", 0.7) == 0.7
    assert not folder.exists()


@pytest.mark.parametrize(
    ("stored", "default", "answer"),
    [
        (0.5, 0.7, 0.5),
        (1, 0.7, 1.0),  # written by hand
        (True, 0.7, 0.7),
        (True, 3, 3),
        (5, False, False),
        (0, True, True),
        ("cpu", "auto", "cpu"),
        (None, "auto", "auto"),
        ([1, 2], [0], [1, 2]),
        ({"a": 1}, {}, {"a": 1}),
        ("0.5", 0.7, 0.7),
    ],
)
def test_a_value_of_another_type_is_not_taken(folder, stored, default, answer):
    folder.mkdir()
    settings_path().write_text(json.dumps({"key": stored}))
    found = recall("key", default)
    assert found == answer
    assert type(found) is type(answer)


def test_it_is_there_the_next_time(folder):
    remember("a", 1)
    remember("b", "zwei")
    remember("a", 3)
    assert json.loads((folder / "settings.json").read_text()) == {"a": 3, "b": "zwei"}
    assert recall("a", 0) == 3
    assert recall("b", "") == "zwei"
    remember("a", True)  # equal to 1 in Python, not to us
    remember("a", 1)
    assert recall("a", 0) == 1
    leftover = {path.name for path in folder.iterdir()} - {"settings.json", "settings.lock"}
    assert not leftover


@pytest.mark.parametrize("text", [b"{", b"", b"\xff\xfe\x00", b"[1, 2]", b"null"])
def test_a_damaged_file_is_kept_beside(folder, text):
    folder.mkdir()
    settings_path().write_bytes(text)
    assert recall("a", 5) == 5
    assert (folder / "settings.damaged.json").read_bytes() == text
    remember("a", 6)
    assert recall("a", 5) == 6


def test_a_folder_that_cannot_be_made_costs_only_the_memory(folder, caplog):
    folder.write_text("a file in the place of the folder")
    remember("a", 6)
    assert recall("a", 5) == 5
    assert "setting 'a' is not kept" in caplog.text


def test_processes_keep_each_other_s_keys(folder):
    code = (
        "import sys; from napari_asmlp.viewer.settings import remember\n"
        "for n in range(100): remember(f'{sys.argv[1]}{n}', n)"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "xy"]
    assert [run.wait(120) for run in runs] == [0, 0]
    expected = {f"{name}{n}": n for name in "xy" for n in range(100)}
    assert json.loads(settings_path().read_text()) == expected


def test_widgets_come_back_as_they_were_left(qtbot):
    def widgets():
        tick, size, kind = QCheckBox(), QSlider(), QComboBox()
        kind.addItems(["one", "two"])
        number, device = FloatSpinBox(value=0.5), ComboBox(choices=["auto", "cpu"])
        made = (tick, size, kind, number.native, device.native)
        for each in made:
            qtbot.addWidget(each)
        return [
            remembered(each, f"test.{n}")
            for n, each in enumerate((tick, size, kind, number, device))
        ]

    tick, size, kind, number, device = widgets()
    tick.setChecked(True)
    size.setValue(7)
    kind.setCurrentText("two")
    number.value = 0.25
    device.value = "cpu"
    tick, size, kind, number, device = widgets()
    assert (tick.isChecked(), size.value(), kind.currentText()) == (True, 7, "two")
    assert (number.value, device.value) == (0.25, "cpu")


def test_a_choice_that_is_gone_is_forgotten(qtbot):
    remember("device", "cuda")
    device = ComboBox(choices=["auto", "cpu"])
    qtbot.addWidget(device.native)
    assert remembered(device, "device").value == "auto"
