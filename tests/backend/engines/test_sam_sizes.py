"""The true configurations of SAM 2.1 and SAM 3 on the meta device, against the published counts of parameters."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra `void` is not installed")
transformers = pytest.importorskip("transformers", reason="the extra `void` is not installed")


HIERA: dict[str, tuple[float, int, dict[str, Any]]] = {
    "tiny": (
        39.0,
        96,
        {"blocks_per_stage": [1, 2, 7, 2], "global_attention_blocks": [5, 7, 9]},
    ),
    "small": (
        46.1,
        96,
        {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    ),
    "base-plus": (
        80.9,
        112,
        {
            "blocks_per_stage": [2, 3, 16, 3],
            "global_attention_blocks": [12, 16, 20],
            "window_positional_embedding_background_size": [14, 14],
            "num_attention_heads": 2,
        },
    ),
    "large": (
        224.4,
        144,
        {
            "blocks_per_stage": [2, 6, 36, 4],
            "global_attention_blocks": [23, 33, 43],
            "window_size_per_stage": [8, 4, 16, 8],
            "num_attention_heads": 2,
        },
    ),
}
"""Published million parameters, width of the first stage, and what else differs, by facebook/sam2.1-hiera-NAME."""


def millions(network: Any) -> float:
    return float(sum(tensor.numel() for tensor in network.parameters()) / 1e6)


@pytest.mark.parametrize("name", HIERA)
def test_sam2_has_as_many_parameters_as_published(name: str) -> None:
    published, width, words = HIERA[name]
    heads = words.get("num_attention_heads", 1)
    widths = [width * factor for factor in (1, 2, 4, 8)]
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=width,
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[heads * factor for factor in (1, 2, 4, 8)],
        **words,
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=widths[::-1]
    )
    with torch.device("meta"):
        network = transformers.Sam2VideoModel(
            transformers.Sam2VideoConfig(vision_config=vision.to_dict())
        )
    assert millions(network) == pytest.approx(published, abs=0.1)


def test_sam3_with_its_detector_has_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        network = transformers.Sam3VideoModel(transformers.Sam3VideoConfig())
    assert round(millions(network) / 1000, 1) == 0.9
