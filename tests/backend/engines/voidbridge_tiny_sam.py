"""Tiny random networks of the SAM family, saved as a checkpoint is published: config.json and model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers  # its parts are loaded where they are used, not when tests are collected
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

SIDE = 64
WIDTH = 128
WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", "the", "man", "dog", "red", "ball")


def save_sam2(folder: Path) -> None:
    """1.4 million random parameters at 64 x 64 pixels; the memory's width of 64 is fixed in the code."""
    torch.manual_seed(3)
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=16,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 1, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        fpn_hidden_size=WIDTH,
    )
    config = transformers.Sam2VideoConfig(
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
    _save(transformers.Sam2VideoModel(config), folder)


def save_sam3(folder: Path) -> None:
    """The tracker of SAM 3 without its detector, at 112 x 112 pixels."""
    torch.manual_seed(3)
    _save(transformers.Sam3TrackerVideoModel(_sam3_tracker(112)), folder)


def _sam3_vision(side: int) -> transformers.Sam3VisionConfig:
    return transformers.Sam3VisionConfig(
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


def _sam3_tracker(side: int) -> transformers.Sam3TrackerVideoConfig:
    return transformers.Sam3TrackerVideoConfig(
        vision_config=_sam3_vision(side).to_dict(),
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


def save_sam3_with_nouns(folder: Path) -> None:
    """The tracker of SAM 3 and its detector, with a tokenizer that knows a few words."""
    torch.manual_seed(3)
    side = 112
    vision = _sam3_vision(side).to_dict()
    layers = {
        "hidden_size": WIDTH,
        "num_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    found = transformers.Sam3Config(
        vision_config=vision,
        text_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 32,
            "projection_dim": 32,
            "eos_token_id": 2,
            "bos_token_id": 1,
            "pad_token_id": 0,
        },
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": 4},
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 2},
    )
    config = transformers.Sam3VideoConfig(
        detector_config=found.to_dict(),
        tracker_config=_sam3_tracker(side).to_dict(),
        low_res_mask_size=side // 14 * 4,
        hotstart_delay=4,
        hotstart_unmatch_thresh=4,
        hotstart_dup_thresh=4,
        trk_assoc_iou_thresh=0.0,  # the random tracker's objects are no detection's
    )
    network = transformers.Sam3VideoModel(config)
    network.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.data += 3
    detector = network.detector_model
    detector.detr_decoder.presence_head.layer3.bias.data += 6
    detector.dot_product_scoring.text_proj.weight.data *= 100
    network.eval().save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, "<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
    ).save_pretrained(folder)


def _save(network: Any, folder: Path) -> None:
    """A random network says by chance that nothing is there; this one says that something is."""
    network.mask_decoder.pred_obj_score_head.proj_out.bias.data += 3
    network.eval().save_pretrained(folder)
