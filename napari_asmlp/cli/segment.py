"""`napari-asmlp segment`: labels for one volume, several, or a folder of them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from napari_asmlp import zoo
from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console, format_seconds
from napari_asmlp.devices import DEVICES, PRECISIONS, resolve_device, resolve_precision
from napari_asmlp.errors import AsmlpError, OutputError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.io import (
    base_name,
    check_output,
    read_volume,
    volumes_in,
    write_labels,
    write_shares,
    write_volume,
)
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

_FORMATS = ("nii.gz", "nii", "mgz", "mgh")
_DEFAULTS = SegmentSettings()
_LONG_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """One volume and where its labels go."""

    source: Path
    output: Path

    @property
    def partial(self) -> Path:
        """Folder of what is finished of an unfinished run."""
        return self.output.with_name(self.output.name + ".partial")

    @property
    def record(self) -> Path:
        """The record of the run, beside the labels."""
        return self.output.with_name(self.output.name + ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="volumes or folders")
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
    parser.add_argument(
        "--region", metavar="i0:i1,j0:j1,k0:k1", help="voxels to segment; 0 outside"
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
    )
    tasks = plan(options)
    if len(tasks) == 1:
        segment_one(tasks[0], model, settings, options, console)
        return 0
    failures: dict[str, str] = {}
    for task in tasks:
        try:
            segment_one(task, model, settings, options, console)
        except AsmlpError as error:
            failures[task.source.name] = " ".join(str(error).split())
    console.note(f"{len(tasks) - len(failures)} of {len(tasks)} volumes segmented")
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
    volume = read_volume(task.source, volume=options.volume)
    if options.region is not None:
        settings = replace(settings, region=Region.parse(options.region, volume.grid.shape))
    partial = Partial(task.partial, resume=options.resume)
    work = _announced(iter_segment(volume, model, settings, partial), task.source.name, console)
    try:
        result = console.follow(work, task.source.name)
    except KeyboardInterrupt:
        if partial.folder.exists():
            console.note(f"{partial.folder} keeps what is finished: --resume goes on with it")
        raise
    _write(result, task, options)
    partial.remove()
    found = ", ".join(f"{name} {mm3:g} mm³" for name, mm3 in result.report["volumes_mm3"].items())
    console.note(f"{task.output}: {found or 'no label found'}")


def _announced(
    work: Generator[Progress, None, Segmentation], title: str, console: Console
) -> Generator[Progress, None, Segmentation]:
    """Say at once what may not do or will be slow, after two windows what a long run will take."""
    begun, timed = False, False
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
            if plan is not None and plan.emulation and not begun:
                console.note(f"{title}: {plan.emulation}")
            begun = True
            if plan and left is not None and progress.done > progress.first + 1 and not timed:
                timed = True
                if left > _LONG_SECONDS:
                    console.note(f"{title}: {plan.describe()}, about {format_seconds(left)}")
            yield progress


def plan(options: argparse.Namespace) -> list[Task]:
    """Pair inputs with outputs and refuse what cannot be written, before anything runs."""
    single = len(options.inputs) == 1 and not options.inputs[0].is_dir()
    if single:
        tasks = [Task(options.inputs[0], options.output)]
        if not tasks[0].source.exists():
            read_volume(tasks[0].source)
    else:
        tasks = _folder_tasks(options)
        if options.resume:
            tasks = [task for task in tasks if not (task.output.exists() and task.record.exists())]
    _check_outputs(options, tasks, single=single)
    return tasks


def _folder_tasks(options: argparse.Namespace) -> list[Task]:
    sources = [
        file for path in options.inputs for file in (volumes_in(path) if path.is_dir() else [path])
    ]
    outputs: dict[str, Path] = {}
    for source in sources:
        name = f"{base_name(source)}.{options.format}"
        if name in outputs:
            raise SettingsError(f"{outputs[name]} and {source}: both would be written to {name}")
        outputs[name] = source
    return [Task(source, options.output / name) for name, source in outputs.items()]


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
    inputs = [task.source for task in tasks]
    if options.model is not None:
        inputs.append(zoo.find(options.model))
    check_distinct([path for task in tasks for path in (task.output, task.record)] + extras)
    allowed = {"overwrite": options.overwrite, "inputs": inputs}
    for path in volumes:
        check_output(path, **allowed)
    if options.report is not None:
        check_file(options.report, **allowed)
    if is_new:
        folder.mkdir()
    for task in tasks:
        check_output(task.output, **allowed)
        check_file(task.record, **allowed)
        if task.partial.exists() and not (options.resume or options.overwrite):
            raise OutputError(
                f"{task.partial}: an unfinished run lies there; --resume goes on with it,"
                " --overwrite begins anew"
            )


def _write(result: Segmentation, task: Task, options: argparse.Namespace) -> None:
    """Write what was found and the record of the run, the labels last but for it."""
    started = time.monotonic()
    if result.probabilities is not None:
        write_volume(result.probabilities, options.probabilities, overwrite=options.overwrite)
    if result.uncertainty is not None:
        write_shares(result.uncertainty, options.uncertainty, overwrite=options.overwrite)
    write_labels(result.labels, task.output, overwrite=options.overwrite)
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
        with replacing(path, overwrite=options.overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
