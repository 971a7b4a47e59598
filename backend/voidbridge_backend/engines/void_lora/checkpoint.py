"""Checkpoints of a training: one safetensors file, written whole or not at all, from which it goes on to the bit.

It holds the LoRA, the moments of AdamW and the history. Random draws depend on the step alone, so no generator's
state is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from voidbridge_protocol.transfer.atomic_files import write_whole

RECORD = "voidbridge"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's running means of the gradient and of its square."""


@dataclass
class TrainingProgress:
    """How far a training is."""

    key: str
    """Hash of everything that the training depends on."""
    step: int = 0
    """Finished steps."""
    loss: list[list[float]] = field(default_factory=list)
    """[step, mean loss of the pairs of the step]."""
    held: list[list[float]] = field(default_factory=list)
    """[finished steps, loss of the held-out pairs]."""
    best_step: int = 0
    best_held: float = float("inf")
    best: dict[str, Tensor] = field(default_factory=dict)
    """The LoRA at `best_step`; empty if nothing was measured."""

    def stalled(self, patience: int) -> bool:
        """Whether the last `patience` measurements brought no progress."""
        since = sum(step > self.best_step for step, _ in self.held)
        return 0 < patience <= since


def save_checkpoint(
    path: Path,
    progress: TrainingProgress,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
) -> None:
    """Writes a checkpoint. Raises `DiskFull`."""
    state: dict[str, Tensor] = {f"best/{name}": t for name, t in progress.best.items()}
    for name, parameter in parameters.items():
        state[f"lora/{name}"] = parameter.detach().cpu().contiguous()
        for moment in MOMENTS:
            held = optimizer.state[parameter].get(moment, torch.zeros_like(parameter))
            state[f"{moment}/{name}"] = held.detach().cpu().contiguous()
    told = {key: value for key, value in vars(progress).items() if key != "best"}
    write_whole(path, save(state, {RECORD: json.dumps(told, sort_keys=True)}))


def load_checkpoint(
    path: Path,
    key: str,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
) -> TrainingProgress:
    """Continues from a checkpoint of the same training; without one, from the beginning."""
    try:
        with safe_open(str(path), framework="pt") as file:
            told: dict[str, Any] = json.loads((file.metadata() or {})[RECORD])
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError):
        return TrainingProgress(key)
    if told["key"] != key:
        return TrainingProgress(key)
    best = {n.removeprefix("best/"): t for n, t in state.items() if n.startswith("best/")}
    progress = TrainingProgress(**told, best=best)
    for name, parameter in parameters.items():
        parameter.data.copy_(state[f"lora/{name}"])
        if progress.step:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(progress.step)),
                **{m: state[f"{m}/{name}"].to(parameter.device) for m in MOMENTS},
            }
    return progress


def describe(progress: TrainingProgress) -> dict[str, Any]:
    """Returns the history for the record of the result."""
    told = asdict(progress)
    return {name: told[name] for name in ("step", "loss", "held", "best_step", "best_held")}
