"""Memory that does not suffice, injected at every window: the work goes on, or says why not."""

import numpy as np
import pytest
import torch

from napari_asmlp.errors import AsmlpError
from napari_asmlp.grid import Grid
from napari_asmlp.inference import InferenceSettings, iter_slabs
from napari_asmlp.inference.held import RollingSums
from napari_asmlp.inference.runner import Runner
from napari_asmlp.model import Preprocessing
from napari_asmlp.pipeline import Partial, SegmentSettings
from napari_asmlp.preprocess import ModelImage, SourceSlabs, place
from napari_asmlp.volume import Volume
from napari_asmlp.windows import place_windows
from tests.blobs import AFFINE, ball
from tests.models import small_model
from tests.pipeline_runs import run

SETTINGS = SegmentSettings(precision="fp32")
ERRORS = [
    MemoryError("Unable to allocate 9 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory."),
]
WINDOWS = 12  # of the volume: 2 x 2 x 3


@pytest.fixture
def volume():
    image, _ = ball(0, shape=(20, 36, 22))
    return Volume(image, Grid(image.shape, AFFINE))


def failing(monkeypatch, owner, name, call, error):
    """Let a method fail at a call, and at no other."""
    method, calls = getattr(owner, name), []

    def counted(*given, **named):
        calls.append(name)
        if len(calls) == call:
            raise error
        return method(*given, **named)

    monkeypatch.setattr(owner, name, counted)
    return calls


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", range(1, WINDOWS // 2 + 1))
def test_a_batch_that_does_not_fit_changes_nothing(volume, monkeypatch, call, error):
    model, image = small_model(), np.asarray(volume.data, np.float32)[None]
    boxes = place_windows(image.shape[1:], (16, 16, 16), 0.25)
    assert len(boxes) == WINDOWS
    pairs = InferenceSettings(torch.device("cpu"), batch=2)

    def labels():
        slabs = SourceSlabs(place(volume.grid, Preprocessing(axis_codes=None)), model.card)
        steps = list(finished_labels(iter_slabs(model.network, image, boxes, 2, pairs), slabs))
        return np.concatenate([one for one, _ in steps], axis=2), steps[-1][1]

    expected, _ = labels()
    failing(monkeypatch, Runner, "_logits", call, error)
    found, settings = labels()
    assert settings.batch == 1
    np.testing.assert_array_equal(found, expected)


def finished_labels(steps, slabs):
    """Give the labels of each slab, and the settings in force."""
    for step in steps:
        for slab in slabs.add(*step.finished) if step.finished else ():
            yield slab.labels, step.settings


@pytest.mark.usefixtures("native_bf16")
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", range(1, WINDOWS + 1))
def test_a_window_that_does_not_fit_runs_in_half_precision(volume, monkeypatch, call, error):
    _, full = run(volume, small_model(), SETTINGS)
    _, half = run(volume, small_model(), SegmentSettings(precision="bf16"))
    calls = failing(monkeypatch, Runner, "_logits", call, error)
    _, result = run(volume, small_model(), SETTINGS)
    assert len(calls) == WINDOWS + 1
    assert (result.report["precision"], result.report["parts"]) == ("bf16", 1)
    found = result.labels.array()
    one, other = full.labels.array(), half.labels.array()
    assert (found == one).mean() > 0.95  # the two precisions differ in few voxels
    if call == 1:
        np.testing.assert_array_equal(found, other)


@pytest.mark.usefixtures("emulated_bf16")
@pytest.mark.parametrize("call", [1, WINDOWS])
def test_a_window_runs_in_parts_where_half_precision_is_emulated(volume, monkeypatch, call):
    _, whole = run(volume, small_model(), SETTINGS)
    failing(monkeypatch, Runner, "_logits", call, ERRORS[0])
    _, result = run(volume, small_model(), SETTINGS)
    assert (result.report["precision"], result.report["parts"]) == ("fp32", 2)
    # At the borders of parts the network sees less of the image.
    assert (result.labels.array() == whole.labels.array()).mean() > 0.9


@pytest.mark.parametrize("spacing", [None, (0.8, 0.9, 0.7)])
@pytest.mark.parametrize(
    ("owner", "name", "said"),
    [
        (RollingSums, "add", "for the sums of 3 outputs over a layer"),
        (ModelImage, "planes", "for the planes of the image"),
        (SourceSlabs, "_slab", "for labels of finished planes"),
        (ModelImage, "_resampled", "for (the )?planes of the image"),
    ],
)
def test_elsewhere_it_is_an_error_and_finished_slabs_stay(
    volume, tmp_path, monkeypatch, owner, name, said, spacing
):
    model = small_model(preprocessing=Preprocessing(spacing=spacing))
    with monkeypatch.context() as counting:
        calls = failing(counting, owner, name, 0, MemoryError())
        _, whole = run(volume, model, SETTINGS)
    assert calls
    for call in range(1, len(calls) + 1):
        folder = tmp_path / f"{call}"
        with monkeypatch.context() as injected:
            failing(injected, owner, name, call, MemoryError())
            with pytest.raises(AsmlpError, match=f"not enough memory {said}.*--memory") as caught:
                run(volume, model, SETTINGS, Partial(folder))
        assert "\n" not in str(caught.value)
        _, result = run(volume, model, SETTINGS, Partial(folder, resume=True))
        np.testing.assert_array_equal(result.labels.array(), whole.labels.array())
