"""Selects torch's kernels for the networks: the attention kernel, and if blocks are compiled.

The choice affects only rounding. `docs/model.md` explains each choice.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.attention import SDPBackend, activate_flash_attention_impl, sdpa_kernel

log = logging.getLogger(__name__)

Attention = Literal["auto", "torch", "cudnn", "flash", "flash-3", "math"]
"""The attention kernel to try first; "torch" lets torch choose, "math" is the formula with all scores in memory.

"flash-3" is FlashAttention-3 (arXiv 2407.08608), from its own package, in place of torch's flash attention.
"""
Compile = Literal["auto", "on", "off"]
Linears = Literal["full", "fp8"]
"""Number type of the transformer's large products; 8 bits are not lossless (`fp8.py`)."""
Layout = Literal["auto", "contiguous", "channels-last"]
"""Memory order of the weights of the autoencoder's convolutions."""

NO_CONTIGUOUS_CUDNN = range(90800, 91500)
"""cuDNN versions that torch from 2.9 on does not use for contiguous 16-bit 3D convolutions, because results were
wrong (pytorch #163539). Its own path takes 26.6 GiB here (counted; pytorch #166643). The other layout avoids it.
"""

_ANY = (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
ORDERS = {
    "cudnn": (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, *_ANY),
    "flash": (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, *_ANY),
    "flash-3": (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, *_ANY),
    "math": (SDPBackend.MATH,),
}
"""The kernels to try, in order. An unsupported one is skipped, so a choice never fails a job."""

HOPPER = (9, 0)
"""The first compute capability on which cuDNN's attention is faster than torch's preferred flash attention."""


def attention(choice: Attention, device: torch.device) -> Attention:
    """Returns the attention for this device. "auto" is cuDNN's on a card from Hopper on, otherwise torch's own
    choice.

    "flash-3" loads that package into this process permanently. If it is unavailable, "auto" is used instead.
    """
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    if choice == "flash-3" and capability[0] == HOPPER[0]:  # It supports no other cards.
        try:
            activate_flash_attention_impl("FA3")
        except (ImportError, RuntimeError, ValueError) as error:
            log.warning("flash-3 attention is unavailable here: %s", error)
        else:
            return choice
    if choice not in ("auto", "flash-3"):
        return choice
    return "cudnn" if capability >= HOPPER else "torch"


def attending(choice: str) -> AbstractContextManager[Any]:
    """Within it, `scaled_dot_product_attention` tries the kernels of `choice` in order."""
    if choice not in ORDERS:
        return nullcontext()
    return sdpa_kernel(list(ORDERS[choice]), set_priority=True)


def compiles(choice: Compile, device: torch.device) -> bool:
    """Returns True if the transformer's blocks are compiled: with "auto", on a card that has Triton."""
    if choice == "auto":
        return device.type == "cuda" and find_spec("triton") is not None
    return choice == "on"


def layout(choice: Layout, device: torch.device, dtype: torch.dtype) -> Layout:
    """Returns the layout for this device. "auto" is contiguous unless cuDNN cannot be used with it."""
    if choice != "auto":
        return choice
    cudnn: Any = torch.backends.cudnn
    version = cudnn.version() if device.type == "cuda" else None
    if version in NO_CONTIGUOUS_CUDNN and dtype != torch.float32:
        return "channels-last"
    return "contiguous"


def lay_out(network: nn.Module, choice: Layout) -> None:
    """Converts the weights of three-dimensional convolutions to `choice`; files store them contiguous.

    Group normalization on CUDA converts everything back to contiguous, so the gain of faster convolutions
    depends on the machine.
    """
    if choice == "channels-last":
        nn.utils.convert_conv3d_weight_memory_format(network, torch.channels_last_3d)
