"""The page as a process, and a client that may send it anything. Loaded under the name `voidbridge_page`."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voidbridge_stage import SECONDS, command, environment


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Page:
    """`voidbridge web` as a process, and a client that may send anything."""

    process: subprocess.Popen[bytes]
    link: str
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        found = re.match(r"http://127\.0\.0\.1:(\d+)/", self.link)
        assert found
        return int(found[1])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next_link(self) -> str:
        """The link that is printed after one was used."""
        assert self.process.stdout
        link: str = json.loads(self.process.stdout.readline())["link"]
        return link

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Sends exactly these headers; `_` in a name stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def enter(self) -> None:
        answer = self.ask("GET", self.link.removeprefix(self.origin))
        assert answer.status == 200, answer.body
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.link = self.next_link()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, Cookie=self.cookie, **headers)

    def post(self, path: str, fields: object = None, **headers: str) -> Answer:
        usual = {"Cookie": self.cookie, "Origin": self.origin, "Content-Type": "application/json"}
        return self.ask("POST", path, json.dumps(fields or {}).encode(), **{**usual, **headers})


def start_page(address: str, *folders: Path, extra: dict[str, str] | None = None) -> Page:
    """The page of a daemon; `extra` are variables of its environment."""
    words = [word for folder in folders for word in ("--folder", folder)]
    process = subprocess.Popen(
        command("web", "--daemon", address, "--json", "--user", "ann", *words),
        stdout=subprocess.PIPE,
        env={**environment(), **(extra or {})},
    )
    assert process.stdout
    line = process.stdout.readline()
    assert line, "the page did not start"
    return Page(process, json.loads(line)["link"])


def stop_page(page: Page) -> None:
    page.process.terminate()
    page.process.communicate(timeout=SECONDS)
