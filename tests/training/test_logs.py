"""What a run leaves for the eye."""

import sys
from types import ModuleType

import pytest

from napari_asmlp.errors import OutputError, SettingsError
from napari_asmlp.training.logs import Logs, LogWriter

ROWS = [
    {"epoch": 1, "step": 4, "seconds": 1.5, "lr": 0.002, "loss": 1.25, "dice": None},
    {"epoch": 2, "step": 8, "seconds": 3.0, "lr": 0.001, "loss": 0.75, "dice": {"1": 0.5}},
]
TABLE = """epoch,step,seconds,lr,loss,dice left,dice right
1,4,1.5,0.002,1.25,,
2,8,3.0,0.001,0.75,0.5,
"""


def test_the_table_holds_the_whole_history(tmp_path):
    (tmp_path / "t.csv").write_text("of a run that was killed")
    writer = LogWriter(Logs(tmp_path / "t.csv"), ["left", "right"])
    writer.take(ROWS[:1])
    writer.take(ROWS)
    writer.close()
    assert (tmp_path / "t.csv").read_text() == TABLE


def test_the_plot_is_drawn_when_cases_were_scored(tmp_path):
    pytest.importorskip("matplotlib")
    logs = Logs(tmp_path / "t.csv", plot=tmp_path / "p.svg")
    logs.check()
    writer = LogWriter(logs, ["left", "right"])
    writer.take(ROWS[:1])
    assert not (tmp_path / "p.svg").exists()
    writer.take(ROWS)
    assert "<svg" in (tmp_path / "p.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.svg", "t.csv"]


def test_events_are_written_once_and_replace_those_of_earlier_sittings(tmp_path, monkeypatch):
    """With a writer that notes what it is told."""
    told = []

    class Writer:
        def __init__(self, folder, purge_step):
            told.append((folder, purge_step))

        def add_scalar(self, *values):
            told.append(values)

        def flush(self):
            pass

        def close(self):
            told.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    writer = LogWriter(Logs(tmp_path / "t.csv", tensorboard=tmp_path / "events"), ["left", "right"])
    writer.take(ROWS[:1])
    writer.take(ROWS)
    writer.close()
    assert told == [
        (str(tmp_path / "events"), 0),
        ("loss", 1.25, 4),
        ("learning rate", 0.002, 4),
        ("loss", 0.75, 8),
        ("learning rate", 0.001, 8),
        ("Dice/left", 0.5, 8),
        ("Dice/mean", 0.5, 8),
        "closed",
    ]


@pytest.mark.parametrize(
    ("asked", "library"), [({"plot": "p.png"}, "matplotlib"), ({"tensorboard": "d"}, "tensorboard")]
)
def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch, asked, library):
    monkeypatch.setattr("napari_asmlp.training.logs.find_spec", lambda name: None)
    logs = Logs(tmp_path / "t.csv", **{key: tmp_path / name for key, name in asked.items()})
    with pytest.raises(SettingsError, match=rf"{library} is not installed.*\[training\]"):
        logs.check()


def test_a_plot_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"p\.txt: a plot ends in \.png"):
        Logs(tmp_path / "t.csv", plot=tmp_path / "p.txt").check()


def test_a_folder_for_events_that_cannot_be_made_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_asmlp.training.logs.find_spec", lambda name: True)
    (tmp_path / "file").write_text("")
    Logs(tmp_path / "t.csv", tensorboard=tmp_path / "a" / "b").check()
    with pytest.raises(OutputError, match="file: is a file, not a folder"):
        Logs(tmp_path / "t.csv", tensorboard=tmp_path / "file" / "events").check()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
