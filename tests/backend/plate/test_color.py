"""The color space is what was declared or stated, and never changed behind the artist's back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PyOpenColorIO as ocio
import pytest

from voidbridge_backend.exr.header import CODECS, Attribute, Part, Window
from voidbridge_backend.imaging.color import PRIMARIES, ColorPlan, sanitize
from voidbridge_protocol.errors import BadColorSpace

AP0 = Attribute("chromaticities", "chromaticities", np.array(PRIMARIES["lin_ap0"], "<f4").tobytes())
AP1 = Attribute("chromaticities", "chromaticities", np.array(PRIMARIES["lin_ap1"], "<f4").tobytes())
ACES = Attribute("acesImageContainerFlag", "int", b"\1\0\0\0")


def stating(*attributes: Attribute) -> Part:
    window = Window(0, 0, 3, 1)
    return Part(
        attributes, (), window, window, CODECS[3], "increasing", 1.0, "scanlineimage", None, "", ""
    )


def interop(name: str) -> Attribute:
    return Attribute("colorInteropID", "string", name.encode())


@pytest.mark.parametrize(
    ("declared", "space"),
    [
        ("ACEScg", "ACEScg"),
        ("acescg", "ACEScg"),
        ("lin_ap1_scene", "ACEScg"),
        ("ACES - ACEScg", "ACEScg"),
        ("ACES - ACEScg\tACES\tACES - ACEScg", "ACEScg"),
        ("scene_linear", "ACEScg"),
        ("scene_linear (ACES - ACEScg)", "ACEScg"),
        ("ocio:lin_ap1_scene", "ACEScg"),
        ("lin_ap0", "ACES2065-1"),
        ("Utility - Linear - sRGB", "Linear Rec.709 (sRGB)"),
        ("linear", "Linear Rec.709 (sRGB)"),
        ("sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)"),
        ("AlexaV3LogC", "ARRI LogC3 (EI800)"),
        ("DaVinci WG", "DaVinci Intermediate WideGamut"),
    ],
)
def test_a_space_is_found_by_the_names_that_hosts_and_configs_give_it(
    declared: str, space: str
) -> None:
    plan = ColorPlan.choose(declared)
    assert (plan.space, plan.how, plan.warnings) == (space, "declared", ())


@pytest.mark.parametrize(
    ("declared", "stated", "space", "how"),
    [
        ("ACEScct", (ACES, interop("lin_rec709_scene")), "ACEScct", "declared"),
        ("", (ACES, interop("lin_rec709_scene")), "ACES2065-1", "acesImageContainerFlag"),
        ("", (interop("lin_rec709_scene"),), "Linear Rec.709 (sRGB)", "colorInteropID"),
        ("", (interop("unknown"),), "ACEScg", "assumed"),
        ("", (AP0,), "ACEScg", "assumed"),
        ("", (), "ACEScg", "assumed"),
    ],
)
def test_what_was_declared_goes_before_what_the_file_says(
    declared: str, stated: tuple[Attribute, ...], space: str, how: str
) -> None:
    plan = ColorPlan.choose(declared, stating(*stated))
    assert (plan.space, plan.how) == (space, how)


def test_an_assumption_is_always_a_warning() -> None:
    (warning,) = ColorPlan.choose("", stating()).warnings
    assert "ACEScg is assumed" in warning
    assert "--color-space" in warning


@pytest.mark.parametrize(
    ("declared", "stated", "said"),
    [
        ("ACEScg", AP0, "chromaticities are those of ACES2065-1"),
        ("ACEScg", interop("lin_rec709_scene"), "colorInteropID says lin_rec709_scene"),
        ("ACEScg", ACES, "ACES flag says ACES2065-1"),
    ],
)
def test_a_contradiction_in_the_file_is_a_warning(
    declared: str, stated: Attribute, said: str
) -> None:
    (warning,) = ColorPlan.choose(declared, stating(stated)).warnings
    assert said in warning


def test_agreement_is_no_warning() -> None:
    assert not ColorPlan.choose("ACEScg", stating(AP1, interop("lin_ap1_scene"))).warnings
    assert not ColorPlan.choose("ACEScct", stating(AP1)).warnings


@pytest.mark.parametrize(
    ("declared", "said", "hint"),
    [
        ("ACESgc", "no color space 'ACESgc'", "ACEScg"),
        ("LogC", "no color space 'LogC'", "ARRI LogC"),
        ("qqqq", "no color space 'qqqq'", "It has: ACES2065-1"),
        ("Raw", "not color", "--color-space"),
    ],
)
def test_an_unknown_space_names_those_near_it(declared: str, said: str, hint: str) -> None:
    with pytest.raises(BadColorSpace, match=said) as failure:
        ColorPlan.choose(declared)
    assert hint in failure.value.hint


@pytest.mark.parametrize(
    "declared", ["ACEScg", "lin_rec709", "Linear P3-D65", "Linear ARRI Wide Gamut 4"]
)
def test_a_scene_linear_plate_passes_with_all_its_bits(declared: str) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (20, 30, 3), dtype=np.uint32)
    plan = ColorPlan.choose(declared)
    assert plan.linear
    for through in plan.to_scene, plan.from_scene:
        assert through(words.view(np.float32)).tobytes() == words.tobytes()


@pytest.mark.parametrize(
    ("declared", "grey", "bound"),
    [
        ("ACEScct", 0.4135884, 1e-6),
        ("ARRI LogC4", 0.2783958, 1e-4),
        ("sRGB - Texture", 0.461356, 1e-5),
        ("S-Log3 S-Gamut3", 0.4105571, 1e-5),
        ("sRGB - Display", 0.461356, 1e-5),
    ],
)
def test_an_encoded_plate_becomes_light_and_back(declared: str, grey: float, bound: float) -> None:
    """Codes of 18 % grey from AMPAS S-2016-001, ARRI's LogC4 paper, IEC 61966-2-1, Sony's S-Log3 paper."""
    plan = ColorPlan.choose(declared)
    assert not plan.linear
    light = plan.to_scene(np.full((1, 1, 3), grey, np.float32))
    assert np.allclose(light, 0.18, atol=2e-4)
    codes = np.random.default_rng(0).uniform(0, 1, (50, 40, 3)).astype(np.float32)
    before = codes.copy()
    assert np.abs(plan.from_scene(plan.to_scene(codes)) - codes).max() <= bound
    assert codes.tobytes() == before.tobytes()


def test_the_matrix_to_rec709_is_that_of_the_primaries() -> None:
    """AP1 to Rec.709 with a Bradford adaptation; white stays white."""
    matrix = ColorPlan.choose("ACEScg").to_rec709
    assert np.allclose(matrix[0], [1.70505, -0.62179, -0.08326], atol=1e-4)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(ColorPlan.choose("lin_srgb").to_rec709, np.eye(3))


def write_config(path: Path, *, interchange: bool, name: str = "studio") -> Path:
    config = ocio.Config.CreateRaw()
    config.setName(name)
    space = ocio.ColorSpace(name="Show Linear", encoding="scene-linear")
    double = ocio.MatrixTransform(np.diag([2, 2, 2, 1]).ravel().tolist())
    space.setTransform(double, ocio.COLORSPACE_DIR_TO_REFERENCE)
    config.addColorSpace(ocio.ColorSpace(name="AP0", encoding="scene-linear"))
    config.addColorSpace(space)
    if interchange:
        config.setRole("aces_interchange", "AP0")
    path.write_text(config.serialize())
    return path


def test_a_studio_config_is_followed(tmp_path: Path) -> None:
    plan = ColorPlan.choose(
        "Show Linear", None, write_config(tmp_path / "c.ocio", interchange=True)
    )
    assert (plan.space, plan.config, plan.linear) == ("Show Linear", "studio", True)
    here, there = (
        ColorPlan.choose("AP0", None, write_config(tmp_path / at, interchange=True, name=""))
        for at in ("here.ocio", "there.ocio")
    )
    assert here.config == there.config, "the same config in another place"
    assert here.config.startswith("sha256:")
    assert np.allclose(plan.to_rec709, 2 * ColorPlan.choose("ACES2065-1").to_rec709, atol=1e-5)


def test_a_config_that_has_nothing_in_common_is_refused(tmp_path: Path) -> None:
    path = write_config(tmp_path / "c.ocio", interchange=False)
    with pytest.raises(BadColorSpace, match="no conversion from Show Linear") as failure:
        ColorPlan.choose("Show Linear", None, path)
    assert "aces_interchange" in failure.value.hint


def test_a_config_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.ocio"
    for content in None, "this is no config":
        if content:
            path.write_text(content)
        with pytest.raises(BadColorSpace, match=r"broken\.ocio"):
            ColorPlan.choose("ACEScg", None, path)


def test_an_engine_is_given_finite_pixels_and_the_finite_ones_unchanged() -> None:
    rgb = np.random.default_rng(0).normal(0.5, 0.2, (12, 16, 3)).astype(np.float32)
    wild = rgb.copy()
    wild[3, 4] = np.nan
    wild[5, 6, 0], wild[5, 7, 1] = np.inf, -np.inf
    clean = sanitize(wild)
    finite = np.isfinite(wild)
    assert clean[finite].tobytes() == wild[finite].tobytes()
    assert np.isfinite(clean).all()
    assert np.allclose(clean[3, 4], rgb[1:6, 2:7].reshape(-1, 3).mean(0), atol=0.1)
    assert clean[5, 6, 0] == wild[finite].max()
    assert np.isnan(wild[3, 4]).all()


def test_a_picture_of_nothing_but_nan_is_black() -> None:
    assert (sanitize(np.full((3, 3, 3), np.nan, np.float32)) == 0).all()
    assert (sanitize(np.full((3, 3, 3), np.inf, np.float32)) == 0).all()
