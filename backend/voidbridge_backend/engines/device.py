"""Devices that fail: what is the end of a process on them, and whether one can be used at all."""

from __future__ import annotations

import importlib.util
import re

from voidbridge_protocol.errors import DeviceFailed

FATAL = re.compile(
    r"CUDA (driver )?error|device-side assert|CUBLAS_STATUS_|CUDNN_STATUS_|NCCL error"
    r"|fallen off the bus|uncorrectable ECC|unspecified launch failure",
    re.IGNORECASE,
)
"""What NVIDIA's libraries and torch say of errors after which every further call fails with the same."""
ONLY_MEMORY = re.compile(r"out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
"""Of those, what passes when something is let go."""


def lost(error: BaseException, device: str) -> DeviceFailed | None:
    """The error as one of the device, if it, or what it was raised from, cannot be survived in this process.

    Known by its words: torch raises them as `RuntimeError`, and its own class is newer than some that we run with.
    """
    seen: BaseException | None = error
    while seen is not None:
        said = str(seen).strip().splitlines()
        if said and FATAL.search(said[0]) and not ONLY_MEMORY.search(str(seen)):
            return DeviceFailed(f"{device}: {said[0]}")
        seen = seen.__cause__ or seen.__context__
    return None


def check(device: str) -> None:
    """Uses an NVIDIA device once. Raises `DeviceFailed`.

    Without torch, or with one that was built for the CPU, nothing will use it, and nothing is checked.
    """
    if not device.startswith("cuda") or importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.version.cuda is None:
        return
    try:
        found = torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:  # torch asserts that there is a driver
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceFailed(f"{device}: {said[0]}") from error
    if found != 2:
        raise DeviceFailed(f"{device}: one and one are {found:g}")
