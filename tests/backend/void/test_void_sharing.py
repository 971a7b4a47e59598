"""Windows, tiles and prompts of a step on several devices give the bits of one device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_void_engine import PASS, SMALL, Watcher

from voidbridge_backend.engines.base import Assists, LentAnswer, Pixels
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files.networks import scheduler_config
from voidbridge_backend.engines.void.model import memory
from voidbridge_backend.engines.void.model.denoiser import Conditions, Text
from voidbridge_backend.engines.void.model.memory import GIB, MARGIN, Demand
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_backend.engines.void.passes import pipeline, sharing
from voidbridge_backend.engines.void.passes.detail import Tiling
from voidbridge_backend.engines.void.passes.evaluation import Evaluation, decoded, encoded
from voidbridge_backend.engines.void.passes.sharing import Sharing
from voidbridge_protocol.errors import OutOfMemory, VoidbridgeError
from voidbridge_protocol.operations.remove import RemoveSettings


class Lent:
    """Pretended devices: an engine of its own for each, which answers as soon as it is asked."""

    def __init__(self, **engines: Void) -> None:
        self.engines = engines
        self.wanted: list[int] = []
        self.asked: Counter[str] = Counter()
        self.before_answer: Callable[[str], str | None] = lambda device: None
        """Returns why a device has no answer; "" if it was taken back."""
        self.is_late: Callable[[], bool] = lambda: False
        """Whether answers are still on their way."""
        self._lent: dict[str, bool] = {}
        self._answers: list[LentAnswer] = []

    def want(self, count: int) -> None:
        self.wanted.append(count)
        self._lent = dict.fromkeys(list(self.engines)[:count], True)

    def idle(self) -> Sequence[str]:
        return [device for device, is_idle in self._lent.items() if is_idle]

    def ask(self, device: str, task: bytes) -> None:
        assert self._lent[device], "a device was asked before it had answered"
        self.asked[device] += 1
        self._lent[device] = False
        why = self.before_answer(device)
        if why is not None:
            self._answers.append(LentAnswer(device, None, why))
            return
        try:
            data = self.engines[device].assist(task, Watcher())
        except VoidbridgeError as error:
            self._answers.append(LentAnswer(device, None, error.text))
        else:
            self._answers.append(LentAnswer(device, data))

    def answers(self, wait_s: float) -> Sequence[LentAnswer]:
        if self.is_late():
            return []
        found, self._answers = self._answers, []
        for answer in found:
            self._lent[answer.device] = True
            if answer.data is None and not answer.why:
                del self._lent[answer.device]
        return found


class Lending(Watcher):
    """A job context with lent devices."""

    def __init__(self, lent: Lent) -> None:
        super().__init__()
        self.lent = lent


@pytest.fixture(scope="module")
def lead(tiny: Path) -> Void:
    return Void(tiny, "cpu", SMALL)


@pytest.fixture(scope="module")
def other(tiny: Path) -> Void:
    return Void(tiny, "cpu", SMALL)


ALONE: dict[tuple[int, RemoveSettings], dict[int, Pixels]] = {}
"""Frames that one device made, by the length of the clip and the settings."""


def both_ways(
    lead: Void, lent: Lent, clip: Any, settings: RemoveSettings
) -> tuple[dict[int, Pixels], Lending]:
    """Returns the frames with lent devices, which are equal to those without, and the watch of the job."""
    asked = (len(clip.frames), settings)
    if asked not in ALONE:
        ALONE[asked] = dict(lead.remove(clip, settings, Watcher()))
    alone = ALONE[asked]
    watch = Lending(lent)
    shared = dict(lead.remove(clip, settings, watch))
    assert shared.keys() == alone.keys()
    assert all(np.array_equal(shared[frame], alone[frame]) for frame in alone)
    return shared, watch


def test_windows_of_both_passes_on_two_devices_have_the_bits_of_one(
    lead: Void, other: Void, small_clip: type
) -> None:
    lent = Lent(cuda1=other)
    assert isinstance(other, Assists)
    _, watch = both_ways(lead, lent, small_clip(30), PASS[2])
    assert lent.asked["cuda1"] >= 4  # 2 passes, 2 steps, several windows
    assert lent.wanted[0] > 0
    assert lent.wanted[-1] == 0
    assert sum("shared by up to 2 devices" in text for text in watch.warnings) == 2


def test_three_devices_share_too(lead: Void, other: Void, tiny: Path, small_clip: type) -> None:
    lent = Lent(cuda1=other, cuda2=Void(tiny, "cpu", SMALL))
    both_ways(lead, lent, small_clip(46), PASS[1])
    assert min(lent.asked["cuda1"], lent.asked["cuda2"]) >= 2


def test_the_prompts_of_guidance_are_shared_only_if_that_is_exact(
    lead: Void, other: Void, small_clip: type
) -> None:
    """One window, so that the first pass has nothing to share, and the second its two prompts."""
    lent = Lent(cuda1=other)
    _, watch = both_ways(lead, lent, small_clip(6), PASS[2])
    clip = torch.randn(2, 2, 6, 48, 4, 6, generator=torch.Generator().manual_seed(1))
    text = lead.prompts.embeddings(["a table", ""], "cpu")
    denoiser = lead.denoiser(2)
    latents, known = clip[0, :1, :, :16], clip[1, :1, :, :32]
    both, one, two = (
        denoiser.outputs(latents, known, prompts, 500)
        for prompts in ([text[1], text[0]], [text[1]], [text[0]])
    )
    is_exact = torch.equal(both, torch.cat([one, two]))
    assert lent.asked["cuda1"] == (2 if is_exact else 0)
    assert any("shared" in note for note in watch.warnings) == is_exact


def test_prompts_that_a_batch_computes_in_another_order_stay_together(
    lead: Void, other: Void, small_clip: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = lead.denoiser(2).network
    whole = network.forward

    def other_order(**inputs: torch.Tensor) -> object:
        (answer,) = whole(**inputs)
        return (answer * (1 + 1e-6 * (len(answer) - 1)),)

    monkeypatch.setattr(network, "forward", other_order)
    lent = Lent(cuda1=other)
    both_ways(lead, lent, small_clip(6), replace(PASS[2], prompt="a chair"))
    assert not lent.asked


def test_tiles_of_the_detail_pass_are_shared(lead: Void, other: Void) -> None:
    drawn = torch.Generator().manual_seed(3)
    noise, mask, plate = torch.randn(3, 1, 6, 16, 6, 8, generator=drawn)
    watch, tiling = Watcher(), Tiling((6, 8), (4, 6))
    lent = Lent(cuda1=other)
    circumstances = {"pass": 1, "passes": 1, "loras": [], "identity": lead.identity()}
    denoiser = lead.denoiser(1)
    shared = Sharing(lent, denoiser, circumstances, lambda: None, watch.warn)
    text = Text(lead.prompts.embeddings(["a table"], "cpu")[0])

    def detailed(shared: Sharing | None) -> torch.Tensor:
        return pipeline.denoised(
            denoiser,
            scheduler_config(lead.models),
            Conditions(mask, plate),
            noise,
            text,
            replace(pipeline.FIRST, steps=2, window=21, strength=0.5),
            lambda done, of: None,
            tiling=tiling,
            sharing=shared,
        )

    assert len(tiling.places) > 2
    assert torch.equal(detailed(shared), detailed(None))
    assert lent.asked["cuda1"] >= 2


def test_a_device_that_is_taken_back_costs_no_frame(
    lead: Void, other: Void, small_clip: type
) -> None:
    lent = Lent(cuda1=other)
    lent.before_answer = lambda device: "" if lent.asked[device] == 2 else None
    _, watch = both_ways(lead, lent, small_clip(30), PASS[1])
    assert lent.asked["cuda1"] == 2
    assert not [text for text in watch.warnings if "no longer helps" in text]


def test_a_device_that_takes_too_long_is_not_waited_for_and_helps_again_later(
    lead: Void, other: Void, small_clip: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first answer comes when the second of four steps has begun."""
    monkeypatch.setattr(sharing, "WAIT_S", 0.0)
    lent = Lent(cuda1=other)
    watch = Lending(lent)
    lent.is_late = lambda: (
        not any(stage == "removing" and 4 * done >= of > 0 for stage, done, of in watch.steps)
    )
    settings = replace(PASS[1], steps=4)
    alone = dict(lead.remove(small_clip(30), settings, Watcher()))
    shared = dict(lead.remove(small_clip(30), settings, watch))
    assert all(np.array_equal(shared[frame], alone[frame]) for frame in alone)
    assert lent.asked["cuda1"] == 3  # In the first step, the third and the fourth.
    assert not [text for text in watch.warnings if "no longer helps" in text]


