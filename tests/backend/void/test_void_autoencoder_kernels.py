"""The autoencoder compiled: the same chunks, the same numbers, and a failure that costs no job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from voidbridge_backend.engines.void import tiny
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import kernels
from voidbridge_backend.engines.void.model.compiled import GRAPHS, Compiled
from voidbridge_backend.engines.void.model.heartbeat import with_heartbeat
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import BadSetting, JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = tiny.VAE | {
    "block_out_channels": [4, 4],
    "down_block_types": ["CogVideoXDownBlock3D"] * 2,
    "up_block_types": ["CogVideoXUpBlock3D"] * 2,
    "temporal_compression_ratio": 2,
}
"""Tracing takes a second for each width and kind of input; this has half as many."""
ONE_WIDTH = SMALL | {
    "block_out_channels": [4],
    "down_block_types": ["CogVideoXDownBlock3D"],
    "up_block_types": ["CogVideoXUpBlock3D"],
    "temporal_compression_ratio": 1,
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def made(config: dict[str, Any] = SMALL) -> Vae:
    kind: Any = networks.AutoencoderKLCogVideoX
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Vae(kind.from_config(config).eval().requires_grad_(False))


def coded(vae: Vae, frames: int) -> tuple[Tensor, Tensor]:
    pixels = drawn(1, 3, frames, 16, 24).clamp(-1, 1)
    latents = torch.cat(list(vae.encode(lambda span: pixels[:, :, span], frames)), dim=2)
    return latents, decoded(vae, 4)


def decoded(vae: Vae, latents: int) -> Tensor:
    return torch.cat(list(vae.decode(drawn(1, 16, latents, 8, 12))), dim=2)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # its compiler's helpers
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_blocks_give_the_same_numbers_chunk_by_chunk(said: Any, full: bool) -> None:
    config, above = (SMALL, 8) if full else (ONE_WIDTH, 1)
    plain, vae = made(config), made(config)
    expected = [decoded(plain, latents) for latents in (4, 5)]
    counter: Any = CompileCounterWithBackend("eager")
    vae.compiled.begin(said, backend=counter)
    found = [decoded(vae, latents) for latents in (4, 5)]
    assert above < counter.frame_count < GRAPHS // 2  # torch stops at 8 of a kind.
    for one, wanted in zip(found, expected, strict=True):
        assert (one - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert vae.compiled.is_on
    assert not said.warnings


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler is made of some.
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
@pytest.mark.usefixtures("fresh_compiler")
def test_torchs_own_compiler_gives_the_same_numbers_for_a_block_of_the_decoder(
    said: Any, full: bool
) -> None:
    if not full:
        pytest.skip("g++ compiles for half a minute: --full")
    vae = made()
    kernels.lay_out(vae.network, "channels-last")
    block = vae.network.decoder.up_blocks[0].resnets[0]
    compiled = Compiled("a block", "none", [block])

    def answer() -> Tensor:
        seen, latents = drawn(1, block.in_channels, 4, 12, 16), drawn(1, 16, 2, 6, 8)
        with torch.inference_mode():
            found: Tensor = compiled.run(partial(block, seen, None, latents, None))[0]
        return found

    expected = answer()
    compiled.begin(said)
    assert (answer() - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert compiled.is_on
    assert not said.warnings


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_autoencoder_can_still_be_stopped_between_blocks(said: Any) -> None:
    vae = made()
    vae.compiled.begin(said, backend="eager")
    called = []

    def heartbeat() -> None:
        called.append(1)
        if len(called) == 3:
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled), with_heartbeat(vae.parts(), heartbeat):
        next(vae.decode(drawn(1, 16, 1, 8, 12)))
    assert len(called) == 3
    blocks = [part for part in vae.parts() if part in vae.compiled.blocks]
    assert blocks == vae.compiled.blocks


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiler_that_fails_costs_time_and_no_job(
    tiny: Path, small_clip: type, said: Any
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler on this machine")

    small = {"height": 32, "width": 48, "window": 21, "steps": 1}
    plain = Void(tiny, "cpu", Options(**small))
    engine = Void(tiny, "cpu", Options(**small, vae_compile="on"))
    engine.vae().compiled.begin(said, backend=broken)  # type: ignore[arg-type]
    settings = RemoveSettings(engine="void")
    found = dict(engine.remove(small_clip(5), settings, said))
    expected = dict(plain.remove(small_clip(5), settings, said))
    assert all((found[frame] == expected[frame]).all() for frame in expected)
    assert set(said.warnings) == {said.warnings[0]}
    for words in ("the autoencoder could not be compiled", '"vae_compile": "off"'):
        assert words in said.warnings[0]


def test_the_other_layout_gives_the_same_numbers() -> None:
    plain, other = made(), made()
    kernels.lay_out(other.network, "channels-last")
    for found, expected in zip(coded(other, 13), coded(plain, 13), strict=True):
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadSetting, match="vae_compile is 'auto'"):
        Options(vae_compile="auto")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "device", "dtype", "cudnn", "expected"),
    [
        ("auto", "cuda", torch.bfloat16, 91002, "channels-last"),
        ("auto", "cuda", torch.bfloat16, 90800, "channels-last"),
        ("auto", "cuda", torch.bfloat16, 91500, "contiguous"),
        ("auto", "cuda", torch.bfloat16, 90701, "contiguous"),
        ("auto", "cuda", torch.float32, 91002, "contiguous"),
        ("auto", "cpu", torch.bfloat16, 91002, "contiguous"),
        ("contiguous", "cuda", torch.bfloat16, 91002, "contiguous"),
        ("channels-last", "cuda", torch.bfloat16, 91500, "channels-last"),
    ],
)
def test_the_layout_avoids_the_path_without_cudnn(
    monkeypatch: pytest.MonkeyPatch, choice: Any, device: str, dtype: Any, cudnn: int, expected: str
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    assert kernels.layout(choice, torch.device(device), dtype) == expected
