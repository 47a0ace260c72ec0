"""What the package promises before any work begins: light imports, metadata, entry points."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import napari_asmlp
from napari_asmlp import cli

METADATA = importlib.metadata.metadata("napari-asmlp")
HEAVY = {"napari", "npe2", "magicgui", "qtpy", "superqt", "PyQt5", "PyQt6", "torch"}
QT_BINDINGS = ("pyqt", "pyside")


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).split())


def base_requirements() -> list[str]:
    requirements = importlib.metadata.requires("napari-asmlp") or []
    return [requirement for requirement in requirements if "extra ==" not in requirement]


def test_importing_the_package_is_light():
    assert HEAVY & modules_after("import napari_asmlp") == set()


def test_public_core_needs_no_napari():
    names = ", ".join(napari_asmlp.__all__)
    loaded = modules_after(f"from napari_asmlp import {names}\nimport napari_asmlp.cli")
    assert loaded & (HEAVY - {"torch"}) == set()


def test_volumes_are_read_without_torch():
    assert "torch" not in modules_after("from napari_asmlp import read_volume, write_labels")


@pytest.mark.parametrize("name", napari_asmlp.__all__)
def test_public_name_is_there_and_listed(name):
    assert getattr(napari_asmlp, name).__module__.startswith("napari_asmlp.")
    assert name in dir(napari_asmlp)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'classify_everything'"):
        napari_asmlp.classify_everything  # noqa: B018  the access is the test


def test_version_is_the_metadata_s():
    assert METADATA["Version"] == napari_asmlp.__version__


def test_the_hub_finds_what_it_reads():
    assert METADATA["License-Expression"] == "BSD-3-Clause"
    assert "Framework :: napari" in METADATA.get_all("Classifier")
    labels = {url.split(",")[0] for url in METADATA.get_all("Project-URL")}
    assert labels >= {"Source", "Issues", "Documentation", "Changelog"}


def test_base_brings_no_qt_and_no_napari():
    assert base_requirements()
    for requirement in base_requirements():
        assert not requirement.lower().startswith((*QT_BINDINGS, "napari", "qtpy", "magicgui"))


def test_all_brings_napari_pyqt5_and_the_demo():
    extras = [r for r in importlib.metadata.requires("napari-asmlp") if 'extra == "all"' in r]
    names = {requirement.split(">")[0].strip() for requirement in extras}
    assert names >= {"napari", "napari[pyqt5]", "nilearn"}


def test_command_is_the_cli():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="napari-asmlp")
    assert command.load() is cli.main


def test_manifest_lies_where_its_entry_point_says():
    (entry,) = importlib.metadata.entry_points(group="napari.manifest", name="napari-asmlp")
    module, name = entry.value.split(":")
    assert (Path(importlib.util.find_spec(module).origin).parent / name).is_file()


def test_manifest_commands_resolve():
    npe2 = pytest.importorskip("npe2", reason="the commands live in napari_asmlp.viewer")
    manifest = npe2.PluginManifest.from_distribution("napari-asmlp")
    assert manifest.contributions.commands
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id