def test_a_device_that_fails_is_asked_once_a_pass_and_named(
    lead: Void, other: Void, small_clip: type
) -> None:
    lent = Lent(cuda1=other)
    lent.before_answer = lambda device: "the worker ended by SIGKILL"
    _, watch = both_ways(lead, lent, small_clip(30), PASS[1])
    assert lent.asked["cuda1"] == 1
    assert "cuda1 no longer helps with this pass: the worker ended by SIGKILL" in watch.warnings


def test_a_device_that_would_compute_other_bits_is_refused_with_the_difference(
    lead: Void, tiny: Path, small_clip: type
) -> None:
    lent = Lent(cuda1=Void(tiny, "cpu", replace(SMALL, attention="math")))
    _, watch = both_ways(lead, lent, small_clip(30), PASS[1])
    assert lent.asked["cuda1"] == 1
    assert any("would compute other bits: attention is math" in text for text in watch.warnings)


def test_a_preview_uses_one_device(lead: Void, other: Void, small_clip: type) -> None:
    lent = Lent(cuda1=other)
    both_ways(lead, lent, small_clip(30), replace(PASS[1], quality="preview"))
    assert not lent.asked


def test_a_cancel_arrives_while_another_device_computes(
    lead: Void, other: Void, small_clip: type
) -> None:
    lent = Lent(cuda1=other)
    watch = Lending(lent)
    watch._stop_at, watch._stage = 3, "removing"
    with pytest.raises(VoidbridgeError):
        dict(lead.remove(small_clip(30), PASS[1], watch))
    assert lent.wanted[-1] == 0


