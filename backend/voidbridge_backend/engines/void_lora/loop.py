"""The training loop: steps, measurements on held-out pairs, checkpoints, and the early stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from voidbridge_backend.engines.void.model import adapters
from voidbridge_backend.engines.void.model.denoiser import Denoiser
from voidbridge_backend.engines.void.model.lora_file import LoraPair
from voidbridge_protocol.errors import EngineFailed, JobCancelled
from voidbridge_protocol.operations.train import TrainSettings

from . import learning
from .checkpoint import TrainingProgress, load_checkpoint, save_checkpoint
from .pairs import TrainingPair
from .process_group import ProcessGroup

NAME = "show"
"""The LoRA's name inside the network."""
BETAS = (0.9, 0.999)

OnStep = Callable[[str, int, int], None]


@dataclass
class Training:
    """One LoRA on its way. `read` gives pairs by their path; they are not kept.

    The processes of `group` share the pairs of a step. Gradients are added in the order of the pairs, so the LoRA
    has the same bits with any number of processes.
    """

    denoiser: Denoiser
    scheduler: Any
    group: ProcessGroup
    pairs: Sequence[Path]
    held: Sequence[Path]
    read: Callable[[Path], TrainingPair]
    checkpoint: Path
    settings: TrainSettings
    on_step: OnStep

    def run(self, key: str) -> tuple[TrainingProgress, dict[str, LoraPair]]:
        """Trains to the end and returns the LoRA of the best measurement; without held-out pairs, the last one.

        `key` names everything that the result depends on: a checkpoint of another training is not continued.
        """
        settings, network = self.settings, self.denoiser.network
        parameters = adapters.trainable(network, NAME)
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(
            list(parameters.values()),
            lr=settings.learning_rate,
            betas=BETAS,
            weight_decay=settings.weight_decay,
            foreach=False,
        )
        progress = load_checkpoint(self.checkpoint, key, parameters, optimizer)
        self.group.meet(progress.step, int(key[:15], 16))
        if not progress.held:
            self._measure(progress, parameters)
        while progress.step < settings.steps and not progress.stalled(settings.patience):
            try:
                self._step(progress, parameters, optimizer)
            except JobCancelled:  # the trained numbers are still those of the last whole step
                if self.group.leads:
                    save_checkpoint(self.checkpoint, progress, parameters, optimizer)
                raise
            is_last = progress.step == settings.steps
            if progress.step % settings.validate_every == 0 or is_last:
                self._measure(progress, parameters)
            if self.group.leads and (progress.step % settings.checkpoint_every == 0 or is_last):
                save_checkpoint(self.checkpoint, progress, parameters, optimizer)
        if progress.best:
            for name, value in progress.best.items():
                parameters[name].data.copy_(value)
        return progress, adapters.pairs_of(network, NAME)

    def _step(
        self,
        progress: TrainingProgress,
        parameters: dict[str, nn.Parameter],
        optimizer: torch.optim.AdamW,
    ) -> None:
        settings, step = self.settings, progress.step
        for group in optimizer.param_groups:
            group["lr"] = learning.rate(settings, step)
        losses: list[float] = []
        while len(losses) < settings.accumulate:
            losses += self._round(step, len(losses), parameters)
        self.group.accelerator.clip_grad_norm_(list(parameters.values()), settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean = sum(losses) / settings.accumulate
        if not mean < float("inf"):
            raise EngineFailed(
                f"the loss of step {step + 1} is not finite", "Train with a lower learning rate."
            )
        progress.step = step + 1
        progress.loss.append([progress.step, mean])

    def _round(self, step: int, begin: int, parameters: dict[str, nn.Parameter]) -> list[float]:
        """Adds the gradients of the next pairs of a step, one for each process; returns their losses."""
        group, rest = self.group, self.settings.accumulate - begin
        if group.count == 1:
            return [self._backward(step, begin)]
        trained = list(parameters.values())
        sums = [parameter.grad for parameter in trained]
        for parameter in trained:
            parameter.grad = None
        loss = self._backward(step, begin + group.index) if group.index < rest else 0.0
        group.meet(step, begin)
        return group.added(loss, trained, sums, min(group.count, rest))

    def _backward(self, step: int, part: int) -> float:
        """Adds the gradient of one pair of a step; returns its loss."""
        settings = self.settings
        self.on_step("training", step, settings.steps)
        number = step * settings.accumulate + part
        epoch, place = divmod(number, len(self.pairs))
        pair = self.read(self.pairs[learning.order(len(self.pairs), settings, epoch)[place]])
        drawn = learning.draw(pair, settings, number, self._timesteps)
        with self.group.accelerator.autocast():
            found = learning.loss(self.denoiser, self.scheduler, pair, drawn, settings.hole_weight)
        self.group.accelerator.backward(found / settings.accumulate)
        return float(found.detach())

    def _measure(self, progress: TrainingProgress, parameters: dict[str, nn.Parameter]) -> None:
        if not self.held:
            return
        found = self.held_loss()
        progress.held.append([progress.step, found])
        if found < progress.best_held:
            progress.best_held, progress.best_step = found, progress.step
            progress.best = {n: p.detach().cpu().clone() for n, p in parameters.items()}

    @torch.no_grad()
    def held_loss(self) -> float:
        """Returns the mean loss of the held-out pairs, at the same noise and times each time."""
        group = self.group
        losses: list[Tensor] = []
        for index, path in enumerate(self.held):
            if index % group.count != group.index:
                losses += [torch.zeros((), device=self.denoiser.network.device)] * len(
                    learning.VALIDATION_TIMES
                )
                continue
            pair = self.read(path)
            for drawn in learning.held_draws(pair, self.settings, index, self._timesteps):
                self.on_step("measuring held-out pairs", index, len(self.held))
                with group.accelerator.autocast():
                    losses.append(
                        learning.loss(
                            self.denoiser, self.scheduler, pair, drawn, self.settings.hole_weight
                        )
                    )
        group.meet()
        found = group.gathered(torch.stack(losses)).view(group.count, len(self.held), -1)
        chosen = [found[index % group.count, index] for index in range(len(self.held))]
        return float(torch.cat(chosen).mean())

    @property
    def _timesteps(self) -> int:
        return int(self.scheduler.config.num_train_timesteps)
