"""A result is the plate's own file, but for the pixels that were changed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.chunks import ExrChunk, chunks_of, file_of
from voidbridge_backend.exr.header import Attribute, Header, parse_header
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

Words = dict[str, NDArray[Any]]
MakeExr = Callable[..., bytes]

LOSSLESS = ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "HTJ2K256", "HTJ2K32", "ZSTD"]
LOSSY = ["B44", "B44A", "DWAA", "DWAB", "LJ2K"]
ALL_HALVES = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256)


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def with_attributes(data: bytes, *extra: Attribute, where: int = 0) -> bytes:
    """The file with more attributes in its header, at `where` in the order."""
    header = parse_header(data)
    listed = list(header.parts[0].attributes)
    listed[where:where] = extra
    chunks = chunks_of(data, header, 0, "test")
    return file_of(header.version, [listed], chunks, multipart=False)


def multipart(*files: bytes) -> bytes:
    """One file with the first part of each as a part of its own, their blocks taking turns."""
    parts, chunks = [], []
    for index, data in enumerate(files):
        header = parse_header(data)
        listed = [a for a in header.parts[0].attributes if a.name not in ("type", "name")]
        count = len(header.parts[0].offsets)
        parts.append(
            [
                *listed,
                Attribute("name", "string", b"part%d" % index),
                Attribute("type", "string", header.parts[0].type.encode()),
                Attribute("chunkCount", "int", struct.pack("<i", count)),
            ]
        )
        chunks += [replace(c, part=index) for c in chunks_of(data, header, 0, "test")]
    chunks.sort(key=lambda chunk: (chunk.number, chunk.part))
    return file_of(2 | 0x1000, parts, chunks, multipart=True)


def holed(frame: reader.Frame, rows: slice = slice(9, 11)) -> Words:
    """The frame's picture with a few of its rows replaced in the middle."""
    words = {name: frame.channels[name].copy() for name in frame.rgb_names}
    for samples in words.values():
        samples[rows, 3:7] = 0.25
    return words


@pytest.mark.parametrize("compression", LOSSLESS + LOSSY)
def test_an_unchanged_frame_is_its_own_file(
    make_exr: MakeExr, rgb_words: Words, compression: str
) -> None:
    frame = reader.decode(make_exr(rgb_words, compression))
    copies = {name: samples.copy() for name, samples in frame.channels.items()}
    assert writer.encode(frame, copies) == frame.source


