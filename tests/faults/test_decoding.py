"""A file that kills whoever decodes it ends its own job, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import called, check_echo, daemon, environment, run_words

DEADLY = """
import os, sys
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith({name!r}) and "objects" in str(arguments[0]):
        if "voidbridge_backend.worker.process" in sys.argv[0] or "worker/process.py" in sys.argv[0]:
            os.abort()
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("engine", ["echo", "cleanplate"])
def test_a_worker_that_needs_no_card_never_loads_its_driver(tmp_path: Path, engine: str) -> None:
    """So nothing else takes memory in the process that decodes files of others."""
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=402)
    with daemon() as box:
        worker = box.wait_for_worker()
        words = [
            engine if word == "echo" else word
            for word in run_words(shot, tmp_path / "out", box.address)
        ]
        done = called(*words)
        assert done.code == 0, done.err
        assert box.worker_pids() == [worker]
        loaded = Path(f"/proc/{worker}/maps").read_text()
    assert "OpenEXR" in loaded, "it has decoded"
    for library in ("libtorch", "libcuda", "libnvidia"):
        assert library not in loaded


def test_a_file_that_kills_its_decoder_fails_its_job_after_three_tries(tmp_path: Path) -> None:
    """A crash of a codec, stood in for by an abort at the moment that the worker opens the frame."""
    bad = make_shot(tmp_path / "bad", range(1001, 1003), seed=400)
    good = make_shot(tmp_path / "good", range(1001, 1003), seed=401)
    name = hashlib.sha256(bad.file("plate", 1002).read_bytes()).hexdigest()
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(DEADLY.format(name=name))
    path = f"{site}:{environment()['PYTHONPATH']}"
    with daemon(extra={"PYTHONPATH": path}) as box:
        box.wait_for_worker()
        deadly, fine = box.submit(bad), box.submit(good)
        failed = box.wait_for_state(deadly, "failed")
        assert (failed.code, failed.attempt) == ("job.worker-died", 3)
        box.wait_for_state(fine, "done")
        box.fetch(fine, tmp_path / "out")
        check_echo(good, tmp_path / "out")
        assert box.process
        assert box.process.poll() is None
        assert "Traceback" not in box.log
