"""The self-test for real Fusions runs in the stand-in, and notices each rule that the stand-in breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import voidbridge_fusion as fusion

from voidbridge_backend import cli

POINTS = (
    "tree",
    "names",
    "inside",
    "programs",
    "beside",
    "timeline",
    "controls",
    "removal",
    "range",
    "outside",
    "layers",
    "keying",
)


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site") / "selftest.lua"
    assert cli.main(["selftest", "resolve", "--to", str(made)]) == 0
    return made


def verdicts(host: Any, script: Path, daemon: Any) -> dict[str, str]:
    """Runs the script in the Console, and reads its report."""
    scope = host.lua.globals()
    scope.comp = host.proxy_of(host.comp(5, 9))
    scope.VOIDBRIDGE_SELFTEST_DAEMON = daemon.address
    host.lua.execute(script.read_text(encoding="utf-8"))
    reports = sorted(host.folder.glob("voidbridge_selftest_*/*.json"))
    if not reports:
        return {line.split()[1].rstrip(":"): line.split()[0] for line in host.console[:1]}
    (path,) = reports
    report = json.loads(path.read_text())
    assert report["version"] == "19.1"
    return {point["point"]: point["verdict"] for point in report["points"]}


def test_every_point_is_answered_and_the_report_is_one_file(
    host: Any, script: Path, daemon: Any
) -> None:
    assert verdicts(host, script, daemon) == dict.fromkeys(POINTS, "ok"), host.console
    assert "voidbridge_selftest_resolve.json" in host.console[-1]


@pytest.mark.parametrize(
    ("wrong", "points"),
    [
        ("savers in groups", {"removal", "range"}),
        ("children", {"tree"}),
        ("names", {"names"}),
        ("programs", {"programs", "removal"}),
        ("scripts", {"beside"}),
        ("clip ends", {"timeline"}),
        ("cache", {"controls"}),
        ("time", {"range"}),
        ("outside", {"outside"}),
        ("layers", {"layers", "keying"}),
    ],
)
def test_a_fusion_that_breaks_a_rule_is_noticed(
    plugin: Path, tmp_path: Path, script: Path, daemon: Any, wrong: str, points: set[str]
) -> None:
    routes = ("ffi", "executebg", "popen") if wrong == "programs" else ()
    host = fusion.Stage(plugin, tmp_path, without=routes)
    host.wrong = wrong
    found = verdicts(host, script, daemon)
    assert points <= {name for name, verdict in found.items() if verdict == "failed"}, host.console
