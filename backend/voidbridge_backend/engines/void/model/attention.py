"""The transformer's attention, with the kernel as an argument that compiled code knows.

Torch's compiler reads no context such as `sdpa_kernel`, neither for its graphs nor for their cache on disk
(pytorch #185449). So a compiled block kept the kernel of its first run. Here the choice is an argument of an
operation of its own, which is part of every graph.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .kernels import Attention, attending


@torch.library.custom_op("voidbridge::attend", mutates_args=())
def attend(query: Tensor, key: Tensor, value: Tensor, choice: str) -> Tensor:
    """Returns softmax(q k / sqrt(d)) v of [batch, heads, tokens, d] as [batch, tokens, heads * d], contiguous."""
    with attending(choice):
        answer = F.scaled_dot_product_attention(query, key, value)
    return answer.transpose(1, 2).flatten(2).contiguous()


@attend.register_fake
def _shape(query: Tensor, key: Tensor, value: Tensor, choice: str) -> Tensor:
    batch, heads, tokens, width = query.shape
    return query.new_empty(batch, tokens, heads * width)


@register_flop_formula(torch.ops.voidbridge.attend)
def _flops(query: Any, key: Any, value: Any, choice: str, **_: Any) -> int:
    """Counts both products for torch's counter, from the shapes of the tensors."""
    batch, heads, tokens, width = query
    return int(2 * batch * heads * tokens * key[2] * (width + value[3]))


class JointAttention:
    """Attention over text and picture together, as diffusers' modules call it; positions only of the picture."""

    def __init__(self, choice: Attention) -> None:
        self.choice: Attention = choice

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the picture's tokens [batch, tokens, width] and the text's, both attended and projected."""
        words = encoder_hidden_states.shape[1]
        tokens = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        heads = (*tokens.shape[:2], attn.heads, -1)
        query, key, value = (
            project(tokens).view(heads).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            for part in (query, key):
                part[:, :, words:] = apply_rotary_emb(part[:, :, words:], image_rotary_emb)
        answer = attn.to_out[1](attn.to_out[0](attend(query, key, value, self.choice)))
        return answer[:, words:], answer[:, :words]


def use(network: Any, choice: Attention) -> None:
    """Gives every block of a transformer its attention."""
    for block in network.transformer_blocks:
        block.attn1.set_processor(JointAttention(choice))
