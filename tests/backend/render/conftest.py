"""A whole job in one process: bytes of files in, bytes of files out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend.engines import registry
from voidbridge_backend.engines.base import Engine
from voidbridge_backend.render import remove
from voidbridge_backend.render.job import RenderJob
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

Files = Mapping[int, bytes]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", action="store_true", help="into docs/plates.md, as measured")


@dataclass
class Heard:
    """A watch that remembers what it was told."""

    warnings: list[str] = field(default_factory=list)

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass(frozen=True)
class Finished:
    results: dict[int, bytes]
    provenance: dict[str, Any]
    warnings: list[str]


RunShot = Callable[..., Finished]


@pytest.fixture
def run_shot(tmp_path: Path) -> RunShot:
    """`run(plates, mattes, engine=..., wanted=(first, last), affected=..., clean=..., clips=..., **settings)`.

    The frames of the roles in `clips` are those of one clip, in order.
    """

    def run(
        plates: Files,
        mattes: Files,
        engine_: Engine | None = None,
        wanted: tuple[int, int] | None = None,
        affected: Files | None = None,
        clean: Files | None = None,
        clips: tuple[str, ...] = (),
        **settings: Any,
    ) -> Finished:
        more = {"affected": affected, "clean": clean}
        roles = {"plate": plates, "matte": mattes, **{r: f for r, f in more.items() if f}}
        files = []
        for role, frames in sorted(roles.items()):
            for place, (frame, data) in enumerate(sorted(frames.items())):
                name = hashlib.sha256(data).hexdigest()
                (tmp_path / name).write_bytes(data)
                index = place if role in clips else 0
                files.append(FrameFile(role, frame, name, len(data), index))
        first, last = wanted or (min(plates), max(plates))
        chosen = RemoveSettings(**{"engine": "echo", "color_space": "ACEScg", **settings})
        request = Request(first, last, chosen, tuple(files))
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        order = RenderJob("job", request, lambda sha256: tmp_path / sha256, folder)
        heard = Heard()
        worker = engine_ or registry.make("remove", chosen.engine)
        provenance = remove.run(order, worker, heard, lambda result: None)
        assert json.loads((folder / "provenance.json").read_text()) == provenance
        results = {f: (folder / f"{f}.exr").read_bytes() for f in range(first, last + 1)}
        return Finished(results, provenance, heard.warnings)

    return run
