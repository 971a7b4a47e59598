"""Products in 8 bits: how far off they are, where they are said, and on what they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import fp8
from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text
from voidbridge_backend.engines.void.model.fp8 import EightBitLinear, rounded
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

CPU = torch.device("cpu")
CARD = torch.device("cuda", 0)
SMALL = {"height": 32, "width": 48, "window": 21, "steps": 2, "fineness": 1}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answer(denoiser: Denoiser) -> Tensor:
    seen, known = drawn(1, 4, 16, 4, 6, seed=3), drawn(1, 4, 32, 4, 6, seed=4)
    return denoiser.velocity(seen, known, Text(drawn(1, 226, 16, seed=1)), 499, 1.0).double()


def off(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_a_product_is_off_by_as_much_as_three_bits_of_fraction_are() -> None:
    linear = nn.Linear(256, 64).requires_grad_(False)
    inputs = drawn(2, 33, 256) * torch.logspace(-4, 4, 33)[:, None]  # A scale of its own each.
    expected = linear(inputs) - linear.bias
    found = EightBitLinear(linear, CPU)(inputs) - linear.bias
    assert found.shape == expected.shape
    assert found.dtype == inputs.dtype
    for row in range(33):
        # 2^-4 / sqrt(3) for each of two factors, over 256 products that partly cancel.
        assert 0.01 < off(found[:, row], expected[:, row]) < 0.06


def test_rounding_in_pieces_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn(1000, 64)
    whole = rounded(rows)
    monkeypatch.setattr(fp8, "ROUNDED_AT_ONCE", 64 * 4 * 7)
    pieces = rounded(rows)
    assert torch.equal(pieces[0].view(torch.uint8), whole[0].view(torch.uint8))
    assert torch.equal(pieces[1], whole[1])


def test_rounding_keeps_rows_of_zeros_and_large_numbers() -> None:
    rows = torch.stack([torch.zeros(16), torch.full((16,), 3e30), drawn(16)])
    seen, scale = rounded(rows)
    back = seen.float() * scale
    assert torch.isfinite(back).all()
    assert torch.equal(back[0], rows[0])
    assert torch.allclose(back[1:], rows[1:], rtol=2**-4)


def test_only_the_large_products_of_blocks_are_replaced(tiny: Path) -> None:
    plain = networks.denoiser(tiny, 1, torch.bfloat16)
    found = networks.denoiser(tiny, 1, torch.bfloat16)
    fp8.replace_linears(found.network.transformer_blocks, CPU)
    replaced = {
        name for name, part in found.network.named_modules() if isinstance(part, EightBitLinear)
    }
    kinds = (
        "attn1.to_q",
        "attn1.to_k",
        "attn1.to_v",
        "attn1.to_out.0",
        "ff.net.0.proj",
        "ff.net.2",
    )
    assert replaced == {f"transformer_blocks.{n}.{kind}" for n in range(2) for kind in kinds}
    assert found.network.dtype == torch.bfloat16
    exact = answer(networks.denoiser(tiny, 1, torch.float32))
    # The goal for real networks is 4 times; the tiny one's products are few and short.
    assert off(answer(found), exact) < 4 * off(answer(plain), exact)


@pytest.mark.usefixtures("fresh_compiler")
def test_blocks_in_8_bits_can_be_compiled(tiny: Path, said: Any) -> None:
    found = networks.denoiser(tiny, 1, torch.bfloat16)
    fp8.replace_linears(found.network.transformer_blocks, CPU)
    expected = answer(found)
    found.compiled.begin(said, backend="eager")
    assert torch.equal(answer(found), expected)
    assert found.compiled.is_on
    assert not said.warnings


def test_a_job_says_that_it_is_not_lossless_and_its_record_too(
    tiny: Path, small_clip: type, said: Any
) -> None:
    engine = Void(tiny, "cpu", Options(**SMALL, precision="bfloat16", linears="fp8"))
    frames = dict(engine.remove(small_clip(5), RemoveSettings(engine="void"), said))
    assert all(np.isfinite(pixels).all() for pixels in frames.values())
    assert [text for text in said.warnings if "8 bits, which is not lossless" in text]
    assert engine.describe()["options"]["linears"] == "fp8"
    assert Options().linears == "full"


@pytest.mark.parametrize(
    ("capability", "is_refused"), [((8, 0), True), ((8, 9), False), ((9, 0), False)]
)
def test_a_card_that_cannot_is_named(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], is_refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if not is_refused:
        fp8.require(CARD)
        return
    with pytest.raises(BadSetting, match=r"cuda:0 has compute capability 8\.0; 8 bits need 8\.9"):
        fp8.require(CARD)


def test_a_torch_that_cannot_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.nn.functional, "scaled_mm")
    with pytest.raises(BadSetting, match="linears"):
        Void(tiny, "cpu", Options(**SMALL, linears="fp8"))


def test_a_choice_that_there_is_not_is_refused() -> None:
    wrong: dict[str, Any] = {"linears": "int4"}
    with pytest.raises(BadSetting, match="linears is 'int4'"):
        Options(**wrong)
