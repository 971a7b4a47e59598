"""The port for machines that watch: what it answers, and to whom."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from voidbridge_backend.daemon.observe import http as monitoring
from voidbridge_backend.daemon.observe.http import HttpServer
from voidbridge_backend.daemon.observe.metrics import Metrics
from voidbridge_protocol.errors import RequestError
from voidbridge_protocol.wire.messages import Device, Health

READY = Health(True, (Device("cpu", "busy", "removing", 1.5),), 3, 1, 2**30)
GONE = Health(False, (), code="daemon.no-device", text="cpu is in quarantine: fire")
PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def metrics(health: Health) -> Metrics:
    ended = {("failed", "job.engine"): 2, ("done", ""): 7}
    return Metrics(health, {"queued": 3, "running": 1}, ended, 1000, 500, 4, 2)


@pytest.fixture
def monitor() -> Iterator[HttpServer]:
    with HttpServer(0, "voidbridge test") as made:
        yield made


def get(monitor: HttpServer, path: str, **headers: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{monitor.port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_is_alive_while_the_daemon_tells_how_it_does(
    monitor: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(monitor, "/health/live")[0] == 503
    monitor.publish(metrics(READY))
    assert get(monitor, "/health/live")[0] == 200
    monkeypatch.setattr(monitoring, "ALIVE_S", 0.0)  # a daemon whose thread hangs
    assert get(monitor, "/health/live")[0] == 503
    assert get(monitor, "/health/ready")[0] == 503


def test_alive_is_not_ready(monitor: HttpServer) -> None:
    monitor.publish(metrics(GONE))
    code, said = get(monitor, "/health/ready")
    assert (code, json.loads(said)["code"]) == (503, "daemon.no-device")
    assert get(monitor, "/health/live")[0] == 200
    monitor.publish(metrics(READY))
    assert get(monitor, "/health/ready")[0] == 200


def test_what_is_counted_can_be_read_by_prometheus_and_is_described(monitor: HttpServer) -> None:
    monitor.publish(metrics(READY))
    code, said = get(monitor, "/metrics")
    assert code == 200
    values = dict(line.rsplit(" ", 1) for line in said.splitlines() if line[:1] != "#")
    assert values["voidbridge_ready"] == values["voidbridge_alive"] == "1.0"
    assert values['voidbridge_jobs{state="queued"}'] == "3.0"
    assert values['voidbridge_jobs_ended_total{code="job.engine",state="failed"}'] == "2.0"
    assert values['voidbridge_device{device="cpu",state="busy"}'] == "1.0"
    assert values['voidbridge_device{device="cpu",state="ready"}'] == "0.0"
    assert values['voidbridge_device_silence_seconds{device="cpu"}'] == "1.5"
    assert values["voidbridge_worker_starts_total"] == "4.0"
    page = PAGE.read_text()
    assert {name.partition("{")[0] for name in values} <= {
        word.strip("`,") for word in page.split() if word.startswith("`voidbridge_")
    }


@pytest.mark.parametrize("path", ["/", "/health", "/metrics/../etc/passwd", "/health/live?x=1"])
def test_there_is_nothing_else(monitor: HttpServer, path: str) -> None:
    assert get(monitor, path)[0] == 404


def test_a_browser_that_was_sent_here_by_another_name_is_turned_away(monitor: HttpServer) -> None:
    monitor.publish(metrics(READY))
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert get(monitor, path, Host="films.example:80")[0] == 403


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT"])
def test_there_is_nothing_to_be_done_here(monitor: HttpServer, verb: str) -> None:
    with socket.create_connection(("127.0.0.1", monitor.port)) as end:
        end.sendall(f"{verb} /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b" 501 " in end.recv(200)


def test_a_port_that_is_taken_is_named(monitor: HttpServer) -> None:
    with pytest.raises(RequestError, match=f"127.0.0.1:{monitor.port}"):
        HttpServer(monitor.port, "another")


def test_slow_connections_make_room_for_others(
    monitor: HttpServer, capfd: pytest.CaptureFixture[str]
) -> None:
    monitor.publish(metrics(READY))
    others = threading.active_count()  # of tests before this one, too
    with ExitStack() as held:
        for _ in range(5 * monitoring.CONNECTIONS):
            end = held.enter_context(socket.create_connection(("127.0.0.1", monitor.port)))
            end.sendall(b"GET /health/live HT")  # and no more
        for _ in range(200):  # threads of closed connections end soon
            assert get(monitor, "/health/live")[0] == 200
            if threading.active_count() - others < 3 * monitoring.CONNECTIONS:
                break
        assert threading.active_count() - others < 3 * monitoring.CONNECTIONS
    assert "Traceback" not in capfd.readouterr().err
