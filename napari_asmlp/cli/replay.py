"""`napari-asmlp replay`: run a segmentation again from the record that lies beside its labels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
import torch

from napari_asmlp import zoo
from napari_asmlp.cli import MOST_THREADS, common_options, segment
from napari_asmlp.cli.console import Console
from napari_asmlp.cli.label_names import names_option
from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.io import base_name, read_volume
from napari_asmlp.io.files import check_file
from napari_asmlp.io.formats import suffix_of
from napari_asmlp.io.planes import each_plane
from napari_asmlp.pipeline import SegmentSettings
from napari_asmlp.provenance import file_hash

# What decides the labels beside input, model and settings, by its name in the record.
_CONDUCT = ("device", "precision", "network", "window", "overlap", "parts", "threads", "upright")


@dataclass(frozen=True)
class _File:
    """A file that a run read. Its hash says which, wherever it lies today."""

    hash: str
    path: str | None = None
    name: str = ""


@dataclass(frozen=True)
class Record:
    """What `segment` wrote of a run, as far as it takes to repeat it.

    Attributes
    ----------
    channels : the files of the input where each channel has one, else none
    settings : as asked for; `region` is apart, in the form of the command line
    device, precision, compiled : as they came out
    """

    input: _File
    model: _File
    settings: SegmentSettings
    region: str | None
    device: str
    precision: str
    compiled: bool
    output: str
    volume: int | None = None
    channels: tuple[_File, ...] = ()
    threads: Annotated[int, pydantic.Field(ge=1, le=MOST_THREADS)] | None = None

    @property
    def inputs(self) -> tuple[_File, ...]:
        """The files of the volume."""
        return self.channels or (self.input,)

    def settings_in_force(self) -> SegmentSettings:
        """Return settings that leave nothing to this machine's choice.

        Where memory was bounded, the precision follows from that bound as it did then.
        """
        settings = replace(self.settings, compiled=self.compiled, region=None)
        if settings.memory is not None:
            return settings
        return replace(settings, device=self.device, precision=self.precision)


_RECORD = pydantic.TypeAdapter(Record)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("record", type=Path, metavar="RUN.json", help="that `segment` wrote")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="labels to write (default: beside the record, with -replay in their name)",
    )
    parser.add_argument(
        "--input",
        type=Path,
        action="append",
        metavar="FILE",
        help="where the volume lies today; once for each file where channels have their own",
    )
    parser.add_argument("--model", metavar="NAME|FILE", help="where the model lies today")
    parser.add_argument("--probabilities", type=Path, metavar="FILE", help="write these as well")
    parser.add_argument("--uncertainty", type=Path, metavar="FILE", help="write this as well")
    names_option(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")


def run(options: argparse.Namespace, console: Console) -> int:
    """Check that input and model are those of the record, run, and say what came out otherwise."""
    path: Path = options.record
    content = _content(path)
    record = _parsed(content, path)
    if options.volume not in (None, record.volume):
        kept = "the whole file" if record.volume is None else f"volume {record.volume}"
        raise SettingsError(f"--volume {options.volume}: {path} is of {kept}")
    *sources, model = _sources(options, record)
    count = len(sources)
    if record.threads is not None and options.threads is None:
        torch.set_num_threads(record.threads)
    like_segment = argparse.Namespace(
        inputs=[] if count > 1 else sources,
        channels=sources if count > 1 else None,
        output=options.output or _beside(path, record),
        model=model,
        volume=record.volume,
        region=record.region,
        probabilities=options.probabilities,
        uncertainty=options.uncertainty,
        names=options.names,
        report=None,
        resume=False,
        overwrite=options.overwrite,
    )
    (task,) = segment.plan(like_segment, channels=1)
    for file in (task.output, task.record):
        check_file(file, overwrite=options.overwrite, inputs=[path])
    settings = replace(
        record.settings_in_force(),
        probabilities=options.probabilities is not None,
        uncertainty=options.uncertainty is not None,
    )
    segment.segment_one(task, zoo.load_segmenter(model), settings, like_segment, console)
    for difference in _differences(content, _content(task.record)):
        console.note(f"not as in {path}: {difference}")
    _compare(task.output, [Path(record.output), path.parent / Path(record.output).name], console)
    return 0


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: no record of a run: {error}") from error
    if not isinstance(content, dict) or "command" not in content:
        raise SettingsError(
            f"{path}: no record of a run; it lies beside the labels, as LABELS.json"
        )
    return content


def _parsed(content: Mapping[str, Any], path: Path) -> Record:
    command = content["command"]
    if command != "segment":
        raise SettingsError(f"{path}: records {command!r}; only 'segment' can be run again from it")
    if content.get("input") is None:
        raise SettingsError(f"{path}: its volume came from no file, so it cannot be run again")
    settings = content.get("settings")
    if not isinstance(settings, dict):  # defaults in their place would be another run
        raise SettingsError(f"{path}: no record of a run: it holds no settings")
    # Records that do not say so are of versions that brought no volume upright.
    settings = {"upright": False, **settings}
    values = {**content, "settings": {**settings, "region": None}, "region": settings.get("region")}
    try:
        return _RECORD.validate_python(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: no record of a run: {place}: {first['msg']}") from error
    except AsmlpError as error:
        raise SettingsError(f"{path}: {error}") from error


def _sources(options: argparse.Namespace, record: Record) -> list[Path]:
    """Return the files of the volume and the model, or say for all what is wrong with them."""
    folder, inputs = options.record.parent, record.inputs
    if options.input and len(options.input) != len(inputs):
        raise SettingsError(f"--input: {len(options.input)} files, the record has {len(inputs)}")
    given = [[path] for path in options.input or ()]
    volumes = given or [_near(file, folder) for file in inputs]
    models = [zoo.find(options.model)] if options.model else _near(record.model, folder)
    if not options.model and record.model.name in (known := zoo.model_paths()):
        models.append(known[record.model.name][0])
    found: list[Path] = []
    wrong: list[str] = []
    kinds = ["input"] * len(inputs) + ["model"]
    files, places_of = [*inputs, record.model], [*volumes, models]
    for what, file, places in zip(kinds, files, places_of, strict=True):
        try:
            found.append(_same(what, file, places))
        except SettingsError as error:
            wrong.append(str(error))
    if wrong:
        raise SettingsError(f"{options.record}: {'; '.join(wrong)}")
    return found


def _near(file: _File, folder: Path) -> list[Path]:
    """Return where a file may lie: as recorded, as seen from the record, or beside that."""
    if file.path is None:
        return []
    path = Path(file.path)
    return [path, folder / path, folder / path.name]


def _same(what: str, file: _File, places: Sequence[Path]) -> Path:
    """Return the first file with the recorded content."""
    there = [path for path in places if path.is_file()]
    for path in there:
        if file_hash(path) == file.hash:
            return path
    name = file.path or file.name
    if there:
        raise SettingsError(
            f"the {what} {there[0]} changed: its hash is {_short(file_hash(there[0]))}, recorded is"
            f" {_short(file.hash)}"
        )
    raise SettingsError(f"the {what} {name} ({file.hash}) is not here; give --{what} FILE")


def _short(hashed: str) -> str:
    """Return as much of a hash as it takes to tell two apart: ``sha256:0123456789ab...``."""
    return f"{hashed[:19]}..."


def _beside(path: Path, record: Record) -> Path:
    suffix = suffix_of(record.output)
    return path.with_name(f"{base_name(record.output)}-replay{suffix}")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Say what may have changed the labels although input, model and settings are the same."""
    for what in _CONDUCT:
        if what in before and before[what] != now[what]:
            yield f"{what} was {before[what]}, now {now[what]}"
    versions = before.get("versions")
    for name, version in (versions if isinstance(versions, dict) else {}).items():
        if now["versions"].get(name) != version:
            yield f"{name} was {version}, now {now['versions'].get(name)}"


def _compare(output: Path, places: Sequence[Path], console: Console) -> None:
    """Say whether the labels are those of then, where they still are."""
    before = next((path for path in places if path.is_file()), None)
    if before is None:
        return
    try:
        pair = [read_volume(path).data for path in (before, output)]
        if pair[0].shape != pair[1].shape:
            console.note(f"{before} has another shape by now")
            return
        planes = zip(*map(each_plane, pair), strict=True)
        different = sum(int(np.count_nonzero(a != b)) for a, b in planes)
    except AsmlpError as error:
        console.note(f"the labels of then cannot be compared: {error}")
        return
    if different:
        console.note(f"{different} voxels differ from {before} as it is now")
    else:
        console.note(f"the labels are those of {before}")
