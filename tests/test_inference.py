"""The network over windows: fake networks whose answer over the whole volume is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_asmlp.errors import AsmlpError, ModelError
from napari_asmlp.inference import InferenceSettings, engine_of, iter_slabs, step_down
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.networks.folded import FoldedAsmlp
from napari_asmlp.windows import axis_shares, place_windows
from tests.models import small_model

CPU = torch.device("cpu")
PLAIN = InferenceSettings(CPU)

CASES = [
    # shape, window, overlap
    ((6, 7, 8), (6, 7, 8), 0.0),
    ((9, 7, 8), (8, 8, 8), 0.0),  # one voxel remains; the window is larger than the volume
    ((5, 3, 1), (8, 8, 8), 0.5),
    ((9, 11, 13), (4, 5, 6), 0.5),
    ((7, 12, 10), (5, 7, 4), 0.25),
    ((12, 4, 4), (10, 4, 3), 0.9),
]


class Local(nn.Module):
    """Two logits from each voxel alone: windows cannot differ from the whole volume."""

    def forward(self, x):
        return torch.cat([torch.sin(3 * x), x**2 - 0.5], dim=1)


class Nonlinear(nn.Module):
    """Three logits from a neighbourhood, so that windows differ at their borders."""

    def __init__(self):
        super().__init__()
        weight = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 3, 3, 3)))
        self.weight = nn.Parameter(weight.float())

    def forward(self, x):
        return torch.sin(nn.functional.conv3d(x, self.weight, padding=1)) * x.abs().mean()


class Failing(nn.Module):
    """`Local` that runs out of memory at given calls."""

    def __init__(self, calls, error=torch.OutOfMemoryError, message="CUDA out of memory."):
        super().__init__()
        self.calls, self.error, self.message = set(calls), error, message
        self.count, self.batches, self.autocast = 0, [], []

    def forward(self, x):
        self.count += 1
        if self.count in self.calls:
            raise self.error(self.message)
        self.batches.append(len(x))
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return Local()(x)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def collected(*given):
    """All steps; their scores are copied, as the next window changes them."""
    return [
        replace(step, finished=step.finished and (step.finished[0], step.finished[1].copy()))
        for step in iter_slabs(*given)
    ]


def run(network, image, boxes, axis=2, settings=PLAIN):
    """Scores of the whole volume, and the steps."""
    steps = collected(network, image, boxes, axis, settings)
    parts = sorted((step.finished for step in steps if step.finished), key=lambda part: part[0])
    return np.concatenate([scores for _, scores in parts], axis=1 + axis), steps


def naive(network, image, boxes):
    """Sum over the whole volume, windows in shuffled order."""
    shares = [axis_shares(boxes, axis) for axis in range(3)]
    total = 0
    for n in np.random.default_rng(1).permutation(len(boxes)):
        box = boxes[n]
        with torch.no_grad():
            logits = network(torch.tensor(image[None][(..., *box.slices)].copy()))[0].numpy()
        x, y, z = (shares[axis][box.start[axis]] for axis in range(3))
        part = np.zeros((len(logits), *image.shape[1:]), np.float32)
        share = x[:, None, None] * y[:, None] * z
        part[(slice(None), *box.slices)] = np.round(logits * share * 4096) / 4096
        total = total + part
    return total


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("shape", "window", "overlap"), CASES)
def test_slabs_equal_sums_over_the_whole_volume_bit_for_bit(
    shape, window, overlap, axis, backwards
):
    image = noise(1, *shape)
    boxes = place_windows(shape, window, overlap, axis, backwards=backwards)
    scores, _ = run(Nonlinear(), image, boxes, axis)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, naive(Nonlinear(), image, boxes))


@pytest.mark.parametrize(("shape", "window", "overlap"), CASES)
def test_windows_of_a_local_network_give_the_answer_of_the_whole(shape, window, overlap):
    image = noise(1, *shape)
    boxes = place_windows(shape, window, overlap)
    scores, _ = run(Local(), image, boxes)
    whole = Local()(torch.tensor(image)[None])[0].numpy()
    covers = np.zeros(shape)
    for box in boxes:
        covers[box.slices] += 1
    # Each contribution is rounded to the nearest multiple of 2**-12.
    assert (np.abs(scores - whole) <= covers * 2**-13 + 1e-5).all()


def test_progress_and_slabs_of_the_figure():
    image = noise(1, 2, 2, 24)
    boxes = place_windows((2, 2, 24), (2, 2, 12), 0.5)
    _, steps = run(Local(), image, boxes)
    assert [(step.done, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    slabs = [step.finished for step in steps]
    assert [(first, scores.shape) for first, scores in slabs] == [
        (0, (2, 2, 2, 6)),
        (6, (2, 2, 2, 6)),
        (12, (2, 2, 2, 12)),
    ]


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_batches_change_nothing(batch):
    image = noise(1, 9, 11, 13)
    boxes = place_windows((9, 11, 13), (4, 5, 6), 0.5)
    network = Failing([])
    scores, steps = run(network, image, boxes, settings=InferenceSettings(CPU, batch=batch))
    np.testing.assert_array_equal(scores, run(Local(), image, boxes)[0])
    assert max(network.batches) == min(batch, len(boxes))
    assert [step.done for step in steps] == list(range(1, len(boxes) + 1))


def test_windows_reach_the_network_as_they_are_and_pad_there():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return x

    image = noise(2, 5, 8, 6)
    scores, _ = run(Spy(), image, place_windows((5, 8, 6), (8, 8, 3), 0.0))
    np.testing.assert_allclose(scores, image, atol=2**-12)
    np.testing.assert_array_equal(seen[0][0], image[..., :3])
    np.testing.assert_array_equal(seen[1][0], image[..., 3:])


def test_large_logits_stay_exact():
    class Large(nn.Module):
        def forward(self, x):
            return x * 1e6

    image = noise(1, 9, 9, 9)
    boxes = place_windows((9, 9, 9), (5, 5, 5), 0.5)
    scores, _ = run(Large(), image, boxes)
    assert np.abs(scores).max() == pytest.approx(2048, abs=0.01)
    np.testing.assert_array_equal(np.sign(scores[0]), np.sign(image[0]))


# Windows without contrast


@pytest.mark.parametrize("skip", [False, True])
def test_windows_without_contrast_are_not_run_again(skip):
    image = noise(1, 8, 8, 32)
    image[..., :16] = -1
    boxes = place_windows((8, 8, 32), (8, 8, 4), 0.0)
    network = Failing([])
    scores, steps = run(network, image, boxes, settings=InferenceSettings(CPU, skip_constant=skip))
    np.testing.assert_array_equal(scores, run(Local(), image, boxes)[0])
    assert (network.count, steps[-1].skipped) == ((5, 3) if skip else (8, 0))


# Stopping and failing


def test_closing_stops_before_the_next_window():
    network = Failing([])
    network.train()
    boxes = place_windows((4, 4, 40), (4, 4, 4), 0.0)
    running = iter_slabs(network, noise(1, 4, 4, 40), boxes, 2, PLAIN)
    steps = [next(running) for _ in range(3)]
    assert not network.training
    running.close()
    assert network.count == 3
    assert network.training
    assert [step.finished[0] for step in steps] == [0, 4, 8]
    with pytest.raises(StopIteration):
        next(running)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_name_the_window(value):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(x > 100, value, x)

    image = noise(1, 4, 4, 8)
    image[0, 1, 1, 6] = 101
    boxes = place_windows((4, 4, 8), (4, 4, 4), 0.0)
    with pytest.raises(AsmlpError, match="window 0:4,0:4,4:8 of the model grid, in fp32"):
        run(Broken(), image, boxes)


def test_logits_of_another_shape_are_refused():
    boxes = place_windows((4, 4, 4), (4, 4, 4), 0.0)
    with pytest.raises(ModelError, match=r"\(1, 1, 2, 4, 4\)"):
        run(nn.MaxPool3d((2, 1, 1)), noise(1, 4, 4, 4), boxes)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory."),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate"),
        (RuntimeError, "MPS backend out of memory"),
    ],
)
@pytest.mark.parametrize("call", [1, 3, 5])
def test_out_of_memory_halves_the_batch_and_goes_on(call, error, message):
    image = noise(1, 4, 4, 80)
    boxes = place_windows((4, 4, 80), (4, 4, 4), 0.0)
    network = Failing([call], error, message)
    scores, steps = run(network, image, boxes, settings=InferenceSettings(CPU, batch=4))
    np.testing.assert_array_equal(scores, run(Local(), image, boxes)[0])
    assert sum(network.batches) == 20  # no window runs twice
    assert network.batches[: call - 1] == [4] * (call - 1)
    assert set(network.batches[call - 1 :]) == {2}
    assert steps[-1].settings == InferenceSettings(CPU, batch=2)


@pytest.mark.usefixtures("native_bf16")
def test_out_of_memory_goes_down_to_one_window_in_half_precision():
    image = noise(1, 4, 4, 24)
    boxes = place_windows((4, 4, 24), (4, 4, 4), 0.0)
    network = Failing([2, 3])
    scores, steps = run(network, image, boxes, settings=InferenceSettings(CPU, batch=2))
    assert network.batches == [2, 1, 1, 1, 1]
    assert network.autocast == [False, True, True, True, True]
    assert [step.settings.precision for step in steps] == ["fp32"] * 2 + ["bf16"] * 4
    np.testing.assert_allclose(scores, run(Local(), image, boxes)[0], atol=0.1)


@pytest.mark.parametrize(("bf16", "calls"), [("native_bf16", 5), ("emulated_bf16", 4)])
def test_out_of_memory_at_the_last_step_is_a_clear_error(request, bf16, calls):
    request.getfixturevalue(bf16)
    network = Failing(range(1, 10))
    boxes = place_windows((4, 5, 6), (4, 5, 6), 0.0)
    with pytest.raises(AsmlpError, match="a window of 4x5x6 voxels"):
        run(network, noise(1, 4, 5, 6), boxes, settings=InferenceSettings(CPU, batch=4))
    # In fp32, where it is native in bf16, then in 2, 4 and 8 parts, the first of which fails.
    assert network.count == calls


def test_a_network_with_window_norms_never_runs_in_parts(monkeypatch):
    network = Asmlp(
        AsmlpConfig(widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,), norm="group")
    )

    def fail(_self, _volume):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Asmlp, "forward", fail)
    with pytest.raises(AsmlpError, match="a window of 4x4x4 voxels"):
        run(network, noise(1, 4, 4, 4), place_windows((4, 4, 4), (4, 4, 4), 0.0))


class Small(nn.Module):
    """`Local` that runs out of memory where a window has too many voxels."""

    def __init__(self, most):
        super().__init__()
        self.most, self.shapes = most, []

    def forward(self, x):
        if x[0].numel() > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        self.shapes.append(tuple(x.shape[2:]))
        return Local()(x)


@pytest.mark.parametrize(
    ("most", "parts", "shape"),
    [
        (239, 2, (6, 4, 5)),  # of 6x8x5 the longest side is halved, and then again
        (119, 4, (3, 4, 5)),
    ],
)
def test_a_window_that_does_not_fit_runs_in_parts(most, parts, shape):
    image, window = noise(1, 6, 8, 15), (6, 8, 5)
    boxes = place_windows(image.shape[1:], window, 0.0)
    network = Small(most)
    scores, steps = run(network, image, boxes)
    assert {step.settings.parts for step in steps} == {parts}
    assert set(network.shapes) == {shape}
    np.testing.assert_allclose(scores, run(Local(), image, boxes)[0], atol=0.1)


@pytest.fixture
def folded_runs(monkeypatch):
    """Let the folded network of the bundled architecture fail at a call; count the calls."""
    state = {"calls": 0, "fail_at": None, "dtypes": []}
    forward = FoldedAsmlp.forward

    def counted(self, volume):
        state["calls"] += 1
        if state["calls"] == state["fail_at"]:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 GB")
        state["dtypes"].append(self.embedding.weight.dtype)
        return forward(self, volume)

    monkeypatch.setattr(FoldedAsmlp, "forward", counted)
    return state


@pytest.mark.usefixtures("native_bf16")
@pytest.mark.parametrize("fail_at", range(1, 10))
def test_the_folded_network_goes_on_at_any_window_without_memory(folded_runs, fail_at):
    network = small_model().network
    image = noise(1, 8, 8, 24)
    boxes = place_windows((8, 8, 24), (8, 8, 8), 0.7)  # steps of 2
    assert len(boxes) == 9
    expected, _ = run(network, image, boxes)
    folded_runs.update(calls=0, fail_at=fail_at, dtypes=[])
    scores, steps = run(network, image, boxes)
    assert folded_runs["calls"] == len(boxes) + 1  # no window but the failed one runs twice
    full, half = torch.float32, torch.bfloat16
    assert folded_runs["dtypes"] == [full] * (fail_at - 1) + [half] * (len(boxes) - fail_at + 1)
    assert [step.settings.precision for step in steps][fail_at - 1] == "bf16"
    assert np.abs(scores - expected).mean() < 0.01
    whole = 2 * (fail_at - 1)  # planes that only windows before it touch
    np.testing.assert_array_equal(scores[..., : max(0, whole)], expected[..., : max(0, whole)])


def test_memory_that_numpy_cannot_get_is_the_same():
    network = Failing([1], MemoryError, "Unable to allocate 9 GiB")
    boxes = place_windows((4, 4, 8), (4, 4, 4), 0.0)
    _, steps = run(network, noise(1, 4, 4, 8), boxes, settings=InferenceSettings(CPU, batch=2))
    assert steps[-1].settings.batch == 1


def test_it_begins_at_any_window():
    image = noise(1, 4, 4, 40)
    boxes = place_windows((4, 4, 40), (4, 4, 8), 0.5)
    whole, _ = run(Local(), image, boxes)
    for first in range(1, len(boxes)):
        network = Failing([])
        steps = collected(network, image, boxes, 2, PLAIN, first)
        assert network.count == len(boxes) - first
        assert [step.done for step in steps] == list(range(first + 1, len(boxes) + 1))
        start = boxes[first - 1].stop[2]  # planes that no window before it touches
        scores = np.concatenate([step.finished[1] for step in steps], axis=-1)
        np.testing.assert_array_equal(scores[..., start - 40 :], whole[..., start:])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_of_the_image_are_asked_for_once_and_in_order(axis, backwards):
    image = noise(1, 20, 21, 22)
    asked = []

    class Planes:
        shape = image.shape

        def planes(self, wanted):
            asked.append(wanted)
            index = [slice(None)] * 4
            index[1 + axis] = slice(wanted.start, wanted.stop)
            return image[tuple(index)]

    boxes = place_windows(image.shape[1:], (8, 8, 8), 0.5, axis, backwards=backwards)
    scores, _ = run(Nonlinear(), Planes(), boxes, axis)
    np.testing.assert_array_equal(scores, run(Nonlinear(), image, boxes, axis)[0])
    every = [plane for part in (asked[::-1] if backwards else asked) for plane in part]
    assert every == list(range(image.shape[1 + axis]))
    assert max(map(len, asked[1:])) <= 8


def test_other_runtime_errors_are_not_caught():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(
            Failing([1], RuntimeError, "mat1 and mat2 shapes cannot be multiplied"),
            noise(1, 4, 4, 4),
            place_windows((4, 4, 4), (4, 4, 4), 0.0),
        )


@pytest.mark.parametrize(
    ("device", "settings", "engine"),
    [
        ("cpu", {}, "folded"),
        ("cpu", {"precision": "bf16"}, "folded"),
        ("cpu", {"compiled": True}, "compiled"),
        ("cpu", {"compiled": True, "precision": "fp16"}, "folded"),
        ("cuda", {"compiled": True}, "as it is"),
    ],
)
def test_how_a_network_runs_follows_from_the_settings(device, settings, engine):
    settings = InferenceSettings(torch.device(device), **settings)
    assert engine_of(small_model().network, settings) == engine
    assert engine_of(Local(), settings) == "as it is"


@pytest.mark.parametrize(("bf16", "last"), [("native_bf16", "bf16"), ("emulated_bf16", "fp32")])
def test_step_down_by_hand(request, bf16, last):
    request.getfixturevalue(bf16)
    mps = torch.device("mps")
    steps = [InferenceSettings(mps, batch=2)]
    while (fewer := step_down(steps[-1])) is not None:
        steps.append(fewer)
    assert [(step.device.type, step.precision, step.batch) for step in steps][:3] == [
        ("mps", "fp32", 2),
        ("mps", "fp32", 1),
        ("mps", "fp16", 1),
    ]
    assert (steps[-1].device, steps[-1].precision) == (CPU, last)
