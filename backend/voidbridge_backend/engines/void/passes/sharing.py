"""Shares the evaluations of a denoising step among the job's own device and lent ones.

Every evaluation is the same on each device, and answers are blended in the same order. So the latents have the same
bits as on one device. A device that fails or is taken back only costs time: its evaluation is done again here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from voidbridge_backend.engines.base import LentAnswer, LentDevices
from voidbridge_backend.engines.void.model.denoiser import Denoiser, guided

from .evaluation import Evaluation, encoded, unpacked

WAIT_S = 0.1
"""Seconds between two reports while other devices finish."""
PATIENCE = 3.0
"""So many times the duration of an own evaluation, an answer is waited for. Then it is computed here as well.

A device may have to load or compile first. A late answer is not used, and its device then helps again.
"""

Unit = tuple[str, int | None]
"""A part of the clip (its window and tile), and the half of guidance or None."""


class Sharing:
    """The lent devices during one pass. `again` repeats the last report; it raises if the job should stop."""

    def __init__(
        self,
        lent: LentDevices,
        denoiser: Denoiser,
        circumstances: Mapping[str, Any],
        again: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self._lent, self._denoiser, self._circumstances = lent, denoiser, circumstances
        self._again, self._warn = again, warn
        self._refused: set[str] = set()
        self._most = 1
        self._steps = 0
        self._at: dict[str, tuple[int, Unit]] = {}
        """The step and the unit at which each device works."""
        self._own_s = WAIT_S
        self._halves_are_exact: bool | None = None

    def begin(self, parts: int, guidance: float) -> None:
        """Asks for as many devices as a step of `parts` evaluations can use."""
        self._lent.want((parts if guidance == 1 else 2 * parts) - 1)

    def end(self) -> None:
        """Gives all devices back."""
        self._lent.want(0)

    def answers(self, parts: Sequence[str], ask: Callable[[str], Evaluation]) -> dict[str, Tensor]:
        """Returns the velocity of each part, float32 on the CPU; none if no device is lent at the moment."""
        self._steps += 1
        self._receive({}, 0)
        devices = 1 + len(self._idle())
        if devices == 1:
            return {}
        guidance = ask(parts[0]).guidance
        halves = self._gain_from_halves(len(parts), devices, guidance) and self._exact(
            ask(parts[0])
        )
        if self._halves_are_exact is False:
            self._lent.want(len(parts) - 1)
        if len(parts) == 1 and not halves:
            return {}
        if devices > self._most:
            self._most = devices
            self._warn(f"steps are shared by up to {devices} devices, with the bits of one device")
        units: list[Unit] = [
            (part, half) for part in parts for half in ((0, 1) if halves else (None,))
        ]
        found = self._shared(units, ask)
        if not halves:
            return {part: found[part, None] for part in parts}
        return {part: self._joined(found[part, 0], found[part, 1], guidance) for part in parts}

    def _shared(self, units: list[Unit], ask: Callable[[str], Evaluation]) -> dict[Unit, Tensor]:
        waiting = deque(units)
        found: dict[Unit, Tensor] = {}
        idle_since = time.monotonic()
        while len(found) < len(units):
            for device in self._idle():
                if len(waiting) > 1 or (waiting and self._pending(found)):
                    unit = waiting.popleft()
                    self._at[device] = self._steps, unit
                    self._lent.ask(device, encoded(self._circumstances, _asked(ask, unit)))
            is_late = time.monotonic() - idle_since > PATIENCE * self._own_s
            if waiting or is_late:
                unit = waiting.popleft() if waiting else self._pending(found)[0]
                began = time.monotonic()
                found[unit] = _asked(ask, unit).answered(self._denoiser)
                idle_since = time.monotonic()
                self._own_s = max(idle_since - began, WAIT_S)
            lacking = len(units) - len(found) - len(waiting)
            waiting.extend(self._receive(found, WAIT_S if lacking and not waiting else 0))
            self._again()
        return found

    def _pending(self, found: Mapping[Unit, Tensor]) -> list[Unit]:
        """Returns the units of this step at which other devices work."""
        return [
            unit for step, unit in self._at.values() if step == self._steps and unit not in found
        ]

    def _receive(self, found: dict[Unit, Tensor], wait_s: float) -> list[Unit]:
        """Adds new answers to `found`. Returns the units without an answer."""
        lost = []
        for answer in self._lent.answers(wait_s):
            step, unit = self._at.pop(answer.device, (0, ("", None)))
            velocity = self._accepted(answer)
            if step != self._steps or unit in found:
                continue
            if velocity is None:
                lost.append(unit)
            else:
                found[unit] = velocity
        return lost

    def _accepted(self, answer: LentAnswer) -> Tensor | None:
        """Returns the tensor of an answer, None if there is none or another kind of code computed it."""
        if answer.data is None:
            if answer.why:
                self._refuse(answer.device, answer.why)
            return None
        words, tensors = unpacked(answer.data)
        if words["compiled"] != self._denoiser.compiled.is_on:
            self._refuse(answer.device, "its blocks are compiled and these are not, or the reverse")
            return None
        return tensors["answer"]

    def _refuse(self, device: str, reason: str) -> None:
        self._refused.add(device)
        self._warn(f"{device} no longer helps with this pass: {reason}")

    def _idle(self) -> list[str]:
        return [device for device in self._lent.idle() if device not in self._refused]

    def _gain_from_halves(self, parts: int, devices: int, guidance: float) -> bool:
        """Returns if a step ends sooner with one prompt in each evaluation, counted in prompts."""
        return guidance != 1 and -(-2 * parts // devices) < 2 * -(-parts // devices)

    def _exact(self, evaluation: Evaluation) -> bool:
        """Returns if both prompts one by one give the bits of both in one batch. It is tried once.

        A kernel that sums in another order for another batch shows in nearly every number.
        """
        if self._halves_are_exact is None:
            prompts = evaluation.text.prompts(evaluation.guidance)
            both, *single = (
                self._denoiser.outputs(
                    evaluation.latents, evaluation.known, asked, evaluation.timestep
                )
                for asked in (prompts, prompts[:1], prompts[1:])
            )
            self._halves_are_exact = torch.equal(both, torch.cat(single))
        return self._halves_are_exact

    def _joined(self, negative: Tensor, prompt: Tensor, guidance: float) -> Tensor:
        both = torch.cat([negative, prompt]).to(self._denoiser.network.device)
        return guided(both, guidance).cpu()


def _asked(ask: Callable[[str], Evaluation], unit: Unit) -> Evaluation:
    return replace(ask(unit[0]), half=unit[1])
