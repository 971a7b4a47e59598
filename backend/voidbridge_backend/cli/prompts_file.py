"""A file of prompts, as the page saves them: the same prompts as those of the options, as JSON.

{"objects": [{"name": "ball", "role": "primary", "points": [{"frame": 1001, "x": 640, "y": 360, "label": 1}],
"boxes": [{"frame": 1001, "left": 600, "top": 300, "right": 760, "bottom": 480}], "keys": {"1050": "roto.exr"}},
{"name": "dog", "noun": "the dog"}]}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from voidbridge_backend.client.small_files import read_small
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.mask import NAME

from .prompts import OBJECT, TypedPrompts

HINT = "docs/masks.md shows the form of such a file; the page for masks writes it."


def read_prompts(path: Path) -> TypedPrompts:
    """The prompts in this file; key mattes are beside it unless their paths are absolute. Raises `BadSetting`."""
    try:
        objects = json.loads(read_small(path))["objects"]
        found = [_typed(entry, path.parent) for entry in objects]
    except OSError as error:
        raise BadSetting(f"the prompts in {path} cannot be read: {error.strerror}") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BadSetting(f"{path} is not a file of prompts: {ascii(reason)[:120]}", HINT) from error
    return joined(*found)


def joined(*prompts: TypedPrompts) -> TypedPrompts:
    """All of these prompts, in their order."""
    names = ("points", "negatives", "boxes", "keys", "roles", "nouns")
    return TypedPrompts(*([word for one in prompts for word in getattr(one, n)] for n in names))


def _typed(entry: dict[str, Any], folder: Path) -> TypedPrompts:
    """The words that mean the same. Raises `BadSetting`."""
    name = str(entry.get("name", OBJECT))
    if not NAME.fullmatch(name):  # else the words would mean another file, or another object
        raise BadSetting(f"{ascii(name)[:60]} cannot be the name of an object", HINT)
    points = [(p, f"{int(p['frame'])}:{_xy(p, 'x', 'y')}:{name}") for p in entry.get("points", ())]
    boxes = [
        f"{int(b['frame'])}:{_xy(b, 'left', 'top', 'right', 'bottom')}:{name}"
        for b in entry.get("boxes", ())
    ]
    keys = [f"{int(n)}={folder / str(p)}:{name}" for n, p in dict(entry.get("keys", {})).items()]
    return TypedPrompts(
        [word for point, word in points if int(point.get("label", 1))],
        [word for point, word in points if not int(point.get("label", 1))],
        boxes,
        keys,
        [f"{name}={entry['role']}"] if "role" in entry else [],
        [f"{entry['noun']}:{name}"] if entry.get("noun") else [],
    )


def _xy(entry: dict[str, Any], *names: str) -> str:
    return ",".join(f"{float(entry[name]):.3f}" for name in names)
