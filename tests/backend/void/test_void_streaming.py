"""Blocks stream to a device: the same numbers, bounded memory, and no copy before its slot is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from voidbridge_backend.engines.void import tiny
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import device_placement, fp8, streaming
from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text
from voidbridge_backend.engines.void.model.device_placement import DevicePlacement
from voidbridge_backend.engines.void.model.memory import PLANS, Plan
from voidbridge_backend.engines.void.model.streaming import HostPool, Lanes, StreamedBlocks
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")  # torch's compiler has some.

CPU = torch.device("cpu")
BLOCKS = 5
SMALL = Options(height=32, width=48, window=21, steps=3, preview_steps=3, fineness=2)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with more blocks than slots, and not a multiple of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiny.TRANSFORMER, "num_layers", BLOCKS)
        return tiny.make_tiny(tmp_path_factory.mktemp("deep"))


class Card(DevicePlacement):
    """A card made of host memory: everything is moved and streamed as to a real one."""

    is_cpu = False  # type: ignore[assignment]

    def __init__(self, make_lanes: Callable[[], Lanes] = streaming.HostLanes) -> None:
        super().__init__("cpu")
        self._make_lanes = make_lanes

    def lanes(self) -> Lanes:
        return self._make_lanes()

    def free(self) -> int:
        return 1 << 40

    total = free


class LateLanes:
    """Copies as late as a device may: only when something waits for them.

    A copy that may begin before the last block in its slot has run is an error.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.last_run: dict[int, int] = {}
        self.queue: list[tuple[int, Sequence[tuple[Tensor, Tensor]]]] = []
        self.copied = 0

    def ran(self, slot: int) -> None:
        self.runs += 1
        self.last_run[slot] = self.runs

    def computed(self) -> int:
        return self.runs

    def copy(self, parts: Sequence[tuple[Tensor, Tensor]], after: int) -> int:
        assert after >= self.last_run.get(parts[0][0].untyped_storage().data_ptr(), 0)
        self.copied += 1
        self.queue.append((self.copied, parts))
        return self.copied

    def wait(self, moment: int) -> None:
        while self.queue and self.queue[0][0] <= moment:
            for target, source in self.queue.pop(0)[1]:
                target.copy_(source)

    def finish(self) -> None:
        self.wait(self.copied)


