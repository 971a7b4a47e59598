"""Nobody in who does not belong: every kind of message, from everybody who may not say it."""

from __future__ import annotations

import json
import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import zmq
from voidbridge_guarded import PING, Guarded, Knocker, guarded_daemon, sample
from voidbridge_machine import stopped
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import SECONDS, Going, check_echo, run_words, voidbridge
from voidbridge_traces import Traces

from voidbridge_backend.daemon.net import allowed_keys
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import UnknownJob, UnknownKey, VersionMismatch
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.codec import PREFIX, decode_request, encode
from voidbridge_protocol.wire.keys import Keys
from voidbridge_protocol.wire.messages import (
    CARRIES_PAYLOAD,
    KINDS,
    MAX_CHUNK,
    Hello,
    Refused,
    Status,
    Submit,
    Watch,
)

FREE = re.compile(rb'"free": \d+')
"""Free space changes with other programs, so it is not compared."""
SESSION, NOBODYS = "5e55" * 8, "beef" * 8
KIND = pytest.mark.parametrize("kind", sorted(KINDS))


class Scene(NamedTuple):
    """A daemon with a done job of ana's; ben is let in, and root is an admin."""

    daemon: Guarded
    shot: Shot
    job: str
    request: bytes


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("access")
    shot = make_shot(folder / "in", range(1001, 1003), seed=300)
    with guarded_daemon() as daemon:
        for name in ("ana", "ben"):
            daemon.let_in(name)
        daemon.let_in("root", admin=True)
        done = daemon.command(
            "ana", *run_words(shot, folder / "out", daemon.address)[:-2], "--json"
        )
        assert done.code == 0, done.err
        check_echo(shot, folder / "out")
        job = done.event("done")["job"]
        request = (daemon.spool / "orders" / "cpu.json").read_bytes()
        yield Scene(daemon, shot, job, request)


def words_of(kind: str, scene: Scene, job: str | None = None) -> list[bytes]:
    """A message of this kind as it stands on the wire: about ana's job, or another."""
    sha256 = decode_request(scene.request).files[0].sha256
    cls = KINDS[kind]
    session = SESSION if cls is Hello else NOBODYS  # a daemon remembers what said hello
    told = {"job": job or scene.job, "session": session, "frame": 1001, "sha256": sha256}
    message = sample(cls, **told, priority=0)  # users may ask for no more
    payload = scene.request if cls is Submit else b"x" if cls in CARRIES_PAYLOAD else None
    return [bytes(frame) for frame in encode(message, payload)]


# -- the table: every kind of message, from everybody who may not say it ------------------------------


@KIND
@pytest.mark.parametrize("key", ["none", "unknown"])
def test_without_a_key_that_is_allowed_nothing_is_heard(scene: Scene, kind: str, key: str) -> None:
    before = scene.daemon.what_it_has()
    with Knocker(scene.daemon, keys.make() if key == "unknown" else None) as knocker:
        for end in (knocker.control, knocker.bulk):
            with suppress(zmq.Again):  # hung up on already
                knocker.say_raw(end, words_of(kind, scene))
            assert knocker.is_held(end)
    assert scene.daemon.what_it_has() == before


