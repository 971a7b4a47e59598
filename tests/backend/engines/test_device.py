"""Which errors end a process on a device, and which pass."""

from __future__ import annotations

import pytest

from voidbridge_backend.engines import device
from voidbridge_protocol.errors import EngineFailed


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered\nCompile with `TORCH_USE_CUDA_DSA`",
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA driver error: invalid device ordinal",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "CUDA error: uncorrectable ECC error encountered",
    ],
)
def test_what_no_process_survives_is_known_by_its_words(text: str) -> None:
    found = device.lost(RuntimeError(text), "cuda:1")
    assert found
    assert found.text == f"cuda:1: {text.splitlines()[0]}"
    assert found.code == "job.device"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        ValueError(""),
        KeyError("cuda:0"),
    ],
    ids=str,
)
def test_what_passes_is_an_error_of_the_job(error: Exception) -> None:
    assert device.lost(error, "cuda:0") is None


def test_it_is_found_behind_the_error_that_was_made_of_it() -> None:
    cause = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(EngineFailed) as failed:
        raise EngineFailed("window 3 of 5 failed") from cause
    assert device.lost(failed.value, "cuda:0")


def test_a_processor_needs_no_check() -> None:
    device.check("cpu")
