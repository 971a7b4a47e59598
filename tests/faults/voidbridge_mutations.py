"""Bytes and values as nobody should send them, drawn from a seed.

Loaded under the name `voidbridge_mutations` by `conftest.py`.
"""

from __future__ import annotations

import random
import struct
from typing import Any

EDGES = (0, 1, -1, 2, 255, 256, 32767, 65535, 1 << 20, 1 << 30, 2**31 - 1, -(2**31))
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 1e-320,
    "", "x", "\0", "../../etc/passwd", "a" * 70_000, "\ud800", "nan", "\u202e", "1-999999999", "0-4,2",
    [], [[]], [1], [None], {}, {"": 1}, {"kind": "hello"}, "0" * 64, "f" * 63,
)  # fmt: skip
"""Values of every kind at their limits, and a few of the wrong shape."""


def mutated(data: bytes, chance: random.Random, others: list[bytes] | None = None) -> bytes:
    """One to four changes: bits, bytes, numbers, cuts, repetitions, pieces of something else."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        # What decides lies in front; half of the changes go there.
        reach = len(made) if chance.random() < 0.5 else min(len(made), 512)
        place = chance.randrange(max(reach, 1))
        match chance.randrange(8):
            case 0 if made:
                made[place] ^= 1 << chance.randrange(8)
            case 1 if made:
                made[place] = chance.randrange(256)
            case 2:
                made[place : place + 4] = struct.pack("<i", chance.choice(EDGES))
            case 3:
                del made[place:]
            case 4:
                del made[place : place + chance.randint(1, 64)]
            case 5:
                made[place:place] = chance.randbytes(chance.randint(1, 64))
            case 6:
                length = chance.randint(1, 256)
                made[place : place + length] = bytes(len(made[place : place + length]))
            case 7 if others:
                other = chance.choice(others)
                start = chance.randrange(len(other))
                made[place:place] = other[start : start + chance.randint(1, 512)]
    return bytes(made)


def odd(value: Any, chance: random.Random) -> Any:
    """A JSON value with one of its places changed: another value, a missing or an unknown field, one too many."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        made = dict(value)
        name = chance.choice(sorted(made))
        match chance.randrange(8):
            case 0:
                del made[name]
            case 1:
                made[name + "x"] = made[name]
            case _:
                made[name] = odd(made[name], chance)
        return made
    if isinstance(value, list) and value and chance.random() < 0.8:
        listed = list(value)
        place = chance.randrange(len(listed))
        match chance.randrange(5):
            case 0:
                del listed[place]
            case 1:
                listed.append(listed[place])
            case 2:
                chance.shuffle(listed)
            case _:
                listed[place] = odd(listed[place], chance)
        return listed
    return chance.choice(ODD)
