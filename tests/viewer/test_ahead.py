from __future__ import annotations

import pytest

from napari_asmlp.viewer import ahead, files


@pytest.fixture
def begun(monkeypatch):
    times = []
    monkeypatch.setattr(ahead, "_begin", lambda: times.append("begun"))
    return times


def test_nothing_is_imported_ahead_without_a_window(scan, begun):
    files.read(str(scan))
    assert begun == []


def test_opening_a_volume_begins_the_slow_imports(window, scan, begun):
    window.open(str(scan), plugin="napari-asmlp")
    assert begun == ["begun"]


def test_the_slow_imports_run_beside_the_caller_and_end():
    thread = ahead._begin()
    thread.join(60)
    assert not thread.is_alive()
    assert ahead._begin() is thread
