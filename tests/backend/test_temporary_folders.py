"""Temporary folders: gone with their command, and swept by the next one if it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from voidbridge_stage import environment

from voidbridge_backend.temporary_folders import MARK, NEW_S, temporary_folder

KILLED = """
import os, signal, sys
from voidbridge_backend.temporary_folders import temporary_folder
with temporary_folder("web", sys.argv[1]) as folder:
    (folder / "open.html").write_text("a link")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def age(folder: Path) -> None:
    made = (folder / MARK).stat().st_mtime - NEW_S - 1
    os.utime(folder / MARK, (made, made))


@pytest.mark.skipif(os.name != "posix", reason="this system has no such locks")
def test_the_folder_of_a_killed_command_goes_and_no_other(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(words, env=environment()).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    somebodys, ours = tmp_path / "voidbridge-web-notes", tmp_path / "voidbridge-web-link"
    somebodys.mkdir()
    ours.symlink_to(left)
    with temporary_folder("masks", str(tmp_path)) as used:
        assert left.exists(), "one that is so young may be in use"
        for folder in (left, used):
            age(folder)
        with temporary_folder("web", str(tmp_path)) as other:
            assert {*tmp_path.iterdir()} == {somebodys, ours, used, other}
    assert {*tmp_path.iterdir()} == {somebodys, ours}
