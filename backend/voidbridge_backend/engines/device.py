"""Device failures: errors that no process survives, and a test of a device."""

from __future__ import annotations

import importlib.util
import re

from voidbridge_protocol.errors import DeviceFailed

FATAL = re.compile(
    r"CUDA (driver )?error|device-side assert|CUBLAS_STATUS_|CUDNN_STATUS_|NCCL error"
    r"|fallen off the bus|uncorrectable ECC|unspecified launch failure",
    re.IGNORECASE,
)
"""Messages of NVIDIA's libraries and torch after which every further call fails."""
ONLY_MEMORY = re.compile(
    r"out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED.*cublasCreate"
    r"|CUDNN_STATUS_ALLOC_FAILED|CUDNN_STATUS_INTERNAL_ERROR_(HOST|DEVICE)_ALLOCATION_FAILED"
    r"|unable to find an engine to execute this computation"
    r"|cudaErrorMemoryAllocation|cudaHostAlloc|DefaultCPUAllocator|Cannot allocate memory|std::bad_alloc",
    re.IGNORECASE,
)
"""Messages of the driver, cuBLAS, cuDNN, Triton and torch for a lack of memory, which a smaller plan can resolve.

cuBLAS reports `NOT_INITIALIZED` if its handle does not fit. cuDNN finds no engine if no workspace fits.
"""


def out_of_memory(error: BaseException) -> str | None:
    """Returns the message of an error that only lacks memory, on the device or the host; None for any other."""
    if isinstance(error, MemoryError):
        return "the machine's memory"
    text = str(error).strip()
    if isinstance(error, RuntimeError) and ONLY_MEMORY.search(text):
        return text.splitlines()[0]
    return None


def lost(error: BaseException, device: str) -> DeviceFailed | None:
    """Returns a `DeviceFailed` if this process cannot survive the error, or the error that caused it.

    The text identifies it: torch raises `RuntimeError`, and its own class is newer than some supported
    versions.
    """
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).strip().splitlines()
        if text and FATAL.search(text[0]) and not ONLY_MEMORY.search(str(seen)):
            return DeviceFailed(f"{device}: {text[0]}")
        seen = seen.__cause__ or seen.__context__
    return None


def check(device: str) -> None:
    """Runs one operation on an NVIDIA device. Raises `DeviceFailed`.

    Without torch, or with a CPU build of it, no code uses the device and nothing is checked.
    """
    if not device.startswith("cuda") or importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.version.cuda is None:
        return
    try:
        found = torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:  # torch asserts that there is a driver
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceFailed(f"{device}: {text[0]}") from error
    if found != 2:
        raise DeviceFailed(f"{device}: 1 + 1 gave {found:g}")