@KIND
def test_anothers_job_is_answered_as_one_that_does_not_exist(scene: Scene, kind: str) -> None:
    """To the byte, on both sockets; and what ana sent is asked of ben as if it were not there."""
    before = scene.daemon.what_it_has()
    nobodys = "f" * len(scene.job)
    ben = scene.daemon.people["ben"]
    for bulk in (False, True):
        answers = []
        for job in (scene.job, nobodys):
            with Knocker(scene.daemon, ben, f"{kind} {bulk} {job}") as knocker:
                welcome = knocker.introduced()
                assert welcome.user == "ben", "whatever it calls itself"
                end = knocker.bulk if bulk else knocker.control
                heard = knocker.said(end, words_of(kind, scene, job))
                said = [b"|".join(words).replace(job.encode(), b"JOB") for words in heard]
                answers.append([FREE.sub(b"", words) for words in said])
        assert answers[0] == answers[1] or kind == "submit"
        whole = b"".join(answers[0])
        assert b'"ana"' not in whole
        if kind in ("query", "watch", "cancel", "get-provenance", "fetched") and not bulk:
            assert b"request.unknown-job" in answers[0][0]
        if kind == "get" and bulk:
            assert b"request.unknown-job" in answers[0][0]
    after = scene.daemon.what_it_has()
    if kind == "submit":  # the same request is a job of ben's own, and every file of it is missing
        (new,) = set(after[0]) - set(before[0])
        with scene.daemon.client("ben") as client:
            assert client.status(new).state.value == "receiving"
            client.cancel(new)
        with scene.daemon.client("ana") as client, pytest.raises(UnknownJob):
            client.status(new)
    else:
        assert after == before


@KIND
def test_an_older_framing_is_told_so_and_nothing_else(scene: Scene, kind: str) -> None:
    with Knocker(scene.daemon, scene.daemon.people["ben"]) as knocker:
        for end in (knocker.control, knocker.bulk):
            knocker.say_raw(end, [PREFIX + b"0", *words_of(kind, scene)[1:]])
            answer = knocker.answer(end)
            assert isinstance(answer, Refused)
            assert answer.code == VersionMismatch.code


def test_an_older_protocol_is_refused_and_begins_no_session(scene: Scene) -> None:
    with Knocker(scene.daemon, scene.daemon.people["ben"]) as knocker:
        knocker.say(knocker.control, Hello(0, 0, "old", "ben", "test"))
        answer = knocker.answer(knocker.control)
        assert isinstance(answer, Refused)
        assert answer.code == VersionMismatch.code
        knocker.say(knocker.control, PING)
        assert "unknown-session" in str(knocker.answer(knocker.control))


