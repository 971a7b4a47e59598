"""A device that helps with another one's job, on a simulated card at the true sizes of the published networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from live_memory import TRANSFORMER
from simulated_card import Model, Simulation

from voidbridge_backend.engines.void.assistant import Assistant
from voidbridge_backend.engines.void.model import memory
from voidbridge_backend.engines.void.model.denoiser import Text
from voidbridge_backend.engines.void.model.memory import GIB, MARGIN, Plan
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void.passes.evaluation import Evaluation, encoded, unpacked
from voidbridge_protocol.errors import EngineFailed, OutOfMemory

LATENTS = 6


class Helper(Model):
    """The published networks, as an assistant uses them."""

    name, dtype = "void", torch.bfloat16

    def use_loras(self, choices: Any, settings: Any, watch: Any) -> None: ...

    def identity(self) -> dict[str, Any]:
        return {"card": "simulated"}

    def bytes_of(self, network: Any) -> int:
        return sum(tensor.nbytes for tensor in network.parameters())


@pytest.fixture
def helper(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """With 4 of the 42 blocks."""
    monkeypatch.setitem(TRANSFORMER, "num_layers", 4)
    return Helper(tiny, Plan("resident"), Options(window=21, overlap=8, precision="bfloat16"))


def task(guidance: float, card: str = "simulated") -> bytes:
    text = Text(torch.zeros(1, 226, 4096), torch.zeros(1, 226, 4096))
    asked = Evaluation(
        torch.zeros(1, LATENTS, 16, 48, 84),
        torch.zeros(1, LATENTS, 32, 48, 84),
        text,
        500,
        guidance,
    )
    return encoded({"pass": 1, "passes": 1, "loras": [], "identity": {"card": card}}, asked)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("plan", ["swapped", "streamed"])
def test_it_takes_the_memory_that_its_plan_counts_and_gives_all_back(
    helper: Helper, said: Any, plan: Any, guidance: float
) -> None:
    demand = helper.demand(1, guidance != 1, LATENTS, 21, 1)
    needed = {name: memory.denoising(Plan(name), demand) for name in ("swapped", "streamed")}
    assert needed["streamed"] < needed["swapped"]
    helper.placement.size = needed[plan] + MARGIN
    assistant = Assistant(helper)
    with Simulation() as meter:
        for _ in range(2):
            _, tensors = unpacked(assistant.answer(task(guidance), said))
        assistant.close()
    assert tensors["answer"].shape == (1, LATENTS, 16, 48, 84)
    assert meter.peak == pytest.approx(needed[plan], rel=0.05)
    assert meter.live < GIB / 20
    assert said.stages.count("loading the model") == 1


def test_too_small_a_card_says_the_numbers_and_keeps_nothing(helper: Helper, said: Any) -> None:
    helper.placement.size = GIB
    with Simulation() as meter, pytest.raises(OutOfMemory, match=r"streamed needs \d\.\d GB"):
        Assistant(helper).answer(task(1.0), said)
    assert meter.live == 0


def test_another_card_is_refused_before_anything_is_loaded(helper: Helper, said: Any) -> None:
    with Simulation() as meter, pytest.raises(EngineFailed, match="card is simulated, not an A100"):
        Assistant(helper).answer(task(1.0, "an A100"), said)
    assert meter.live == 0
