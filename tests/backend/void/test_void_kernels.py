"""Kernels and compilation change how fast the model is and nothing else; the loop leaves the device alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode

from voidbridge_backend.engines.void import tiny
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.files.weights import CHANNELS
from voidbridge_backend.engines.void.model import kernels
from voidbridge_backend.engines.void.model.denoiser import Conditions, Denoiser, Text
from voidbridge_backend.engines.void.model.heartbeat import with_heartbeat
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void.passes import pipeline, sampling
from voidbridge_backend.engines.void.passes.pipeline import Method
from voidbridge_protocol.errors import BadSetting, JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings

CPU = torch.device("cpu")
CARD = torch.device("cuda", 0)
SMALL = {"height": 32, "width": 48, "window": 21, "steps": 2}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answer(denoiser: Denoiser, latents: int, guidance: float = 1.0) -> Tensor:
    text = Text(drawn(1, 226, 16, seed=1), drawn(1, 226, 16, seed=2))
    seen, known = drawn(1, latents, 16, 4, 6, seed=3), drawn(1, latents, 32, 4, 6, seed=4)
    return denoiser.velocity(seen, known, text, 499, guidance)


@pytest.fixture
def denoiser(tiny: Path) -> Denoiser:
    return networks.denoiser(tiny, 1, torch.float32)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("choice", ["torch", "cudnn", "flash", "math"])
def test_every_attention_gives_the_same_numbers(denoiser: Denoiser, choice: Any) -> None:
    expected = answer(denoiser, 4)
    denoiser.attention = choice
    assert (answer(denoiser, 4) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("choice", "other"), [("math", "flash"), ("flash", "math")])
def test_the_attention_that_was_chosen_is_the_one_that_runs(
    denoiser: Denoiser, choice: Any, other: str
) -> None:
    denoiser.attention = choice
    with profile() as seen:
        answer(denoiser, 4)
    ran = " ".join(row.key for row in seen.key_averages())
    assert f"_scaled_dot_product_{choice}" in ran.replace("_product_attention_", "_product_")
    assert f"_scaled_dot_product_{other}" not in ran.replace("_product_attention_", "_product_")


@pytest.mark.parametrize(
    ("capability", "expected"), [((8, 0), "torch"), ((8, 9), "torch"), ((9, 0), "cudnn")]
)
def test_attention_follows_the_card(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert kernels.attention("auto", CARD) == expected
    assert kernels.attention("math", CARD) == "math"
    assert kernels.attention("auto", CPU) == "torch"


@pytest.mark.parametrize(
    ("capability", "is_installed", "expected"),
    [
        ((9, 0), True, "flash-3"),
        ((9, 0), False, "cudnn"),
        ((8, 0), True, "torch"),
        ((10, 0), True, "cudnn"),
    ],
)
def test_flash_attention_3_is_used_on_its_cards_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    is_installed: bool,
    expected: str,
) -> None:
    activated: list[str] = []

    def activate(name: str) -> None:
        if not is_installed:
            raise ModuleNotFoundError("No module named 'flash_attn_interface'")
        activated.append(name)

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(kernels, "activate_flash_attention_impl", activate)
    assert kernels.attention("flash-3", CARD) == expected
    assert activated == (["FA3"] if expected == "flash-3" else [])


def test_torch_knows_flash_attention_3_by_the_name_that_it_is_asked_for() -> None:
    assert "FA3" in torch.nn.attention.list_flash_attention_impls()


def test_an_attention_that_is_not_to_be_had_is_said_and_recorded(
    tiny: Path, small_clip: type, said: Any
) -> None:
    engine = Void(tiny, "cpu", Options(**SMALL, attention="flash-3"))
    list(engine.remove(small_clip(5), RemoveSettings(engine="void"), said))
    assert said.warnings == ["flash-3 attention is unavailable here; using torch"]
    assert engine.describe()["attention"] == "torch"
    assert engine.describe()["options"]["attention"] == "flash-3"


@pytest.mark.parametrize(
    ("choice", "device", "triton", "expected"),
    [
        ("auto", CPU, True, False),
        ("auto", CARD, True, True),
        ("auto", CARD, False, False),
        ("on", CPU, False, True),
        ("off", CARD, True, False),
    ],
)
def test_blocks_are_compiled_on_cards_with_triton(
    monkeypatch: pytest.MonkeyPatch,
    choice: Any,
    device: torch.device,
    triton: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: object() if triton else None)
    assert kernels.compiles(choice, device) is expected


@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_blocks_give_the_same_numbers_at_every_length(
    denoiser: Denoiser, said: Any, full: bool
) -> None:
    cases = [(6, 1.0), (4, 1.0), (2, 6.0), (4, 6.0)][: None if full else 2]
    expected = [answer(denoiser, *case) for case in cases]
    counter: Any = CompileCounterWithBackend("eager")
    denoiser.compiled.begin(said, backend=counter)
    for case, wanted in zip(cases, expected, strict=True):
        assert (answer(denoiser, *case) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    # For each size of the batch one for the first block, whose text lies otherwise, and one for those behind
    # it; the first length has code of its own, and all others share theirs.
    assert counter.frame_count <= 8
    for length in (8, 10, 2):
        before = counter.frame_count
        answer(denoiser, length)
        assert counter.frame_count == before
    # Compiling takes a minute on a card, and is known for what it is.
    assert said.stages == ["compiling the transformer"] * counter.frame_count
    assert not said.warnings


@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_blocks_can_still_be_stopped(denoiser: Denoiser, said: Any) -> None:
    denoiser.compiled.begin(said, backend="eager")
    answer(denoiser, 4)
    called = []

    def heartbeat() -> None:
        called.append(1)
        if len(called) == 2:
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled), with_heartbeat(denoiser.parts(), heartbeat):
        answer(denoiser, 4)
    assert len(called) == 2
    assert denoiser.compiled.is_on


@pytest.mark.usefixtures("fresh_compiler")
def test_a_cancel_that_comes_while_torch_compiles_is_no_failure_of_the_compiler(
    denoiser: Denoiser, said: Any
) -> None:
    def cancelled(*_: object) -> None:
        raise JobCancelled("stopped")

    said.step = cancelled
    denoiser.compiled.begin(said, backend="eager")
    with pytest.raises(JobCancelled), with_heartbeat(denoiser.parts()[1:], cancelled):
        answer(denoiser, 4)
    assert denoiser.compiled.is_on
    assert not said.warnings


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiler_that_fails_costs_time_and_no_job(denoiser: Denoiser, said: Any) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler on this machine")

    expected = answer(denoiser, 4)
    denoiser.compiled.begin(said, backend=broken)  # type: ignore[arg-type]
    assert torch.equal(answer(denoiser, 4), expected)
    (warning,) = said.warnings
    assert "no compiler on this machine" in warning
    assert '"compile": "off"' in warning

    denoiser.compiled.begin(said)  # The next job is told as well, and nothing is tried again.
    assert torch.equal(answer(denoiser, 4), expected)
    assert said.warnings == [warning] * 2


def test_the_autoencoder_gives_the_same_numbers_in_the_other_layout(tiny: Path) -> None:
    def coded(vae: Vae) -> tuple[Tensor, Tensor]:
        pixels = drawn(1, 3, 13, 32, 48).clamp(-1, 1)
        latents = torch.cat(list(vae.encode(lambda span: pixels[:, :, span], 13)), dim=2)
        return latents, torch.cat(list(vae.decode(latents)), dim=2)

    plain = networks.vae(tiny, torch.float32)
    other = networks.vae(tiny, torch.float32)
    kernels.lay_out(other.network, "channels-last")
    laid = other.network.decoder.conv_in.conv.weight
    assert laid.is_contiguous(memory_format=torch.channels_last_3d)
    assert not laid.is_contiguous()
    for found, expected in zip(coded(other), coded(plain), strict=True):
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_job_is_computed_as_the_options_say(tiny: Path, small_clip: type) -> None:
    class Quiet:
        def step(self, stage: str, done: int, of: int) -> None: ...

        def warn(self, text: str) -> None: ...

    def removed(**more: Any) -> tuple[Void, dict[int, Any]]:
        engine = Void(tiny, "cpu", Options(**SMALL, **more))
        return engine, dict(engine.remove(small_clip(21), RemoveSettings(engine="void"), Quiet()))

    plain, expected = removed()
    assert plain.denoiser(1).attention == "torch"
    assert not plain.denoiser(1).compiled.is_on
    chosen, found = removed(attention="math", vae_layout="channels-last")
    assert chosen.denoiser(1).attention == "math"
    assert chosen.describe()["options"]["attention"] == "math"
    assert all(abs(found[frame] - expected[frame]).max() < 1e-4 for frame in expected)


@pytest.mark.parametrize("name", ["attention", "compile", "vae_layout"])
def test_a_choice_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(BadSetting, match=f"{name} is 'fastest'"):
        Options(**{name: "fastest"})


class Waits(TorchDispatchMode):
    """Counts what a host waits for, or copies, while tensors are on a device that computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = self.copied = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            self.looked += 1
            return True
        target = kwargs.get("device")
        if func is torch.ops.aten._to_copy.default and target is not None:
            if torch.device(target).type != args[0].device.type:
                self.copied += 1
                kwargs = {"dtype": kwargs.get("dtype"), "device": target}
                return torch.empty(args[0].shape, **{"dtype": args[0].dtype} | kwargs)
        return func(*args, **kwargs)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("latents", [6, 10], ids=["one window", "two windows"])
def test_the_host_waits_once_a_step_and_copies_nothing(guidance: float, latents: int) -> None:
    wide = tiny.TRANSFORMER | {"in_channels": sum(CHANNELS.values())}
    kind: Any = networks.CogVideoXTransformer3DModel
    denoiser = Denoiser(weights.on_meta(lambda: kind.from_config(wide)).requires_grad_(False))
    text = Text(drawn(1, 226, 16), drawn(1, 226, 16))
    known = Conditions(drawn(1, latents, 16, 4, 6), drawn(1, latents, 16, 4, 6))

    def waits(steps: int) -> Waits:
        method = Method("cogvideox-ddim", steps=steps, guidance=guidance, window=21, overlap=8)
        noise = sampling.noise(1, latents, 4, 6)
        with Waits() as seen:
            found = pipeline.denoised(
                denoiser, tiny.SCHEDULER, known, noise, text, method, lambda done, of: None
            )
        assert found.device == CPU
        return seen

    waits(1)  # Positions are made once.
    few, many = waits(2), waits(5)
    windows = 1 if latents == 6 else 2
    assert (few.looked, many.looked) == (2 * windows, 5 * windows)
    assert few.copied == many.copied > 0
