"""`voidbridge doctor FILE...`: what a sequence is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from voidbridge_backend.cli import main
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.tools.doctor.describe_files import describe
from voidbridge_protocol.errors import RequestError

LIGHT = np.linspace(0, 2, 24, dtype=np.float16).reshape(4, 6)


def layered(folder: Path, frames: tuple[int, ...]) -> None:
    data = new_file(
        {
            **{f"beauty.{c}": LIGHT for c in "RGB"},
            **{f"albedo.{c}": LIGHT for c in "RGB"},
            "Object_1.Y": LIGHT.astype(np.float32),
        },
        {"colorInteropID": "lin_ap0_scene"},
    )
    for frame in frames:
        (folder / f"shot.{frame}.exr").write_bytes(data)


def test_layers_gaps_and_color_are_told(tmp_path: Path) -> None:
    layered(tmp_path, (1001, 1002, 1005))
    said = describe(str(tmp_path))
    assert (said.frames, said.missing) == ("1001-1002, 1005", "1003-1004")
    assert said.layers == ["albedo", "beauty"]
    assert said.plate == "beauty.R, beauty.G, beauty.B"
    assert said.mattes == ["Object_1.Y"]
    assert said.color_space == "ACES2065-1 (colorInteropID)"
    assert (said.lowest, said.highest) == (0, 2)
    assert said.channels["Object_1.Y"] == "float"
    assert said.display_window == "6x4 at 0,0"


def test_it_is_printed_as_a_table_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layered(tmp_path, (1,))
    assert main(["doctor", str(tmp_path / "shot.1.exr")]) == 0
    shown = capsys.readouterr().out
    assert "OpenEXR, scanlineimage, zip" in shown
    assert "beauty.R, beauty.G, beauty.B" in shown
    assert main(["doctor", "--json", str(tmp_path), str(tmp_path / "shot.1.exr")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frames"] for line in lines] == ["1", "1"]


def test_a_plate_that_could_not_be_worked_on_is_told_why(tmp_path: Path) -> None:
    path = tmp_path / "depth.exr"
    path.write_bytes(new_file({"Z": LIGHT}))
    assert describe(str(path)).plate == "none (only: Z); usable as a matte"
    gray = new_file({c: LIGHT for c in "RGB"})
    (tmp_path / "color.exr").write_bytes(new_file({c: LIGHT * k for k, c in enumerate("RGB")}))
    (tmp_path / "gray.exr").write_bytes(gray)
    assert describe(str(tmp_path / "color.exr")).mattes == []
    assert describe(str(tmp_path / "gray.exr")).mattes == ["R"]
    with pytest.raises(RequestError, match=r"there is no .*the folder has color"):
        describe(str(tmp_path / "none.####.exr"))


def test_a_name_that_cannot_be_described_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layered(tmp_path, (1,))
    (tmp_path / "empty.png").touch()
    names = [str(tmp_path / name) for name in ("empty.png", "shot.1.exr")]
    assert main(["doctor", *names]) == 2
    shown, told = capsys.readouterr()
    assert "error           empty.png is empty\n" in shown
    assert f"\n\nfiles           {names[1]}\n" in shown
    assert "request.unreadable" in told
    assert main(["doctor", "--json", *names]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["files"] for line in lines[:2]] == names
    assert lines[2]["event"] == "error"