def test_a_device_helps_one_job_and_then_runs_its_own(other: Void, small_clip: type) -> None:
    fresh = dict(other.remove(small_clip(5), PASS[1], Watcher()))
    other.rest()
    again = dict(other.remove(small_clip(5), PASS[1], Watcher()))
    assert all(np.array_equal(fresh[frame], again[frame]) for frame in fresh)


def test_a_question_survives_the_way_to_another_process(lead: Void) -> None:
    text = lead.prompts.embeddings(["a table", ""], "cpu")
    seen = torch.randn(1, 6, 16, 4, 6), torch.randn(1, 6, 32, 4, 6)
    asked = Evaluation(*seen, Text(*text), 37, 6.0, 1)
    words, found = decoded(encoded({"pass": 2}, asked))
    assert words == {"pass": 2}
    assert (found.timestep, found.guidance, found.half) == (37, 6.0, 1)
    assert torch.equal(found.latents, asked.latents)
    assert torch.equal(found.known, asked.known)
    assert torch.equal(found.text.prompt, asked.text.prompt)
    same = Text(text[0], text[0])
    _, found = decoded(encoded({}, Evaluation(*seen, same, 37, 6.0)))
    assert found.text.negative is not None
    assert torch.equal(found.text.negative, text[0])


def test_a_device_that_helps_needs_the_transformer_only(lead: Void) -> None:
    """The published networks: 10.4 GiB of weights, or three blocks of them."""
    assert isinstance(lead.vae(), Vae)
    demand = Demand(
        transformer=int(10.4 * GIB), vae=0, passes=1, streamed=int(1.1 * GIB), pixels=384 * 672,
        latents=22, batch=2, pinned=int(10.3 * GIB),
    )  # fmt: skip
    least = {
        plan.name: memory.denoising(plan, demand) + MARGIN
        for plan in memory.PLANS
        if plan.name in ("swapped", "streamed")
    }
    assert memory.assisting(least["swapped"], demand).name == "swapped"
    assert memory.assisting(least["swapped"] - 1, demand).name == "streamed"
    with pytest.raises(OutOfMemory, match=r"streamed needs 3\.8 GB"):
        memory.assisting(least["streamed"] - 1, demand)
    with pytest.raises(OutOfMemory, match="GB are free"):
        memory.assisting(least["streamed"], demand, host=GIB)