@KIND
def test_what_is_truncated_is_refused_and_does_nothing(scene: Scene, kind: str) -> None:
    before = scene.daemon.what_it_has()
    whole = words_of(kind, scene)
    with Knocker(scene.daemon, scene.daemon.people["ana"], f"cut {kind}") as knocker:
        knocker.introduced()
        for cut in (
            whole[:1],
            [whole[0], whole[1][: len(whole[1]) // 2], *whole[2:]],
            [whole[0][:-1], *whole[1:]],
            [whole[0], b"", *whole[2:]],
            *([whole[:2]] if len(whole) == 3 else []),
        ):
            knocker.say_raw(knocker.control, cut)
            answer = knocker.answer(knocker.control)
            assert isinstance(answer, Refused), cut
            assert answer.code in ("protocol.bad-message", "protocol.version")
    assert scene.daemon.what_it_has() == before


@KIND
def test_what_is_replayed_on_another_line_belongs_to_no_session(scene: Scene, kind: str) -> None:
    """With her own key, word for word: it takes a `hello` first, and that of another key leads nowhere."""
    ana, ben = scene.daemon.people["ana"], scene.daemon.people["ben"]
    before = scene.daemon.what_it_has()
    with Knocker(scene.daemon, ana, SESSION) as hers:
        hers.introduced()
        for pair in (ana, ben):
            with Knocker(scene.daemon, pair) as knocker:
                for end in (knocker.control, knocker.bulk):
                    if pair is ana and kind in ("hello", "join-bulk"):
                        continue  # her own client, on a new connection
                    knocker.say_raw(end, words_of(kind, scene))
                    answer = knocker.answer(end)
                    assert isinstance(answer, Refused)
                    assert answer.code in ("protocol.unknown-session", "protocol.bad-message")
        hers.say(hers.control, PING)
        assert "Pong" in str(hers.answer(hers.control)), "her session is as it was"
    assert scene.daemon.what_it_has() == before


def test_encrypted_bytes_that_are_sent_again_are_worth_nothing(scene: Scene) -> None:
    """Recorded bytes are played back; every handshake has keys of its own."""
    port = int(scene.daemon.address.rpartition(":")[2])
    recorded = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def record() -> None:
            line, _ = server.accept()
            with line, socket.create_connection(("127.0.0.1", port)) as daemon:
                answers = threading.Thread(target=_pump, args=(daemon, line, bytearray()))
                answers.start()
                _pump(line, daemon, recorded)
                answers.join()

        thread = threading.Thread(target=record)
        thread.start()
        mine = Keys(scene.daemon.people["ana"], scene.daemon.pair.public)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with Client(address, user="ana", software="test", keys=mine) as client:
            assert client.jobs()[0].job == scene.job
        thread.join()
    assert scene.job.encode() not in recorded
    assert len(recorded) > 300
    hellos = scene.daemon.log.count(" hello ")
    with socket.create_connection(("127.0.0.1", port)) as again:
        again.sendall(recorded)
        again.settimeout(SECONDS)
        heard = bytearray()
        while piece := again.recv(4096):  # until it hangs up
            heard += piece
    assert scene.daemon.log.count(" hello ") == hellos


def _pump(source: socket.socket, to: socket.socket, copy: bytearray) -> None:
    try:
        while piece := source.recv(65536):
            copy += piece
            to.sendall(piece)
    except OSError:
        pass
    finally:
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


# -- people ------------------------------------------------------------------------------------------


def test_each_sees_the_own_jobs_and_an_admin_all(scene: Scene, tmp_path: Path) -> None:
    def listed(name: str) -> set[str]:
        found = scene.daemon.command(name, "status", "--json")
        assert found.code == 0, found.err
        return {json.loads(line)["job"] for line in found.out.splitlines()}

    assert scene.job in listed("ana")
    assert scene.job not in listed("ben")
    assert scene.job in listed("root")
    for words in (
        ("status", scene.job),
        ("cancel", scene.job),
        ("fetch", scene.job, "-o", tmp_path / "r.%04d.exr"),
    ):
        refused = scene.daemon.command("ben", *words)
        assert refused.code == 2
        assert "request.unknown-job" in refused.err
    assert not list(tmp_path.iterdir())
    fetched = scene.daemon.command("root", "fetch", scene.job, "-o", tmp_path / "r.%04d.exr")
    assert fetched.code == 0, fetched.err
    check_echo(scene.shot, tmp_path)


def test_files_longer_than_a_piece_travel_encrypted(scene: Scene, tmp_path: Path) -> None:
    """Each frame on the wire is then longer than what is in it."""
    shot = make_shot(tmp_path / "in", range(1001, 1002), 640, 960, seed=301)
    assert shot.file("plate", 1001).stat().st_size > MAX_CHUNK
    done = scene.daemon.command(
        "ana", *run_words(shot, tmp_path / "out", scene.daemon.address)[:-2], "--json"
    )
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")


def test_a_key_is_revoked_and_allowed_again_while_the_daemon_runs(scene: Scene) -> None:
    pair = scene.daemon.let_in("cat")
    with Knocker(scene.daemon, pair, "cat") as knocker:
        knocker.introduced()
        allowed_keys.revoke(scene.daemon.allowed, "cat")
        knocker.say(knocker.control, PING)
        answer = knocker.answer(knocker.control)
        assert isinstance(answer, Refused)
        assert answer.code == UnknownKey.code
        with pytest.raises(UnknownKey), scene.daemon.client("cat"):
            pass
        allowed_keys.allow(scene.daemon.allowed, allowed_keys.Identity("cat", pair.public))
        with scene.daemon.client("cat") as client:
            assert client.jobs() == []


def test_who_is_revoked_hears_no_more_news(scene: Scene, tmp_path: Path) -> None:
    """Without saying a word more: the daemon looks by itself."""
    shot = make_shot(tmp_path / "in", range(1001, 1002), seed=310)
    words = run_words(shot, tmp_path / "out", scene.daemon.address)[:-2]
    pair = scene.daemon.let_in("dan", admin=True)
    with Knocker(scene.daemon, pair, "dan") as knocker:
        knocker.introduced()
        going = Going(*words, "--steps", 300, *scene.daemon.words("root"))
        job = going.until_event("accepted")["job"]
        knocker.say(knocker.control, Watch(job))
        assert isinstance(knocker.answer(knocker.control), Status)
        allowed_keys.revoke(scene.daemon.allowed, "dan")
        assert going.end().code == 0
        heard = b""
        while knocker.control.poll(50):
            heard += b"".join(knocker.control.recv_multipart())
        assert b'"done"' not in heard


# -- secrets and paths ---------------------------------------------------------------------------------


def test_no_secret_is_anywhere_but_in_its_file(scene: Scene, tmp_path: Path) -> None:
    """Command lines, environments, logs, output, a support bundle, what the hosts are given."""
    daemon = scene.daemon
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=320)
    words = run_words(shot, tmp_path / "out", daemon.address)
    worker = daemon.wait_for_worker()
    with stopped(worker):  # the job is there until all have been looked at
        going = Going(*words[: words.index("--daemon")], *daemon.words("ana"))
        going.until_event("accepted")
        assert daemon.process
        text = ""
        for pid in (daemon.process.pid, worker, going.process.pid):
            for part in ("cmdline", "environ"):
                text += Path(f"/proc/{pid}/{part}").read_bytes().decode("utf-8", "replace")
    done = going.end()
    assert done.code == 0, done.err
    assert "--server-key" in text
    text += done.out + done.err + daemon.log
    folder = daemon.folder / "keys"
    for more in (
        ("config", "--json"),
        ("keys", "list", "--keys", folder),
        ("keys", "show", "daemon", "--keys", folder),
    ):
        shown = voidbridge(*more)
        assert shown.code == 0, shown.err
        text += shown.out + shown.err
    log = daemon.folder / "daemon.log"
    bundle = daemon.command("root", "support-bundle", "-o", tmp_path / "b.zip", "--log", log)
    assert (tmp_path / "b.zip").is_file(), bundle.err
    text += _unzipped(tmp_path / "b.zip")
    for host in ("nuke", "resolve"):
        installed = voidbridge("install", host, "--to", tmp_path / host)
        assert installed.code == 0, installed.err
    for path in (*tmp_path.rglob("*.py"), *tmp_path.rglob("*.lua"), *tmp_path.rglob("*.json"),
                 *tmp_path.rglob("*.setting"), *tmp_path.rglob("*.gizmo")):  # fmt: skip
        text += path.read_text("utf-8", "replace")
    text += "".join(p.read_text() for p in daemon.spool.rglob("*.json"))
    assert len(text) > 10_000
    traces = Traces.of(daemon)
    traces.text("somewhere", text)
    assert traces.found == []
    assert not re.search(r'secret-key = "', text)


def _unzipped(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return "".join(archive.read(name).decode("utf-8", "replace") for name in archive.namelist())


def test_only_an_admin_puts_a_job_before_those_of_others(scene: Scene) -> None:
    for name, is_refused in (("ana", True), ("root", False)):
        with Knocker(scene.daemon, scene.daemon.people[name], f"priority {name}") as knocker:
            knocker.introduced()
            knocker.say(knocker.control, Submit(priority=2**62), scene.request)
            answer = knocker.answer(knocker.control)
            assert isinstance(answer, Refused) is is_refused
            if isinstance(answer, Refused):
                assert answer.code == "request.setting"
                knocker.say(knocker.control, Submit(priority=-1), scene.request)
                assert not isinstance(knocker.answer(knocker.control), Refused)
