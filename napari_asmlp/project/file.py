"""Projects on disk: JSON that is checked entry by entry, and runs nothing.

Paths are relative to the file's folder, with ``/`` between their parts, and may lead out of it by
``..``; absolute are only those to which no relative one leads, as on another drive.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import pydantic

from napari_asmlp.card import LabelEntry
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.io.files import check_file, replacing
from napari_asmlp.project.content import Corrected, Plain, Project, ProjectVolume

PROJECT_SUFFIX = ".asmlp.json"
FORMAT, VERSION = "napari-asmlp project", 1
_MOST_BYTES = 16 << 20
_SHOWN = 60  # characters of a wrong value

_Name = Annotated[
    str,
    pydantic.Field(
        pattern=r'^[^\s./\\:*?"<>|\x00-\x1f]([^/\\:*?"<>|\x00-\x1f]{0,118}[^\s./\\:*?"<>|\x00-\x1f])?$'
    ),
]
_PathText = Annotated[str, pydantic.Field(pattern=r"^[^\x00-\x1f]{1,4096}$")]
_Bounds = r"[0-9]{1,7}:[0-9]{1,7}"
_RegionText = Annotated[str, pydantic.Field(pattern=f"^{_Bounds},{_Bounds},{_Bounds}$")]
_Value = Annotated[int, pydantic.Field(ge=0, le=65535)]
_Key = Annotated[str, pydantic.Field(min_length=1, max_length=100)]
_Number = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Text = Annotated[str, pydantic.Field(max_length=4096)]


@dataclass(frozen=True)
class _Volume:
    """A volume as the file has it."""

    name: _Name
    images: Annotated[tuple[_PathText, ...], pydantic.Field(min_length=1, max_length=64)]
    hash: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    annotations: _PathText | None = None
    corrected: (
        Literal["whole"] | Annotated[tuple[_RegionText, ...], pydantic.Field(max_length=10_000)]
    ) | None = None
    volume: _Value | None = None

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class _File:
    """A project as the file has it."""

    format: Literal["napari-asmlp project"]
    version: Literal[1]
    volumes: Annotated[tuple[_Volume, ...], pydantic.Field(max_length=10_000)] = ()
    unannotated: _Value = 0
    background: _Value | None = None
    classes: Annotated[tuple[LabelEntry, ...], pydantic.Field(max_length=1000)] = ()
    model: _PathText | None = None
    settings: Annotated[
        dict[_Key, bool | int | _Number | _Text], pydantic.Field(max_length=100)
    ] = field(default_factory=dict)

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")


_FILE = pydantic.TypeAdapter(_File)
# What an entry should be, where the checker's own words name a pattern or one of several kinds.
_UNIONS = ("corrected", "settings")
_WANTED = {
    "name": "give a name that a file may have, of up to 120 characters",
    "images": "give the path of a file",
    "annotations": "give the path of a file",
    "model": "give the path of a file",
    "hash": "give 64 hexadecimal digits",
    "colour": "give a colour such as #e69f00",
    "corrected": "give null, 'whole', or boxes such as '0:9,0:9,0:9'",
    "settings": "give a number, true or false, or a text of up to 4096 characters",
}


def load_project(path: str | os.PathLike[str]) -> Project:
    """Read a project; no image is opened, and none of its files need be there.

    Raises
    ------
    SettingsError
        Where the file is missing, too large or no project, is of a newer version, or has a wrong
        entry, which is named with its value.
    """
    path = Path(path)
    text = _read(path)
    _check_version(text, path)
    try:
        content = _FILE.validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise SettingsError(f"{path}: {_described(error)}") from error
    try:
        return _project(content, path)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def save_project(
    project: Project, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a project, with paths relative to the file; it appears whole or not at all.

    Raises
    ------
    SettingsError
        Where the name does not end in ``.asmlp.json``, or the project holds what no file may.
    OutputError
        Where the file cannot or must not be written.
    """
    path = Path(path)
    if not path.name.endswith(PROJECT_SUFFIX) or path.name == PROJECT_SUFFIX:
        raise SettingsError(f"{path}: a project file ends in {PROJECT_SUFFIX}")
    check_file(path, overwrite=overwrite)
    text = json.dumps(_plain(project, path.parent), indent=1, ensure_ascii=False) + "\n"
    try:
        _FILE.validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise SettingsError(f"{path}: {_described(error)}") from error
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}; check the name") from error
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"{path}: is over {_MOST_BYTES >> 20} MiB large, and so is no project")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no text, and so no project: {error}") from error


