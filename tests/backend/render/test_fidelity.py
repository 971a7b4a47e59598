"""The table of docs/plates.md is what whole jobs do to files of every kind, measured here.

`pytest tests/backend/shot/test_fidelity.py --write-table` writes the measured table into the page.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.chunks import chunks_of, file_of
from voidbridge_backend.exr.header import Attribute, Part, parse_header
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import UnsupportedFrame, VoidbridgeError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "plates.md"
HEIGHT, WIDTH = 36, 40
RunShot = Callable[..., Any]
Channels = dict[str, NDArray[Any]]

HEAD = """\
| plate | pixels outside the matte | other channels and parts | attributes | form |
|---|---|---|---|---|
"""


def strange(seed: int) -> NDArray[np.float16]:
    """Words of every kind: NaN payloads, infinities, -0.0, subnormal numbers."""
    words = np.random.default_rng(seed).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    words[0, :4] = [0x7E01, 0x7C00, 0xFC00, 0x8000]
    return words.view(np.float16)


def halves(seed: int = 0) -> Channels:
    return {name: strange(seed + i) for i, name in enumerate("RGB")}


def floats(seed: int = 0) -> Channels:
    random = np.random.default_rng(seed)
    return {name: random.normal(0.4, 1, (HEIGHT, WIDTH)).astype(np.float32) for name in "RGB"}


def calm(seed: int = 0) -> Channels:
    """The error of a lossy codec."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0.4, 0.1, (HEIGHT, WIDTH)).astype(np.float16) for name in "RGB"}


def part(channels: Channels, **more: Any) -> OpenEXR.Part:
    origin = more.pop("origin", (0, 0))
    compression = more.pop("compression", "ZIP")
    tiles = more.pop("tiles", None)
    height, width = next(iter(channels.values())).shape
    corners = origin, (origin[0] + width - 1, origin[1] + height - 1)
    header = {
        "compression": getattr(OpenEXR, f"{compression}_COMPRESSION"),
        "type": OpenEXR.tiledimage if tiles else OpenEXR.scanlineimage,
        "dataWindow": tuple(np.array(corner, np.int32) for corner in corners),
        **more,
    }
    if tiles:
        header["tiles"] = OpenEXR.TileDescription()
        header["tiles"].xSize, header["tiles"].ySize = tiles
        header["tiles"].mode = more.get("mode", OpenEXR.ONE_LEVEL)
    planes = {name: OpenEXR.Channel(name, pixels, 1, 1) for name, pixels in channels.items()}
    return OpenEXR.Part(header, planes)


def file(channels: Channels, **more: Any) -> bytes:
    made = part(channels, **more)
    out = io.BytesIO()
    OpenEXR.File(made.header, made.channels, num_threads=0).write(out)
    return out.getvalue()


def parts(*several: OpenEXR.Part) -> bytes:
    for index, one in enumerate(several):
        one.header.setdefault("name", f"part{index}")
    out = io.BytesIO()
    OpenEXR.File(list(several)).write(out)
    return out.getvalue()


