"""The race: one harness, a budget that survives a kill, and entries that nobody handicapped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from tests.blobs import write_dataset

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RECIPE = """
crop = [16, 16, 16]
batch_size = 1
[network]
widths = [4, 8]
encoder_blocks = [1, 1]
decoder_blocks = [1]
"""


@pytest.fixture
def race(monkeypatch):
    """Modules of the race by name, gone again afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import race
    import race_networks
    import race_report
    import race_run

    modules = {m.__name__: m for m in (race, race_networks, race_report, race_run)}
    yield modules
    for name in modules:
        sys.modules.pop(name)


def one(entry, seed, dice, **others):
    """A result with easy numbers."""
    values = {
        "hd95_mm": 1.0,
        "missed": 0,
        "cases": 40,
        "parameters": 2_000_000,
        "gflop": 3.0,
        "step_ms": 4.0,
        "steps": 5,
        "case_ms": 6.0,
        "training_mib": 7.0,
        "inference_mib": 8.0,
        "curve": [{"minutes": 1.0, "dice": 0.5}, {"minutes": 2.0, "dice": dice}],
    }
    return {"entry": entry, "seed": seed, "dice": dice, **values, **others}


RESULTS = [
    one("asmlp-muon", 0, 0.80),
    one("asmlp-muon", 1, 0.84, hd95_mm=3.0),
    one("unet-muon", 0, 0.82),
    one("unet-muon", 1, 0.81, missed=3, hd95_mm=None),
]


def test_the_table_has_means_and_differences_on_equal_folds(race):
    # 0.80 and 0.84: mean 0.82, deviation sqrt(2 * 0.02²) = 0.028; -0.02 and +0.03: mean +0.005
    text = race["race_report"].table(RESULTS, {"dynunet-muon": "not here"})
    numbers = "2.00 M | 3.0 | 4 | 5 | 6 | 7 | 8 |"
    assert f"| asmlp-muon | 0.820 ± 0.028 | 2.00 ± 1.41 | {numbers}" in text
    assert f"| unet-muon | 0.815 ± 0.007 | – | {numbers}" in text
    assert "| dynunet-muon | left out: not here |" in text
    assert "| asmlp-muon − unet-muon | +0.0050 (-0.0200 to +0.0300) |" in text
    assert "unet-muon: in 80 cases, a label was missed or made up 3 times" in text


def test_the_table_replaces_the_one_before(race, tmp_path):
    page = tmp_path / "race.md"
    page.write_text("# Race\n<!-- race: begin -->\nold\n<!-- race: end -->\nthe rest\n")
    race["race_report"].fill(page, "new")
    expected = "# Race\n<!-- race: begin -->\nnew\n<!-- race: end -->\nthe rest\n"
    assert page.read_text() == expected


def test_the_plot_names_each_entry_once(race, tmp_path):
    pytest.importorskip("matplotlib", reason="draws the plot")
    race["race_report"].plot(RESULTS, tmp_path / "race.svg")
    drawn = (tmp_path / "race.svg").read_text()
    assert drawn.count("asmlp-muon: 0.820 ± 0.028") == 1
    assert drawn.count("unet-muon: 0.815 ± 0.007") == 1


@pytest.mark.parametrize("text", ["vit-muon", "asmlp-sgd", "asmlp", "asmlp-muon@fast"])
def test_an_unknown_entry_is_refused(race, text):
    with pytest.raises(ValueError, match=text):
        race["race_networks"].Entry.parse(text)


@pytest.mark.parametrize(
    ("text", "rates"), [("unet-muon@0.01", (2e-3, 0.01)), ("unet-adamw@0.01", (0.01, 0.02))]
)
def test_a_rate_is_that_of_the_entry_s_optimiser(race, text, rates):
    entry = race["race_networks"].Entry.parse(text)
    recipe = entry.tuned(race["race_run"].Recipe())
    assert (recipe.learning_rate, recipe.muon_learning_rate) == rates
    assert str(entry) == text


def test_convolutions_kept_as_matrices_compute_the_same(race):
    layers = [
        torch.nn.Conv3d(1, 4, 3),
        torch.nn.Conv3d(4, 6, 3),
        torch.nn.ConvTranspose3d(6, 5, 2, stride=2),
        torch.nn.Conv3d(5, 2, 1),
    ]
    network, volume = torch.nn.Sequential(*layers), torch.randn(1, 1, 8, 8, 8)
    expected = network(volume)
    torch.testing.assert_close(race["race_networks"].with_matrices(network)(volume), expected)
    matrices = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    assert matrices == [(6, 4 * 27), (5 * 8, 6)]
    plain = race["race_networks"].without_matrices(network)
    torch.testing.assert_close(plain(volume), expected)
    assert [p.ndim for p in plain.parameters() if p.ndim > 1] == [5] * 4


