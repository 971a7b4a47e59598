"""The shot, the tool and the questions that tests of jobs in Fusion share."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from voidbridge_shots import channels_of, make_shot

FILES = range(1001, 1004)


def shot_of(folder: Path) -> Any:
    """Other pictures for every test: the daemon, which they share, answers what it knows from its store."""
    return make_shot(folder / "s", FILES, seed=zlib.crc32(folder.name.encode()) % 9000)


def tool_of(host: Any, comp: Any, shot: Any, address: str, **values: Any) -> Any:
    sources = {r: host.loader(comp, r, shot.file(r, FILES[0])) for r in ("plate", "matte")}
    group = host.new_tool(comp, **sources)
    host.module("voidbridge.operations")["remove"]["by_name"]["engine"]["choices"][3] = "echo"
    host.choose(
        group,
        **{
            "color_space": "ACEScg", "frame_offset": 1001, "engine": "echo", "grow": 0, "soften": 0,
            "daemon": address, **values,
        },
    )  # fmt: skip
    return group


def is_removed(host: Any, group: Any, shot: Any) -> bool:
    hole = channels_of(shot.file("matte", 1002))["A"] > 0
    own = channels_of(shot.file("plate", 1002))["R"].astype(np.float32)
    changed = host.shown(group, 1)["R"] != own
    # The engine may draw the plate's own value by chance, in a pixel of a hundred.
    return bool(changed[hole].mean() > 0.9 and not changed[~hole].any())


def versions(host: Any) -> list[str]:
    return sorted(path.name for path in host.folder.glob("Voidbridge/*/v*"))