def box(left: int, top: int, right: int, bottom: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.array((left, top), np.int32), np.array((right, bottom), np.int32)


def stating(*attributes: Attribute) -> bytes:
    """A file with these attributes, as bytes that no library had a say in."""
    data = file(halves())
    header = parse_header(data)
    listed = [*header.parts[0].attributes, *attributes]
    return file_of(header.version, [listed], chunks_of(data, header, 0, "test"), multipart=False)


def packed(name: str, type_: str, layout: str, *values: float) -> Attribute:
    return Attribute(name, type_, struct.pack(layout, *values))


def with_attribute(data: bytes, name: str, value: bytes) -> bytes:
    """The same length, other content: what an encoder here would not write."""
    key = name.encode() + b"\0"
    at = data.index(key) + len(key)
    at = data.index(b"\0", at) + 5
    return data[:at] + value + data[at + len(value) :]


def mixed() -> Channels:
    return {**halves(), "G": floats()["G"], "B": floats(4)["B"]}


def ids() -> NDArray[np.uint32]:
    return np.random.default_rng(2).integers(0, 2**32, (HEIGHT, WIDTH), np.uint32)


def layers() -> Channels:
    more = {f"spec.{name}": pixels for name, pixels in halves(9).items()}
    return {**halves(), **more, "A": strange(3), "depth.Z": floats()["R"], "id.object": ids()}


def views() -> bytes:
    right = {f"right.{name}": pixels for name, pixels in halves(7).items()}
    return file({**halves(), **right}, multiView=["left", "right"])


def second_part() -> bytes:
    return parts(
        part({"Z": floats()["R"]}, name="depth"), part(halves(), name="rgb", compression="PIZ")
    )


TEXT = Attribute("comments", "string", "Fassung für Müller".encode("latin-1"))
CASES: dict[str, Callable[[], bytes]] = {
    "half": lambda: file(halves()),
    "float": lambda: file(floats()),
    "half and float mixed": lambda: file(mixed()),
    "alpha, layers, depth, integer ids": lambda: file(layers()),
    "picture in a layer": lambda: file({f"beauty.{n}": p for n, p in halves().items()}),
    "two views in one part": views,
    "several parts, the picture in the second": second_part,
    "tiles": lambda: file(halves(), tiles=(16, 8)),
    "lines from the bottom up": lambda: file(halves(), lineOrder=OpenEXR.DECREASING_Y),
    "overscan": lambda: file(halves(), origin=(-4, -4), displayWindow=box(0, 0, 31, 27)),
    "cropped data window": lambda: file(halves(), displayWindow=box(0, 0, 63, 47)),
    "far from the origin": lambda: file(
        halves(), origin=(-7, 1003), displayWindow=box(-7, 1003, 32, 1038)
    ),
    "pixel aspect 2": lambda: file(halves(), pixelAspectRatio=2.0),
    "chromaticities": lambda: stating(packed("chromaticities", "chromaticities", "<8f", *range(8))),
    "time code, key code, frame rate": lambda: stating(
        packed("timeCode", "timecode", "<II", 0x01020304, 7),
        packed("keyCode", "keycode", "<7i", *range(7)),
        packed("framesPerSecond", "rational", "<iI", 24000, 1001),
    ),
    "camera attributes": lambda: stating(
        packed("worldToCamera", "m44f", "<16f", *range(16)),
        packed("isoSpeed", "float", "<f", 800),
        Attribute("com.arri.camera.ReelName", "string", b"A001R1X"),
    ),
    "attributes of unknown types, text in no UTF-8": lambda: stating(
        Attribute("studio/lens", "lensCurve", bytes(range(200))), TEXT
    ),
    **{
        f"compression {name}": lambda name=name: file(halves(), compression=name)  # type: ignore[misc]
        for name in ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "HTJ2K32", "HTJ2K256", "ZSTD")
    },
    "compression PXR24, half": lambda: file(halves(), compression="PXR24"),
    "compression PXR24, float": lambda: file(floats(), compression="PXR24"),
    **{
        f"compression {name}": lambda name=name: file(calm(), compression=name)  # type: ignore[misc]
        for name in ("B44", "B44A", "DWAA", "DWAB", "LJ2K")
    },
    "mip-mapped": lambda: with_attribute(
        file(halves(), tiles=(16, 8)), "tiles", struct.pack("<IIB", 16, 8, 1)
    ),
    "subsampled channels": lambda: with_attribute(
        file({"BY": strange(1), **halves()}),
        "channels",
        b"B\0" + struct.pack("<iB3xii", 1, 0, 2, 2),
    ),
    "integers in R, G and B": lambda: file({name: ids() for name in "RGB"}),
    "no R, G and B": lambda: file({"Y": strange(1)}),
}


@dataclass(frozen=True)
class Measured:
    """One line of the table."""

    kept: str
    others: str
    attributes: str
    form: str

    def line(self, name: str) -> str:
        return f"| {name} | {self.kept} | {self.others} | {self.attributes} | {self.form} |\n"


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def count(wrong: int, good: str) -> str:
    return f"{wrong} differ" if wrong else good


