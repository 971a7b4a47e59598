"""Names of files and words of others neither steer a terminal nor forge a line, whoever shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.cli.commands.jobs import cells_of
from voidbridge_backend.client.openjd.view import OpenJdView
from voidbridge_backend.client.progress import BarView, LogView, show_error, show_health
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.tools.doctor import describe_files, doctor
from voidbridge_protocol.errors import BadPattern
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Health, Status

HOSTILE = "plate\nopenjd_fail: forged\r\x1b]0;own\x07\x1b[2J\x9b2J\u202e.exr"


def is_plain(text: str) -> bool:
    return (
        all(line.isprintable() for line in text.split("\n")) and "\nopenjd_fail: forged" not in text
    )


def test_errors_and_lines_of_progress_are_plain(capsys: Any) -> None:
    show_error(False, BadPattern(HOSTILE, HOSTILE), 2)
    show_health(Health(False, code="x", text=HOSTILE, hint=HOSTILE))
    for view in (LogView(), BarView()):
        view.message(HOSTILE)
        view.close()
    said = capsys.readouterr().err
    assert said.count("forged") == 6
    assert is_plain(said.replace("\x1b[?25l", "").replace("\x1b[?25h", ""))


def test_the_end_of_a_stage_is_said_once(capsys: Any) -> None:
    view = LogView()
    for done in (0, 8, 8, 8):
        view.stage("making frames", done, 8, 12.0)
    view.stage("writing", 1, 1)
    view.stage("making frames", 8, 8)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "making frames 0 of 8, about 12 s left", "making frames 8 of 8", "writing 1 of 1", "making frames 8 of 8"
    ]  # fmt: skip


def test_a_farm_hears_only_what_the_command_says(capsys: Any) -> None:
    view = OpenJdView()
    view.message(f"done: {HOSTILE}")
    view.message("openjd_fail: forged")
    said = capsys.readouterr().out
    assert said.count("forged") == 2
    assert not [line for line in said.splitlines() if line.startswith("openjd_")]
    assert is_plain(said)


def test_a_table_of_jobs_is_plain() -> None:
    status = Status("a1", JobState.FAILED, user=HOSTILE, engine=HOSTILE, code="x", text=HOSTILE)
    cells = cells_of(status)
    assert "".join(cells).count("forged") == 3
    assert all(cell.isprintable() for cell in cells)


def test_a_check_of_the_doctor_is_plain(capsys: Any) -> None:
    doctor._show_line(doctor.Check("shot", "failed", HOSTILE, HOSTILE))
    said = capsys.readouterr().out
    assert said.count("forged") == 2
    assert is_plain(said)


def test_the_description_of_a_file_is_plain(tmp_path: Path, capsys: Any) -> None:
    name = "a\x1b[2J\nopenjd_fail: forged"
    try:
        (tmp_path / f"{name}.1001.exr").write_bytes(new_file({"R": np.zeros((4, 4), np.float16)}))
    except OSError:
        pytest.skip("this disk takes no such names")
    describe_files.show([os.fspath(tmp_path / f"{name}.####.exr")], as_json=False)
    said = capsys.readouterr()
    assert "forged" in said.out + said.err
    assert is_plain(said.out + said.err)
