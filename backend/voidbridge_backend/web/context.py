"""The parts of the page that its routes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest

from .access import Access
from .child_commands import ChildCommands
from .daemon_link import DaemonLink
from .folders import Folders
from .forms import JobForms
from .player.pictures import Pictures


@dataclass(frozen=True)
class PageContext:
    """Made once at the start, and reached from every request."""

    access: Access
    cookie: str
    link: DaemonLink
    folders: Folders
    children: ChildCommands
    pictures: Pictures
    address: str
    """Address of the daemon, as people name it."""
    forms: JobForms
    endpoint: str
    """The language model that can be asked, as people name it; empty without one."""


def context_of(request: HttpRequest) -> PageContext:
    """The parts of the page that answers this request."""
    found: Any = request.app.state.context
    assert isinstance(found, PageContext)
    return found
