from pathlib import Path

import cv2
import numpy as np
import pytest

from voidbridge_backend.quality.contact_sheet import (
    CODES,
    DIFFERENCE,
    PAPER,
    moment,
    sheet,
    write_png,
)


def frames(error: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    plate = np.full((20, 32, 3), 0.18, np.float32)
    codes = np.full((20, 32), 255, np.uint8)
    codes[4:16, 8:24] = 0
    return plate, codes, plate + np.float32(error), plate.copy()


def test_a_sheet_has_a_column_a_frame_on_dark_paper() -> None:
    one = sheet([moment(1001, *frames(), width=32)], "Title")
    two = sheet([moment(frame, *frames(), width=32) for frame in (1001, 1002)], "Title")
    assert two.shape[1] > one.shape[1]
    assert two.shape[0] == one.shape[0]
    assert two.dtype == np.uint8
    assert tuple(two[-1, -1]) == PAPER


def test_without_a_truth_there_is_no_row_for_it() -> None:
    plate, codes, result, truth = frames()
    with_truth = sheet([moment(1001, plate, codes, result, truth, width=32)], "Title")
    without = sheet([moment(1001, plate, codes, result, None, width=32)], "Title")
    assert without.shape[0] < with_truth.shape[0]


def test_what_an_engine_leaves_outside_the_hole_is_not_shown() -> None:
    plate, codes, result, truth = frames()
    result[0, 0] = 50
    drawn = moment(1001, plate, codes, result, truth, width=32)
    np.testing.assert_array_equal(drawn.result, drawn.plate)
    assert drawn.psnr_db == np.inf


def test_the_difference_is_raised_and_only_in_the_hole() -> None:
    drawn = moment(1001, *frames(error=0.02), width=32)
    assert drawn.difference is not None
    assert drawn.difference[0, 0].max() == 0
    assert drawn.difference[10, 16].min() > DIFFERENCE


def test_the_codes_have_their_colors() -> None:
    plate, codes, result, truth = frames()
    codes[4:16, 8:12] = 127
    drawn = moment(1001, plate, codes, result, truth, width=32)
    removed, affected = drawn.quadmask[10, 18].astype(int), drawn.quadmask[10, 9].astype(int)
    assert np.abs(removed - CODES[0][1]).max() < 60
    assert np.abs(affected - CODES[127][1]).max() < 60


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        sheet([], "Title")


def test_a_png_comes_back_as_it_was_written(tmp_path: Path) -> None:
    picture = sheet([moment(1001, *frames(), width=32)], "Title", "and more")
    write_png(tmp_path / "sheet.png", picture)
    read = cv2.imread(str(tmp_path / "sheet.png"))
    np.testing.assert_array_equal(read[..., ::-1], picture)
