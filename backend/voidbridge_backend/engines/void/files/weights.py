"""Finds, checks and reads the model's files.

A models folder holds

    CogVideoX-Fun-V1.5-5b-InP/      scheduler, text_encoder, tokenizer, transformer and vae, as published
    void_pass1.safetensors          the transformer of the first pass
    void_pass2.safetensors          the transformer of the second pass

Weights may lie as in a models folder of ComfyUI instead (`ELSEWHERE`); configurations lie as published.

Only safetensors are read, and GGUF for a transformer. A pickle (.bin, .pt, .ckpt) can run code when it is opened
and is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from voidbridge_protocol.errors import ModelMissing

from . import checkpoints, gguf_file

BASE = "CogVideoX-Fun-V1.5-5b-InP"
PASSES = {1: "void_pass1.safetensors", 2: "void_pass2.safetensors"}
CONFIGS = (
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/spiece.model",
    "transformer/config.json",
    "vae/config.json",
)
WEIGHTS = {"text_encoder": "model", "vae": "diffusion_pytorch_model"}
"""Parts of the base model with weights, and the first part of their file names."""

ELSEWHERE = {
    "text_encoder": ("text_encoders", "t5xxl"),
    "vae": ("vae", "cogvideox_vae"),
    PASSES[1]: ("diffusion_models", "void_pass1"),
    PASSES[2]: ("diffusion_models", "void_pass2"),
}
"""Folder in a models folder of ComfyUI, and the beginning of the file's name, by part."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
TYPES = frozenset({"BF16", "F16", "F32"})
"""Number types that weights may have, as safetensors spells them."""

PATCH = "patch_embed.proj.weight"
CHANNELS = {"noisy": 16, "mask": 16, "plate": 16}
"""Input channels of VOID's transformer, in order. The base model has one channel for the mask."""

Shapes = Mapping[str, tuple[int, ...]]


