"""`napari-asmlp segment`: labels for one volume, several, or a folder of them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_asmlp import zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console, format_seconds
from napari_asmlp.cli.label_names import names_format, names_option
from napari_asmlp.devices import DEVICES, PRECISIONS, resolve_device, resolve_precision
from napari_asmlp.errors import AsmlpError, OutputError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.io import (
    NameFormat,
    base_name,
    check_names,
    check_output,
    names_path,
    read_volume,
    volumes_in,
    write_labels,
    write_shares,
    write_volume,
)
from napari_asmlp.io.channels import beside, case_name, cases_of, read_case, read_channels
from napari_asmlp.io.files import check_distinct, check_file, check_folder, replacing
from napari_asmlp.model import Model
from napari_asmlp.pipeline import (
    Partial,
    Progress,
    Segmentation,
    SegmentSettings,
    iter_segment,
    parse_size,
)
from napari_asmlp.provenance import peak_memory
from napari_asmlp.volume import Volume

_FORMATS = ("nii.gz", "nii", "mgz", "mgh")
_DEFAULTS = SegmentSettings()
_LONG_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """A case and where its labels go.

    Attributes
    ----------
    name : of the case, as messages have it
    sources : the file of its volume, or those of its channels
    """

    name: str
    sources: tuple[Path, ...]
    output: Path

    @property
    def partial(self) -> Path:
        """Folder of what is finished of an unfinished run."""
        return self.output.with_name(self.output.name + ".partial")

    @property
    def record(self) -> Path:
        """The record of the run, beside the labels."""
        return self.output.with_name(self.output.name + ".json")

    @property
    def is_done(self) -> bool:
        """Whether labels and record are there, and nothing of an unfinished run."""
        return self.output.exists() and self.record.exists() and not self.partial.exists()

    def files(self, names: NameFormat | None) -> list[Path]:
        """Return what is written: labels, record, and a table of names for a program."""
        table = [names_path(self.output, names)] if names else []
        return [self.output, self.record, *table]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        metavar="INPUT",
        help="volumes or folders; for a model of several channels, files named CASE_0000,"
        " CASE_0001, ... are channels of one volume",
    )
    parser.add_argument(
        "--channels",
        type=_files,
        metavar="FILE,FILE,...",
        help="in place of INPUT: the channels of one volume, in the model's order",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="labels of one volume: a file; of several: a folder",
    )
    parser.add_argument("--model", metavar="NAME|FILE", help="by default the only bundled one")
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=_DEFAULTS.device,
        help="auto takes a GPU if there is one",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=_DEFAULTS.precision,
        help="of the network; auto is the fastest that the device computes natively",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=_DEFAULTS.overlap,
        metavar="F",
        help="share of a window that its neighbour covers too, 0 to 0.9; left open, 0.1 for windows"
        " fitted to a large volume, 0.25 for those of the model",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--region", metavar="i0:i1,j0:j1,k0:k1", help="voxels to segment; 0 outside")
    where.add_argument(
        "--whole",
        action="store_true",
        help="do not ask for a region where a volume is far larger than those of the training",
    )
    _add_outputs(parser)
    _add_conduct(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """Describe what is written beside the labels, and over what."""
    parser.add_argument(
        "--probabilities", type=Path, metavar="FILE", help="write class probabilities (4D)"
    )
    parser.add_argument(
        "--uncertainty",
        type=Path,
        metavar="FILE",
        help="write the entropy of the class probabilities, 0 to 1; with --tta, 4D: and how much"
        " of it is disagreement between the mirrored windows",
    )
    names_option(parser)
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="write what was done")
    parser.add_argument(
        "--format", choices=_FORMATS, default=_FORMATS[0], help="of the labels in a folder"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")


def _add_conduct(parser: argparse.ArgumentParser) -> None:
    """Describe how the work goes on."""
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        help="run each window mirrored as well, along the axes the model was trained for, and"
        " average (default: only where a region is small enough for that to take a moment)",
    )
    parser.add_argument(
        "--compiled",
        action=argparse.BooleanOptionalAction,
        help="on a CPU, compile the network's blocks for it (seconds, once; takes a C++ compiler)"
        " and run those (default: where they have been compiled already)",
    )
    parser.add_argument(
        "--upright",
        action=argparse.BooleanOptionalAction,
        default=_DEFAULTS.upright,
        help="bring a volume upright that is tilted by more than the model learnt, and the labels"
        " back (default: yes)",
    )
    parser.add_argument(
        "--memory",
        type=_size,
        metavar="SIZE",
        help="fit into this much, such as 2GB, or say what is needed",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was stopped; of several inputs, with those not done",
    )


def _files(text: str) -> list[Path]:
    paths = [Path(part) for part in text.split(",")]
    if len(paths) < 2 or not all(text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not two or more files with commas between")
    return paths


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(options: argparse.Namespace, console: Console) -> int:
    """Segment every input; one that fails among several does not stop the others."""
    model = zoo.load_segmenter(zoo.default() if options.model is None else options.model)
    resolve_precision(options.precision, resolve_device(options.device))
    settings = SegmentSettings(
        device=options.device,
        precision=options.precision,
        overlap=options.overlap,
        probabilities=options.probabilities is not None,
        uncertainty=options.uncertainty is not None,
        mirror=options.tta,
        compiled=options.compiled,
        memory=options.memory,
        whole=options.whole,
        upright=options.upright,
    )
    tasks = plan(options, model.card.in_channels)
    to_do = [task for task in tasks if not _was_done(task, options)]
    if len(to_do) < len(tasks):
        console.note(f"{len(tasks) - len(to_do)} of {len(tasks)} volumes were done before")
    if len(tasks) == 1:
        for task in to_do:
            segment_one(task, model, settings, options, console)
        return 0
    failures: dict[str, str] = {}
    for task in to_do:
        try:
            segment_one(task, model, settings, options, console)
        except AsmlpError as error:
            failures[task.name] = " ".join(str(error).split())
    console.note(f"{len(to_do) - len(failures)} of {len(to_do)} volumes segmented")
    for name, reason in failures.items():
        console.error(f"{name}: failed: {reason}")
    return 1 if failures else 0


def segment_one(
    task: Task,
    model: Model,
    settings: SegmentSettings,
    options: argparse.Namespace,
    console: Console,
) -> None:
    """Segment one volume and write its labels and the record of the run."""
    volume = _read(task, model, options)
    if options.region is not None:
        settings = replace(settings, region=Region.parse(options.region, volume.grid.shape))
    partial = Partial(task.partial, resume=options.resume)
    work = _announced(iter_segment(volume, model, settings, partial), task.name, console)
    try:
        result = console.follow(work, task.name)
    except KeyboardInterrupt:
        if partial.folder.exists():
            console.note(f"{partial.folder} keeps what is finished: --resume goes on with it")
        raise
    _write(result, task, options, partial)
    partial.remove()
    found = ", ".join(f"{name} {mm3:g} mm³" for name, mm3 in result.report["volumes_mm3"].items())
    console.note(f"{task.output}: {found or 'no label found'}")


def _read(task: Task, model: Model, options: argparse.Namespace) -> Volume:
    """Open the volume of a case, all its channels."""
    if options.channels is not None:
        return read_channels(task.sources, volume=options.volume)
    return read_case(task.name, task.sources, model.card.in_channels, volume=options.volume)


def _announced(
    work: Generator[Progress, None, Segmentation], title: str, console: Console
) -> Generator[Progress, None, Segmentation]:
    """Say what there is to note: of memory, of the volume, and of the time of a long run."""
    begun, timed, said = False, False, 0
    with closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                result: Segmentation = stop.value
                return result
            left, plan = progress.seconds_left, progress.plan
            if plan is not None and plan.lacks_memory and not begun:
                console.note(f"{title}: {plan.describe()}: close other programs or give --memory")
            begun = True
            for text in progress.notes[said:]:
                console.note(f"{title}: {text}")
            said = len(progress.notes)
            if plan and left is not None and progress.done > progress.first + 1 and not timed:
                timed = True
                if left > _LONG_SECONDS:
                    console.note(f"{title}: {plan.describe()}, about {format_seconds(left)}")
            yield progress


def plan(options: argparse.Namespace, channels: int) -> list[Task]:
    """Pair inputs with outputs and refuse what cannot be written, before anything runs.

    Parameters
    ----------
    channels : that the model takes; of several, files are joined by their names
    """
    if bool(options.inputs) == (options.channels is not None):
        raise SettingsError("give INPUT, or the channels of one volume as --channels FILE,FILE")
    single = len(options.inputs) <= 1 and not any(path.is_dir() for path in options.inputs)
    if options.channels is not None:
        tasks = [Task(options.channels[0].name, tuple(options.channels), options.output)]
    elif single:
        (path,) = options.inputs
        if not path.exists():
            read_volume(path)
        sources = beside(path) if channels > 1 else [path]
        name = path.name if len(sources) == 1 else case_name(path)
        tasks = [Task(name, tuple(sources), options.output)]
    else:
        tasks = _folder_tasks(options, channels)
    _check_outputs(options, tasks, single=single)
    return tasks


def _folder_tasks(options: argparse.Namespace, channels: int) -> list[Task]:
    files = [
        file for path in options.inputs for file in (volumes_in(path) if path.is_dir() else [path])
    ]
    cases = cases_of(files) if channels > 1 else {file: [file] for file in files}
    outputs: dict[str, Path] = {}
    tasks = []
    for case, sources in cases.items():
        name = f"{base_name(case)}.{options.format}"
        if name in outputs:
            raise SettingsError(f"{outputs[name]} and {case}: both would be written to {name}")
        outputs[name] = case
        tasks.append(Task(case.name, tuple(sources), options.output / name))
    return tasks


def _check_outputs(options: argparse.Namespace, tasks: list[Task], *, single: bool) -> None:
    """Refuse outputs that cannot or must not be written; make the folder for several."""
    volumes = [path for path in (options.probabilities, options.uncertainty) if path is not None]
    extras = volumes + ([] if options.report is None else [options.report])
    if extras and not single:
        raise SettingsError(
            f"{extras[0]}: --probabilities, --uncertainty and --report go with one volume"
        )
    folder: Path = options.output
    is_new = not single and not folder.exists()
    if is_new:
        check_folder(folder.parent)
    inputs = [source for task in tasks for source in task.sources]
    if options.model is not None:
        inputs.append(zoo.find(options.model))
    names = names_format(options)
    check_distinct([path for task in tasks for path in task.files(names)] + extras)
    mine = frozenset[Path]().union(*(_claimed(task, options) for task in tasks))

    def allowed(path: Path) -> dict[str, Any]:
        return {"overwrite": options.overwrite or path.absolute() in mine, "inputs": inputs}

    to_do = [task for task in tasks if not _was_done(task, options)]
    if single and not to_do:
        return
    for path in volumes:
        check_output(path, **allowed(path))
    if options.report is not None:
        check_file(options.report, **allowed(options.report))
    if is_new:
        folder.mkdir()
    for task in to_do:
        check_output(task.output, **allowed(task.output))
        check_file(task.record, **allowed(task.record))
        check_names(task.output, names, **allowed(task.files(names)[-1]))
        if task.partial.exists() and not (options.resume or options.overwrite):
            raise OutputError(
                f"{task.partial}: an unfinished run lies there; --resume goes on with it,"
                " --overwrite begins anew"
            )


def _was_done(task: Task, options: argparse.Namespace) -> bool:
    """Tell whether an earlier run wrote all that is asked for."""
    extras = filter(None, (options.probabilities, options.uncertainty, options.report))
    return options.resume and task.is_done and all(path.exists() for path in extras)


def _claimed(task: Task, options: argparse.Namespace) -> frozenset[Path]:
    """Return the outputs that a run which goes on had begun to write."""
    return Partial(task.partial).claimed() if options.resume else frozenset()


def _write(result: Segmentation, task: Task, options: argparse.Namespace, partial: Partial) -> None:
    """Write what was found and the record of the run, the labels last but for it."""
    started, names = time.monotonic(), names_format(options)
    overwrite = options.overwrite or bool(_claimed(task, options))
    extras = (options.probabilities, options.uncertainty, options.report)
    partial.claim([*task.files(names), *filter(None, extras)])
    if result.probabilities is not None:
        write_volume(result.probabilities, options.probabilities, overwrite=overwrite)
    if result.uncertainty is not None:
        write_shares(result.uncertainty, options.uncertainty, overwrite=overwrite)
    write_labels(result.labels, task.output, overwrite=overwrite, names=names)
    seconds = dict(result.report["seconds"])
    for stage in ("write", "total"):  # the slabs of the run, and now whole files
        seconds[stage] = round(seconds[stage] + time.monotonic() - started, 3)
    report = result.report | {
        "seconds": seconds,
        "peak_memory_bytes": peak_memory(),
        "volume": options.volume,
        "output": str(task.output),
    }
    text = json.dumps(report, indent=1) + "\n"
    for path in filter(None, (task.record, options.report)):
        with replacing(path, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
