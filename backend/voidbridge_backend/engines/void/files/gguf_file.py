"""Reads a transformer from a GGUF file, whose layers are stored in about 2 to 8 bits a weight.

diffusers reads GGUF for the networks that it can load from a single file, and this transformer is none of them.
So the package `gguf` decodes the layers here, and they are computed in the model's own type.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voidbridge_protocol.errors import EngineFailed, ModelMissing

SUFFIX = ".gguf"
BROKEN = (OSError, ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError)
"""Errors of the package for files that are cut off or no GGUF."""


def headers(path: Path) -> Mapping[str, tuple[tuple[int, ...], str]]:
    """Returns each tensor's shape, in the order of torch, and its type. Raises `ModelMissing` for a broken file,
    `EngineFailed` without the package.
    """
    return {
        tensor.name: (tuple(int(size) for size in reversed(tensor.shape)), tensor.tensor_type.name)
        for tensor in _tensors(path)
    }


def read(path: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns every tensor, decoded to `dtype`. One tensor at a time is there in float32 as well."""
    decode = _package("gguf.quants").dequantize
    found = {}
    for tensor in _tensors(path):
        try:
            values = decode(tensor.data, tensor.tensor_type)
        except (NotImplementedError, *BROKEN) as error:
            kind = tensor.tensor_type.name
            raise ModelMissing(
                f"{path.name} holds {tensor.name} as {kind}, which cannot be decoded: {error}",
                "Get the file in another type, such as Q8_0.",
            ) from error
        # Plain types may be views of the file, which torch does not take.
        found[tensor.name] = torch.from_numpy(np.array(values)).to(dtype)
    return found


def _tensors(path: Path) -> Any:
    reader = _package("gguf").GGUFReader
    try:
        return reader(path).tensors
    except BROKEN as error:
        raise ModelMissing(f"{path} is not a readable GGUF file: {error}") from error


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineFailed(
            f"a weight is stored as GGUF, and the package gguf cannot be loaded: {error}",
            "Install it with: pip install 'voidbridge[gguf]', or get the weights as safetensors.",
        ) from error
