"""The memory of a training of the published model, counted on the meta device."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from diffusers import CogVideoXTransformer3DModel

from voidbridge_backend.engines.void.files.weights import on_meta
from voidbridge_backend.engines.void_lora.memory import Shape, count
from voidbridge_backend.quality.loss_plot import plot

PUBLISHED: dict[str, Any] = {
    "num_attention_heads": 48, "attention_head_dim": 64, "num_layers": 42, "in_channels": 48,
    "out_channels": 16, "patch_size": 2, "patch_size_t": 2, "patch_bias": False,
    "text_embed_dim": 4096, "time_embed_dim": 512, "max_text_seq_length": 226,
    "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": False,
    "sample_frames": 85, "sample_height": 384, "sample_width": 680,
}  # fmt: skip


@pytest.fixture(scope="module")
def published() -> Any:
    kind: Any = CogVideoXTransformer3DModel
    return on_meta(lambda: kind.from_config(PUBLISHED))


def test_the_published_model_has_66_million_numbers_to_train_and_needs_16_gb_at_rank_64(
    published: Any,
) -> None:
    clip = Shape(384, 672, 22)
    assert clip.tokens == 11_088 + 226
    found = count(published, 64, clip)
    assert found.trained == 42 * 4 * 2 * 3072 * 64 == 66_060_288
    assert found.weights == 2 * 5_571_462_784
    assert round(found.activations / 1e9, 1) == 2.9
    assert 0.7e9 < found.lora * 12 / 16 < 0.9e9
    # Arithmetic from shapes, without the allocator and the CUDA context.
    assert found.total == pytest.approx(16.5e9, rel=0.01)
    assert count(published, 32, clip).trained * 2 == found.trained


def test_8_bits_for_the_base_halve_its_large_layers(published: Any) -> None:
    clip = Shape(384, 672, 22)
    full, small = (count(published, 64, clip, base) for base in ("full", "fp8"))
    # Four products of 3072 x 3072 and two of 3072 x 12288 in each of 42 blocks lose one byte a number.
    assert full.weights - small.weights == 42 * (4 * 3072**2 + 2 * 3072 * 12288)
    assert small.total == full.total - (full.weights - small.weights)


def test_gradients_of_all_processes_count_for_the_memory_of_each(published: Any) -> None:
    clip = Shape(384, 672, 22)
    one, four = (count(published, 64, clip, processes=processes) for processes in (1, 4))
    # The own gradients and four gathered ones, beside the sum.
    assert four.total - one.total == one.trained * 4 * 5


def test_a_plot_shows_both_curves() -> None:
    loss = [[step, 2 - step / 100] for step in range(1, 101)]
    png = plot(loss, [[0, 2.0], [50, 1.4], [100, 1.1]], "harbour")
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    for color in ((200, 160, 110), (40, 60, 200)):
        assert (np.abs(picture.astype(int) - color).max(2) < 10).sum() > 200
    assert plot([[1, 1.0]], [], "short").startswith(b"\x89PNG")
