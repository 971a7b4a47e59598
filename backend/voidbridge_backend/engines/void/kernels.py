"""Which of torch's kernels the networks are computed with: how attention is, and whether blocks are compiled.

None of it changes what is computed, only its rounding. `docs/model.md` says what each is chosen for.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.attention import SDPBackend, activate_flash_attention_impl, sdpa_kernel

from .memory import Plan

log = logging.getLogger(__name__)

Attention = Literal["auto", "torch", "cudnn", "flash", "flash-3", "math"]
"""Whose attention is tried first; "torch" leaves it to torch, "math" is the formula with all scores in memory.

"flash-3" is FlashAttention-3 (arXiv 2407.08608), from its own package, in the place of torch's flash attention.
"""
Compile = Literal["auto", "on", "off"]
Linears = Literal["full", "fp8"]
"""In which numbers the transformer's large products are; 8 bits are not lossless (`eight_bit.py`)."""
Layout = Literal["contiguous", "channels-last"]
"""In which order the autoencoder's convolutions have their weights in memory."""

_ANY = (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
ORDERS = {
    "cudnn": (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, *_ANY),
    "flash": (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, *_ANY),
    "flash-3": (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, *_ANY),
    "math": (SDPBackend.MATH,),
}
"""The kernels to try, in order. One that cannot do it is passed over, so a choice never fails a job."""

HOPPER = (9, 0)
"""The first compute capability that cuDNN's attention is faster on than the flash attention that torch prefers."""


def attention(choice: Attention, device: torch.device) -> Attention:
    """What is used on this device: for "auto" cuDNN's on a card from Hopper on, torch's own choice elsewhere.

    "flash-3" puts that package into this process, for good. Where it cannot be had, "auto" is used instead.
    """
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    if choice == "flash-3" and capability[0] == HOPPER[0]:  # It knows no other cards.
        try:
            activate_flash_attention_impl("FA3")
        except (ImportError, RuntimeError, ValueError) as error:
            log.warning("no FlashAttention-3 here: %s", error)
        else:
            return choice
    if choice not in ("auto", "flash-3"):
        return choice
    return "cudnn" if capability >= HOPPER else "torch"


def attending(choice: Attention) -> AbstractContextManager[Any]:
    """Within it, `scaled_dot_product_attention` tries the kernels of `choice` in order."""
    if choice not in ORDERS:
        return nullcontext()
    return sdpa_kernel(list(ORDERS[choice]), set_priority=True)


def compiles(choice: Compile, device: torch.device, plan: Plan) -> bool:
    """Whether the transformer's blocks are compiled: with "auto" on a card that has Triton.

    Never while they are streamed: what brings a block to the device runs within its forward.
    """
    if choice == "off" or plan.streams:
        return False
    return choice == "on" or (device.type == "cuda" and find_spec("triton") is not None)


def reuse(wanted: float, plan: Plan) -> float:
    """By how much a preview may use the blocks' last answers again: not at all while they are streamed.

    What brings a block to the device counts on the one before having been asked.
    """
    return 0.0 if plan.streams else wanted


def lay_out(network: nn.Module, choice: Layout) -> None:
    """Put the weights of three-dimensional convolutions into `choice`; files hold them contiguous.

    Group normalisation on CUDA brings everything back to contiguous, so whether the faster convolutions
    are worth it is for the machine to say.
    """
    if choice == "channels-last":
        nn.utils.convert_conv3d_weight_memory_format(network, torch.channels_last_3d)
