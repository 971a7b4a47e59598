"""Tiny random networks of the SAM family, saved as a checkpoint is published: config.json and model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
    Sam3TrackerVideoConfig,
    Sam3TrackerVideoModel,
    Sam3VisionConfig,
)

SIDE = 64
WIDTH = 128


def save_sam2(folder: Path) -> None:
    """1.4 million random parameters at 64 x 64 pixels; the memory's width of 64 is fixed in the code."""
    torch.manual_seed(3)
    backbone = Sam2HieraDetConfig(
        hidden_size=16,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 1, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        fpn_hidden_size=WIDTH,
    )
    config = Sam2VideoConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": WIDTH,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": WIDTH,
        },
        image_size=SIDE,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=WIDTH,
        memory_attention_rope_feat_sizes=[SIDE // 16, SIDE // 16],
        memory_encoder_hidden_size=WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=WIDTH,
    )
    _save(Sam2VideoModel(config), folder)


def save_sam3(folder: Path) -> None:
    """The tracker of SAM 3 without its detector, at 112 x 112 pixels."""
    torch.manual_seed(3)
    side = 112
    vision = Sam3VisionConfig(
        backbone_config={
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": side,
            "pretrain_image_size": side,
            "window_size": 4,
            "global_attn_indexes": [1],
        },
        fpn_hidden_size=WIDTH,
        backbone_feature_sizes=[[side // 14 * 4] * 2, [side // 14 * 2] * 2, [side // 14] * 2],
    )
    config = Sam3TrackerVideoConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": side, "patch_size": 14},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": WIDTH,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": WIDTH,
        },
        image_size=side,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=WIDTH,
        memory_attention_rope_feat_sizes=[side // 14, side // 14],
        memory_encoder_hidden_size=WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=WIDTH,
    )
    _save(Sam3TrackerVideoModel(config), folder)


def _save(network: Any, folder: Path) -> None:
    """A random network says by chance that nothing is there; this one says that something is."""
    network.mask_decoder.pred_obj_score_head.proj_out.bias.data += 3
    network.eval().save_pretrained(folder)
