"""How much faster a result is encoded where the matte covers a quarter of the rows than where it covers all.

    python benchmarks/encode.py [--size 3840x2160] [--turns 5] [--json]

One grainy half ZIP plate, on one core, in turns of which the best counts:

* `whole`: OpenEXR alone encodes every row of the decoded plate.
* `quarter`: the daemon's encoder is given a plate with a quarter of its rows changed.
* `all`: the same encoder with every row changed.

`speedup` is `whole` over `quarter`. Blocks of the file without a changed row must be the plate's own bytes.
They are counted, and a single other byte among them ends the run with an error.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pixels

from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.chunks import chunks_of
from voidbridge_backend.exr.header import parse_header
from voidbridge_backend.exr.reader import Frame, Samples


def changed(frame: Frame, rows: slice) -> dict[str, Samples]:
    """The plate's channels with the picture of another shot in these rows, as hard to pack."""
    words = {name: samples.copy() for name, samples in frame.channels.items()}
    for samples in words.values():
        samples[rows] = np.roll(samples[rows], 7, axis=1)
    return words


def whole(frame: Frame) -> int:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    out = io.BytesIO()
    OpenEXR.File(header, dict(frame.channels), num_threads=0).write(out)
    return len(out.getvalue())


def kept_blocks(frame: Frame, result: bytes, rows: slice) -> tuple[int, int]:
    """(blocks without a changed row, all blocks). Raises `ValueError` where one of the first was touched."""
    before, after = (
        [bytes(chunk.payload) for chunk in chunks_of(data, parse_header(data), 0, "a frame")]
        for data in (frame.source, result)
    )
    step = frame.part.codec.rows
    kept = [
        number
        for number in range(len(before))
        if (number + 1) * step <= rows.start or number * step >= rows.stop
    ]
    for number in kept:
        if before[number] != after[number]:
            raise ValueError(f"block {number} has no changed row, and other bytes")
    return len(kept), len(before)


def measure(folder: Path, width: int, height: int, turns: int) -> dict[str, Any]:
    pixels.draw(folder, 1, width, height)
    frame = reader.read(next(folder.glob("plate.*.exr")))
    rows = slice(height * 3 // 8, height * 5 // 8)
    quarter, every = changed(frame, rows), changed(frame, slice(0, height))
    ways: dict[str, Callable[[], object]] = {
        "whole": lambda: whole(frame),
        "quarter": lambda: writer.encode(frame, quarter),
        "all": lambda: writer.encode(frame, every),
    }
    seconds: dict[str, float] = {}
    for _ in range(turns):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            took = time.perf_counter() - began
            seconds[name] = min(took, seconds.get(name, took))
    kept, blocks = kept_blocks(frame, writer.encode(frame, quarter), rows)
    return {
        **{f"{name}_ms": round(took * 1e3) for name, took in seconds.items()},
        "blocks": blocks,
        "blocks_kept": kept,
        "speedup": round(seconds["whole"] / seconds["quarter"], 2),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--size", default="3840x2160")
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    width, height = (int(edge) for edge in chosen.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), width, height, chosen.turns)
    if chosen.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{key:12} {value}" for key, value in report.items()))


if __name__ == "__main__":
    main()
