"""Strangers, other pages and made-up paths get nothing from the page."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend.web.access import MAX_SESSIONS, Access
from voidbridge_backend.web.app import ROUTES
from voidbridge_backend.web.routes.pages import own_path


def test_a_request_without_the_cookie_is_refused(page: Any) -> None:
    for path in ("/", "/api/state", "/api/events", "/static/page.css", "/nowhere"):
        answer = page.ask("GET", path)
        assert (answer.status, b"Open the link" in answer.body) == (403, True), path


def test_a_wrong_or_unreadable_cookie_is_refused(page: Any) -> None:
    name = page.cookie.partition("=")[0]
    for cookie in (f"{name}=", f"{name}=x", "other=" + page.cookie, '\\"=;;=', f"{name}=\xff"):
        assert page.ask("GET", "/", Cookie=cookie).status == 403, cookie


def test_a_link_works_once(page: Any) -> None:
    path = page.link.removeprefix(page.origin)
    assert page.ask("GET", path).status == 200
    page.link = page.next_link()
    assert page.ask("GET", path).status == 403
    assert page.ask("GET", "/enter?token=").status == 403


def test_the_cookie_is_strict_and_out_of_reach_of_scripts(page: Any) -> None:
    cookie = page.ask("GET", page.link.removeprefix(page.origin)).headers["set-cookie"].lower()
    page.link = page.next_link()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    assert "domain=" not in cookie


def test_another_host_name_is_refused_as_after_dns_rebinding(page: Any) -> None:
    hosts = ("evil.example", f"evil.example:{page.port}", "127.0.0.1", f"127.0.0.1.:{page.port}")
    for host in hosts:
        answer = page.get("/api/state", Host=host)
        assert answer.status == 421, host
        assert b"folders" not in answer.body


def test_two_host_headers_are_refused(page: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=120)
    connection.putrequest("GET", "/api/state", skip_host=True)
    for host in ("evil.example", f"127.0.0.1:{page.port}"):
        connection.putheader("Host", host)
    connection.putheader("Cookie", page.cookie)
    connection.endheaders()
    assert connection.getresponse().status in (400, 421)
    connection.close()


def test_a_foreign_origin_is_refused_even_with_the_cookie(page: Any) -> None:
    for origin in (
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{page.port}",
        "http://127.0.0.1:1",
    ):
        assert page.get("/api/state", Origin=origin).status == 403, origin
        assert page.post("/api/jobs/x/cancel", Origin=origin).status == 403, origin


def test_a_request_that_the_browser_calls_cross_site_is_refused(page: Any) -> None:
    for site in ("cross-site", "same-site"):
        assert page.get("/api/state", Sec_Fetch_Site=site).status == 403, site


def test_a_change_without_an_origin_is_refused(page: Any) -> None:
    answer = page.ask(
        "POST", "/api/jobs/x/cancel", b"{}", Cookie=page.cookie, Content_Type="application/json"
    )
    assert answer.status == 403


def test_a_body_as_a_form_sends_it_is_refused(page: Any) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert page.post("/api/jobs/x/cancel", **{"Content-Type": kind}).status == 415, kind


CHANGING = [route for route in ROUTES if "POST" in (getattr(route, "methods", None) or ())]


@pytest.mark.parametrize("route", CHANGING, ids=lambda route: route.path)
def test_no_change_is_made_by_get(page: Any, route: Any) -> None:
    path = route.path.replace("{job}", "x").replace("{number:int}", "1")
    for method in ("GET", "HEAD"):
        answer = page.ask(method, path, Cookie=page.cookie)
        assert answer.status == 405, path


def test_other_methods_are_refused(page: Any) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = page.ask(method, "/api/state", Cookie=page.cookie, Origin=page.origin)
        assert answer.status == 405, method
        assert "access-control-allow-origin" not in answer.headers


def test_a_path_of_files_does_not_climb_out_of_the_pages_folder(page: Any) -> None:
    for path in (
        "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py",
        "/static//etc/passwd", "/static/....//server.py", "/static/..%5cserver.py",
    ):  # fmt: skip
        answer = page.get(path)
        assert answer.status in (400, 404), path
        assert b"import" not in answer.body


def test_a_body_that_is_too_long_is_refused_with_and_without_its_length(page: Any) -> None:
    long = {"text": "x" * 300_000}
    assert page.post("/api/jobs/x/priority", long).status == 413
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=120)
    headers = {"Cookie": page.cookie, "Origin": page.origin, "Content-Type": "application/json"}
    pieces = (b"x" * 65_536 for _ in range(6))
    connection.request("POST", "/api/jobs/x/priority", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_every_answer_keeps_scripts_and_frames_out(page: Any) -> None:
    for path in ("/", "/api/state", "/static/page.css", "/nowhere"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_listens_on_this_machine_only(page: Any) -> None:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{page.port:04X}")]
    assert listening == [f"0100007F:{page.port:04X}"]


def test_a_lost_daemon_is_told_with_its_hint(page: Any) -> None:
    daemon = page.get("/api/state").json["daemon"]
    assert daemon["is_there"] is False
    assert daemon["code"] == "daemon.unavailable"
    assert "voidbridge serve" in daemon["hint"]


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/x;url=y", "/a\nb", ""]
)
def test_a_link_leads_to_no_other_place(path: str) -> None:
    assert own_path(path) == "/"


def test_the_oldest_browser_makes_room_and_no_other_does() -> None:
    access = Access()
    sessions = [access.enter(access.token()) for _ in range(MAX_SESSIONS + 1)]
    assert all(sessions)
    known = [access.is_known(session or "") for session in sessions]
    assert known == [False] + [True] * MAX_SESSIONS
