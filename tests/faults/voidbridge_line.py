"""A line between two network namespaces that is slow, loses packets, and can be cut: real TCP over it.

Loaded under the name `voidbridge_line` by `conftest.py`. Each end is a TUN device. When it is run, this file
carries packets from one to the other, with the given delay, rate and losses. (`tc
netem` does the same where the kernel has it; not every kernel has.) Needs root and Linux.

    python voidbridge_line.py NAMESPACE NAMESPACE RATE_MBIT DELAY_MS LOSS

On its standard input: `cut`, `mend`, `count`; each is answered by a line, bytes that were carried there and back.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDS = ("10.77.0.1", "10.77.0.2")
"""The daemon's address and the clients'."""
ANOTHER = "10.77.0.3"
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
BUFFER_S = 0.25
"""A packet that would wait longer than that for its turn is dropped, as routers do."""
NAMES = Path("/run/netns")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, and the processes and threads that it starts, are in that namespace meanwhile."""
    with Path("/proc/thread-self/ns/net").open() as home, (NAMES / namespace).open() as away:
        _enter(away.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Line:
    """A line between two namespaces of its own. `OSError` where none can be made."""

    def __init__(self, rate_mbit: float, delay_ms: float, loss: float) -> None:
        """`delay_ms` one way; `loss` is the share of packets that never arrive."""
        self.daemon, self.client = (f"vbt-{os.getpid()}-{end}" for end in "ab")
        self._made: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        try:
            for name in (self.daemon, self.client):
                _ip("netns", "add", name)
                self._made.append(name)
                _ip("-n", name, "link", "set", "lo", "up")
            words = (self.daemon, self.client, rate_mbit, delay_ms, loss)
            self._process = subprocess.Popen(
                [sys.executable, __file__, *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._process.stdout
            if self._process.stdout.readline() != "ready\n":
                raise OSError("no line could be made")
            for name, own, other in ((self.daemon, *ENDS), (self.client, *reversed(ENDS))):
                _ip("-n", name, "addr", "add", own, "peer", other, "dev", "line")
                _ip("-n", name, "link", "set", "line", "mtu", "1500", "up")
        except BaseException:
            self.close()
            raise

    def cut(self) -> tuple[int, int]:
        return self._say("cut")

    def mend(self) -> tuple[int, int]:
        return self._say("mend")

    def change_client(self) -> None:
        """The clients' machine is gone, without a word, and another is at that end of the line."""
        _ip("-n", self.client, "addr", "del", ENDS[1], "peer", ENDS[0], "dev", "line")
        _ip("-n", self.client, "addr", "add", ANOTHER, "peer", ENDS[0], "dev", "line")
        _ip("-n", self.daemon, "route", "add", ANOTHER, "dev", "line")

    def carried(self) -> tuple[int, int]:
        """Bytes of packets that arrived so far: at the client, at the daemon."""
        return self._say("count")

    def close(self) -> None:
        if self._process:
            assert self._process.stdin
            assert self._process.stdout
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
        for name in self._made:
            _ip("netns", "del", name)

    def _say(self, word: str) -> tuple[int, int]:
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        there, back = self._process.stdout.readline().split()
        return int(there), int(back)


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise OSError("the command ip is not here") from error
    if done.returncode:
        raise OSError(done.stderr.strip())


class Way:
    """One direction: what is on its way, in the order of its arrival."""

    def __init__(self, to: int, rate: float, delay: float, loss: float) -> None:
        self._to, self._rate, self._delay, self._loss = to, rate, delay, loss
        self._free_at = 0.0
        self._flying: list[tuple[float, int, bytes]] = []
        self._number = 0
        self.carried = 0

    def take(self, packet: bytes, now: float) -> None:
        begins = max(now, self._free_at)
        if begins - now > BUFFER_S or random.random() < self._loss:
            return
        self._free_at = begins + len(packet) * 8 / self._rate
        self._number += 1
        heapq.heappush(self._flying, (self._free_at + self._delay, self._number, packet))

    def next(self) -> float:
        return self._flying[0][0] if self._flying else float("inf")

    def land(self, now: float, cut: bool) -> None:
        while self._flying and self._flying[0][0] <= now:
            _, _, packet = heapq.heappop(self._flying)
            if not cut:
                self.carried += len(packet)
                try:
                    os.write(self._to, packet)
                except OSError:
                    continue  # that end is not up yet


def _device(namespace: str) -> int:
    with inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"line", IFF_TUN | IFF_NO_PI))
    return fd


def main() -> None:
    first, second, rate, delay, loss = sys.argv[1:]
    ends = _device(first), _device(second)
    much, late, lost = float(rate) * 1e6, float(delay) / 1000, float(loss)
    ways = {ends[0]: Way(ends[1], much, late, lost), ends[1]: Way(ends[0], much, late, lost)}
    cut = threading.Event()

    def read_orders() -> None:
        for word in sys.stdin:
            if word.strip() == "cut":
                cut.set()
            elif word.strip() == "mend":
                cut.clear()
            print(*(way.carried for way in ways.values()), flush=True)

    threading.Thread(target=read_orders, daemon=True).start()
    print("ready", flush=True)
    while True:
        wait = min(way.next() for way in ways.values()) - time.monotonic()
        for end in select.select(ends, [], [], min(max(wait, 0), 0.5))[0]:
            for _ in range(64):
                try:
                    packet = os.read(end, 2048)
                except OSError:
                    break  # no more for now, or not up yet
                if not cut.is_set():
                    ways[end].take(packet, time.monotonic())
        for way in ways.values():
            way.land(time.monotonic(), cut.is_set())


if __name__ == "__main__":
    main()