def _check_version(text: str, path: Path) -> None:
    """Refuse other files, and projects of versions that are not known here."""
    try:
        content = pydantic.TypeAdapter(dict[str, Any]).validate_json(text)
    except pydantic.ValidationError as error:
        raise SettingsError(f"{path}: is no project: {error.errors()[0]['msg']}") from error
    if content.get("format") != FORMAT:
        raise SettingsError(
            f"{path}: is no project: its format is {content.get('format')!r}, not {FORMAT!r}"[:300]
        )
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SettingsError(
            f"{path}: is a project of version {version}, and this napari-asmlp knows up to"
            f" {VERSION}: update it"
        )


def _project(content: _File, path: Path) -> Project:
    volumes = tuple(
        ProjectVolume(
            volume.name,
            tuple(_absolute(text, path.parent) for text in volume.images),
            volume.hash,
            None if volume.annotations is None else _absolute(volume.annotations, path.parent),
            _corrected(volume),
            volume.volume,
        )
        for volume in content.volumes
    )
    model = None if content.model is None else _absolute(content.model, path.parent)
    return Project(
        volumes, content.unannotated, content.background, content.classes, model, content.settings
    )


def _corrected(volume: _Volume) -> Corrected | None:
    if volume.corrected is None or volume.corrected == "whole":
        return volume.corrected
    try:
        return tuple(_region(text) for text in volume.corrected)
    except SettingsError as error:
        raise SettingsError(f"volume {volume.name!r}: {error}") from error


def _region(text: str) -> Region:
    i, j, k = (tuple(map(int, part.split(":"))) for part in text.split(","))
    return Region((i[0], j[0], k[0]), (i[1], j[1], k[1]))


def _plain(project: Project, folder: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "volumes": [
            {
                "name": volume.name,
                "images": [_relative(image, folder) for image in volume.images],
                "hash": volume.hash,
                "annotations": _relative_or_none(volume.annotations, folder),
                "corrected": [str(region) for region in volume.corrected]
                if isinstance(volume.corrected, tuple)
                else volume.corrected,
                "volume": volume.volume,
            }
            for volume in project.volumes
        ],
        "unannotated": project.unannotated,
        "background": project.background,
        "classes": [
            {"value": entry.value, "name": entry.name, "colour": entry.colour}
            for entry in project.classes
        ],
        "model": _relative_or_none(project.model, folder),
        "settings": dict[str, Plain](project.settings),
    }


def _relative(path: Path, folder: Path) -> str:
    """Return the way from a folder to a file; beyond links where it leads out of the folder."""
    path, folder = path.absolute(), folder.absolute()
    if not path.is_relative_to(folder):
        path, folder = path.resolve(), folder.resolve()
    try:
        return PurePath(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _relative_or_none(path: Path | None, folder: Path) -> str | None:
    return None if path is None else _relative(path, folder)


def _absolute(text: str, folder: Path) -> Path:
    if text.startswith(".."):
        folder = folder.resolve()
    return Path(os.path.normpath(folder.absolute() / text))


def _described(error: pydantic.ValidationError) -> str:
    """Return the first wrong entry, what it should be, and its value unless that is a table."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if "corrected" in place:  # what follows names the kinds that were tried
        place = place[: place.index("corrected") + 1]
    elif place[:1] == ["settings"]:
        place = place[:2]
    words, value = first["msg"], first["input"]
    kind = next((part for part in reversed(place) if part in _WANTED), "")
    if kind in _UNIONS or first["type"] == "string_pattern_mismatch":
        words = _WANTED.get(kind, words)
    return f"{'.'.join(place)}: {words}{'' if isinstance(value, dict) else _shown(value)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return f", not {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"