class Weights:
    """One file of tensors, or several with an index. Only headers are read until tensors are needed."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self.files = files

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns every tensor's shape, from the headers. Raises `ModelMissing` if a file is damaged or foreign."""
        found: dict[str, tuple[int, ...]] = {}
        for path in self.files:
            for name, (shape, kind) in _headers(path).items():
                if path.suffix != gguf_file.SUFFIX and kind not in TYPES | checkpoints.EIGHT_BITS:
                    raise ModelMissing(
                        f"{path.name} holds {name} as {kind}, not as BF16, F16, F32 or F8"
                    )
                found[name] = shape
        start = checkpoints.prefix(found)
        return {name.removeprefix(start): shape for name, shape in found.items()}

    def copied(self, dtype: torch.dtype) -> int:
        """Returns the bytes that `read` copies, because weights are stored in another type; from the headers."""
        wanted = {torch.float32: "F32", torch.bfloat16: "BF16"}[dtype]
        return sum(
            math.prod(shape) * dtype.itemsize
            for path in self.files
            for shape, kind in _headers(path).values()
            if kind != wanted or path.suffix == gguf_file.SUFFIX
        )

    def is_compressed(self) -> bool:
        """Returns True if a weight is stored in 8 bits or fewer, from the headers."""
        kinds = {kind for path in self.files for _, kind in _headers(path).values()}
        return bool(kinds - TYPES)

    def read(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Returns every tensor, memory-mapped instead of copied if its type already is `dtype`."""
        state: dict[str, Tensor] = {}
        for path in self.files:
            if path.suffix == gguf_file.SUFFIX:
                state.update(gguf_file.read(path, dtype))
                continue
            try:
                state.update(load_file(path))
            except (OSError, SafetensorError) as error:
                raise ModelMissing(f"{path} cannot be read: {error}") from error
        return checkpoints.restored(state, dtype)

    def fingerprint(self) -> str:
        """Returns the SHA-256 of sizes and contents; for large files, of spread samples. See `fingerprint`."""
        whole = hashlib.sha256()
        for path in self.files:
            whole.update(fingerprint(path).encode())
        return whole.hexdigest()


def find(folder: Path, stem: str) -> Weights:
    """Finds the weights `stem` in `folder`: one file, or the shards in its index.

    Raises `ModelMissing` with the missing files, or if there is only a pickle.
    """
    single = folder / f"{stem}.safetensors"
    index = folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return Weights((single,))
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        files = tuple(folder / Path(str(name)).name for name in names)
        lacking = [path.name for path in files if not path.is_file()]
        if lacking or not files:
            raise ModelMissing(f"{index} names missing shards: {', '.join(lacking) or 'none'}")
        return Weights(files)
    pickles = [path.name for path in _pickles(folder, stem)]
    if pickles:
        raise ModelMissing(
            f"{folder} has {', '.join(pickles)} but no {single.name}; pickles are not opened",
            "Get the published safetensors file, or convert the pickle on a machine where you trust it.",
        )
    raise ModelMissing(f"{single} is missing")


def located(models: Path, part: str) -> Weights:
    """Finds the weights of a part of `ELSEWHERE`, where they are published or where ComfyUI keeps them.

    Raises `ModelMissing` as `find`, or if several files of ComfyUI fit.
    """
    folder, stem = _published(models, part)
    there, start = ELSEWHERE[part]
    ends = (".safetensors", gguf_file.SUFFIX) if part in PASSES.values() else (".safetensors",)
    found = sorted(path for end in ends for path in (models / there).glob(f"{start}*{end}"))
    if not found or (folder / f"{stem}.safetensors").exists():
        return find(folder, stem)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ModelMissing(f"{models / there} has more than one file for a part: {names}")
    return Weights((found[0],))


def missing(models: Path, passes: int = 2) -> list[str]:
    """Lists the files that a models folder lacks for `passes` passes, as relative paths; empty if complete."""
    lacking = [f"{BASE}/{name}" for name in CONFIGS if not (models / BASE / name).is_file()]
    for part in [*WEIGHTS, *(PASSES[number] for number in range(1, passes + 1))]:
        folder, stem = _published(models, part)
        try:
            located(models, part)
        except ModelMissing as error:
            path = (folder / f"{stem}.safetensors").relative_to(models).as_posix()
            lacking.append(path + _unless_plain(error, stem))
    return lacking


def _published(models: Path, part: str) -> tuple[Path, str]:
    """Returns the folder and the first part of the file name of published weights."""
    if part in WEIGHTS:
        return models / BASE / part, WEIGHTS[part]
    return models, part.removesuffix(".safetensors")


def require(models: Path | None, passes: int) -> Path:
    """Returns `models`. Raises `ModelMissing` with everything that it lacks."""
    if models is None:
        raise ModelMissing("no models folder is given", "Give one with --models FOLDER.")
    lacking = missing(models, passes)
    if lacking:
        raise ModelMissing(f"{models} lacks {', '.join(lacking)}")
    return models


def differences(found: Shapes, expected: Shapes) -> list[str]:
    """Lists how the tensors of a file differ from the network's, as parts of a sentence; empty if equal."""
    lacking = [name for name in expected if name not in found]
    foreign = [name for name in found if name not in expected]
    wrong = [
        f"{name} is {list(found[name])} instead of {list(expected[name])}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    found_differences = []
    if lacking:
        found_differences.append(f"{len(lacking)} tensors are missing, {lacking[0]} first")
    if foreign:
        found_differences.append(
            f"{len(foreign)} tensors belong to another network, {foreign[0]} first"
        )
    if wrong:
        found_differences.append(f"{len(wrong)} have a wrong shape: {wrong[0]}")
    return found_differences


def assign(network: Any, state: Mapping[str, Tensor], source: str) -> Any:
    """Gives `network`, made without memory (`on_meta`), the tensors of `state` as its own; returns it.

    Raises `ModelMissing` with the differences from the network's tensors.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = differences({name: tuple(tensor.shape) for name, tensor in state.items()}, expected)
    if wrong:
        raise ModelMissing(f"{source} does not fit the model: {'; '.join(wrong)}")
    network.load_state_dict(dict(state), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def on_meta(make: Callable[[], Any]) -> Any:
    """Calls `make` without memory for weights and without drawing initial ones."""
    with torch.device("meta"):
        return make()


def adapted(base: Tensor) -> Tensor:
    """Expands the base model's patch embedding [width, 264] to VOID's 48 input channels, [width, 384].

    Columns are channel * 8 + place in the 2 x 2 x 2 patch. The base has one mask channel; each of the 16 of
    VOID starts as a copy of it.
    """
    place = base.shape[1] // 33
    noisy, mask, plate = (
        base[:, : 16 * place],
        base[:, 16 * place : 17 * place],
        base[:, 17 * place :],
    )
    return torch.cat([noisy, mask.repeat(1, CHANNELS["mask"]), plate], dim=1)


def narrow_over(checkpoint: Tensor, base: Tensor) -> Tensor:
    """Puts a checkpoint's patch embedding of 33 channels over the base's, `adapted` to 48.

    Noisy latents and plate come from the checkpoint, the 16 channels of the mask from the base.
    """
    out = adapted(base)
    sixteen = checkpoint.shape[1] // 33 * 16
    out[:, :sixteen] = checkpoint[:, :sixteen]
    out[:, -sixteen:] = checkpoint[:, -sixteen:]
    return out


def transformer_state(
    checkpoint: Weights | None, base: Callable[[], Weights], expected: Shapes, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Returns the tensors of a pass: the checkpoint's own, completed by the base model's.

    `base` is called and read only if the checkpoint is incomplete.
    """
    found = checkpoint.shapes() if checkpoint else {}
    state = checkpoint.read(dtype) if checkpoint else {}
    if not differences(found, expected):
        return state
    narrow = state.pop(PATCH, None)
    beneath = base().read(dtype)
    patch = beneath.pop(PATCH)
    if narrow is None:
        beneath[PATCH] = adapted(patch)
    elif tuple(narrow.shape) == tuple(expected[PATCH]):
        beneath[PATCH] = narrow
    else:
        beneath[PATCH] = narrow_over(narrow, patch)
    return beneath | state


def fingerprint(path: Path, samples: int = 64, sample: int = 1 << 20) -> str:
    """Returns the SHA-256 of a file's size and content; for large files, of the samples alone.

    It tells models apart in a result's provenance without reading tens of gigabytes. A small file's fingerprint
    covers every byte.
    """
    size = path.stat().st_size
    seen = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= samples * sample:
            seen.update(file.read())
        else:
            for index in range(samples):
                file.seek((size - sample) * index // (samples - 1))
                seen.update(file.read(sample))
    return seen.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file of the model. Raises `ModelMissing` if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelMissing(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ModelMissing(f"{path} is not a JSON object")
    return found


def _opened(path: Path) -> Any:
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise ModelMissing(f"{path} is not a readable safetensors file: {error}") from error


def _headers(path: Path) -> Mapping[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and type of every weight of a file, without scales and remarks."""
    if path.suffix == gguf_file.SUFFIX:
        return gguf_file.headers(path)
    found = {}
    with _opened(path) as file:
        for name in filter(checkpoints.is_weight, file.keys()):
            part = file.get_slice(name)
            found[name] = tuple(part.get_shape()), part.get_dtype()
    return found


def _pickles(folder: Path, stem: str) -> list[Path]:
    # transformers names its pickles pytorch_model.bin, whatever the name of the safetensors file.
    if not folder.is_dir():
        return []
    stems = (stem, "pytorch_model")
    return sorted(
        path for path in folder.iterdir() if path.suffix in PICKLES and path.name.startswith(stems)
    )


def _unless_plain(error: ModelMissing, stem: str) -> str:
    return "" if str(error).endswith("is missing") else f" ({error})"
