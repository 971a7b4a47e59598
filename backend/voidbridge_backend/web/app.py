"""The page as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from voidbridge_protocol.errors import VoidbridgeError

from .answers import not_found, refused
from .context import PageContext
from .guard import Guard
from .routes import asked, commands, jobs, masks, pages, pictures, queue

ROUTES = [
    *queue.ROUTES,
    *jobs.ROUTES,
    *commands.ROUTES,
    *pictures.ROUTES,
    *masks.ROUTES,
    *asked.ROUTES,
    *pages.ROUTES,
]


def application(context: PageContext, port: int) -> Guard:
    """The guarded page, which answers on `port` of this machine."""

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        await context.children.close()
        context.pictures.close()
        context.link.close()

    app = Starlette(
        routes=ROUTES,
        exception_handlers={VoidbridgeError: refused, HTTPException: not_found},
        lifespan=life,
    )
    app.state.context = context
    return Guard(app, context.access, port)
