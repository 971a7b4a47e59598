"""Pairs on disk: a clip as the model sees it, encoded once. The training needs no autoencoder and no text encoder.

Latents are [frames, 16, h/8, w/8], float32, times the scaling factor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from voidbridge_protocol.errors import BadPair

RECORD = "voidbridge"
"""Entry of a file's metadata with `PairRecord`, as JSON."""
CHANNELS = 16
MOST_LATENTS = 64
"""Latents of a pair, 253 frames; the model sees 22 at once."""
MOST_CELLS = 128 * 128
"""Cells of a latent, a megapixel; the model's own picture has 4032. A pair of more is no dataset's."""
MOST_RATIO = 4
"""Of the longer side to the shorter one, so that a sheet can show the pair."""
MOST_WORDS = 226
MOST_TEXT = 4096
"""Characters of an entry of a record."""


@dataclass(frozen=True)
class PairRecord:
    """The origin of a pair."""

    name: str
    kind: str
    """"pasted": an object was pasted into a clean plate; "approved": a result that a supervisor approved."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 over the frames of each clip that it was made from, by name."""
    prompt: str = ""
    rights: str = ""
    consent: str = ""
    vae: str = ""
    """Fingerprint of the autoencoder that encoded it."""


@dataclass(frozen=True)
class TrainingPair:
    """The inputs of the model, and the wanted answer."""

    target: Tensor
    """Latents of the plate without the object."""
    plate: Tensor
    """Latents of the plate with the object."""
    mask: Tensor
    """Latents of the quadmask, three levels."""
    hole: Tensor
    """[frames, 1, h/8, w/8] in [0, 1]: the share of removed and affected pixels."""
    text: Tensor
    """[226, width]: the embedding of the prompt."""
    no_text: Tensor
    """[226, width]: the embedding of an empty prompt."""
    moving_noise: Tensor
    """[draws, frames, 16, h/8, w/8]: noise that moves with the target, for pass 2; without draws for pass 1."""
    record: PairRecord


def pair_bytes(pair: TrainingPair) -> bytes:
    """Returns the file of a pair, the same bytes for the same content."""
    tensors = {name: getattr(pair, name).contiguous() for name in _TENSORS}
    return bytes(save(tensors, {RECORD: json.dumps(asdict(pair.record), sort_keys=True)}))


def read_pair(path: Path, number: int = 1) -> TrainingPair:
    """Reads a pair for pass `number`. Raises `BadPair` if the file is damaged or lacks what the pass needs."""
    try:
        with safe_open(str(path), framework="pt") as file:
            found = json.loads((file.metadata() or {})[RECORD])
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
        pair = TrainingPair(**tensors, record=_record(found))
    except (
        OSError,
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        RecursionError,
    ) as error:
        raise BadPair(f"a pair cannot be read: {error}") from error
    _check(pair, number)
    return pair


def record_of(path: Path) -> dict[str, Any]:
    """Returns what a LoRA says of a pair: its record, and the hash of its file. Raises `BadPair`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {**asdict(read_pair(path).record), "sha256": digest}


def target_clip(record: Mapping[str, Any]) -> str:
    """Returns the hash of the clip that the wanted answer of a pair belongs to; empty if the record names none.

    A pasted pair is named after its plate, with a number behind; its other source is the object.
    """
    sources, name = record.get("sources"), str(record.get("name"))
    if not isinstance(sources, Mapping):
        return ""
    return str(sources.get(name) or sources.get(name.rpartition(" ")[0]) or "")


def records(paths: Sequence[Path], vae: str) -> list[dict[str, Any]]:
    """Returns `record_of` each pair. Raises `BadPair` for one that another autoencoder than `vae` encoded."""
    found = [record_of(path) for path in paths]
    for record in found:
        if record["vae"] != vae:
            raise BadPair(
                f"the pair {record['name']} was encoded with another autoencoder than the one here",
                "Encode the dataset again with the models of this daemon.",
            )
    return found


def _record(found: Any) -> PairRecord:
    """Returns the record. Raises `ValueError` or `TypeError` for an entry of another kind."""
    record = PairRecord(**found)
    texts = {name: value for name, value in vars(record).items() if name != "sources"}
    for name, value in {**texts, **record.sources}.items():
        if not isinstance(value, str) or len(name) + len(value) > MOST_TEXT:
            raise ValueError(f"its record has a {name[:80]!r} that is not a short text")
    return record


_TENSORS = ("target", "plate", "mask", "hole", "text", "no_text", "moving_noise")


def _check(pair: TrainingPair, number: int) -> None:
    shape = tuple(pair.target.shape)
    name = pair.record.name
    for part in _TENSORS:
        if getattr(pair, part).dtype != torch.float32:
            raise BadPair(f"the pair {name} has a {part} of {getattr(pair, part).dtype}")
    is_known = len(shape) == 4 and shape[1] == CHANNELS
    if not is_known or shape[0] % 2 or shape[2] % 2 or shape[3] % 2 or not pair.target.numel():
        raise BadPair(
            f"the pair {name} has latents of {list(shape)}; they are [even, 16, even, even]"
        )
    short, long = sorted(shape[2:])
    if shape[0] > MOST_LATENTS or short * long > MOST_CELLS or long > MOST_RATIO * short:
        raise BadPair(
            f"the pair {name} has latents of {list(shape)}; at most {MOST_LATENTS} of {MOST_CELLS} cells "
            f"are possible, at most {MOST_RATIO} times as long as wide"
        )
    if pair.text.ndim != 2 or not 0 < len(pair.text) <= MOST_WORDS:
        raise BadPair(f"the pair {name} has embeddings of {list(pair.text.shape)}")
    for part in ("plate", "mask"):
        if tuple(getattr(pair, part).shape) != shape:
            raise BadPair(f"the pair {name} has a {part} of another shape than its target")
    if tuple(pair.hole.shape) != (shape[0], 1, *shape[2:]):
        raise BadPair(f"the pair {name} has a hole of {list(pair.hole.shape)}")
    if number == 2 and (not len(pair.moving_noise) or tuple(pair.moving_noise.shape[1:]) != shape):
        raise BadPair(f"the pair {name} has no moving noise, which a LoRA for pass 2 needs")
    for part in _TENSORS:
        if not torch.isfinite(getattr(pair, part)).all():
            raise BadPair(f"the pair {name} has values in its {part} that are not finite")
    if not 0 <= float(pair.hole.min()) <= float(pair.hole.max()) <= 1:
        raise BadPair(f"the pair {name} has a hole with values outside of 0 to 1")
