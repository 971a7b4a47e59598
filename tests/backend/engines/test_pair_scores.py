"""Figures of a removal whose wanted answer is known, and the sheet that shows them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from voidbridge_backend.quality.pair_scores import PairMeter, PairScores, mean, similarity
from voidbridge_backend.quality.reference import Floats
from voidbridge_backend.quality.strength_sheet import Cell, SheetPair, draw

HIGH, WIDE = 96, 128
HOLE = np.zeros((HIGH, WIDE), bool)
HOLE[32:64, 40:80] = True


def textured(seed: int) -> Floats:
    noise = np.random.default_rng(seed).random((HIGH, WIDE, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(0.5 + (smooth - 0.5) * 3, 0.1, 0.9).astype(np.float32)


def measured(results: list[Floats], wanted: list[Floats]) -> PairScores:
    meter = PairMeter()
    for result, true in zip(results, wanted, strict=True):
        meter.add(result, true, HOLE)
    return meter.scores()


def test_the_wanted_answer_itself_has_no_error_and_full_similarity() -> None:
    still = [textured(1)] * 3
    found = measured(still, still)
    assert found.hole_psnr_db == math.inf
    assert found.hole_ssim == pytest.approx(1, abs=1e-6)
    assert found.flicker == 0


def test_psnr_counts_the_hole_alone_and_clamps_to_what_a_display_shows() -> None:
    wanted = textured(1)
    result = wanted + np.float32(0.1) * HOLE[..., None]
    assert measured([result], [wanted]).hole_psnr_db == pytest.approx(20, abs=0.01)
    outside = wanted + np.float32(0.1) * ~HOLE[..., None]
    assert measured([outside], [wanted]).hole_psnr_db == math.inf
    white = np.ones_like(wanted)
    assert measured([white * 3], [white]).hole_psnr_db == math.inf


def test_similarity_follows_the_definition_in_the_middle_of_a_window() -> None:
    """The formula of the paper, summed over one window."""
    one, other = textured(1)[..., 0], textured(2)[..., 0]
    line = cv2.getGaussianKernel(11, 1.5)
    weights = line @ line.T
    a, b = one[35:46, 55:66].astype(float), other[35:46, 55:66].astype(float)
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
    shared = (weights * (a - mean_a) * (b - mean_b)).sum()
    wanted = (2 * mean_a * mean_b + 1e-4) * (2 * shared + 9e-4)
    wanted /= (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
    assert similarity(one, other)[40, 60] == pytest.approx(wanted, abs=1e-6)


def test_another_texture_is_less_similar_than_a_blurred_one() -> None:
    wanted = textured(1)
    blurred = cv2.GaussianBlur(wanted, (0, 0), 1).astype(np.float32)
    other = measured([textured(2)], [wanted]).hole_ssim
    assert other < 0.5 < measured([blurred], [wanted]).hole_ssim < 1


def test_a_fill_that_pulses_flickers_and_one_that_is_brighter_has_a_seam() -> None:
    wanted = [textured(1)] * 4
    bright = [frame + np.float32(0.1) for frame in wanted]
    pulsing = [wanted[0], bright[0]] * 2
    assert measured(pulsing, wanted).flicker > 0.01
    assert measured(bright, wanted).flicker < 1e-3
    assert measured(bright, wanted).seam_energy > 2 * measured(wanted, wanted).seam_energy


def test_means_leave_out_what_could_not_be_measured() -> None:
    found = mean([PairScores(20, 0.5, math.nan, 1), PairScores(math.inf, 0.75, 0.2, 3)])
    assert found == PairScores(20, 0.625, 0.2, 2)
    assert mean([PairScores()]).described() == dict.fromkeys(found.described())


def test_a_sheet_has_a_column_for_each_removal_and_outlines_the_hole() -> None:
    gray = np.full((HIGH, WIDE, 3), 0.5, np.float32)
    cells = [Cell("shown", gray, HOLE), Cell("wanted", gray), Cell("base", gray * 0)]
    data = draw("harbour", [SheetPair("A010", cells), SheetPair("A011", cells)])
    page = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert page.shape[1] == 3 * 208 + 8
    edges = (page == (72, 92, 255)).all(-1)
    assert edges[:, :208].sum() > 200
    assert not edges[:, 208:].any()
    assert (page[:, 424:624] == 0).all(-1).sum() == 2 * 150 * 200
