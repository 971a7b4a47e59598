"""An allocator that has nothing left: smaller plans are tried, then the numbers are said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import JobCancelled, OutOfMemory
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2)
ONE_PASS = RemoveSettings(engine="void", prompt="a table")
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


class Heard:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.warnings: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None:
        if not done:
            self.stages.append(stage)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@contextmanager
def failing(kind: str, calls: Callable[[int], bool], error: Exception) -> Iterator[list[int]]:
    """Within it, the nth call of a network of the class `kind` raises where `calls(n)`."""
    counted: list[int] = []

    def before(module: Any, _: object) -> None:
        if type(module).__name__ == kind:
            counted.append(len(counted))
            if calls(counted[-1]):
                raise error

    hook = register_module_forward_pre_hook(before)
    try:
        yield counted
    finally:
        hook.remove()


TRANSFORMER, DECODER, ENCODER = (
    "CogVideoXTransformer3DModel",
    "CogVideoXDecoder3D",
    "CogVideoXEncoder3D",
)


@pytest.fixture(scope="module")
def expected(tiny: Path, small_clip: type) -> dict[int, Pixels]:
    """The result with plenty of memory. These pictures are smaller than a tile, so tiles change nothing."""
    return dict(Void(tiny, "cpu", SMALL).remove(small_clip(15), ONE_PASS, Heard()))


@pytest.mark.parametrize(
    ("kind", "call", "error"),
    [
        (ENCODER, 0, torch.OutOfMemoryError(FULL)),
        (ENCODER, 3, MemoryError()),
        (TRANSFORMER, 1, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")),
        (DECODER, 0, torch.OutOfMemoryError(FULL)),
        (DECODER, 2, torch.OutOfMemoryError(FULL)),
        (DECODER, 0, RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
        (TRANSFORMER, 0, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling it")),
        (TRANSFORMER, 0, RuntimeError("Triton Error [CUDA]: out of memory")),
    ],
    ids=[
        *("encoding the mask", "encoding the plate", "step 2", "first frame", "amid the decoding"),
        *("cuDNN", "cuBLAS", "Triton"),
    ],
)
def test_the_next_smaller_plan_gives_the_same_frames_once_each(
    tiny: Path,
    small_clip: type,
    expected: dict[int, Pixels],
    kind: str,
    call: int,
    error: Exception,
) -> None:
    heard = Heard()
    with failing(kind, lambda count: count == call, error):
        found = list(Void(tiny, "cpu", SMALL).remove(small_clip(15), ONE_PASS, heard))
    assert [frame for frame, _ in found] == list(range(1001, 1016))
    assert all(np.array_equal(pixels, expected[frame]) for frame, pixels in found)
    assert heard.stages.count("loading the model") == 2
    assert "memory ran out with the plan resident" in heard.warnings[0]
    assert "tiles" in heard.warnings[1]


def test_the_next_job_starts_with_the_best_plan_again(tiny: Path, small_clip: type) -> None:
    engine, heard = Void(tiny, "cpu", SMALL), Heard()
    with failing(TRANSFORMER, lambda count: count == 0, torch.OutOfMemoryError(FULL)):
        list(engine.remove(small_clip(2), ONE_PASS, Heard()))
    list(engine.remove(small_clip(2), ONE_PASS, heard))
    assert heard.warnings == []


def test_out_of_plans_is_an_error_with_the_numbers_and_the_engine_goes_on(
    tiny: Path, small_clip: type
) -> None:
    engine, clip = Void(tiny, "cpu", SMALL), small_clip(2)
    with (
        failing(TRANSFORMER, lambda count: True, torch.OutOfMemoryError(FULL)) as calls,
        pytest.raises(OutOfMemory) as caught,
    ):
        list(engine.remove(clip, ONE_PASS, Heard()))
    assert len(calls) == 2
    for word in ("48 x 32 pixels", "21 frames", "resident, then swapped-tiled", FULL):
        assert word in caught.value.text
    assert len(list(engine.remove(clip, ONE_PASS, Heard()))) == 2


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 cannot be multiplied"), ValueError()]
)
def test_another_error_is_no_lack_of_memory(tiny: Path, small_clip: type, error: Exception) -> None:
    with (
        failing(TRANSFORMER, lambda count: True, error) as calls,
        pytest.raises(type(error)) as caught,
    ):
        list(Void(tiny, "cpu", SMALL).remove(small_clip(2), ONE_PASS, Heard()))
    assert caught.value is error
    assert len(calls) == 1


def test_a_cancel_during_the_second_try_is_a_cancel(tiny: Path, small_clip: type) -> None:
    class Impatient(Heard):
        def step(self, stage: str, done: int, of: int) -> None:
            super().step(stage, done, of)
            if self.stages.count("loading the model") == 2:
                raise JobCancelled("stopped")

    with (
        failing(TRANSFORMER, lambda count: count == 0, torch.OutOfMemoryError(FULL)),
        pytest.raises(JobCancelled),
    ):
        list(Void(tiny, "cpu", SMALL).remove(small_clip(2), ONE_PASS, Impatient()))


def test_after_the_first_frame_no_plan_with_other_frames_is_taken(
    tiny: Path, small_clip: type
) -> None:
    """Pictures of several tiles: the frames of a tiled plan would differ from those that were given."""
    large = Options(height=384, width=64, window=21, steps=1, fineness=2)
    frames = Void(tiny, "cpu", large).remove(
        small_clip(15, height=384, width=64), ONE_PASS, Heard()
    )
    given: list[int] = []
    said = r"would not give the same picture; \d+ frames were finished"
    with (
        failing(DECODER, lambda count: count == 2, torch.OutOfMemoryError(FULL)),
        pytest.raises(OutOfMemory, match=said),
    ):
        given.extend(frame for frame, _ in frames)
    assert next(frames, None) is None
