"""The memory plans against a count of live tensors: the published networks at their true sizes, without values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from live_memory import (
    CARD,
    TRANSFORMER,
    Meter,
    autoencoder,
    in_bfloat16,
    on_card,
    pretended_card,
    transformer,
)

from voidbridge_backend.engines.void.model import fp8, streaming
from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text
from voidbridge_backend.engines.void.model.device_placement import DevicePlacement
from voidbridge_backend.engines.void.model.memory import (
    COUNTED,
    GIB,
    MARGIN,
    PLANS,
    Demand,
    Plan,
    chosen,
    counted,
    denoising,
    host_needed,
    needed,
)
from voidbridge_backend.engines.void.model.vae import Vae, VaeTiles
from voidbridge_protocol.errors import OutOfMemory

PUBLISHED = Demand(
    transformer=2 * 5_571_462_784,
    vae=2 * 215_583_907,
    passes=1,
    streamed=831_511_808,
    pixels=384 * 672,
    latents=22,
    batch=1,
    pinned=11_105_468_416,
)


def decoding(latents: tuple[int, int, int], tiles: VaeTiles | None) -> Meter:
    with pretended_card() as meter:
        vae = Vae(on_card(autoencoder()))
        meter.peak, weights = meter.live, meter.live
        for pixels in vae.decode(torch.empty(1, 16, *latents), tiles):
            assert pixels.device.type == "cpu"
    meter.peak -= weights
    return meter


@pytest.mark.parametrize(
    ("size", "tiles", "gib"),
    [
        ((48, 84), None, COUNTED["decoding"]),
        ((48, 84), VaeTiles(), COUNTED["decoding in tiles"]),
        # The detail pass at twice the size: tiles of the model's own size, here two of nine.
        ((48, 160), VaeTiles(48, 84), COUNTED["decoding"]),
    ],
    ids=["whole", "tiles", "detail"],
)
def test_decoding_takes_what_the_plans_count(
    size: tuple[int, int], tiles: VaeTiles | None, gib: float
) -> None:
    meter = decoding((5, *size), tiles)
    assert meter.peak / GIB == pytest.approx(gib, rel=0.05)


def test_encoding_takes_less_than_half_of_decoding() -> None:
    with pretended_card() as meter:
        vae = Vae(on_card(autoencoder()))
        meter.peak, weights = meter.live, meter.live
        list(vae.encode(lambda span: torch.empty(1, 3, span.stop - span.start, 384, 672), 21))
    assert (meter.peak - weights) / GIB == pytest.approx(4.88, rel=0.05)


def test_streaming_takes_what_the_plans_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """More blocks than slots, so that the ring turns: seven of the 42."""
    monkeypatch.setitem(TRANSFORMER, "num_layers", 7)
    with pretended_card() as meter:
        network = in_bfloat16(transformer(), torch.device("cpu"))
        demand = replace(PUBLISHED, streamed=streaming.device_bytes(network), vae=0)
        with DevicePlacement("meta").working(network, Plan("streamed"), in_blocks=True):
            seen, known = (torch.empty(1, 22, n, 48, 84, device=CARD) for n in (16, 32))
            text = Text(*(torch.empty(1, 226, 4096, device=CARD) for _ in range(2)))
            Denoiser(network).velocity(seen, known, text, 999, 1.0)
        del seen, known, text
    assert demand.streamed == PUBLISHED.streamed
    assert meter.peak == pytest.approx(denoising(Plan("streamed"), demand), rel=0.05)
    assert meter.live < GIB / 100  # Nothing stays for the decoding.


def test_the_published_blocks_take_as_much_of_the_host_as_of_their_file() -> None:
    with torch.device(CARD):
        network = in_bfloat16(transformer(), CARD)
    assert streaming.host_bytes(network) == PUBLISHED.pinned
    assert PUBLISHED.pinned < 1.01 * PUBLISHED.transformer


@pytest.mark.parametrize("linears", ["full", "fp8"])
@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_an_answer_takes_what_the_plans_count_without_a_wait(
    guidance: float, linears: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks run one after the other, so three of the 42 have the same peak."""
    monkeypatch.setitem(TRANSFORMER, "num_layers", 3)
    with pretended_card() as meter:
        denoiser = Denoiser(on_card(transformer()))
        if linears == "fp8":
            fp8.replace_linears(denoiser.network.transformer_blocks, CARD)
        meter.peak, weights = meter.live, meter.live
        seen, known = (torch.empty(1, 22, n, 48, 84, device=CARD) for n in (16, 32))
        text = Text(*(torch.empty(1, 226, 4096, device=CARD) for _ in range(2)))
        answer = denoiser.velocity(seen, known, text, 999, guidance)
    expected = COUNTED["answer"] + COUNTED["prompt"] * (1 if guidance == 1 else 2)
    assert (meter.peak - weights) / GIB == pytest.approx(expected, rel=0.05)
    assert answer.shape == seen.shape
    assert answer.dtype == torch.float32
    assert answer.device == CARD
    assert meter.waits == []


def test_the_published_networks_have_the_size_that_the_plans_are_tested_with() -> None:
    with torch.device("meta"):
        weights = [
            sum(t.numel() for t in made().parameters()) for made in (transformer, autoencoder)
        ]
    assert weights[0] * 2 == PUBLISHED.transformer
    assert weights[1] * 2 == pytest.approx(PUBLISHED.vae, rel=1e-3)


def test_detail_needs_no_more_of_the_device_and_more_of_the_host() -> None:
    fine = Demand(**(vars(PUBLISHED) | {"detail": 4}))
    assert chosen(int(23.4 * GIB), fine, host=32 * GIB).name == "swapped"
    for plan in PLANS[:3]:
        assert needed(plan, fine) == needed(plan, PUBLISHED)
        assert host_needed(plan, fine) > host_needed(plan, PUBLISHED) + 4 * 10**9


def test_a_plan_that_does_not_fit_the_host_is_left_out() -> None:
    free = int(11.4 * GIB)
    assert chosen(free, PUBLISHED, host=16 * GIB).name == "streamed-tiled"
    with pytest.raises(OutOfMemory, match=r"14\.6 GB of the machine's memory .* 12\.0 GB are"):
        chosen(free, PUBLISHED, host=12 * GIB)
    assert chosen(int(13.4 * GIB), PUBLISHED, host=12 * GIB).name == "swapped-tiled"


def test_what_is_planned_is_never_less_than_what_is_counted() -> None:
    for plan in PLANS:
        assert counted(plan, PUBLISHED) <= needed(plan, PUBLISHED)
    assert counted(Plan("swapped"), PUBLISHED) + MARGIN < 12.5 * GIB
