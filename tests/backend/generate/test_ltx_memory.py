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


WIDE, NARROW, LATENT = 4096, 2048, 128
"""Widths of the picture's and the sound's branch, and of what both take in."""
SHORTER = {
    "audio_adaln_single": "audio_time_embed",
    "audio_prompt_adaln_single": "audio_prompt_adaln",
    "audio_patchify_proj": "audio_proj_in",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
    "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
}
"""Names of the published file, and what diffusers' conversion makes of them."""


def layer(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def timestep(name: str, width: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a modulation by the step."""
    embedder = f"{name}.emb.timestep_embedder.linear_"
    inner = layer(f"{embedder}1", width, 256) | layer(f"{embedder}2", width, width)
    return inner | layer(f"{name}.linear", outputs * width, width)


def attention(name: str, queries: int, keys: int) -> dict[str, tuple[int, ...]]:
    """The tensors of an attention over the narrow width, with gates of 32 heads."""
    norms = {f"{name}.{kind}_norm.weight": (NARROW,) for kind in "qk"}
    inner = layer(f"{name}.to_q", NARROW, queries) | layer(f"{name}.to_out.0", queries, NARROW)
    inner |= layer(f"{name}.to_k", NARROW, keys) | layer(f"{name}.to_v", NARROW, keys)
    return norms | inner | layer(f"{name}.to_gate_logits", 32, queries)


def published_sound_branch() -> dict[str, tuple[int, ...]]:
    """Each tensor of sound in the published transformer of LTX-2.3, as public readers list them."""
    block = {"audio_scale_shift_table": (9, NARROW), "audio_prompt_scale_shift_table": (2, NARROW)}
    block |= {
        f"scale_shift_table_a2v_ca_{n}": (5, w) for n, w in (("audio", NARROW), ("video", WIDE))
    }
    block |= attention("audio_attn1", NARROW, NARROW) | attention("audio_attn2", NARROW, NARROW)
    block |= attention("audio_to_video_attn", WIDE, NARROW)
    block |= attention("video_to_audio_attn", NARROW, WIDE)
    block |= layer("audio_ff.net.0.proj", 4 * NARROW, NARROW)
    block |= layer("audio_ff.net.2", NARROW, 4 * NARROW)
    found: dict[str, tuple[int, ...]] = {"audio_scale_shift_table": (2, NARROW)}
    found |= layer("audio_patchify_proj", NARROW, LATENT) | layer("audio_proj_out", LATENT, NARROW)
    found |= timestep("audio_adaln_single", NARROW, 9)
    found |= timestep("audio_prompt_adaln_single", NARROW, 2)
    found |= timestep("av_ca_a2v_gate_adaln_single", WIDE, 1)
    found |= timestep("av_ca_v2a_gate_adaln_single", NARROW, 1)
    found |= timestep("av_ca_audio_scale_shift_adaln_single", NARROW, 4)
    found |= timestep("av_ca_video_scale_shift_adaln_single", WIDE, 4)
    for number in range(48):
        found |= {f"transformer_blocks.{number}.{name}": shape for name, shape in block.items()}
    return found


def converted(name: str) -> str:
    return ".".join(SHORTER.get(part, part) for part in name.split("."))


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of the true transformer of LTX-2.3."""
    with torch.device("meta"):
        network = LTX2VideoTransformer3DModel(**ltx_memory.TRANSFORMER, **ltx_memory.NEWER)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def test_the_sound_branch_has_the_names_and_shapes_that_are_published(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    published = {converted(name): shape for name, shape in published_sound_branch().items()}
    assert len(published) == 41 + 48 * 56
    words = ("audio", "a2v", "v2a", "av_")
    assert {n: s for n, s in shapes.items() if any(word in n for word in words)} == published


def test_the_picture_branch_has_the_shapes_that_are_published(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    """Public readers give these few of the picture's shapes only."""
    assert shapes["proj_in.weight"] == (WIDE, LATENT)
    assert shapes["proj_out.weight"] == (LATENT, WIDE)
    assert shapes["time_embed.linear.weight"] == (9 * WIDE, WIDE)
    assert shapes["scale_shift_table"] == (2, WIDE)
    block = "transformer_blocks.0."
    assert shapes[block + "attn1.to_gate_logits.weight"] == (32, WIDE)
    assert shapes[block + "attn1.to_v.weight"] == (WIDE, WIDE)
    assert shapes[block + "prompt_scale_shift_table"] == (2, WIDE)
    assert shapes[block + "ff.net.0.proj.weight"] == (4 * WIDE, WIDE)
    assert shapes["transformer_blocks.47.ff.net.2.weight"] == (WIDE, 4 * WIDE)


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
