"""A small OpenAI-compatible server as a process. The model's name chooses how it behaves.

Prints its port, then one JSON line for each request that it got: path, key, pictures, messages.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {
    "belongings": [{"noun": "red hat", "places": [{"picture": 1, "cells": [[0, 2], [0, 3]]}]}],
    "artefacts": [
        {
            "noun": "shadow",
            "places": [{"picture": 1, "cells": [[6, 1]]}, {"picture": 2, "cells": [[6, 5]]}],
        }
    ],
    "objects": [
        {
            "noun": "cup",
            "places": [{"picture": 1, "cells": [[2, 2]]}],
            "fate": "moves",
            "path": [{"picture": 3, "cells": [[6, 2]]}],
            "original_cells": [],
        },
        {
            "noun": "door",
            "places": [],
            "fate": "should_have_stayed",
            "path": [],
            "original_cells": [[0, 13]],
        },
    ],
    "scene_without": "An empty yard.\nAt dusk.",
    "confidence": 0.8,
}


def lie() -> dict[str, Any]:
    """The schema's form with pictures and cells that do not exist."""
    places = [{"picture": 99, "cells": [[500, -3]]}]
    return GOOD | {"artefacts": [{"noun": "glow", "places": places}], "confidence": 7}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = request["messages"][1]["content"]
        told = {
            "path": self.path,
            "key": self.headers.get("Authorization", ""),
            "pictures": sum(part["type"] == "image_url" for part in content),
            "messages": len(request["messages"]),
            "strict": request["response_format"]["json_schema"]["strict"],
        }
        print(json.dumps(told), flush=True)
        getattr(self, request["model"].replace("-", "_"))(len(request["messages"]))

    def caption(self, messages: int) -> None:
        self._say(json.dumps({"caption": "A gray wall.\nNoon."}))

    def late_caption(self, messages: int) -> None:
        self._say("A wall." if messages == 2 else json.dumps({"caption": "A wall."}))

    def empty_caption(self, messages: int) -> None:
        self._say(json.dumps({"caption": " \n"}))

    def good(self, messages: int) -> None:
        self._say(json.dumps(GOOD))

    def fenced(self, messages: int) -> None:
        self._say(f"```json\n{json.dumps(GOOD)}\n```")

    def lying(self, messages: int) -> None:
        self._say(json.dumps(lie()))

    def repaired(self, messages: int) -> None:
        self._say("It is a shadow." if messages == 2 else json.dumps(GOOD))

    def malformed(self, messages: int) -> None:
        self._say(json.dumps({"belongings": "none"}))

    def refusing(self, messages: int) -> None:
        self._answer({"choices": [{"message": {"refusal": "I cannot help."}}]})

    def cut(self, messages: int) -> None:
        self._answer({"choices": [{"finish_reason": "length", "message": {"content": "{"}}]})

    def strange(self, messages: int) -> None:
        self._answer(["no", "completion"])

    def failing(self, messages: int) -> None:
        self.send_error(401, "Unauthorized")

    def redirecting(self, messages: int) -> None:
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def slow(self, messages: int) -> None:
        threading.Event().wait()

    def dripping(self, messages: int) -> None:
        """A space ten times a second, for as long as somebody listens."""
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 20))
        self.end_headers()
        self._drip(b" ")

    def dripping_head(self, messages: int) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self._drip(b"x")

    def _drip(self, drop: bytes) -> None:
        with contextlib.suppress(OSError):
            while not threading.Event().wait(0.1):
                self.wfile.write(drop)

    def endless(self, messages: int) -> None:
        self._say("x" * (5 << 20))

    def _say(self, text: str) -> None:
        self._answer({"choices": [{"finish_reason": "stop", "message": {"content": text}}]})

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        return None


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit()
