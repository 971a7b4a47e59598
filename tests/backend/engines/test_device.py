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


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
        "Triton Error [CUDA]: out of memory",
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory",
        "unable to mmap 264 bytes from file </models/a>: Cannot allocate memory (12)",
        "std::bad_alloc",
    ],
)
def test_a_lack_of_memory_is_known_by_its_words_and_costs_no_card(text: str) -> None:
    error = RuntimeError(text)
    assert device.out_of_memory(error) == text.splitlines()[0]
    assert device.lost(error, "cuda:0") is None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasGemmEx`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("mat1 and mat2 cannot be multiplied"),
        ValueError("out of memory is only a word here"),
    ],
    ids=str,
)
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert device.out_of_memory(error) is None