def test_the_mixer_puts_voxels_of_a_patch_where_they_belong(race):
    module = race["race_networks"]
    task = module.Task((4, 4, 8), 1, 2)
    mixer = module.MixerSegmenter(task, patch=2, channels=3, depth=0, hidden=1)
    mixer.head = torch.nn.Linear(3, 16)
    torch.nn.init.zeros_(mixer.head.weight)
    mixer.head.bias.data = torch.arange(16.0)  # voxel by voxel of a patch, two classes each
    logits = mixer(torch.randn(1, 1, 4, 4, 8))
    assert logits.shape == (1, 2, 4, 4, 8)
    patch = torch.arange(8.0).reshape(2, 2, 2)
    torch.testing.assert_close(logits[0, 0], 2 * patch.repeat(2, 2, 4))
    torch.testing.assert_close(logits[0, 1], 2 * patch.repeat(2, 2, 4) + 1)


def test_padding_surrounds_a_case_by_its_least_value(race):
    image = torch.full((1, 3, 9, 4), 5.0)
    image[0, 0, 0, 0] = 2
    wide, inside = race["race_networks"].padded(image, (8, 8, 4), 8)
    assert wide.shape == (1, 8, 16, 4)
    assert inside == (slice(2, 5), slice(3, 12), slice(0, 4))
    assert wide[(slice(None), *inside)].equal(image)
    assert wide[0, :2].eq(2).all() and wide[0, :, 12:].eq(2).all()


def test_fixed_windows_cover_a_case_that_is_larger_than_the_crop(race):
    module = race["race_networks"]

    class Echo(torch.nn.Module):
        fixed_shape = (4, 4, 4)

        def forward(self, volume):
            assert volume.shape[2:] == self.fixed_shape
            return torch.cat([0.5 - volume, volume - 0.5], dim=1)

    image = torch.rand(1, 7, 3, 5).round().numpy()
    sample = race["race_run"].Sample.of("echo", image, image[0].astype("uint8"))
    found = race["race_run"].decide(Echo(), sample, module.Task((4, 4, 4), 1, 2))
    assert (found == image[0]).all()


@pytest.mark.slow
def test_the_whole_race_is_taken_up_where_it_was_left(race, tmp_path, capsys):
    data, folder = write_dataset(tmp_path / "balls", 8), tmp_path / "out"
    (tmp_path / "small.toml").write_text(RECIPE)
    words = [str(data), "--out", str(folder), "--recipe", str(tmp_path / "small.toml")]
    words += ["--minutes", "0.01", "--seeds", "0", "--networks", "asmlp-adamw"]
    assert race["race"].main([*words, "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines().count("asmlp-adamw_seed0: score") == 1
    assert "| asmlp-adamw | 0." in said.out
    result = json.loads((folder / "asmlp-adamw_seed0.json").read_text())
    assert result["fold"] == "1/5"
    assert len(result["curve"]) == 5
    assert result["steps"] * result["step_ms"] >= 600  # the budget: 0.01 minutes

    assert race["race"].main(words) == 0  # all done: nothing is run again
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == said.out

    # A run that ended before it could say so goes on from its checkpoint: no further step.
    for suffix in (".json", ".train.json"):
        (folder / f"asmlp-adamw_seed0{suffix}").unlink()
    assert race["race"].main(words) == 0
    resumed = json.loads((folder / "asmlp-adamw_seed0.json").read_text())
    assert resumed["steps"] == result["steps"]
    assert resumed["dice"] == result["dice"]

    assert race["race"].main([*words, "--minutes", "0.02"]) == 2
    assert "holds a race with other settings" in capsys.readouterr().err


def test_a_run_that_fails_is_reported_and_the_others_go_on(race, tmp_path, capsys, monkeypatch):
    entries = [race["race_networks"].Entry.parse(text) for text in ("asmlp-adamw", "mixer4-adamw")]
    runs = [race["race_run"].Run(tmp_path, entry, 0) for entry in entries]

    class Ended:
        returncode = 3

        def __init__(self, *_words, **_settings):
            pass

        def poll(self):
            return self.returncode

    monkeypatch.setattr(race["race"].subprocess, "Popen", Ended)
    assert race["race"].run_all(runs, 1) == runs
    failed = [line for line in capsys.readouterr().err.splitlines() if "failed, see" in line]
    assert [line.split(":")[0] for line in failed] == ["asmlp-adamw_seed0", "mixer4-adamw_seed0"]


def test_a_run_whose_race_was_killed_saves_itself_and_goes_on(race, tmp_path, monkeypatch):
    module, main = race["race_run"], race["race"]
    data = write_dataset(tmp_path / "balls", 8)
    (tmp_path / "small.toml").write_text(RECIPE)
    recipe = str(tmp_path / "small.toml")
    words = [str(data), "--out", str(tmp_path), "--recipe", recipe, "--minutes", "0.01"]
    main.open_folder(tmp_path, main.settings(main.arguments(words)))
    run = module.Run(tmp_path, race["race_networks"].Entry.parse("asmlp-adamw"), 0)
    steps, learn = [], module.learn
    monkeypatch.setattr(module, "learn", lambda state, *crops: steps.append(learn(state, *crops)))
    with monkeypatch.context() as killed, pytest.raises(SystemExit):
        parents = iter([7, 7, 7, 1])  # asked once at the start and after each step
        killed.setattr(module.os, "getppid", lambda: next(parents))
        module.train(run)
    assert len(steps) == 3
    module.train(run)
    facts = json.loads(run.file(".train.json").read_text())
    assert facts["steps"] == len(steps)
    assert len(steps) > 3
    assert [point["minutes"] for point in facts["curve"]][-1] >= 0.01
