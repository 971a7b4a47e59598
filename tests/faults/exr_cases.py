"""Works on shots with one file that is not as it should be; says a line a case. A process of its own, so that the
crash of a decoder is a crash of it alone, and with 4 GiB of memory.

    python exr_cases.py KIND FIRST END FOLDER [FILE ...]

KIND is `plate`, `matte` (bytes are changed) or `quadmask` (values are). A line: NUMBER SECONDS OUTCOME, where that
is `done`, the code of a typed error, or `untyped` and what was raised.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "end_to_end"), str(HERE.parent / "backend")]

import numpy as np  # noqa: E402
import OpenEXR  # noqa: E402
import voidbridge_mutations as mutations  # noqa: E402
from voidbridge_shots import exr_bytes, picture, square  # noqa: E402

from voidbridge_backend.engines import registry  # noqa: E402
from voidbridge_backend.render import remove  # noqa: E402
from voidbridge_backend.render.job import RenderJob  # noqa: E402
from voidbridge_protocol.errors import VoidbridgeError  # noqa: E402
from voidbridge_protocol.operations.remove import RemoveSettings  # noqa: E402
from voidbridge_protocol.transfer.upload import hash_file  # noqa: E402
from voidbridge_protocol.wire.messages import Request  # noqa: E402

MEMORY = 4 << 30
HEIGHT, WIDTH = 24, 32
VALUES = (
    0, 1, 63, 127, 255, 63 / 255, 127 / 255, 62.9 / 255, 64, 128, 254, 300, -1, -0.0, 0.1, 0.5, 1e-7, 65504,
    np.nan, np.inf, -np.inf,
)  # fmt: skip


class Quiet:
    """A watch that nobody looks at."""

    def step(self, stage: str, done: int, of: int) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


def seeds() -> list[bytes]:
    """Plates of every compression and of each pixel type."""
    kinds = [
        value for name, value in sorted(vars(OpenEXR).items()) if name.endswith("_COMPRESSION")
    ]
    made = []
    for i, compression in enumerate(kinds):
        planes: dict[str, Any] = picture(i, HEIGHT, WIDTH)
        if i % 2:
            planes = {name: plane.astype(np.float32) for name, plane in planes.items()}
        made.append(exr_bytes(planes, compression=compression))
    return made


def quadmask(chance: random.Random) -> bytes:
    """Blocks of few values, some of which no quadmask has."""
    values = chance.choices(VALUES, k=chance.randint(1, 5))
    random_ = np.random.default_rng(chance.randrange(1 << 32))
    blocks = random_.choice(np.array(values, np.float32), (HEIGHT // 8, WIDTH // 8))
    plane = np.kron(blocks, np.ones((8, 8), np.float32))
    kind = chance.choice([np.float16, np.float32, np.uint32])
    with np.errstate(all="ignore"):
        return exr_bytes({chance.choice("ARY"): plane.astype(kind)})


def run(kind: str, number: int, folder: Path, known: list[bytes]) -> str:
    chance = random.Random(f"{kind} {number}")
    whole = {
        "plate": [exr_bytes(picture(i, HEIGHT, WIDTH)) for i in (1, 2)],
        "matte": [exr_bytes({"A": square(HEIGHT, WIDTH, at=(4, 6 + i))}) for i in (1, 2)],
    }
    settings: dict[str, Any] = {"engine": "echo", "grow": 0, "soften": 0}
    if kind == "quadmask":
        whole["matte"] = [quadmask(chance) for _ in range(2)]
        settings["matte_kind"] = chance.choice(["auto", "matte", "quadmask"])
        settings["matte_color"] = chance.choice(["refuse", "undo"])
    else:
        of = chance.choice(known) if kind == "plate" else whole["matte"][1]
        if len(of) < 100_000 and chance.random() < 0.3 and kind == "plate":
            whole["plate"][0] = of  # the same kind of file on both sides of the damage
        whole[kind][1] = mutations.mutated(of, chance, known)
    files = []
    for role, listed in sorted(whole.items()):
        for frame, data in enumerate(listed, 1001):
            path = folder / "new"
            path.write_bytes(data or b"\0")
            file = hash_file(path, role, frame)
            path.rename(folder / file.sha256)
            files.append(file)
    order = RenderJob(
        job="fuzz",
        request=Request(1001, 1002, RemoveSettings(**settings), tuple(sorted_by_role(files))),
        source=lambda sha256: folder / sha256,
        folder=folder / "out",
    )
    try:
        remove.run(
            order, registry.make("remove", "echo", "cpu", folder), Quiet(), lambda result: None
        )
    except VoidbridgeError as error:
        return error.code
    except MemoryError:
        return "job.out-of-memory"  # as the worker says it
    except Exception as error:
        return f"untyped {type(error).__name__}: {error}".replace("\n", " ")
    return "done"


def sorted_by_role(files: list[Any]) -> list[Any]:
    return sorted(files, key=lambda file: (file.role, file.frame))


def main() -> None:
    kind, first, end, folder, *wild = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    ours = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # OpenEXR prints its warnings there
    os.dup2(1, 2)
    known = seeds() + [Path(path).read_bytes() for path in wild]
    ours.write("ready\n")
    for number in range(int(first), int(end)):
        began = time.monotonic()
        outcome = run(kind, number, Path(folder), known)
        ours.write(f"{number} {time.monotonic() - began:.3f} {outcome}\n")
        for path in Path(folder).iterdir():
            if path.is_file():
                path.unlink()


if __name__ == "__main__":
    main()
