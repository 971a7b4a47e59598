"""A daemon that asks for keys, people with keys of their own, and whoever knocks with whatever key.

Loaded under the name `voidbridge_guarded` by `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import zmq
from voidbridge_machine import free_ports, short_folder
from voidbridge_stage import SECONDS, Daemon, Finished, called

from voidbridge_backend.daemon.net import allowed_keys
from voidbridge_backend.daemon.net.allowed_keys import Identity
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import DaemonUnavailable
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.codec import decode, encode
from voidbridge_protocol.wire.keys import Keys, Pair
from voidbridge_protocol.wire.messages import OLDEST, PROTOCOL, Hello, JoinBulk, Message, Welcome

HELD = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
HELD |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


@dataclass
class Guarded(Daemon):
    """A daemon with keys, and folders of keys for its users."""

    pair: Pair = field(default_factory=keys.make)
    people: dict[str, Pair] = field(default_factory=dict)

    @property
    def allowed(self) -> Path:
        return self.folder / "keys" / allowed_keys.FILE

    def let_in(self, name: str, admin: bool = False) -> Pair:
        """A key for somebody, in a folder of its own, and on the daemon's list."""
        pair = self.people[name] = keys.make()
        keys.write(self.folder / name / "client.key", pair)
        allowed_keys.allow(self.allowed, Identity(name, pair.public, admin))
        return pair

    def client(self, name: str, **more: Any) -> Client:
        mine = Keys(self.people[name], self.pair.public)
        return Client(self.address, user="somebody else", software="test", keys=mine, **more)

    def words(self, name: str) -> tuple[object, ...]:
        """Returns the answers to a command of this person."""
        return (
            "--daemon", self.address, "--server-key", self.pair.public, "--keys", self.folder / name,
        )  # fmt: skip

    def command(self, name: str, *words: object) -> Finished:
        return called(*words, *self.words(name))

    def asking(self, user: str = "probe") -> Client:
        return self.client(user, patience=SECONDS)

    def start(self) -> None:
        if not (self.folder / "keys").exists():
            keys.write(self.folder / "keys" / "daemon.key", self.pair)
            self.let_in("probe", admin=True)
        super().start()

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log
        try:
            with self.client("probe", patience=10.0):
                return True
        except DaemonUnavailable:
            return False

    def what_it_has(self) -> tuple[list[str], list[str]]:
        """Its jobs, and every file of its spool but the table's own."""
        with self.client("probe") as client:
            jobs = [status.job for status in client.jobs()]
        files = [str(path) for path in self.spool.rglob("*") if not path.name.startswith("jobs.db")]
        return jobs, sorted(files)


@contextmanager
def guarded_daemon(*options: object, address: str = "") -> Iterator[Guarded]:
    with short_folder("vbg") as folder:
        made = Guarded(
            folder,
            address or f"tcp://127.0.0.1:{free_ports(2)}",
            ("--devices", "cpu", "--require-keys", "--keys", folder / "keys", *options),
        )
        try:
            made.start()
            yield made
        finally:
            made.end()


class Knocker:
    """Both sockets of a peer that says what it likes, with any key or none."""

    def __init__(self, daemon: Guarded, pair: Pair | None, session: str = "knock") -> None:
        self._context = zmq.Context()
        self._monitors: dict[Any, Any] = {}
        self.session = session
        host, _, port = daemon.address.rpartition(":")
        self.control = self._socket(daemon, f"{host}:{port}", pair)
        self.bulk = self._socket(daemon, f"{host}:{int(port) + 1}", pair)

    def __enter__(self) -> Knocker:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._monitors:
            end.disable_monitor()
        self._context.destroy(linger=0)

    def introduced(self) -> Welcome:
        """As a client that keeps to the protocol."""
        self.say(self.control, Hello(OLDEST, PROTOCOL, self.session, "root", "test"))
        welcome = self.answer(self.control)
        assert isinstance(welcome, Welcome), welcome
        self.say(self.bulk, JoinBulk(self.session))
        self.answer(self.bulk)
        return welcome

    def say(self, end: Any, message: Message, payload: bytes | None = None) -> None:
        self.say_raw(end, [bytes(frame) for frame in encode(message, payload)])

    def say_raw(self, end: Any, frames: list[bytes]) -> None:
        end.send_multipart(frames, zmq.NOBLOCK)

    def answer(self, end: Any) -> Message:
        assert end.poll(SECONDS * 1000), "no answer"
        return decode(end.recv_multipart())[0]

    def said(self, end: Any, frames: list[bytes]) -> list[list[bytes]]:
        """Everything that the daemon answers, up to its answer to a `ping` that follows; a list may come later."""
        self.say_raw(end, frames)
        self.say_raw(end, [bytes(frame) for frame in encode(PING)])
        heard = []
        while True:
            assert end.poll(SECONDS * 1000), f"no answer to a ping after {frames[1][:60]!r}"
            heard.append(end.recv_multipart())
            kinds = [words[1].partition(b",")[0] for words in heard]
            if any(b"unknown-session" in words[1] for words in heard):
                return heard
            if any(b'"pong"' in kind for kind in kinds) and (
                b'"list-jobs"' not in frames[1]
                or any(b'"listed"' in kind or b'"refused"' in kind for kind in kinds)
            ):
                return sorted(heard, key=lambda words: b'"pong"' in words[1])

    def is_held(self, end: Any) -> bool:
        """Whether the handshake failed; nothing was said to us then."""
        assert self._monitors[end].poll(SECONDS * 1000), "let in"
        return not end.poll(20)

    def _socket(self, daemon: Guarded, address: str, pair: Pair | None) -> Any:
        made = self._context.socket(zmq.DEALER)
        made.linger = 0
        if pair:
            made.curve_serverkey = daemon.pair.public.encode()
            made.curve_publickey, made.curve_secretkey = pair.public.encode(), pair.secret.encode()
        self._monitors[made] = made.get_monitor_socket(HELD)
        made.connect(address)
        return made


PING = next(cls for cls in Message.__subclasses__() if cls.kind == "ping")()


def sample(kind: type[Any], **chosen: object) -> Any:
    """A message of this kind with something in every field; fields that are `chosen` by name have that."""
    hints = get_type_hints(kind)
    values = {}
    for each in fields(kind):
        hint = hints[each.name]
        if each.name in chosen:
            values[each.name] = chosen[each.name]
        elif each.name == "sha256":
            values[each.name] = chosen.get("sha256", "0" * 64)
        elif is_dataclass(hint):
            values[each.name] = sample(hint, **chosen)  # type: ignore[arg-type]
        elif get_origin(hint) is tuple:
            values[each.name] = ()
        elif issubclass(hint, Enum):
            values[each.name] = next(iter(hint))
        elif hint is bool:
            values[each.name] = False
        else:
            values[each.name] = hint(1)
    return kind(**values)
