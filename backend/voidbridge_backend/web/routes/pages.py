"""The pages themselves: hand-written files, and the link that lets a browser in."""

from __future__ import annotations

import html
from pathlib import Path

from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from voidbridge_backend.web.context import context_of
from voidbridge_backend.web.guard import ENTER, REFUSED

STATIC = Path(__file__).parents[1] / "static"
PAGES = {
    "/": "queue.html",
    "/jobs/{job}": "job.html",
    "/player": "player.html",
    "/masks": "masks.html",
    "/new": "new.html",
}
ENTERED = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Voidbridge</title>
<meta http-equiv="refresh" content="0;url={to}"><p><a href="{to}">Voidbridge</a></p></html>
"""


async def enter(request: HttpRequest) -> Response:
    """Turns a token into a session.

    It answers with a page that moves on, not with a redirect: a browser withholds a strict cookie from a redirect
    that another program began.
    """
    context = context_of(request)
    session = context.access.enter(request.query_params.get("token", ""))
    if session is None:
        return PlainTextResponse(REFUSED, 403)
    to = own_path(request.query_params.get("to", "/"))
    answer = HTMLResponse(ENTERED.format(to=html.escape(to, quote=True)))
    answer.set_cookie(context.cookie, session, httponly=True, samesite="strict", path="/")
    return answer


def own_path(text: str) -> str:
    """A path of this page; `/` for anything that could lead elsewhere."""
    is_own = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_own and text.isprintable() and ";" not in text else "/"


def _page(name: str) -> Route:
    async def page(request: HttpRequest) -> Response:
        return FileResponse(STATIC / PAGES[name], headers={"Cache-Control": "no-cache"})

    return Route(name, page)


ROUTES: list[BaseRoute] = [
    Route(ENTER, enter),
    *(_page(name) for name, file in PAGES.items() if (STATIC / file).is_file()),
    Mount("/static", StaticFiles(directory=STATIC)),
]
