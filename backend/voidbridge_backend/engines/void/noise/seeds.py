"""Derives independent random sequences from a job's seed, one per purpose, the same on every device."""

from __future__ import annotations

import hashlib

import torch


def seeded(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Returns a generator on the CPU, independent for each seed, purpose and index."""
    key = hashlib.sha256(f"{purpose} {seed} {index}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(key[:8], "little", signed=True))