@pytest.mark.parametrize("tiles", [None, (16, 8), (64, 64)], ids=["scanlines", "tiles", "one tile"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_changed_pixels_and_kept_ones_come_back_to_the_bit(
    make_exr: MakeExr, rgb_words: Words, compression: str, tiles: tuple[int, int] | None
) -> None:
    channels = {
        **rgb_words,
        "A": np.float16(1) - rgb_words["R"],
        "id": rgb_words["R"].astype(np.uint32),
    }
    data = make_exr(channels, compression, origin=(-7, 1003), tiles=tiles)
    frame = reader.decode(data)
    words = holed(frame)

    result = reader.decode(writer.encode(frame, words))

    assert result.part.compression == frame.part.compression
    for name, samples in frame.channels.items():
        assert same_bits(result.channels[name], words.get(name, samples)), name


@pytest.mark.parametrize("compression", [c for c in LOSSLESS if c != "PXR24"])
def test_every_word_of_every_type_survives(make_exr: MakeExr, compression: str) -> None:
    random = np.random.default_rng(1)
    words = random.integers(0, 2**32, (256, 256), dtype=np.uint32)
    channels = {"R": ALL_HALVES, "G": ALL_HALVES.T.copy(), "B": words.view(np.float32), "id": words}
    frame = reader.decode(make_exr(channels, compression))
    again = reader.decode(writer.encode(frame, {"R": np.zeros_like(ALL_HALVES)}))
    for name in "G", "B", "id":
        assert same_bits(frame.channels[name], channels[name])
        assert same_bits(again.channels[name], channels[name])
    assert same_bits(frame.rgb()[..., 0], ALL_HALVES.astype(np.float32))
    assert same_bits(frame.rgb()[..., 2], channels["B"])


def test_blocks_that_hold_no_change_are_copied_as_they_are(
    make_exr: MakeExr, rgb_words: Words
) -> None:
    frame = reader.decode(make_exr(rgb_words, "ZIPS"))
    result = writer.encode(frame, holed(frame, slice(9, 11)))

    def payloads(data: bytes) -> list[bytes]:
        return [bytes(c.payload) for c in chunks_of(data, parse_header(data), 0, "test")]

    differing = [
        row
        for row, (a, b) in enumerate(zip(payloads(frame.source), payloads(result), strict=True))
        if a != b
    ]
    assert differing == [9, 10]


@pytest.mark.parametrize("compression", LOSSY)
def test_a_lossy_plate_comes_back_as_zip_with_the_pixels_that_it_showed(
    make_exr: MakeExr, rgb_words: Words, compression: str
) -> None:
    frame = reader.decode(make_exr(rgb_words, compression))
    words = holed(frame)
    result = reader.decode(writer.encode(frame, words))
    assert result.part.compression == "zip"
    for name, samples in words.items():
        assert same_bits(result.channels[name], samples)


def test_pxr24_becomes_zip_only_where_it_would_round_floats(
    make_exr: MakeExr, rgb_words: Words
) -> None:
    for depth, expected in ((np.float32(1) / 3, "zip"), (np.float16(1) / 3, "pxr24")):
        channels = {**rgb_words, "Z": np.full((24, 40), depth)}
        frame = reader.decode(make_exr(channels, "PXR24"))
        result = reader.decode(writer.encode(frame, holed(frame)))
        assert result.part.compression == expected
        assert same_bits(result.channels["Z"], frame.channels["Z"])


def test_line_order_is_kept(make_exr: MakeExr, rgb_words: Words) -> None:
    for compression in "ZIPS", "DWAA":
        data = make_exr(rgb_words, compression, lineOrder=OpenEXR.DECREASING_Y)
        frame = reader.decode(data)
        result = reader.decode(writer.encode(frame, holed(frame)))
        assert frame.part.line_order == result.part.line_order == "decreasing"
        assert list(result.part.offsets) == sorted(result.part.offsets, reverse=True)


ODD = [
    Attribute("owner", "string", b"caf\xe9 \xff"),
    Attribute("keyCode", "keycode", struct.pack("<7i", 99, -1, 9999, 9, 99, 999, 1)),
    Attribute("deepImageState", "deepImageState", b"\x02"),
    Attribute("com.studio.blob", "someStruct", bytes(range(256))),
    Attribute("idManifest", "idmanifest", b"nothing of the kind"),
    Attribute("preview", "preview", struct.pack("<II", 1, 1) + b"\1\2\3\4"),
    Attribute("nuke/node_hash", "string", b"dcf2d1"),
    Attribute("empty", "string", b""),
    Attribute("zipCompressionLevel", "int", struct.pack("<i", 9)),
    Attribute("an attribute with a name longer than 31 letters", "float", struct.pack("<f", 1)),
]


def test_every_attribute_comes_back_as_raw_bytes_in_its_place(
    make_exr: MakeExr, rgb_words: Words
) -> None:
    """Among them are those for which the library refuses the whole file."""
    plain = with_attributes(make_exr(rgb_words), *ODD[:5])
    frame = reader.decode(with_attributes(plain, *ODD[5:], where=9))
    result = parse_header(writer.encode(frame, holed(frame), {"voidbridge/seed": "7"}))
    *before, own = result.parts[0].attributes
    assert tuple(before) == frame.part.attributes
    assert set(ODD) <= set(before)
    assert own == Attribute("voidbridge/seed", "string", b"7")


def test_an_own_attribute_of_an_earlier_run_is_replaced_in_its_place(
    make_exr: MakeExr, rgb_words: Words
) -> None:
    frame = reader.decode(make_exr(rgb_words))
    first = reader.decode(
        writer.encode(frame, {}, {"voidbridge/job": "one", "voidbridge/seed": "1"})
    )
    second = reader.decode(writer.encode(first, {}, {"voidbridge/job": "zwölf"}))
    names = [attribute.name for attribute in second.part.attributes]
    assert names == [attribute.name for attribute in first.part.attributes]
    assert (second.part.text("voidbridge/job"), second.part.text("voidbridge/seed")) == (
        "zwölf",
        "1",
    )


def test_other_parts_keep_every_byte_of_their_blocks(make_exr: MakeExr, rgb_words: Words) -> None:
    depth = {"Z": rgb_words["R"].astype(np.float32)}
    data = multipart(
        make_exr(depth, "PIZ"), make_exr(rgb_words, "DWAA"), make_exr(depth, "ZIPS", tiles=(8, 8))
    )
    frame = reader.decode(data)
    assert frame.index == 1
    assert writer.encode(frame, {}) == data

    words = holed(frame)
    result = writer.encode(frame, words)

    for index in 0, 2:
        before = chunks_of(data, frame.header, index, "test")
        after = chunks_of(result, parse_header(result), index, "test")
        assert [bytes(c.payload) for c in before] == [bytes(c.payload) for c in after]
    decoded = OpenEXR.File(io.BytesIO(result), separate_channels=True)
    assert [len(part.channels) for part in decoded.parts] == [1, 3, 1]
    assert same_bits(decoded.parts[1].channels["G"].pixels, words["G"])


def test_the_same_arguments_give_the_same_bytes(make_exr: MakeExr, rgb_words: Words) -> None:
    results = {
        writer.encode(frame, holed(frame), {"voidbridge/seed": "1"})
        for frame in (reader.decode(make_exr(rgb_words, "PIZ")) for _ in range(3))
    }
    assert len(results) == 1


def test_channel_names_that_are_no_utf8_are_kept(make_exr: MakeExr, rgb_words: Words) -> None:
    data = make_exr({**rgb_words, "xyz": rgb_words["R"]}).replace(b"xyz\0", b"x\xe9z\0")
    frame = reader.decode(data)
    result = writer.encode(frame, holed(frame))
    assert b"x\xe9z\0" in result
    assert same_bits(reader.decode(result).channels["x\xe9z"], rgb_words["R"])


def test_a_layer_is_a_plate_where_there_is_no_other(make_exr: MakeExr, rgb_words: Words) -> None:
    layer = {f"beauty.{name}": samples for name, samples in rgb_words.items()}
    frame = reader.decode(make_exr({"depth.Z": rgb_words["R"], **layer}))
    assert frame.rgb_names == ("beauty.R", "beauty.G", "beauty.B")
    assert np.array_equal(frame.rgb()[..., 2], rgb_words["B"].astype(np.float32))


@pytest.mark.parametrize(
    ("channels", "named"),
    [
        ({"Z": np.float16}, "only: Z"),
        ({"R": np.float16, "G": np.float16}, "only: G, R"),
        ({"R": np.uint32, "G": np.uint32, "B": np.uint32}, "B is uint"),
    ],
    ids=["depth", "no blue", "integers"],
)
def test_what_is_no_plate_is_refused_with_what_was_found(
    make_exr: MakeExr, channels: dict[str, Any], named: str
) -> None:
    data = make_exr({name: np.zeros((2, 4), kind) for name, kind in channels.items()})
    with pytest.raises(UnsupportedFrame, match=named):
        reader.decode(data, "plate.1001.exr")


def test_a_mip_mapped_texture_is_refused_with_the_reason(
    make_exr: MakeExr, rgb_words: Words
) -> None:
    data = make_exr(rgb_words, tiles=(16, 16))
    before = struct.pack("<IIIB", 9, 16, 16, 0)
    assert before in data
    with pytest.raises(UnsupportedFrame, match="mip-mapped"):
        reader.decode(data.replace(before, struct.pack("<IIIB", 9, 16, 16, 1)))


def test_a_write_leaves_the_whole_file_and_nothing_else(
    make_exr: MakeExr, rgb_words: Words, tmp_path: Path
) -> None:
    frame = reader.decode(make_exr(rgb_words))
    path = tmp_path / "résult 0001.exr"
    writer.write(path, frame, holed(frame))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert same_bits(reader.read(path).channels["G"], holed(frame)["G"])


def test_words_of_another_type_are_refused(make_exr: MakeExr, rgb_words: Words) -> None:
    frame = reader.decode(make_exr(rgb_words))
    with pytest.raises(ValueError, match="float32"):
        writer.encode(frame, {"R": frame.channels["R"].astype(np.float32)})


def chunk_list(data: bytes) -> tuple[Header, list[ExrChunk]]:
    header = parse_header(data)
    return header, chunks_of(data, header, 0, "test")


def test_an_interrupted_render_is_called_that(make_exr: MakeExr, rgb_words: Words) -> None:
    data = bytearray(make_exr(rgb_words, "ZIPS"))
    header, _ = chunk_list(bytes(data))
    struct.pack_into("<2Q", data, header.size + 8 * 20, 0, 0)
    with pytest.raises(
        UnreadableFrame, match=r"plate\.exr is incomplete: 2 of 24 blocks"
    ) as failure:
        reader.decode(bytes(data), "plate.exr")
    assert "interrupted" in failure.value.hint


def test_no_cut_off_file_is_read(make_exr: MakeExr, rgb_words: Words) -> None:
    data = make_exr(rgb_words, "PIZ")
    for length in range(0, len(data), 17):
        with pytest.raises(UnreadableFrame, match=r"plate\.exr"):
            reader.decode(data[:length], "plate.exr")


def test_swapped_blocks_are_noticed(make_exr: MakeExr, rgb_words: Words) -> None:
    data = bytearray(make_exr(rgb_words, "ZIPS"))
    header, _ = chunk_list(bytes(data))
    first, second = struct.unpack_from("<2Q", data, header.size)
    struct.pack_into("<2Q", data, header.size, second, first)
    with pytest.raises(UnreadableFrame, match="claims to be at"):
        reader.decode(bytes(data))


def test_damaged_pixel_data_is_never_taken_for_a_picture(
    make_exr: MakeExr, rgb_words: Words
) -> None:
    """The library says on standard output that it failed and returns a file without parts."""
    data = bytearray(make_exr(rgb_words, "ZIP"))
    _, chunks = chunk_list(bytes(data))
    middle = chunks[0].offset + len(chunks[0].payload) // 2
    data[middle : middle + 40] = bytes(40)
    with pytest.raises(UnreadableFrame, match=r"plate\.exr cannot be decoded"):
        reader.decode(bytes(data), "plate.exr")


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFrame, match=r"none\.exr"):
        reader.read(tmp_path / "none.exr")
