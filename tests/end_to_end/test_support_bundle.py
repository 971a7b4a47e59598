"""The file for whoever helps: what it holds, and that nothing in it says whose films these are."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from voidbridge_shots import make_shot
from voidbridge_stage import Daemon, called, daemon, run_words, voidbridge

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
SECRETS = ("Big One", "bigone", "Müller", "a hero who dies", KEY)


def parts(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def busy_daemon(made: Daemon, folder: Path) -> None:
    """Jobs that ended well and badly, of people with names, in folders with names."""
    shot = make_shot(folder / "Big One" / "bigone_v003", range(1001, 1003), seed=700)
    words = ("--user", "Ana Müller", "--prompt", "a hero who dies")
    assert called(*run_words(shot, folder / "out", made.address, *words)).code == 0
    shot.file("plate", 1001).write_bytes(shot.file("plate", 1001).read_bytes()[:-300])
    broken = called(*run_words(shot, folder / "out", made.address, *words))
    assert broken.code in (2, 4), broken.err


def test_it_holds_what_helps_and_nothing_that_names_a_film_or_a_person(tmp_path: Path) -> None:
    target = tmp_path / "bundle.zip"
    with daemon() as made:
        busy_daemon(made, tmp_path)
        log = tmp_path / "daemon.log"
        log.write_text(made.log + f"INFO hello key={KEY}\n")
        words = ("support-bundle", "-o", target, "--log", log, "--daemon", made.address)
        config = tmp_path / "settings.toml"
        config.write_text("shares = ['Z:/Big One=/mnt/Big One', '/mnt/bigone']")
        done = called(*words, "--spool", made.spool, "--config", config, "--json")
        assert done.code == 0, done.err
        assert done.event("bundle")["path"] == str(target)
        again = called(*words)
        assert again.code == 2, "a bundle is not overwritten"
    assert target.stat().st_mode & 0o777 == 0o600
    found = parts(target)
    assert sorted(found) == [
        "about.json", "doctor.json", "health.json", "jobs.json", "log.txt", "settings.json",
    ]  # fmt: skip
    whole = "\n".join(found.values())
    for secret in (*SECRETS, str(tmp_path), str(made.spool), os.uname().nodename):
        assert secret not in whole, secret
    jobs = json.loads(found["jobs.json"])
    assert {"done", "echo"} <= {jobs[0]["state"], jobs[0]["engine"]}
    assert json.loads(found["health.json"])["devices"][0]["name"] == "cpu"
    assert json.loads(found["settings.json"])["spool"] == {
        "value": "<path>",
        "from": "command line",
    }
    checks = {check["name"]: check for check in json.loads(found["doctor.json"])}
    assert (checks["health"]["verdict"], checks["round trip"]["verdict"]) == ("ok", "ok"), checks
    assert "worker ready" in found["log.txt"]


def test_without_a_daemon_it_says_so_and_holds_the_rest(tmp_path: Path) -> None:
    target, log = tmp_path / "bundle.zip", tmp_path / "log"
    log.write_text("nothing")
    done = called(
        "support-bundle", "-o", target, "--log", log, "--daemon", f"ipc://{tmp_path}/nobody"
    )
    assert done.code == 0, done.err
    about = json.loads(parts(target)["about.json"])
    assert "daemon.unavailable" in about["daemon"]
    assert str(tmp_path) not in about["daemon"]


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = voidbridge("support-bundle", "--log", tmp_path / "no.log", "-o", tmp_path / "x.zip")
    assert done.code == 2
    assert "no.log" in done.err
