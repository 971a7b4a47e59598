"""Which channels of a file are the picture, and which may be a matte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import OpenEXR
import pytest

from voidbridge_backend.exr.header import Header, parse_header
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.exr.matte_channels import Rank, candidates
from voidbridge_backend.imaging.mattes.matte import Evidence
from voidbridge_backend.imaging.mattes.matte_choice import ChannelStats, choose
from voidbridge_protocol.errors import UnclearLayer, UnsupportedFrame

MakeExr = Callable[..., bytes]


@pytest.fixture
def header_with(make_exr: MakeExr) -> Callable[..., Header]:
    """A header of one part with channels of these names; `kinds` are types other than half."""

    def make(*names: str, **kinds: Any) -> Header:
        channels = {name: np.zeros((2, 4), kinds.get(name, np.float16)) for name in names}
        return parse_header(make_exr(channels))

    return make


def layer(name: str, colors: str = "RGB") -> list[str]:
    return [f"{name}.{color}" for color in colors]


BLENDER = [
    *(layer("ViewLayer.AO") + layer("ViewLayer.Combined", "RGBA")),
    *(layer("ViewLayer.CryptoObject00", "rgba") + layer("ViewLayer.DiffCol")),
    "ViewLayer.Depth.Z",
]


@pytest.mark.parametrize(
    ("channels", "chosen"),
    [
        (BLENDER, "ViewLayer.Combined"),
        (layer("albedo") + layer("beauty"), "beauty"),
        (layer("C", "RGBA") + layer("albedo") + layer("N", "XYZ"), "C"),
        ([f"rgba.{c}" for c in ("red", "green", "blue", "alpha")] + layer("N", "XYZ"), "rgba"),
        (layer("CryptoAsset00", "rgba") + layer("z"), "z"),
        (["Red", "Green", "Blue"], ""),
        ([".R", ".G", ".B"], ""),
        ([*"RGB", *layer("Combined")], ""),
    ],
    ids=["blender", "beauty", "houdini", "arnold", "crypto", "words", "v-ray", "root"],
)
def test_the_finished_picture_is_found_among_the_layers(
    header_with: Callable[..., Header], channels: list[str], chosen: str
) -> None:
    assert choose_picture(header_with(*channels)).layer == chosen


def test_several_layers_that_could_be_meant_are_listed(
    header_with: Callable[..., Header],
) -> None:
    with pytest.raises(UnclearLayer, match=r"2 pictures: albedo, diffuse") as refused:
        choose_picture(header_with(*layer("albedo"), *layer("diffuse")))
    assert "--layer" in refused.value.hint


@pytest.mark.parametrize("asked", ["ViewLayer.AO", "viewlayer.ao"])
def test_a_layer_is_chosen_by_its_name(header_with: Callable[..., Header], asked: str) -> None:
    assert choose_picture(header_with(*BLENDER), asked).channels[0] == "ViewLayer.AO.R"


def test_a_single_channel_may_be_named_as_a_gray_plate(
    header_with: Callable[..., Header],
) -> None:
    assert choose_picture(header_with(*BLENDER), "ViewLayer.Depth.Z").channels == (
        "ViewLayer.Depth.Z",
    )


def test_a_layer_that_is_not_there_is_told_with_those_that_are(
    header_with: Callable[..., Header],
) -> None:
    with pytest.raises(UnclearLayer, match="no layer 'diffuse'; it has albedo, beauty"):
        choose_picture(header_with(*layer("albedo"), *layer("beauty")), "diffuse")


@pytest.mark.parametrize("asked", ["", "CryptoAsset00"])
def test_the_ids_of_cryptomatte_are_never_a_picture(
    header_with: Callable[..., Header], asked: str
) -> None:
    with pytest.raises((UnclearLayer, UnsupportedFrame), match="Cryptomatte's IDs"):
        choose_picture(header_with(*layer("CryptoAsset00", "rgba")), asked)


def parts(**channels: Mapping[str, tuple[str, ...]]) -> Header:
    made = [
        OpenEXR.Part(
            {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage},
            {c: OpenEXR.Channel(c, np.zeros((2, 4), np.float16)) for c in names},
            name,
        )
        for name, names in channels.items()
    ]
    import io

    file = io.BytesIO()
    OpenEXR.File(made).write(file)
    return parse_header(file.getvalue())


def test_of_parts_with_a_picture_each_the_one_called_rgba_is_taken() -> None:
    header = parts(normals=tuple("RGB"), rgba=tuple("RGB"))
    assert choose_picture(header).part == 1
    assert choose_picture(header, "normals").part == 0


def test_parts_that_are_all_a_picture_are_listed_by_name() -> None:
    with pytest.raises(UnclearLayer, match="left, right"):
        choose_picture(parts(left=tuple("RGB"), right=tuple("RGB")))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("A", ["A"]),
        ("RGBA", ["A", "R"]),
        ("RGB", ["R"]),
        ("Y", ["Y"]),
        ("Z", ["Z"]),
        ("AY", ["A", "Y"]),
        (("mask.A", "mask.R"), ["mask.A", "mask.R"]),
        (("roto.alpha", "roto.red"), ["roto.alpha", "roto.red"]),
        ((*"RGB", "Object_0.Y", "Object_1.Y"), ["Object_0.Y", "Object_1.Y", "R"]),
        ((*"RGB", "mask_car", "depth.Z", "uv.U"), ["mask_car", "R"]),
        ((*"RGB", "matte.A", "matte.R"), ["matte.A", "R"]),
        ((*"RGB", *layer("diffuse", "RGBA")), ["R"]),
        ((*"RGB", *layer("crypto00", "rgba")), ["R"]),
    ],
    ids=str,
)
def test_channels_that_may_be_a_matte_come_with_the_likeliest_first(
    header_with: Callable[..., Header], channels: tuple[str, ...], expected: list[str]
) -> None:
    found = candidates(header_with(*channels))
    assert [c.channel for c in found if c.rank is not Rank.COLOR] == expected


@pytest.mark.parametrize(
    ("asked", "channel"),
    [("Object_1.Y", "Object_1.Y"), ("object_1", "Object_1.Y"), ("R", "R"), ("matte", "matte.A")],
)
def test_a_matte_is_chosen_by_its_channel_or_its_layer(
    header_with: Callable[..., Header], asked: str, channel: str
) -> None:
    header = header_with(*"RGB", "Object_0.Y", "Object_1.Y", "matte.A", "matte.R")
    assert [c.channel for c in candidates(header, asked)] == [channel]


def test_a_file_without_a_matte_says_what_it_has(header_with: Callable[..., Header]) -> None:
    with pytest.raises(UnclearLayer, match="only: u, v"):
        candidates(header_with("u", "v"))
    with pytest.raises(UnclearLayer, match="no channel 'car'; it has A"):
        candidates(header_with("A"), "car")


def stats(share: float, gray: bool = True, level: float = 1.0) -> ChannelStats:
    """A channel that holds `level` in this share of 1000 pixels."""
    values = np.zeros((10, 100), np.float16)
    values.ravel()[: round(share * 1000)] = level
    evidence = Evidence()
    evidence.add(values)
    return ChannelStats.of(evidence, values, gray)


Shares = Mapping[str, float | ChannelStats]


def chosen(header: Header, **shares: float | ChannelStats) -> str:
    seen = {
        c: shares[c.channel.replace(".", "_")]
        for c in candidates(header)
        if c.channel.replace(".", "_") in shares
    }
    every = {c: s if isinstance(s, ChannelStats) else stats(s) for c, s in seen.items()}
    return choose(every, 0.1).candidate.channel


def test_an_opaque_alpha_gives_way_to_a_gray_picture(header_with: Callable[..., Header]) -> None:
    header = header_with(*"RGBA")
    assert chosen(header, A=1.0, R=0.05, G=0.05, B=0.05) == "R"
    assert chosen(header, A=0.05, R=0.0, G=0.0, B=0.0) == "A"
    assert chosen(header, A=0.0, R=0.0, G=0.0, B=0.0) == "A"


def test_the_red_of_a_colored_picture_is_never_a_matte(header_with: Callable[..., Header]) -> None:
    color = stats(0.2, gray=False)
    with pytest.raises(UnclearLayer, match=r"picture.*R 20\.0%, G 5\.0%, B 5\.0%"):
        chosen(header_with(*"RGB"), R=color, G=0.05, B=0.05)


def test_several_mattes_are_listed_with_what_they_cover(
    header_with: Callable[..., Header],
) -> None:
    header = header_with("Object_0.Y", "Object_1.Y")
    with pytest.raises(UnclearLayer, match=r"Object_0\.Y 3\.0%, Object_1\.Y 5\.0%") as refused:
        chosen(header, Object_0_Y=0.03, Object_1_Y=0.05)
    assert "--matte-channel" in refused.value.hint


def test_one_matte_beside_empty_ones_is_taken(header_with: Callable[..., Header]) -> None:
    header = header_with("Object_0.Y", "Object_1.Y")
    assert chosen(header, Object_0_Y=0.0, Object_1_Y=0.05) == "Object_1.Y"


def test_an_empty_alpha_beside_another_matte_names_it(
    header_with: Callable[..., Header],
) -> None:
    with pytest.raises(UnclearLayer, match=r"A is empty in every frame.*roto\.alpha 5\.0%"):
        chosen(header_with(*"RGBA", "roto.alpha"), A=0.0, R=0.0, roto_alpha=0.05)
