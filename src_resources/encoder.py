"""Train the network whose features teaching begins with, on nothing but made-up volumes.

    python src_resources/encoder.py LABEL_MAPS -o encoder.safetensors

Killed, it goes on from its checkpoint (`encoder.pt` beside the output) by the same command.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from napari_asmlp.model import Card, Model, Preprocessing, save_model
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled_training import CompiledTraining
from napari_asmlp.provenance import now, versions
from napari_asmlp.training.losses import token_loss, token_shares
from napari_asmlp.training.optimisers import set_rates
from napari_asmlp.training.recipe import RECIPE, Recipe, read_recipe
from napari_asmlp.training.samples import Sample
from napari_asmlp.training.state import State, load_checkpoint, save_checkpoint
from napari_asmlp.training.synthetic import (
    ANATOMY,
    SHAPES,
    read_label_map,
    synthetic_head,
    synthetic_shapes,
)
from napari_asmlp.zoo import label_table

SHAPES_EVERY = 5  # of so many volumes one is of shapes
SAVE_EVERY, TELL_EVERY = 120.0, 50
LAST_MAP = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maps", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("encoder.toml"))
    parser.add_argument("--minutes", type=float, help="instead of the recipe's")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    if options.minutes:
        recipe = replace(recipe, minutes=options.minutes)
    network_config = replace(recipe.network, out_channels=len(ANATOMY) + len(SHAPES))
    torch.manual_seed(recipe.seed)
    network = Asmlp(network_config)
    # Mostly at 2 mm, as features are looked for; some at 1 mm, since taught networks run there.
    paths = training_maps(options.maps)
    heads = [read_label_map(path, step) for path in paths for step in (1, 2, 2, 2)]
    print(f"{len(paths)} label maps, {sum(p.numel() for p in network.parameters())} parameters")
    state = State.new(network, recipe)
    checkpoint = options.output.with_suffix(".pt")
    if checkpoint.exists():
        load_checkpoint(checkpoint, state, recipe)
    learn(state, recipe, heads, checkpoint)
    ship(state, recipe, options.output)


def training_maps(folder: Path) -> list[Path]:
    """Return the maps up to the last that may be learnt from, by the number in their names."""
    found = []
    for path in sorted(folder.glob("*.nii*")):
        number = re.search(r"(\d+)\D*$", path.name)
        if number and int(number[1]) <= LAST_MAP:
            found.append(path)
    return found


def learn(state: State, recipe: Recipe, heads: Sequence[Sample], checkpoint: Path) -> None:
    runs = CompiledTraining(state.network, torch.bfloat16)
    start, saved = time.process_time() - state.seconds, time.monotonic()
    while (done := state.seconds / (60 * (recipe.minutes or 1))) < 1:
        set_rates(state.optimisers, recipe.warmup, done)
        for optimiser in state.optimisers:
            optimiser.zero_grad(set_to_none=True)
        first, mean = state.step * recipe.batch_size, 0.0
        for number in range(first, first + recipe.batch_size):
            loss = volume_loss(runs, recipe, heads, number) / recipe.batch_size
            loss.backward()
            mean += float(loss.detach())
        nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        for optimiser in state.optimisers:
            optimiser.step()
        state.average.update_parameters(state.network)
        state.losses.append(mean)
        state.step, state.seconds = state.step + 1, time.process_time() - start
        if state.step % TELL_EVERY == 0:
            recent = state.losses[-TELL_EVERY:]
            told = f"loss {sum(recent) / len(recent):.4f}"
            print(f"step {state.step}, {state.seconds:.0f} CPU s, {told}", flush=True)
            state.losses = recent
        if time.monotonic() - saved > SAVE_EVERY:
            save_checkpoint(checkpoint, state, recipe, {})
            saved = time.monotonic()
    save_checkpoint(checkpoint, state, recipe, {})


def volume_loss(
    runs: CompiledTraining, recipe: Recipe, heads: Sequence[Sample], number: int
) -> Tensor:
    """Return the loss on a volume that follows from seed and number alone."""
    generator = Generator().manual_seed(recipe.seed * 1_000_003 + number)
    if number % SHAPES_EVERY == 0:
        crop = synthetic_shapes(recipe.crop, generator)
        outputs = slice(len(ANATOMY), None)
    else:
        head = heads[int(torch.randint(len(heads), (), generator=generator))]
        crop = synthetic_head(head, recipe.crop, generator)
        outputs = slice(0, len(ANATOMY))
    logits = runs.token_logits(crop.image[None])[:, outputs].float()
    shares = token_shares(crop.classes[None], logits.shape[1], recipe.network.patch_size)
    return token_loss(logits, shares)


def ship(state: State, recipe: Recipe, output: Path) -> None:
    network = Asmlp(state.network.config)
    network.load_state_dict(state.learnt.state_dict())
    names = [*ANATOMY[1:], *(f"shape: {name}" for name in SHAPES)]
    card = Card(
        name=recipe.name,
        summary=recipe.summary,
        labels=label_table(names),
        network=network.config,
        window=(96, 96, 96),
        preprocessing=Preprocessing(spacing=recipe.spacing),
        licence=recipe.licence,
        attribution=recipe.attribution,
        training_data=f"{recipe.training_data}: {state.step * recipe.batch_size} volumes",
        recipe=RECIPE.dump_python(recipe, mode="json"),
        created=now(),
        versions=versions(),
    )
    save_model(Model(card, network.eval()), output, overwrite=True)
    print(output, output.stat().st_size)


if __name__ == "__main__":
    main()
