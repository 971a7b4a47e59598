"""The checks that every request passes before any page sees it. Pure ASGI.

A browser on this machine also runs pages of strangers. They may send requests to any port here, under any name
that resolves to this machine. So the host, the origin, the session and the size are checked first.
"""

from __future__ import annotations

import asyncio
from http.cookies import CookieError, SimpleCookie

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import Access

ENTER = "/enter"
"""The only path that needs no session: it turns a token into one."""
MAX_BODY = 256 * 1024
"""Bytes of a JSON body."""
MAX_PICTURE = 16 * 1024 * 1024
"""Bytes of a painted matte, PNG."""
BODY_S = 30
"""Seconds that a body may take, from a browser on this machine."""
TYPES = {"application/json": MAX_BODY, "image/png": MAX_PICTURE}
"""Bodies that are read. A form of another page can send neither type without being asked about first."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
REFUSED = (
    "Open the link that `voidbridge web` printed. It works once; the next one is printed then.\n"
)


class Guard:
    """Refuses requests of strangers, and adds the headers that keep a page to itself."""

    def __init__(self, app: ASGIApp, access: Access, port: int) -> None:
        self._app = app
        self._access = access
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.cookie = f"voidbridge-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = _hardened(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            status, text = refusal
            await PlainTextResponse(text, status)(scope, receive, answer)
            return
        limit = TYPES.get(_content_type(scope), MAX_BODY)
        await self._app(scope, _bounded(receive, limit), answer)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the text of a refusal; None if the request may go on."""
        hosts, method = _header(scope, "host"), scope["method"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return 421, "this page answers to 127.0.0.1 and localhost only\n"
        if method not in ("GET", "HEAD", "POST"):
            return 405, f"the method {method} is not used here\n"
        origins = _header(scope, "origin")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return 403, "the request comes from another page\n"
        if scope["path"] == ENTER and method == "GET":
            return None
        sites = _header(scope, "sec-fetch-site")
        if any(site not in ("same-origin", "none") for site in sites):
            return 403, "the request comes from another page\n"
        if not self._access.is_known(self._session(scope)):
            return 403, REFUSED
        return _wrong_body(scope, origins) if method == "POST" else None

    def _session(self, scope: Scope) -> str:
        cookies: SimpleCookie = SimpleCookie()
        for line in _header(scope, "cookie"):
            try:
                cookies.load(line)
            except CookieError:
                return ""
        found = cookies.get(self.cookie)
        return found.value if found else ""


def _wrong_body(scope: Scope, origins: list[str]) -> tuple[int, str] | None:
    if not origins:
        return 403, "a change needs the header Origin\n"
    kind = _content_type(scope)
    if kind not in TYPES:
        return 415, f"a body is one of {', '.join(TYPES)}\n"
    lengths = _header(scope, "content-length")
    if any(not length.isdecimal() or int(length) > TYPES[kind] for length in lengths):
        return 413, f"the body has more than {TYPES[kind]} bytes\n"
    return None


def _content_type(scope: Scope) -> str:
    kinds = _header(scope, "content-type")
    return kinds[0].partition(";")[0].strip().lower() if len(kinds) == 1 else ""


def _header(scope: Scope, name: str) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()]


def _bounded(receive: Receive, limit: int) -> Receive:
    """A body without a stated length ends with status 413 as soon as it is too long, a slow one with 408."""
    total, is_whole = 0, False
    ends: float | None = None

    async def receive_bounded() -> Message:
        nonlocal total, is_whole, ends
        if is_whole:  # what follows is the end of the connection
            return await receive()
        if ends is None:
            ends = asyncio.get_running_loop().time() + BODY_S
        try:
            async with asyncio.timeout_at(ends):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, f"the body took more than {BODY_S} s") from error
        is_whole = not message.get("more_body", False)
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413, f"the body has more than {limit} bytes")
        return message

    return receive_bounded


def _hardened(send: Send) -> Send:
    async def send_hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {key.lower() for key, _ in message["headers"]}
            more = (
                HEADERS if b"cache-control" in names else {**HEADERS, "Cache-Control": "no-store"}
            )
            message["headers"] = [
                *message["headers"],
                *((name.lower().encode(), value.encode()) for name, value in more.items()),
            ]
        await send(message)

    return send_hardened
