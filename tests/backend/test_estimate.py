"""The estimate of a job: only from measured jobs, scaled as it says, and never invented."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend import cli
from voidbridge_backend.client.local_daemon import _keep_measurements, kept_measurements
from voidbridge_backend.config import Config
from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_backend.daemon.store.measurements import MOST, MeasuredJobs
from voidbridge_backend.tools.estimate import PlannedJob, estimate, parsed
from voidbridge_backend.worker.measure import peak_bytes
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.generate import GenerateSettings
from voidbridge_protocol.operations.remove import RemoveSettings

EFFORT = RemoveSettings().effort
MEASURED = {
    "seconds": 40.0,
    "width": 1920,
    "height": 1080,
    "memory": 2_000_000_000,
    "card_memory": 0,
}


TOLD = {**MEASURED, "frames": 2, "seen": 3, "effort": EFFORT}
"""As a worker tells it."""


BAD_NUMBERS = (float("nan"), float("inf"), -1, 10**16, 10**400)


def planned(**more: Any) -> PlannedJob:
    job = {"operation": "remove", "engine": "cleanplate", "effort": EFFORT, "frames": 50, "seen": 50,
           "width": 1920, "height": 1080}  # fmt: skip
    return PlannedJob(**{**job, **more})


def former(**more: Any) -> dict[str, Any]:
    job = {"operation": "remove", "engine": "cleanplate", "device": "cpu", "effort": EFFORT}
    return {**job, "frames": 100, "seen": 100, **MEASURED, **more}


def test_a_job_of_the_same_size_takes_as_long_for_each_frame() -> None:
    told = estimate(planned(), [former(), former(seconds=48.0, device="cuda:0")])
    assert told.seconds == pytest.approx((20.0, 24.0))
    assert told.memory == 2_000_000_000
    assert told.sentences() == (
        "About 20 s to 24 s. At most 2.0 GB of memory. Up to 829 MB to send, before compression. Measured: 2 jobs "
        "of remove by cleanplate with these settings, 100 frames of 1920 x 1080, on cpu, cuda:0."
    )


def test_another_size_is_scaled_and_said_and_its_memory_is_not_known() -> None:
    told = estimate(
        planned(width=3840, height=2160), [former(seconds=9.0, width=64, height=64), former()]
    )
    assert told.seconds == pytest.approx((80.0, 80.0))
    assert told.memory == 0
    assert "scaled by 4 for the number of pixels, which is arithmetic" in told.basis


@pytest.mark.parametrize("jobs", [[], [former(effort={**EFFORT, "passes": 2})]])
def test_without_a_job_of_these_settings_nothing_is_known(jobs: list[dict[str, Any]]) -> None:
    told = estimate(planned(), jobs)
    assert told.seconds is None
    assert "Time and memory are not known" in told.sentences()


DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("settings", "plans"),
    [
        (RemoveSettings(engine="void"), "resident 29.1, swapped 18.7, "),
        (RemoveSettings(engine="void", passes=2), "resident 39.7, swapped 19.0, "),
        (GenerateSettings(engine="ltx"), "resident 73.9, swapped 43.5, streamed 10.0."),
        (
            GenerateSettings(engine="ltx", upscale=True, precision="fp8"),
            "resident 74.6, swapped 48.5, ",
        ),
    ],
)
def test_a_card_is_told_by_the_plans_of_the_engine_as_the_pages_have_them(
    settings: Any, plans: str
) -> None:
    """The sizes are those of the tables in docs/model.md and docs/generate.md."""
    job = planned(engine=settings.engine, effort=settings.effort, width=1536, height=1024)
    said = estimate(job, []).sentences()
    assert "Time is not known" in said
    assert f"by memory plan: {plans}" in said
    assert said.endswith("This is arithmetic for the published networks, not measured.")
    table = "model.md" if settings.engine == "void" else "generate.md"
    first = plans.split()[1].rstrip(",")
    assert first in (DOCS / table).read_text(encoding="utf-8")


def test_arithmetic_gives_way_to_a_measured_job_and_is_not_made_up_for_a_preview() -> None:
    settings = RemoveSettings(engine="void")
    job = planned(engine="void", effort=settings.effort)
    assert not estimate(job, [former(effort=settings.effort)]).card_plans
    preview = RemoveSettings(engine="void", quality="preview")
    assert not estimate(planned(engine="void", effort=preview.effort), []).card_plans


def test_an_estimate_needs_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from voidbridge_backend import cli\n"
        "for words in (['remove', '--engine=void'], ['generate', '--engine=ltx']):\n"
        f"    cli.main(['estimate', *words, '--size=9x9', '--frames=1', '--spool', {str(tmp_path)!r}])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("not measured") == 2


def test_an_answer_that_is_damaged_holds_no_job() -> None:
    assert parsed(b"[") == parsed(b"{}") == parsed(b'[1, {"frames": 1}]') == []
    assert parsed(b"[" * 200_000) == []
    assert parsed(json.dumps([former()]).encode()) == [former()]
    wrong = [
        *({name: bad} for name in (*MEASURED, "frames", "seen") for bad in BAD_NUMBERS),
        {"width": 0.5},
        {"frames": 0, "seen": 0},
        {"device": 7},
        {"effort": {"steps": 10**400}},
    ]
    assert parsed(json.dumps([former(**one) for one in wrong]).encode()) == []


def test_the_name_of_a_device_cannot_steer_a_terminal() -> None:
    told = estimate(planned(), [former(device="\x1b[2J\ncpu")]).sentences()
    assert told.isprintable()
    assert r"\x1b[2J\ncpu" in told


def job_line(user: str = "ana") -> dict[str, Any]:
    """As in the file of a daemon."""
    return {"user": user, "operation": "remove", "engine": "cleanplate", "device": "cpu", **TOLD}


def row(user: str = "ana") -> Row:
    return Row("j", 1, user, 0, JobState.DONE, 1002, 1003, "remove", "cleanplate")


def test_a_daemon_keeps_what_jobs_took_and_tells_a_user_of_no_others(tmp_path: Path) -> None:
    kept = MeasuredJobs(tmp_path)
    kept.add(row(), "cpu", TOLD)
    for wrong in (
        None,
        [],
        {**TOLD, "seconds": -1},
        {**TOLD, "width": "9"},
        {**TOLD, "memory": True},
        {**TOLD, "effort": {"a": []}},
        {**TOLD, "effort": {"a": "b" * 1000}},
        {**TOLD, "effort": {"steps": 10**400}},
        {**TOLD, "effort": {"steps": -1}},
        *({**TOLD, "seconds": bad} for bad in BAD_NUMBERS),
    ):
        kept.add(row(), "cpu", wrong)
    with (tmp_path / "measured.jsonl").open("a") as file:
        for bad in BAD_NUMBERS:
            file.write(json.dumps({**job_line(), "seconds": bad}) + "\n")
        file.write("[" * 200_000 + "\n")
        file.write("half a li")
    again = MeasuredJobs(tmp_path)
    (job,) = parsed(again.of("ana", "remove", "cleanplate"))
    assert (job["frames"], job["seen"], job["seconds"]) == (2, 3, 40.0)
    assert "user" not in job
    for user, operation, engine in (("ben", "remove", "cleanplate"), ("ana", "remove", "void")):
        assert again.of(user, operation, engine) == b"[]"


def test_the_file_of_a_daemon_stays_small(tmp_path: Path) -> None:
    kept = MeasuredJobs(tmp_path)
    for _ in range(MOST + 5):
        kept.add(row(), "cpu", TOLD)
    MeasuredJobs(tmp_path)
    assert len((tmp_path / "measured.jsonl").read_text().splitlines()) == MOST


def test_what_a_temporary_daemon_measured_is_told_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "run-1-x"
    made.mkdir()
    MeasuredJobs(made).add(row(), "cpu", TOLD)
    _keep_measurements(made, tmp_path)
    kept = tmp_path / "measured.jsonl"
    ours = kept.read_text()
    wrong = [{**job_line(), "width": bad} for bad in BAD_NUMBERS]
    lines = "".join(json.dumps(one) + "\n" for one in (*wrong, job_line("ben")))
    kept.write_text(ours + lines + "[" * 200_000 + "\n7\n")
    found = parsed(kept_measurements(Config(spool=tmp_path), "ana", "remove", "cleanplate"))
    assert [job["seconds"] for job in found] == [40.0]
    words = ["estimate", "remove", "--size=1920x1080", "--frames=1-10", "--spool", str(tmp_path)]
    words += ["--user=ana"]
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] == pytest.approx([160.0, 160.0])
    assert cli.main([*words, "--set=passes=2"]) == 0
    assert "not known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dance", "--size=1x1", "--frames=1"], "no operation 'dance'"),
        (["remove", "--size=0x9", "--frames=1"], "the size '0x9' cannot be read"),
        (["remove", "--size=9x9", "--frames=1", "--set=speed=1"], "no setting 'speed'"),
        (["remove", "--size=9x9", "--frames=1", "--set=passes=x"], "passes is 'x'"),
        (["remove", "--size=9x9", "--frames=1", "--seen=-1"], "--seen is -1"),
        (["remove", "--size=9x9", "--frames=1", f"--seen={10**400}"], "--seen is 1000"),
        (["remove", "--size=9x9", f"--frames=1-{10**15}"], "--frames are 1000"),
        (["remove", "--size=9x9", f"--frames={'9' * 5000}"], "is not a frame range"),
        (["remove", "--size=9x9", "--frames=1", "--set=grow=1.5"], "grow is '1.5'"),
        (["remove", "--size=9x9", "--frames=1", "--set=passes=true"], "passes is 'true'"),
        (["train", "--size=9x9", "--frames=1", "--set=steps=Infinity"], "steps is 'Infinity'"),
        (["train", "--size=9x9", "--frames=1", "--set=clip=NaN"], "clip is 'NaN'"),
        (["remove", "--size=9x9", "--frames=1", "--engine=nope"], "remove has no engine 'nope'"),
    ],
)
def test_words_that_are_wrong_are_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["estimate", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_peak_of_memory_is_the_workers_own_and_not_that_of_its_parent(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  123 kB\nVmRSS:\t  99 kB\n")
    assert peak_bytes(status) == 123 << 10
    status.write_text("VmHWM:\n")
    if sys.platform != "win32":
        assert peak_bytes(status) > 1 << 20  # as the system counts it
        assert peak_bytes(tmp_path / "none") > 1 << 20
