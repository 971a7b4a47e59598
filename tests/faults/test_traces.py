"""A search for secrets finds them, in whatever form and place; else it would prove nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from voidbridge_traces import Traces, forms

from voidbridge_protocol.wire import keys

PAIR = keys.make()
NUMBERS = range(len(forms(PAIR.secret)))


@pytest.mark.parametrize("number", NUMBERS)
def test_every_form_is_found_in_a_file_and_in_an_archive(tmp_path: Path, number: int) -> None:
    form = forms(PAIR.secret)[number]
    (tmp_path / "file").write_bytes(b"x" * 1000 + form + b"y")
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.txt", b"x" * 1000 + form + b"y")
    traces = Traces([PAIR.secret])
    traces.folder(tmp_path)
    assert sorted(traces.found) == [f"{tmp_path}/bundle.zip:log.txt", f"{tmp_path}/file"]


def test_the_file_of_a_key_is_found_unless_it_is_at_home(tmp_path: Path) -> None:
    keys.write(tmp_path / "home" / "client.key", PAIR)
    traces = Traces([PAIR.secret])
    traces.folder(tmp_path, [tmp_path / "home"])
    assert traces.found == []
    traces.folder(tmp_path)
    assert traces.found == [f"{tmp_path}/home/client.key"]


@pytest.mark.parametrize("place", ["cmdline", "environ"])
def test_a_process_that_was_given_one_is_found(place: str) -> None:
    words = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    more, env = ([PAIR.secret], {}) if place == "cmdline" else ([], {"KEY": PAIR.secret})
    with subprocess.Popen(
        [*words, *more], env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()  # it runs
        traces = Traces([PAIR.secret])
        traces.processes()
        assert traces.found == [f"/proc/{process.pid}/{place}"]


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(PAIR.public)
    traces = Traces([PAIR.secret])
    traces.folder(tmp_path)
    assert (traces.found, traces.seen) == ([], len(PAIR.public))
