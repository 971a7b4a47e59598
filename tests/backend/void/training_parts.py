"""Pairs of an invented show for the tiny model, which tests of this folder share.

All clips show the same set with small differences, and an object in its middle. A LoRA can learn the set.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from voidbridge_backend.client.training.dataset_list import FILE, ListedPair, list_bytes
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void_lora.pairs import PairRecord, TrainingPair, pair_bytes
from voidbridge_protocol.operations.train import TrainSettings

FRAMES, HIGH, WIDE, WORDS = 2, 4, 6, 8


def show_pair(number: int, vae: str, draws: int = 2) -> TrainingPair:
    """One pair; fewer words than a real prompt has, for speed."""
    common, own = (torch.Generator().manual_seed(seed) for seed in (1, 100 + number))
    shape = (FRAMES, 16, HIGH, WIDE)
    look = torch.randn(1, *shape[1:], generator=common).expand(FRAMES, -1, -1, -1)
    target = look + 0.2 * torch.randn(shape, generator=own)
    hole = torch.zeros(FRAMES, 1, HIGH, WIDE)
    hole[:, :, 1:3, 2:4] = 1
    text = torch.randn(WORDS, 16, generator=common)
    return TrainingPair(
        target=target,
        plate=target + hole * torch.randn(shape, generator=own),
        mask=(1 - hole).expand(-1, 16, -1, -1),
        hole=hole,
        text=text,
        no_text=torch.zeros_like(text),
        moving_noise=torch.randn(draws, *shape, generator=own),
        record=PairRecord(f"pair {number}", "pasted", rights="ours", consent="given", vae=vae),
    )


def write_pairs(folder: Path, models: Path, count: int, draws: int = 2) -> list[Path]:
    vae = networks.vae_weights(models).fingerprint()
    paths = []
    for number in range(count):
        path = folder / f"pair-{number:04d}.safetensors"
        path.write_bytes(pair_bytes(show_pair(number, vae, draws)))
        paths.append(path)
    return paths


def write_dataset(folder: Path, pairs: list[Path], held: int, settings: TrainSettings) -> Path:
    """Writes the list of a dataset of these pairs, the last ones held out, and the file of its show."""
    listed = [
        ListedPair(
            path.name,
            number >= len(pairs) - held,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            f"pair {number}",
            "pasted",
            5,
        )
        for number, path in enumerate(pairs)
    ]
    (folder / FILE).write_bytes(list_bytes(settings.show, listed))
    show = folder / "show.toml"
    defaults = TrainSettings()
    lines = [
        f"{name} = {json.dumps(value)}"
        for name, value in vars(settings).items()
        if value != getattr(defaults, name) and name != "show"
    ]
    show.write_text(
        f'show = "{settings.show}"\ndataset = "."\n[training]\n' + "\n".join(lines) + "\n"
    )
    return show