def form(before: Part, after: Part) -> str:
    names = ("compression", "line_order", "tiles", "data_window", "display_window", "channels")
    changed = [
        f"{getattr(after, name)} for {getattr(before, name)}"
        for name in (*names, "type", "pixel_aspect")
        if getattr(before, name) != getattr(after, name)
    ]
    return "; ".join(changed) or "as it was"


def measured(data: bytes, run_shot: RunShot) -> Measured:
    """Runs a job with a hole in the middle on one file."""
    try:
        plate = reader.decode(data)
    except UnsupportedFrame:
        plate = None
    window = parse_header(data).parts[0 if plate is None else plate.index].data_window
    matte = np.zeros((window.height, window.width), np.float16)
    matte[10:20, 12:30] = 1
    mattes = file({"A": matte}, origin=(window.xmin, window.ymin))
    if plate is not None:
        shown = plate.part.display_window
        corners = box(shown.xmin, shown.ymin, shown.xmax, shown.ymax)
        mattes = file(
            {"A": matte},
            origin=(window.xmin, window.ymin),
            displayWindow=corners,
            pixelAspectRatio=plate.part.pixel_aspect,
        )
    try:
        done = run_shot({1001: data}, {1001: mattes}, grow=0, soften=0)
    except VoidbridgeError as error:
        named = "" if "1001" in error.text else ", without its frame"
        return Measured(f"refused: `{error.code}`{named}", "", "", "")
    assert plate is not None
    result = reader.decode(done.results[1001])
    hole = matte > 0
    wrong = 0
    for name in plate.rgb_names:
        before, after = plate.channels[name], result.channels[name]
        wrong += not same(before[~hole], after[~hole])
        assert not same(before[hole], after[hole])
    others = [name for name in plate.channels if name not in plate.rgb_names]
    odd = sum(not same(plate.channels[name], result.channels[name]) for name in others)
    kept_parts = [i for i in range(len(plate.header.parts)) if i != plate.index]
    for index in kept_parts:
        theirs, ours = (
            [bytes(c.payload) for c in chunks_of(d, parse_header(d), index, "test")]
            for d in (data, done.results[1001])
        )
        odd += theirs != ours
    lost = 0
    for theirs_, ours_ in zip(plate.header.parts, result.header.parts, strict=True):
        listed = [a for a in ours_.attributes if not a.name.startswith("voidbridge/")]
        changes = ("compression", "chunkCount") if ours_.compression != theirs_.compression else ()
        lost += [a for a in listed if a.name not in changes] != [
            a for a in theirs_.attributes if a.name not in changes
        ]
    return Measured(
        count(wrong, "every bit"),
        count(odd, "every bit") if others or kept_parts else "",
        count(lost, "every byte"),
        form(plate.part, result.part),
    )


def test_the_table_of_the_page_is_what_jobs_do(
    run_shot: RunShot, request: pytest.FixtureRequest
) -> None:
    table = HEAD + "".join(measured(make(), run_shot).line(name) for name, make in CASES.items())
    before, begin, rest = PAGE.read_text().partition("<!-- fidelity -->\n")
    shown, end, after = rest.partition("<!-- end -->\n")
    assert begin, "the page has a place for the table"
    assert end
    if request.config.getoption("--write-table", default=False):
        PAGE.write_text(before + begin + table + end + after)
        return
    assert shown == table
    assert "differ" not in shown


def test_the_hole_is_filled_whatever_the_rest_is(run_shot: RunShot) -> None:
    plate = np.full((HEIGHT, WIDTH), 0.5, np.float16)
    matte = np.zeros((HEIGHT, WIDTH), np.float16)
    matte[4:8, 4:8] = 1
    done = run_shot(
        {1: new_file({name: plate for name in "RGB"})},
        {1: new_file({"A": matte})},
        grow=0,
        soften=0,
        seed=1,
    )
    result = reader.decode(done.results[1]).channels["G"]
    assert np.unique(result[matte > 0]).tolist() == [0.5 / 2 + 0.25 + 1 / 64]
    assert np.unique(result[matte == 0]).tolist() == [0.5]
