"""The daemon opens no path that a message names, and decodes no picture itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from voidbridge_guarded import Knocker, guarded_daemon, sample
from voidbridge_shots import make_shot
from voidbridge_stage import environment, eventually, run_words

from voidbridge_protocol.wire.codec import MAGIC, encode
from voidbridge_protocol.wire.messages import (
    CARRIES_PAYLOAD,
    KINDS,
)

AUDIT = """
import os, sys
out = os.open({out!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def hook(event, arguments):
    if event.startswith(("open", "os.", "shutil.", "subprocess.", "sqlite3.")):
        text = repr(arguments)
        if "canary" in text:
            os.write(out, f"{{event}} {{text[:300]}}\\n".encode())
os.write(out, b"hooked\\n")
sys.addaudithook(hook)
"""


def test_no_field_of_any_message_is_used_as_a_path(tmp_path: Path) -> None:
    """Every string of every message names a file that would be found out; daemon and worker are listened to."""
    out = tmp_path / "audit"
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(AUDIT.format(out=str(out)))
    shot = make_shot(tmp_path / "in", range(1001, 1002), seed=330)
    canary = "../../../canary"
    with guarded_daemon() as daemon:
        daemon.terminate()
        daemon.extra = {"PYTHONPATH": f"{site}:{environment()['PYTHONPATH']}"}
        daemon.start()
        pair = daemon.let_in("ana")
        daemon.wait_for_worker()
        with Knocker(daemon, pair) as knocker:
            for kind, cls in KINDS.items():
                for hostile in (canary, "/tmp/canary", "canary\0", "C:\\canary"):
                    frames = [bytes(frame) for frame in encode(sample(cls, sha256="0" * 64))]
                    header = json.loads(frames[1])
                    wild = {
                        name: hostile if isinstance(value, str) and name != "kind" else value
                        for name, value in header.items()
                    }
                    payload = [b"x"] if cls in CARRIES_PAYLOAD else []
                    for end in (knocker.control, knocker.bulk):
                        knocker.say_raw(end, [MAGIC, json.dumps(wild).encode(), *payload])
                    assert kind
            knocker.answer(knocker.control)
        words = run_words(shot, tmp_path / "out", daemon.address)[:-2]
        ended = daemon.command("ana", *words, "--color-space", canary, "--prompt", canary, "--json")
        assert ended.code != 0
        assert ended.event("error")["code"] == "request.color-space", "it reached the worker"
        eventually(lambda: out.read_text().count("hooked") >= 2, "daemon and worker to be heard")
    assert [line for line in out.read_text().splitlines() if line != "hooked"] == []


def test_the_daemons_process_decodes_no_picture() -> None:
    """OpenEXR is the worker's business: the daemon does not so much as load it."""
    script = (
        "import sys, voidbridge_backend.daemon.main; "
        "found = {'OpenEXR', 'numpy', 'cv2', 'PyOpenColorIO', 'torch'} & set(sys.modules); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), timeout=120)
