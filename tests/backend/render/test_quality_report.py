"""A result is measured from its files: what was kept, what fits, and how near the truth it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend import cli
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.quality import jod as colorvideovdp
from voidbridge_backend.quality.no_reference import MARGIN
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.tools.report.report import Files, QualityReport, review, settings_of
from voidbridge_protocol.errors import BadSetting, FrameMismatch, MissingFrames
from voidbridge_protocol.operations.remove import RemoveSettings

Pixels = NDArray[np.float32]
HEIGHT, WIDTH = 120, 160
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[40:80, 50:110] = True
FRAMES = range(99997, 100004)
AS_DRAWN = RemoveSettings(color_space="ACEScg", grow=0, soften=0)


def truth(frame: int) -> Pixels:
    rng = np.random.default_rng(1)
    ground = 0.2 + 3 * (cv2.GaussianBlur(rng.random((HEIGHT, WIDTH * 2)), (0, 0), 5) - 0.5)
    pan = np.roll(ground, frame - FRAMES.start, axis=1)[:, :WIDTH]
    grain = np.random.default_rng(frame).normal(0, 0.003, (HEIGHT, WIDTH, 3))
    return (np.maximum(pan, 0.02)[..., None] + grain).astype(np.float32)


def plate(frame: int) -> Pixels:
    light = truth(frame)
    light[HOLE] = [0.8, 0.1, 0.1]
    return light


def filled(frame: int, light: Pixels) -> Pixels:
    result = plate(frame)
    result[HOLE] = light[HOLE]
    return result


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Files]:
    """Writes a plate, a matte, the truth, and results made by `make(frame)`."""

    def write(make: Callable[[int], Pixels], shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Files:
        for frame in FRAMES:
            pictures = {"plate": plate(frame), "result": make(frame), "truth": truth(frame)}
            for name, light in pictures.items():
                planes = {c: light[..., i].astype(np.float16) for i, c in enumerate("RGB")}
                (tmp_path / f"{name}.{frame}.exr").write_bytes(new_file(planes))
            matte = new_file({"A": HOLE.astype(np.float16)})
            (tmp_path / f"matte.{frame}.exr").write_bytes(matte)
        named = {n: Sequence.parse(tmp_path / f"{n}.%04d.exr") for n in Files.__annotations__}
        return Files(named["result"], named["plate"], named["matte"], None, named["truth"])

    return write


def reviewed(files: Files, picture: Path | None = None) -> QualityReport:
    return review(files, AS_DRAWN, picture, lambda done, of: None)


def other_grain(frame: int) -> Pixels:
    noise = np.random.default_rng(frame + 7).normal(0, 0.003, (HEIGHT, WIDTH, 3))
    return filled(frame, truth(frame) + noise.astype(np.float32))


def test_a_good_result_is_good_in_every_measure(
    files: Callable[..., Files], tmp_path: Path
) -> None:
    found = reviewed(files(other_grain), tmp_path / "sheet.png")
    assert found.warnings == ()
    assert (found.frames, found.outside_differing, found.frame_shift) == (len(FRAMES), 0, 0)
    assert found.hole_psnr_db > 35
    assert found.hole_ssim > 0.9
    assert 0.5 < found.seam_energy < 2
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] > 1000


def test_the_truth_itself_is_perfect_and_a_bad_fill_is_not(files: Callable[..., Files]) -> None:
    perfect = reviewed(files(lambda frame: filled(frame, truth(frame))))
    assert perfect.hole_psnr_db == float("inf")
    assert perfect.hole_ssim == pytest.approx(1)
    flat = np.full((HEIGHT, WIDTH, 3), 0.9, np.float32)
    bad = reviewed(files(lambda frame: filled(frame, flat)))
    assert bad.hole_psnr_db < 20
    assert bad.hole_ssim < 0.7
    assert any("an edge shows" in warning for warning in bad.warnings)


def test_one_touched_bit_outside_is_found(files: Callable[..., Files]) -> None:
    def touched(frame: int) -> Pixels:
        result = other_grain(frame)
        if frame == FRAMES[2]:
            result[0, 5, 1] = np.nextafter(np.float16(result[0, 5, 1]), np.float16(9))
        return result

    found = reviewed(files(touched))
    assert found.outside_differing == 1
    assert any("differ" in w and str(FRAMES[2]) in w for w in found.warnings)


@pytest.mark.parametrize("late", [-2, 1])
def test_a_result_that_is_off_by_frames_is_found(files: Callable[..., Files], late: int) -> None:
    found = reviewed(files(lambda frame: filled(frame - late, truth(frame - late))))
    assert found.frame_shift == late
    assert (
        found.warnings[0] == f"the result is {abs(late)} frames {'late' if late > 0 else 'early'}"
    )


def test_gaps_and_other_sizes_are_errors_with_frames(
    files: Callable[..., Files], tmp_path: Path
) -> None:
    these = files(other_grain)
    small = np.zeros((8, 8), np.float16)
    (tmp_path / "result.99999.exr").write_bytes(new_file({name: small for name in "RGB"}))
    with pytest.raises(FrameMismatch, match="99999"):
        reviewed(these)
    (tmp_path / "plate.100001.exr").unlink()
    with pytest.raises(MissingFrames, match="100001"):
        reviewed(these)


def test_the_hole_is_that_of_the_sidecar_but_for_what_was_chosen(tmp_path: Path) -> None:
    result = Sequence.parse(tmp_path / "clean.%04d.exr")
    assert settings_of(result, {}) == RemoveSettings()
    (tmp_path / "clean.1002.exr").touch()
    beside = tmp_path / "clean.1001-1003.voidbridge.json"
    beside.write_text(json.dumps({"settings": {"grow": 3, "soften": 5, "of_a_later_release": 1}}))
    assert settings_of(result, {"soften": 0}) == RemoveSettings(grow=3, soften=0)
    beside.write_text("[]")
    with pytest.raises(BadSetting, match="does not say"):
        settings_of(result, {})


def test_the_command_says_numbers_and_words(
    files: Callable[..., Files], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    these = files(lambda frame: filled(frame, np.zeros((HEIGHT, WIDTH, 3), np.float32)))
    words = ["report", str(these.result), str(these.plate), str(these.matte)]
    hole = ["--grow", "0", "--soften", "0", "--color-space", "ACEScg"]
    assert cli.main([*words, *hole, "-o", str(tmp_path / "sheet.png")]) == 0
    said = capsys.readouterr().out
    assert "outside differing    0" in said
    assert "warning: an edge shows" in said
    assert "psnr" not in said
    assert (tmp_path / "sheet.png").is_file()
    assert cli.main([*words, *hole, "--truth", str(these.truth), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["event"] == "quality"
    assert told["hole_psnr_db"] < 20


def test_without_colorvideovdp_there_is_no_jod(
    files: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colorvideovdp, "is_installed", lambda: False)
    found = reviewed(files(truth))
    assert math.isnan(found.jod)
    assert found.described()["jod"] is None


def test_colorvideovdp_is_given_result_and_truth_around_the_holes(
    files: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[colorvideovdp.Pairs] = []

    def jod(pairs: colorvideovdp.Pairs) -> float:
        given.append(pairs)
        return 9.25

    monkeypatch.setattr(colorvideovdp, "is_installed", lambda: True)
    monkeypatch.setattr(colorvideovdp, "jod", jod)
    assert reviewed(files(other_grain)).jod == 9.25
    (pairs,) = given
    assert (pairs.count, pairs.rate) == (len(FRAMES), 24)
    result, expected = pairs.pair(2)
    assert result.shape == expected.shape == (pairs.height, pairs.width, 3)
    ys, xs = np.flatnonzero(HOLE.any(1)), np.flatnonzero(HOLE.any(0))
    assert pairs.height >= len(ys)
    assert pairs.width >= len(xs)
    top, left = max(ys[0] - MARGIN, 0), max(xs[0] - MARGIN, 0)
    to_rec709 = ColorPlan.choose("ACEScg", None).to_rec709.T
    for light, drawn in ((result, other_grain), (expected, truth)):
        stored = drawn(FRAMES[2]).astype(np.float16).astype(np.float64)
        cut = (stored @ to_rec709)[top : top + pairs.height, left : left + pairs.width]
        np.testing.assert_allclose(light, cut, atol=1e-5)


def test_colorvideovdp_sees_more_grain_as_worse() -> None:
    pytest.importorskip(
        "pycvvdp", reason="ColorVideoVDP is not installed: pip install 'voidbridge[jod]'"
    )
    rng = np.random.default_rng(0)
    light = rng.random((4, 96, 128, 3), np.float32) * np.float32(0.3)
    noise = rng.standard_normal(light.shape).astype(np.float32)
    scores = [
        colorvideovdp.jod(
            colorvideovdp.Pairs(
                4, 96, 128, 24.0, lambda i, s=s: (light[i] + s * noise[i], light[i])
            )
        )
        for s in (0.0, 0.02, 0.2)
    ]
    assert scores[0] > scores[1] > scores[2]
    assert scores[0] == pytest.approx(10, abs=0.01)
