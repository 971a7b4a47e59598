"""The memory plans of `ltx` against counts of live tensors: networks of the published widths, without values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("diffusers")

import ltx_memory
import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from live_memory import Meter

from voidbridge_backend.engines.ltx import memory
from voidbridge_protocol.errors import OutOfMemory

GIB = memory.GIB


@pytest.fixture
def in_bfloat16() -> Iterator[None]:
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(torch.float32)


def counted(network: Any, work: Any) -> int:
    """The peak of live bytes beside the weights. All tensors are on "meta"."""
    with torch.device("meta"), torch.inference_mode(), Meter() as meter:
        made = network()
        meter.peak = weights = meter.live
        work(made)
        return int(meter.peak - weights)


@pytest.mark.usefixtures("in_bfloat16")
def test_decoding_takes_what_the_plans_count() -> None:
    frames, height, width = 41, 256, 384
    peak = counted(
        AutoencoderKLLTX2Video,
        lambda vae: vae.decode(
            torch.empty(1, 128, (frames - 1) // 8 + 1, height // 32, width // 32), None
        ),
    )
    assert peak / (frames * height * width) == pytest.approx(memory.DECODED_PIXEL, rel=0.05)


@pytest.mark.usefixtures("in_bfloat16")
@pytest.mark.parametrize("batch", [1, 2])
def test_an_answer_takes_what_the_plans_count(batch: int) -> None:
    """Layers follow each other, so two need as much as all 48."""
    latents, high, wide, sound = 16, 16, 24, 126
    tokens = latents * high * wide

    def answer(network: Any) -> None:
        network(
            hidden_states=torch.empty(batch, tokens, 128),
            audio_hidden_states=torch.empty(batch, sound, 128),
            encoder_hidden_states=torch.empty(batch, 1024, 4096),
            audio_encoder_hidden_states=torch.empty(batch, 1024, 2048),
            timestep=torch.empty(batch, tokens),
            audio_timestep=torch.empty(batch),
            sigma=torch.empty(batch),
            audio_sigma=torch.empty(batch),
            encoder_attention_mask=torch.empty(batch, 1024),
            audio_encoder_attention_mask=torch.empty(batch, 1024),
            num_frames=latents,
            height=high,
            width=wide,
            fps=24.0,
            audio_num_frames=sound,
            use_cross_timestep=True,
        )

    words = {**ltx_memory.TRANSFORMER, **ltx_memory.NEWER, "num_layers": 2}
    peak = counted(lambda: LTX2VideoTransformer3DModel(**words), answer)
    values = peak / (batch * tokens * 4096 * 2)
    assert values == pytest.approx(memory.TOKEN_VALUES, rel=0.05)


def test_the_published_networks_have_the_size_of_their_names() -> None:
    """LTX-2.3 is published as 22B: transformer and connectors."""
    found = ltx_memory.networks()
    assert round((found["transformer"] + found["connectors"]) / 1e9) == 22
    assert round(found["transformer of LTX-2"] / 1e9) == 19
    assert round(found["text_encoder"] / 1e9) == 12
    del found["transformer of LTX-2"]
    assert {name: count * 2 for name, count in found.items()} == memory.PUBLISHED


def test_the_sound_branch_has_the_tensors_that_are_published() -> None:
    """A public reader of the published LTX-2.3 lists 41 tensors beside the blocks and 56 in each of the 48."""
    with torch.device("meta"):
        network = LTX2VideoTransformer3DModel(**ltx_memory.TRANSFORMER, **ltx_memory.NEWER)
    names = [n for n in network.state_dict() if any(w in n for w in ("audio", "a2v", "v2a", "av_"))]
    in_blocks = [name for name in names if name.startswith("transformer_blocks.")]
    assert (len(names) - len(in_blocks), len(in_blocks)) == (41, 48 * 56)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    block = "transformer_blocks.47."
    assert shapes[block + "audio_to_video_attn.to_q.weight"] == (2048, 4096)
    assert shapes[block + "video_to_audio_attn.to_v.weight"] == (2048, 4096)
    assert shapes[block + "audio_scale_shift_table"] == (9, 2048)
    assert shapes["av_cross_attn_video_scale_shift.linear.weight"] == (16384, 4096)


@pytest.mark.parametrize(
    ("free", "plan"), [(141, "resident"), (80, "resident"), (48, "swapped"), (24, "streamed")]
)
def test_a_card_gets_the_fastest_plan_that_fits(free: int, plan: str) -> None:
    networks = {"transformer": 38 * 10**9, "text_encoder": 24 * 10**9, "vae": 2 * 10**9}
    demand = memory.NetworkDemand(networks, 121, 512, 768)
    assert memory.chosen(free * GIB, demand) == plan
    assert [memory.needed(plan, demand) for plan in memory.PLANS] == sorted(
        (memory.needed(plan, demand) for plan in memory.PLANS), reverse=True
    )


def test_a_card_that_is_too_small_is_an_error_with_numbers() -> None:
    demand = memory.NetworkDemand({"transformer": 38 * 10**9}, 121, 512, 768)
    with pytest.raises(OutOfMemory, match=r"ltx needs 10\.0 GB of the device's memory, 8\.0 GB"):
        memory.chosen(8 * GIB, demand)
