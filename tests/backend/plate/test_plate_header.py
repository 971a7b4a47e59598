"""A header is read as raw bytes, and nothing that is no header gets past."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voidbridge_backend.exr.chunks import file_of
from voidbridge_backend.exr.header import (
    Attribute,
    TimeCode,
    Window,
    check,
    parse_header,
    read_header,
)
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

Words = dict[str, NDArray[Any]]
MakeExr = Callable[..., bytes]
ROOT = Path(__file__).resolve().parents[3]


def channel_list(*names: str, sampling: int = 1) -> Attribute:
    entries = [n.encode() + b"\0" + struct.pack("<iB3xii", 1, 0, sampling, sampling) for n in names]
    return Attribute("channels", "chlist", b"".join(entries) + b"\0")


def box(name: str, *edges: int) -> Attribute:
    return Attribute(name, "box2i", struct.pack("<4i", *edges))


def attributes(*more: Attribute, channels: Attribute | None = None) -> list[Attribute]:
    """Attributes of a valid header, for 4x2 pixels without compression. `more` replaces those of its names."""
    listed = [
        channels or channel_list("B", "G", "R"),
        Attribute("compression", "compression", b"\0"),
        box("dataWindow", 0, 0, 3, 1),
        box("displayWindow", 0, 0, 3, 1),
        Attribute("lineOrder", "lineOrder", b"\0"),
        Attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
    ]
    names = {attribute.name for attribute in more}
    return [*(a for a in listed if a.name not in names), *more]


def header_of(*parts: list[Attribute], version: int = 2) -> bytes:
    """A file that has room for a few tables behind its header, and no pixels."""
    many = len(parts) > 1
    data = file_of(version | (0x1000 if many else 0), parts, [], multipart=many)
    return data + bytes(4096)


def test_every_attribute_is_there_in_order_as_raw_bytes() -> None:
    given = attributes(Attribute("owner", "string", b"\xff\x00x"), Attribute("q", "odd type", b""))
    header = parse_header(header_of(given))
    assert list(header.parts[0].attributes) == given
    assert header.size == len(header_of(given)) - 4096


def test_windows_aspect_and_channels_are_read() -> None:
    squeezed = Attribute("pixelAspectRatio", "float", struct.pack("<f", 2))
    (part,) = parse_header(header_of(attributes(box("dataWindow", -10, 3, 9, 5), squeezed))).parts
    assert part.data_window == Window(-10, 3, 9, 5)
    assert (part.data_window.width, part.data_window.height) == (20, 3)
    assert part.display_window == Window(0, 0, 3, 1)
    assert part.pixel_aspect == 2
    assert (part.compression, part.line_order, part.tiled) == ("none", "increasing", False)
    assert [channel.name for channel in part.channels] == ["B", "G", "R"]
    assert len(part.offsets) == 3


def test_what_a_host_states_is_understood(make_exr: MakeExr, rgb_words: Words) -> None:
    primaries = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
    data = make_exr(
        rgb_words,
        timeCode=OpenEXR.TimeCode(1, 59, 8, 23, 1, *[0] * 13),
        framesPerSecond=Fraction(24000, 1001),
        chromaticities=primaries,
        colorInteropID="lin_ap1_scene",
        acesImageContainerFlag=1,
    )
    (part,) = parse_header(data).parts
    assert part.time_code == TimeCode(1, 59, 8, 23, True)
    assert str(part.time_code) == "01:59:08;23"
    assert part.frames_per_second == Fraction(24000, 1001)
    assert part.chromaticities == pytest.approx(primaries)
    assert part.color_interop_id == "lin_ap1_scene"
    assert part.is_aces_container


def test_what_a_host_does_not_state_is_none() -> None:
    (part,) = parse_header(header_of(attributes())).parts
    stated = (part.time_code, part.frames_per_second, part.chromaticities, part.color_interop_id)
    assert stated == (None, None, None, None)
    assert not part.is_aces_container


@pytest.mark.parametrize(
    ("name", "type", "value"),
    [
        ("timeCode", "timecode", b"123"),
        ("framesPerSecond", "rational", struct.pack("<iI", 24, 0)),
        ("chromaticities", "v8f", bytes(32)),
        ("acesImageContainerFlag", "string", b"1"),
    ],
)
def test_an_attribute_of_another_kind_states_nothing(name: str, type: str, value: bytes) -> None:
    (part,) = parse_header(header_of(attributes(Attribute(name, type, value)))).parts
    stated = (part.time_code, part.frames_per_second, part.chromaticities, part.is_aces_container)
    assert stated == (None, None, None, False)


@pytest.mark.parametrize(
    ("channels", "chosen"),
    [
        (("A", "B", "G", "R", "Z"), ("R", "G", "B")),
        (("B", "G", "R", "diffuse.B", "diffuse.G", "diffuse.R"), ("R", "G", "B")),
        (("diffuse.B", "diffuse.G", "diffuse.R"), ("diffuse.R", "diffuse.G", "diffuse.B")),
        (("rgba.blue", "rgba.green", "rgba.red"), ("rgba.red", "rgba.green", "rgba.blue")),
        (("B", "G", "R", "right.B", "right.G", "right.R"), ("R", "G", "B")),
        (
            ("main.left.B", "main.left.G", "main.left.R"),
            ("main.left.R", "main.left.G", "main.left.B"),
        ),
        (("A", "Y"), ("Y",)),
    ],
    ids=lambda names: "+".join(names),
)
def test_the_picture_is_found_among_the_channels(
    channels: tuple[str, ...], chosen: tuple[str, ...]
) -> None:
    header = parse_header(header_of(attributes(channels=channel_list(*channels))))
    assert choose_picture(header).channels == chosen


def part_of(name: str, *channels: str) -> list[Attribute]:
    return attributes(
        Attribute("name", "string", name.encode()),
        Attribute("type", "string", b"scanlineimage"),
        Attribute("chunkCount", "int", struct.pack("<i", 2)),
        channels=channel_list(*channels),
    )


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        ((("Z",), ("B", "G", "R")), 1),
        ((("d.B", "d.G", "d.R"), ("B", "G", "R")), 1),
        ((("Z",), ("d.B", "d.G", "d.R")), 1),
    ],
    ids=["behind data", "before a layer", "a layer"],
)
def test_the_plate_is_the_first_part_with_a_picture(
    parts: tuple[tuple[str, ...], ...], chosen: int
) -> None:
    header = parse_header(header_of(*(part_of(f"p{i}", *names) for i, names in enumerate(parts))))
    assert choose_picture(header).part == chosen


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (channel_list("BY", "RY", "Y"), "luminance-chroma"),
        (channel_list("B", "G", "R", sampling=2), "subsampled"),
        (channel_list("Z"), "only: Z"),
    ],
)
def test_what_cannot_be_worked_on_is_refused_with_its_reason(
    channels: Attribute, said: str
) -> None:
    header = parse_header(header_of(attributes(channels=channels)))
    with pytest.raises(UnsupportedFrame, match=said):
        choose_picture(header)


@pytest.mark.parametrize(
    "wrong",
    [
        Attribute("compression", "compression", b"\x63"),
        Attribute("compression", "int", bytes(4)),
        Attribute("lineOrder", "lineOrder", b"\x03"),
        box("dataWindow", 0, 0, 0x7FFFFFFF, 1),
        box("dataWindow", 3, 0, 0, 1),
        box("dataWindow", 0, 99, 3, 0),
        box("displayWindow", 0, 0, -1, 1),
        box("dataWindow", 0, 0, 60000, 60000),
        channel_list("R", "R", "G"),
        Attribute("channels", "chlist", b"R\0" + struct.pack("<iB3xii", 7, 0, 1, 1) + b"\0"),
        Attribute("channels", "chlist", b"R\0" + struct.pack("<iB3xii", 1, 0, 0, 1) + b"\0"),
        Attribute("channels", "chlist", b"R"),
    ],
    ids=lambda a: f"{a.name} {a.value[:16].hex()}",
)
def test_what_no_renderer_writes_is_refused(wrong: Attribute) -> None:
    data = header_of(attributes(wrong))
    with pytest.raises(UnreadableFrame, match=r"plate\.exr"):
        check(parse_header(data, "plate.exr"), len(data), "plate.exr")


def test_a_black_frame_is_no_bomb(make_exr: MakeExr) -> None:
    """The most compressible real picture: an empty matte."""
    for compression in "ZIP", "PIZ", "PXR24", "DWAB", "HTJ2K256":
        data = make_exr({"A": np.zeros((1080, 2048), np.float16)}, compression)
        check(parse_header(data), len(data))


def test_a_file_is_read_whatever_the_size_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.exr"
    path.write_bytes(header_of(attributes(Attribute("cryptomatte", "string", bytes(1_000_000)))))
    assert len(read_header(path).parts[0].offsets) == 2


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.exr").touch()
    (tmp_path / "text.exr").write_text("not a picture, but long enough to be looked at")
    for name, said in (
        ("gone", "No such file"),
        ("empty", "ends within"),
        ("text", "not an OpenEXR"),
    ):
        with pytest.raises(UnreadableFrame, match=rf"{name}\.exr.*{said}"):
            read_header(tmp_path / f"{name}.exr")


@given(st.data())
def test_no_bytes_raise_anything_but_an_unreadable_frame(data: st.DataObject) -> None:
    whole = bytearray(header_of(part_of("a", "B", "G", "R"), part_of("b", "Z")))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 4097))] = data.draw(st.integers(0, 255))
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    for mutated in whole, cut:
        try:
            check(parse_header(bytes(mutated)), len(mutated))
        except UnreadableFrame:
            pass


def test_random_bytes_are_no_header() -> None:
    generator = random.Random(0)
    for _ in range(200):
        with pytest.raises(UnreadableFrame):
            parse_header(b"\x76\x2f\x31\x01\x02\0\0\0" + generator.randbytes(300))


def test_headers_and_sequences_need_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import voidbridge_backend.exr.header, voidbridge_backend.sequences.patterns\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded - sys.stdlib_module_names))"
    )
    folders = [str(ROOT / "protocol"), str(ROOT / "backend")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, *folders], capture_output=True, text=True
    )
    assert done.stdout.strip() == "['__main__', 'voidbridge_backend', 'voidbridge_protocol']", done