def wave(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def answer(denoiser: Denoiser, guidance: float = 1.0) -> Tensor:
    text = Text(wave(1, 226, 16), wave(1, 226, 16) / 2)
    return denoiser.velocity(wave(1, 6, 16, 4, 6), wave(1, 6, 32, 4, 6), text, 500, guidance)


@contextmanager
def streamed(denoiser: Denoiser, lanes: Lanes | None = None) -> Iterator[StreamedBlocks]:
    blocks = StreamedBlocks(denoiser.network, pinned=False)
    with blocks.streaming(CPU, lanes or streaming.HostLanes()):
        yield blocks


def test_copies_at_the_latest_moment_give_the_same_bits_and_never_meet_a_block(deep: Path) -> None:
    denoiser = networks.denoiser(deep, 1, torch.float32)
    expected = [answer(denoiser, guidance) for guidance in (1.0, 6.0, 1.0)]
    lanes = LateLanes()

    def after(block: Any, *_: object) -> None:
        lanes.ran(next(block.parameters()).untyped_storage().data_ptr())

    with streamed(denoiser, lanes):
        hooks = [
            block.register_forward_hook(after) for block in denoiser.network.transformer_blocks
        ]
        found = [answer(denoiser, guidance) for guidance in (1.0, 6.0, 1.0)]
        for hook in hooks:
            hook.remove()
    assert lanes.runs == 3 * BLOCKS
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.equal(answer(denoiser), expected[0])


@pytest.mark.parametrize(
    ("passes", "plans"), [(1, PLANS), (2, (Plan("streamed"),))], ids=["pass 1", "both passes"]
)
def test_every_plan_gives_the_same_bits_for_a_picture_of_one_tile(
    deep: Path, small_clip: type, said: Any, passes: int, plans: tuple[Plan, ...]
) -> None:
    settings = RemoveSettings(engine="void", passes=passes)
    expected = dict(Void(deep, "cpu", SMALL).remove(small_clip(21), settings, said))
    for plan in plans:
        engine = Void(deep, "cpu", Options(**(vars(SMALL) | {"plan": plan.name})))
        engine.placement = Card(LateLanes)
        found = dict(engine.remove(small_clip(21), settings, said))
        assert engine._plan == plan
        assert all(np.array_equal(found[frame], expected[frame]) for frame in expected), plan


def test_a_streamed_preview_gives_the_bits_of_a_resident_one(
    deep: Path, small_clip: type, said: Any
) -> None:
    settings = RemoveSettings(engine="void", quality="preview")
    found = []
    for plan in ("resident", "streamed"):
        engine = Void(deep, "cpu", Options(**(vars(SMALL) | {"plan": plan, "preview_reuse": 0.9})))
        engine.placement = Card(LateLanes)
        found.append(dict(engine.remove(small_clip(21), settings, said)))
    assert sum("reused blocks" in text for text in said.warnings) == 2
    assert all(np.array_equal(found[0][frame], found[1][frame]) for frame in found[0])


def test_streamed_blocks_are_compiled_and_both_stay_across_jobs(deep: Path, said: Any) -> None:
    denoiser = networks.denoiser(deep, 1, torch.float32)
    expected = answer(denoiser)
    torch._dynamo.reset()
    counter: Any = CompileCounterWithBackend("eager")
    denoiser.compiled.begin(said, backend=counter)
    for _ in range(2):
        with streamed(denoiser, LateLanes()):
            found = answer(denoiser)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert denoiser.compiled.is_on
    assert counter.frame_count <= 2
    assert said.warnings == []
    torch._dynamo.reset()


def test_a_cancel_in_the_middle_leaves_a_network_that_streams_again(deep: Path) -> None:
    denoiser = networks.denoiser(deep, 1, torch.float32)
    expected = answer(denoiser)
    before = {name: tensor.data_ptr() for name, tensor in denoiser.network.state_dict().items()}

    def stop(*_: object) -> None:
        raise JobCancelled("stopped")

    hook = denoiser.network.transformer_blocks[3].ff.register_forward_pre_hook(stop)
    with pytest.raises(JobCancelled), streamed(denoiser, LateLanes()):
        answer(denoiser)
    hook.remove()
    after = {name: tensor.data_ptr() for name, tensor in denoiser.network.state_dict().items()}
    assert after == before
    assert all("forward" not in vars(block) for block in denoiser.network.transformer_blocks)
    with streamed(denoiser, LateLanes()):
        assert torch.equal(answer(denoiser), expected)


def test_blocks_that_lie_across_pieces_give_the_same_bits(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PIECE", 1 << 14)
    monkeypatch.setattr(streaming, "SMALLEST", 1 << 10)
    denoiser = networks.denoiser(deep, 1, torch.bfloat16)
    expected = answer(denoiser)
    lanes = LateLanes()
    with streamed(denoiser, lanes) as blocks:
        pieces = [len(piece) for piece in blocks.pool._pieces]
        assert max(len(parts) for _, parts in lanes.queue) > 1
        assert torch.equal(answer(denoiser), expected)
    assert all(piece <= 1 << 14 and piece.bit_count() == 1 for piece in pieces)
    assert 0 <= sum(pieces) - blocks.pool.size < 1 << 10


def test_blocks_in_8_bits_stream_as_they_are(deep: Path) -> None:
    denoiser = networks.denoiser(deep, 1, torch.bfloat16)
    fp8.replace_linears(denoiser.network.transformer_blocks, CPU)
    expected = answer(denoiser)
    with streamed(denoiser, LateLanes()):
        assert torch.equal(answer(denoiser), expected)


def test_two_passes_take_the_page_locked_memory_of_one(deep: Path) -> None:
    card = Card()
    passes = [networks.denoiser(deep, number, torch.float32) for number in (1, 2)]
    expected = [answer(denoiser) for denoiser in passes]
    pools = []
    for _ in range(2):
        for denoiser, wanted in zip(passes, expected, strict=True):
            with card.working(denoiser.network, Plan("streamed"), in_blocks=True):
                assert torch.equal(answer(denoiser), wanted)
            pools.append(card._streamed.pool if card._streamed else None)
    assert pools[0] is not None
    assert all(pool is pools[0] for pool in pools)
    card.clear()
    assert card._streamed is None


def test_page_locked_memory_that_is_kept_counts_as_available(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_placement, "host_available", lambda: 100)
    card = Card()
    assert card.host() == 100
    with card.working(
        networks.denoiser(deep, 1, torch.float32).network, Plan("streamed"), in_blocks=True
    ):
        assert card._streamed
        assert card.host() == 100 + card._streamed.pool.size


@pytest.mark.parametrize("size", [1, 1 << 20, (1 << 28) + 1, 11105468416, 300 << 20])
def test_a_pool_is_no_larger_than_its_bytes_by_a_mebibyte(size: int) -> None:
    assert 0 <= sum(streaming.pieces(size)) - size < 1 << 20
    assert all(piece.bit_count() == 1 and piece <= 1 << 28 for piece in streaming.pieces(size))


def test_the_spans_of_a_pool_are_its_bytes_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PIECE", 8)
    monkeypatch.setattr(streaming, "SMALLEST", 2)
    pool = HostPool(23, pinned=False)
    for index, piece in enumerate(pool._pieces):
        piece.fill_(index)
    whole = torch.cat(pool._pieces)
    for start in range(23):
        for stop in range(start + 1, 24):
            assert torch.equal(torch.cat(list(pool.spans(start, stop))), whole[start:stop])
