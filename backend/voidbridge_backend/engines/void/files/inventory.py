"""Lists the parts of a models folder: source, presence and correctness.

It only reads; it writes and fetches nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from voidbridge_protocol.errors import ModelMissing

from . import networks, weights
from .weights import BASE, PASSES, Shapes, Weights

State = Literal["ok", "missing", "wrong", "unknown"]
REPOSITORIES = {"base": "alibaba-pai/CogVideoX-Fun-V1.5-5b-InP", "passes": "netflix/void-model"}
"""The repositories of the published files on huggingface.co."""

SUMS = "SHA256SUMS"
"""A file in the models folder with known checksums of the others, in the format of `sha256sum`."""

PUBLISHED = {
    f"{BASE}/tokenizer/spiece.model": (
        "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
    )
}
"""SHA-256 of published files that every T5 shares. A models folder may hold others, such as a tiny model."""


@dataclass(frozen=True)
class ModelPart:
    """One part of the model."""

    name: str
    path: str
    """A file or a folder, below the models folder."""
    source: str
    """The repository on huggingface.co; empty for parts that are made locally."""
    size: int
    """Bytes on disk; if missing, about the published size."""
    passes: int = 1
    """0 if optional (it saves time), 1 if every job needs it, 2 if only two-pass jobs do."""
    state: State = "missing"
    text: str = ""
    """The finding, or the problem."""
    print: str = ""
    """`Weights.fingerprint`; empty if there are no weights."""


PARTS = (
    ModelPart("scheduler", f"{BASE}/scheduler", REPOSITORIES["base"], 1_000),
    ModelPart("tokenizer", f"{BASE}/tokenizer", REPOSITORIES["base"], 791_656),
    ModelPart("text encoder", f"{BASE}/text_encoder", REPOSITORIES["base"], 9_524_621_312),
    ModelPart("transformer's configuration", f"{BASE}/transformer", REPOSITORIES["base"], 1_000),
    ModelPart("autoencoder", f"{BASE}/vae", REPOSITORIES["base"], 431_200_000),
    ModelPart("pass 1", PASSES[1], REPOSITORIES["passes"], 11_142_925_568),
    ModelPart("pass 2", PASSES[2], REPOSITORIES["passes"], 11_142_925_568, passes=2),
)
"""In the order of the folder's description in `docs/model.md`. Sizes are the published ones in bfloat16."""

NEEDED = {
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("spiece.model",),
    "text encoder": ("config.json",),
    "transformer's configuration": ("config.json",),
    "autoencoder": ("config.json",),
}
"""Files of a part besides its weights."""


def inventory(models: Path, *, whole: bool = False) -> list[ModelPart]:
    """Inspects every part. With `whole`, reads every byte of files with a known SHA-256.

    Headers are compared with the configurations: names, shapes and types of all tensors.
    """
    known = sums(models)
    expected = _expected(models)
    found = []
    for part in PARTS:
        try:
            found.append(_inspected(models, part, expected, known, whole))
        except ModelMissing as error:
            there = _exists(models, part)
            found.append(replace(part, state="wrong" if there else "missing", text=error.text))
    return found


def files(models: Path, part: ModelPart) -> tuple[list[Path], Weights | None]:
    """Returns the files of a part, and which of them are weights. Raises `ModelMissing` if one is missing."""
    folder = models / part.path
    listed = [folder / name for name in NEEDED.get(part.name, ())]
    lacking = [path.name for path in listed if not path.is_file()]
    if lacking:
        raise ModelMissing(f"{', '.join(lacking)} is missing")
    found = _weights(models, part)
    return [*listed, *(found.files if found else ())], found


def sums(models: Path) -> dict[str, str]:
    """Returns SHA-256 by path below the models folder, from its `SHA256SUMS`; empty without one.

    Raises `ModelMissing` if the file has another format.
    """
    path = models / SUMS
    if not path.is_file():
        return {}
    known = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition(" ")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not name.strip(" *"):
            raise ModelMissing(f"{path} has an invalid line: {line[:80]!r}")
        known[name.lstrip(" *")] = digest
    return known


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a whole file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def _inspected(
    models: Path,
    part: ModelPart,
    expected: Mapping[str, Shapes],
    known: Mapping[str, str],
    whole: bool,
) -> ModelPart:
    there, found = files(models, part)
    notes = []
    size = sum(path.stat().st_size for path in there)
    if found is not None:
        shapes = found.shapes()
        if part.name not in expected:
            text = "cannot be checked until all configurations are there"
            return replace(part, size=size, state="unknown", text=text)
        if wrong := weights.differences(shapes, expected[part.name]):
            raise ModelMissing("; ".join(wrong))
        notes.append(f"{len(expected[part.name])} tensors are correct")
    for path in there:
        notes += _verified(models, path, known, whole)
    return replace(
        part,
        size=size,
        state="ok",
        text=", ".join(notes) or "there",
        print=found.fingerprint() if found else "",
    )


def _verified(models: Path, path: Path, known: Mapping[str, str], whole: bool) -> list[str]:
    """Returns what a file's SHA-256 shows, if it is known. Raises `ModelMissing` if the bytes differ."""
    name = path.relative_to(models).as_posix()
    if name in known and whole:
        digest = sha256(path)
        if digest != known[name]:
            raise ModelMissing(
                f"{path.name} has the SHA-256 {digest}, but {SUMS} lists {known[name]}"
            )
        return [f"{path.name} matches its SHA-256"]
    if name in PUBLISHED:
        same = sha256(path) == PUBLISHED[name]
        return ["the published file" if same else "not the published file"]
    return []


def _expected(models: Path) -> dict[str, Shapes]:
    """Returns the tensors of each part by name; empty if a configuration is missing or unreadable."""
    try:
        shapes = networks.shapes(models / BASE)
    except ModelMissing:
        return {}
    transformer = shapes["transformer"]
    return {
        "text encoder": shapes["text_encoder"],
        "autoencoder": shapes["vae"],
        "pass 1": transformer,
        "pass 2": transformer,
    }


def _weights(models: Path, part: ModelPart) -> Weights | None:
    if part.name == "text encoder":
        return networks.text_weights(models)
    if part.name == "autoencoder":
        return networks.vae_weights(models)
    for number, name in PASSES.items():
        if part.path == name:
            return networks.pass_weights(models, number)
    return None


def _exists(models: Path, part: ModelPart) -> bool:
    """Returns True if the faulty weights exist at all."""
    try:
        files(models, part)
    except ModelMissing:
        return False
    return True
