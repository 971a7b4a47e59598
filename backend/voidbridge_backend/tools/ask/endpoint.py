"""One request to an OpenAI-compatible server. Nothing is retried and no redirect is followed: pictures leave once.

The protocol is POST BASE/chat/completions, as Ollama, vLLM, LM Studio and hosted services have it. Python's own
HTTP client is enough for it.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voidbridge_protocol.errors import BadSetting, EndpointFailed, NoEndpoint

URL, MODEL, KEY = "VOIDBRIDGE_ASK_URL", "VOIDBRIDGE_ASK_MODEL", "VOIDBRIDGE_ASK_KEY"
MOST_BYTES = 4 << 20
"""Bytes of an answer."""
PIECE = 64 << 10


@dataclass(frozen=True)
class Endpoint:
    """A server and its model. `key` never appears in a message, a file or a command line."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 120.0

    @classmethod
    def chosen(
        cls,
        url: str,
        model: str,
        key_file: Path | None,
        timeout_s: float,
        environment: Mapping[str, str],
    ) -> Endpoint:
        """From options, else from the environment. Raises `NoEndpoint` without both, `BadSetting`."""
        url, model = url or environment.get(URL, ""), model or environment.get(MODEL, "")
        if not url or not model:
            lacking = "address" if not url else "model"
            raise NoEndpoint(f"no {lacking} of a language model is named, so nothing is sent")
        key = environment.get(KEY, "")
        if key_file is not None:
            try:
                key = key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise BadSetting(f"the key in {key_file} cannot be read: {error}") from error
        found = cls(url.rstrip("/"), model, key, timeout_s)
        found._check()
        return found

    def _check(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadSetting(
                f"{self.url} is not an address of a language model",
                "Write it as http://127.0.0.1:11434/v1 or https://HOST/v1.",
            )
        if parts.username or parts.password or parts.query:
            raise BadSetting(
                "the address of the language model holds more than a server and a path",
                f"Give the key in {KEY} or with --key-file.",
            )
        if parts.scheme == "http" and not _is_local(parts.hostname):
            raise BadSetting(
                f"{parts.hostname} would get the pictures without encryption",
                "Use https, or a server on this machine.",
            )
        if not 0 < self.timeout_s <= 3600:
            raise BadSetting(f"a timeout of {self.timeout_s:g} s; from above 0 to 3600")

    def ask(self, request: Mapping[str, Any]) -> str:
        """The text of the model's answer. Raises `EndpointFailed`."""
        answered = self._posted(json.dumps(request).encode())
        try:
            choice = json.loads(answered)["choices"][0]
            message = choice["message"]
            refusal, content = message.get("refusal"), message.get("content")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise EndpointFailed(f"{self.url} gave no chat completion") from error
        if refusal:
            raise EndpointFailed(f"{self.model} refused: {ascii(str(refusal))[1:201]}")
        if choice.get("finish_reason") == "length":
            raise EndpointFailed(f"the answer of {self.model} was cut off at its length limit")
        if not isinstance(content, str) or not content.strip():
            raise EndpointFailed(f"{self.model} answered nothing")
        return content

    def _posted(self, data: bytes) -> bytes:
        """The answer. A server that sends a byte now and then meets no timeout of a socket, so a thread reads."""
        given_up = threading.Event()
        answers: queue.SimpleQueue[bytes | EndpointFailed] = queue.SimpleQueue()

        def exchange() -> None:
            try:
                answers.put(self._exchanged(data, given_up))
            except EndpointFailed as error:
                answers.put(error)

        threading.Thread(target=exchange, name="asks the model", daemon=True).start()
        try:
            answered = answers.get(timeout=self.timeout_s)
        except queue.Empty:
            raise EndpointFailed(self._late()) from None
        finally:
            given_up.set()
        if isinstance(answered, EndpointFailed):
            raise answered
        return answered

    def _exchanged(self, data: bytes, given_up: threading.Event) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", data, headers)
        opener = urllib.request.build_opener(_NoRedirect, *self._proxies())
        try:
            with opener.open(request, timeout=self.timeout_s) as response:
                answered = bytearray()
                while piece := response.read1(PIECE):
                    answered += piece
                    if len(answered) > MOST_BYTES or given_up.is_set():
                        break
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(300).decode("utf-8", "replace")
            raise EndpointFailed(
                f"{self.url} answered {error.code} {ascii(str(error.reason))[1:-1]}: {ascii(said)[1:201]}"
            ) from error
        except TimeoutError as error:
            raise EndpointFailed(self._late()) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            late = isinstance(reason, TimeoutError)
            raise EndpointFailed(self._late() if late else f"{self.url}: {reason}") from error
        if len(answered) > MOST_BYTES:
            raise EndpointFailed(f"{self.url} answered with more than {MOST_BYTES >> 20} MB")
        return bytes(answered)

    def _proxies(self) -> list[urllib.request.ProxyHandler]:
        """None without encryption: a proxy would read pictures and key. It only tunnels what is encrypted."""
        is_encrypted = urlsplit(self.url).scheme == "https"
        return [] if is_encrypted else [urllib.request.ProxyHandler({})]

    def _late(self) -> str:
        return f"{self.url} did not answer within {self.timeout_s:g} s"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry pictures and key to a server that nobody named."""

    def redirect_request(self, *request: Any) -> None:
        return None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
