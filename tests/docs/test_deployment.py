"""The files in deploy/: understood by the programs that read them, and in step with the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from voidbridge_backend.cli.options import toml
from voidbridge_backend.config import Config, resolve
from voidbridge_backend.daemon.workers.pool import STOP_S

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "voidbridge.service").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there; systemd looks for it."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    path = tmp_path / "voidbridge.service"
    path.write_text(UNIT.replace("/opt/voidbridge/bin/voidbridge", sys.executable))
    return path


def test_systemd_understands_every_line(unit: Path) -> None:
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # A key that it does not know is a note and no error.
    assert "voidbridge.service" not in said


def test_the_service_can_do_little_beside_its_work(unit: Path) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_manager_waits_longer_than_the_daemon_drains() -> None:
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.M)
    assert found
    assert int(found[1]) > Config().drain_s + STOP_S


def test_the_settings_are_settings() -> None:
    config, _ = resolve(toml(DEPLOY / "config.toml"), {}, {})
    state = re.search(r"^StateDirectory=(.+)$", UNIT, re.M)
    assert state
    assert config.spool == Path("/var/lib") / state[1] / "spool"
    assert "--config /etc/voidbridge/config.toml" in UNIT


@pytest.mark.parametrize("name", ["TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"])
def test_what_was_compiled_outlives_the_service_and_the_container(name: str) -> None:
    cache = re.search(r"^CacheDirectory=(.+)$", UNIT, re.M)
    volumes = re.search(r"^VOLUME (.+)$", DOCKERFILE, re.M)
    assert cache
    assert volumes
    in_unit = re.search(rf"^Environment={name}=(.+)$", UNIT, re.M)
    in_image = re.search(rf"\b{name}=(\S+)", DOCKERFILE)
    assert in_unit
    assert in_image
    assert in_unit[1].startswith(f"/var/cache/{cache[1]}/")
    assert any(in_image[1].startswith(f"{path}/") for path in json.loads(volumes[1]))


def test_the_image_is_built_of_what_there_is_and_its_settings_are_settings() -> None:
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for word in line.split()[:-1]
    ]
    assert {"pyproject.toml", "protocol", "backend"} <= set(copied)
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for word in copied:
        assert (ROOT / word).exists(), word
        assert f"!{word}" in kept
    assert re.search(r"^USER 10001$", DOCKERFILE, re.M)
    assert "--uid 10001 " in DOCKERFILE
    environ = dict(re.findall(r"(VOIDBRIDGE_\w+)=(\S+)", DOCKERFILE))
    config, _ = resolve({}, environ, {})
    assert f"http://127.0.0.1:{config.http_port}/health/live" in DOCKERFILE
    torch = re.search(r'ARG TORCH="(torch==[\d.]+)"', DOCKERFILE)
    assert torch
    assert f"TORCH ?= {torch[1]}" in (ROOT / "Makefile").read_text()


CUDA_BUILDS = {"2.13.0": {"cu126", "cu130"}}
"""The CUDA versions for which PyTorch publishes a release (FBGEMM #5976 says it of this one)."""


def test_the_image_s_torch_exists_for_its_cuda() -> None:
    torch = re.search(r'ARG TORCH="torch==([\d.]+)"', DOCKERFILE)
    index = re.search(r'ARG TORCH_INDEX="https://download\.pytorch\.org/whl/(cu\d+)"', DOCKERFILE)
    bases = set(re.findall(r"^FROM nvidia/cuda:(\d+)\.(\d+)\.\d+-", DOCKERFILE, re.M))
    assert torch
    assert index
    assert index[1] in CUDA_BUILDS[torch[1]]
    assert {f"cu{major}{minor}" for major, minor in bases} == {index[1]}
    assert "driver 580.65.06" in DOCKERFILE
    assert "580.65.06" in (ROOT / "docs" / "operations.md").read_text()
