"""A job with far fewer steps than the model's own is quick, and says that it is a preview."""

from __future__ import annotations

from pathlib import Path

import pytest

from voidbridge_backend.engine.void.engine import Void
from voidbridge_backend.engine.void.options import Options
from voidbridge_protocol.messages import Settings


class Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_a_preview_asks_the_network_at_most_half_as_often_and_says_so(
    tiny: Path, small_clip: type
) -> None:
    engine = Void(tiny, "cpu", Options(height=32, width=48, window=21, steps=5, fineness=1))
    asked = 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    for number in (1, 2):
        engine.denoiser(number).network.register_forward_pre_hook(count)

    def done(steps: int) -> tuple[int, list[str]]:
        nonlocal asked
        asked, heard = 0, Heard()
        settings = Settings(engine="void", passes=2, steps=steps)
        assert len(list(engine.remove(small_clip(21), settings, heard))) == 21
        return asked, heard.warnings

    final, said = done(0)
    assert (final, said) == (10, [])
    preview, said = done(2)
    assert 2 * preview <= final
    assert [line for line in said if line.startswith("preview quality: 2 steps instead of 5")]


@pytest.mark.parametrize(
    ("steps", "expected"), [(0, False), (1, True), (25, True), (26, False), (50, False)]
)
def test_half_the_steps_are_a_preview(steps: int, expected: bool) -> None:
    assert Options(steps=50).is_preview(steps) is expected
