"""A preview asks the network half as much or less, tells windows apart, and says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import memory
from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text
from voidbridge_backend.engines.void.model.memory import Demand, Plan
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = Options(height=32, width=48, window=21, overlap=8, steps=6, fineness=1)
PREVIEW = RemoveSettings(engine="void", quality="preview")


class Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Blocks:
    """Counts how often blocks of a transformer compute, behind whatever is hung before them."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.asked = [0] * denoiser.blocks
        for index, block in enumerate(denoiser.network.transformer_blocks):
            block.ff.register_forward_pre_hook(self._counter(index))

    def _counter(self, index: int) -> Any:
        def count(*_: object) -> None:
            self.asked[index] += 1

        return count


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answer(denoiser: Denoiser, part: str, seed: int, step: int, guidance: float = 1.0) -> Tensor:
    text = Text(drawn(1, 226, 16, seed=1), drawn(1, 226, 16, seed=2))
    seen, known = drawn(1, 4, 16, 4, 6, seed=seed), drawn(1, 4, 32, 4, 6, seed=4)
    return denoiser.velocity(seen, known, text, step, guidance, part)


@pytest.fixture
def denoiser(tiny: Path) -> Denoiser:
    return networks.denoiser(tiny, 1, torch.float32)


def test_a_preview_asks_half_as_much_or_less_and_says_so(tiny: Path, small_clip: type) -> None:
    engine = Void(tiny, "cpu", SMALL)
    counts = [Blocks(engine.denoiser(number)) for number in (1, 2)]

    def done(settings: RemoveSettings) -> tuple[int, list[str], dict[int, Any]]:
        before, heard = sum(sum(count.asked) for count in counts), Heard()
        frames = dict(engine.remove(small_clip(21), settings, heard))
        return sum(sum(count.asked) for count in counts) - before, heard.warnings, frames

    full, said, final = done(RemoveSettings(engine="void", passes=2))
    assert (full, said) == (2 * 6 * 2, [])
    asked, said, looked_at = done(RemoveSettings(engine="void", passes=2, quality="preview"))
    assert asked * 2 <= full
    assert said == [
        "preview quality: 3 steps instead of 6, and reused blocks; "
        "use the quality full for the final result"
    ]
    assert list(looked_at) == list(final)
    assert all(np.isfinite(looked_at[frame]).all() for frame in final)
    _, said, again = done(RemoveSettings(engine="void", passes=2))  # Nothing of it stays.
    assert said == []
    assert all(np.array_equal(again[frame], final[frame]) for frame in final)


def test_a_preview_is_repeatable_to_the_bit(tiny: Path, small_clip: type) -> None:
    engine = Void(tiny, "cpu", SMALL)
    once, again = (dict(engine.remove(small_clip(37), PREVIEW, Heard())) for _ in range(2))
    assert all(np.array_equal(once[frame], again[frame]) for frame in once)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_an_answer_that_hardly_changes_is_used_again(denoiser: Denoiser, guidance: float) -> None:
    blocks = Blocks(denoiser)
    with denoiser.reusing(0.9):
        first = answer(denoiser, "a", 3, 499, guidance)
        again = answer(denoiser, "a", 3, 499, guidance)
    assert blocks.asked == [2, 1]
    assert torch.allclose(first, again, atol=1e-6)


def test_without_it_and_behind_it_every_block_is_asked(denoiser: Denoiser) -> None:
    blocks = Blocks(denoiser)
    expected = answer(denoiser, "a", 3, 499)
    with denoiser.reusing(0.0):
        answer(denoiser, "a", 3, 499)
    with denoiser.reusing(0.9):
        answer(denoiser, "a", 3, 499)
    assert torch.equal(answer(denoiser, "a", 3, 499), expected)
    assert blocks.asked == [4, 4]


def test_each_window_has_answers_of_its_own(denoiser: Denoiser) -> None:
    """They come in turns; the other's last answer would be another picture."""
    blocks = Blocks(denoiser)
    with denoiser.reusing(0.9):
        alone = [answer(denoiser, "a", 3, step) for step in (499, 498)]
    with denoiser.reusing(0.9):
        turns = []
        for step in (499, 498):
            turns.append(answer(denoiser, "a", 3, step))
            answer(denoiser, "b", 5, step)
    assert blocks.asked == [2 + 4, 1 + 2]
    assert all(torch.equal(one, other) for one, other in zip(alone, turns, strict=True))


def test_a_compiler_that_fails_halfway_leaves_nothing_half(denoiser: Denoiser, said: Any) -> None:
    torch.compiler.reset()
    compiled = []

    def broken(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        if len(compiled) > 1:  # The first block is one graph, the others are another.
            raise RuntimeError("no more of this")
        return graph

    expected = [answer(denoiser, "a", 3, step) for step in (499, 498)]
    denoiser.compiled.begin(said, backend=broken)  # type: ignore[arg-type]
    with denoiser.reusing(1e-9):
        found = [answer(denoiser, "a", 3, step) for step in (499, 498)]
    assert len(said.warnings) == 1
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("options", "settings", "expected"),
    [
        (Options(), PREVIEW, 15),
        (Options(steps=20), PREVIEW, 10),
        (Options(steps=1), PREVIEW, 1),
        (Options(), RemoveSettings(engine="void", quality="preview", steps=8), 8),
        (Options(), RemoveSettings(engine="void"), 50),
        (Options(), RemoveSettings(engine="void", steps=8), 8),
    ],
)
def test_a_preview_makes_half_the_steps_or_fewer(
    options: Options, settings: RemoveSettings, expected: int
) -> None:
    assert options.steps_of(settings) == expected


def test_what_a_preview_keeps_is_counted() -> None:
    demand = Demand(
        transformer=1, vae=1, passes=1, streamed=1, pixels=384 * 672, latents=22, batch=1
    )
    for name in ("swapped-tiled", "streamed-tiled"):
        more = memory.needed(Plan(name), Demand(**(vars(demand) | {"reused": 50})))
        # 208 MB each, over the peak of coding
        assert more - memory.needed(Plan(name), demand) > 3.9 * memory.GIB


@pytest.mark.parametrize(
    "wrong", [{"preview_reuse": 1.5}, {"preview_steps": 0}, {"preview_steps": 1001}]
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match=next(iter(wrong))):
        Options(**wrong)
