"""All that changes while a network is trained, and the checkpoint it is kept in."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from napari_asmlp.errors import ModelError, SettingsError
from napari_asmlp.io.files import replacing
from napari_asmlp.model import read_checkpoint
from napari_asmlp.training.optimisers import make_optimisers
from napari_asmlp.training.recipe import BaseRecipe

_GRADIENT_NORM = 1.0
_Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass
class State:
    """Where a training stands.

    Attributes
    ----------
    average : moving average of the weights, or None
    losses : of the steps of the epoch under way
    history : a row for each epoch: epoch, step, seconds, lr, loss, dice (by label, or None)
    best : weights of the best epoch so far, where the recipe has patience
    """

    network: nn.Module
    optimisers: list[Optimizer]
    average: AveragedModel | None
    step: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    @classmethod
    def new(cls, network: nn.Module, recipe: BaseRecipe) -> State:
        """Begin with the weights of `network`."""
        average = None
        if recipe.ema:
            average = AveragedModel(network, multi_avg_fn=_moving_average(recipe.ema))
        return cls(network, make_optimisers(network, recipe), average)

    @property
    def learnt(self) -> nn.Module:
        """The network that is scored and shipped: the average, where there is one."""
        return self.network if self.average is None else self.average.module

    def descend(self, loss: Tensor) -> None:
        """Take one step down the loss; raises `ModelError` where that is no number."""
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"the loss became {value} at step {self.step}: learn more slowly")
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
        nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM)
        for optimiser in self.optimisers:
            optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.losses.append(value)

    def best_epoch(self) -> int | None:
        """Return the first epoch of the highest mean Dice over labels."""
        scored = [row for row in self.history if row["dice"]]
        if not scored:
            return None
        return int(max(scored, key=lambda row: mean_dice(row["dice"]))["epoch"])

    def ship(self) -> None:
        """Put the weights to ship into the network."""
        self.network.load_state_dict(self.best or self.learnt.state_dict())


def _moving_average(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """Return the update of an average that forgets its first steps sooner, as they are far off."""

    @torch.no_grad()
    def update(averages: _Tensors, weights: _Tensors, count: Tensor | int) -> None:
        steps = int(count)
        share = 1 - min(decay, (1 + steps) / (10 + steps))
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, share)

    return update


def mean_dice(scores: Mapping[Any, float]) -> float:
    """Mean over labels."""
    return sum(scores.values()) / len(scores)


def save_checkpoint(path: Path, state: State, recipe: BaseRecipe, split: Mapping[str, Any]) -> None:
    """Write all that a resumed run needs; the file appears whole or not at all."""
    content = {
        "recipe": _written(recipe),
        "split": json.dumps(split),
        "network": state.network.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in state.optimisers],
        "average": None if state.average is None else state.average.state_dict(),
        "best": state.best,
        "step": state.step,
        "seconds": state.seconds,
        "losses": state.losses,
        "history": json.dumps(state.history),
    }
    whole = io.BytesIO()  # torch.save to a full disk raises no OSError
    torch.save(content, whole)
    with replacing(path, overwrite=True) as temporary:
        temporary.write_bytes(whole.getbuffer())


def load_checkpoint(path: Path, state: State, recipe: BaseRecipe) -> None:
    """Go back to a checkpoint; refuses one of another recipe."""
    content = _opened(path, recipe)
    try:
        state.network.load_state_dict(content["network"])
        for optimiser, saved in zip(state.optimisers, content["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        if state.average is not None:
            state.average.load_state_dict(content["average"])
        state.best = content["best"]
        state.step, state.seconds = int(content["step"]), float(content["seconds"])
        state.losses = [float(loss) for loss in content["losses"]]
        state.history = json.loads(content["history"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]  # torch's own fills a page
        raise ModelError(f"{path}: not a checkpoint of this network: {reason}") from error


def split_of(path: Path, recipe: BaseRecipe) -> dict[str, Any]:
    """Return the split that a checkpoint was made with; refuses one of another recipe."""
    try:
        return dict(json.loads(_opened(path, recipe)["split"]))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not a checkpoint of this version: {error}") from error


def _opened(path: Path, recipe: BaseRecipe) -> dict[str, Any]:
    content = read_checkpoint(path)
    if content.get("recipe") != _written(recipe):
        raise SettingsError(f"{path}: was made with another recipe; resume with that one")
    return content


def _written(recipe: BaseRecipe) -> str:
    return pydantic.TypeAdapter(type(recipe)).dump_json(recipe).decode()
