"""One seed for a job, and from it a sequence of random numbers for each purpose, the same on every device."""

from __future__ import annotations

import hashlib

import torch


def seeded(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A generator on the CPU; those of another seed, purpose or index are independent of it."""
    key = hashlib.sha256(f"{purpose} {seed} {index}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(key[:8], "little", signed=True))
