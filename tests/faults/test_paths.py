"""Nobody has the daemon open what is not shared: two hundred paths, and links that move at every moment.

The client here knows the secret file's hash and can prove that it was read. Only the check of the path protects
the file: an escape would be answered by `got`.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from voidbridge_stage import SECONDS, daemon

from voidbridge_backend.daemon.files.shares import Shares
from voidbridge_protocol.errors import NotHere
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.transfer.shared_files import proof
from voidbridge_protocol.wire.connection import ConnectionOptions, ServerConnection
from voidbridge_protocol.wire.messages import (
    MAX_PATH,
    OLDEST,
    PROTOCOL,
    Accepted,
    FrameFile,
    Got,
    Hello,
    ImportFile,
    JoinBulk,
    Message,
    Nack,
    Request,
    Submit,
)

SECRET = hashlib.shake_128(b"secret").digest(5000)
SHA = hashlib.sha256(SECRET).hexdigest()
PLAIN = hashlib.shake_128(b"plain").digest(5000)


@dataclass(frozen=True)
class Scene:
    """A shared folder that its users fill with traps, and beside it what is not shared."""

    root: Path

    @property
    def show(self) -> Path:
        return self.root / "show"

    @property
    def secret(self) -> Path:
        return self.root / "secret" / "s.exr"

    @property
    def closed(self) -> Path:
        """Below the share, and not to be opened."""
        return self.show / "spool"

    def shares(self) -> Shares:
        return Shares([str(self.show), f"Z:/shows={self.show}"], closed=[self.closed])


def set_up(root: Path) -> Scene:
    scene = Scene(root)
    show = scene.show
    for folder in (show / "plates" / "deep", scene.secret.parent, root / "show2", root / "SHOW"):
        folder.mkdir(parents=True)
    for path in (scene.secret, root / "show2" / "s.exr", root / "SHOW" / "s.exr"):
        path.write_bytes(SECRET)
    scene.closed.mkdir()
    (scene.closed / "s.exr").write_bytes(SECRET)
    for path in (show / "plates" / "p.exr", show / "plates" / "s.exr"):
        path.write_bytes(PLAIN)
    return scene


def links(scene: Scene) -> Iterator[tuple[str, str]]:
    """(name below the share, where it points)"""
    secret, show = scene.secret, scene.show
    yield "to_file", str(secret)
    yield "to_file_by_steps", "../secret/s.exr"
    yield "plates/deep/up", "../../../secret/s.exr"
    yield "through_dots", "plates/../../secret/s.exr"
    yield "to_sibling", str(scene.root / "show2" / "s.exr")
    yield "to_closed", "spool/s.exr"
    yield "to_closed_by_steps", f"{show}/plates/../spool/s.exr"
    yield "through_root", f"/proc/self/root{secret}"
    yield "through_cwd", f"/proc/self/cwd/{os.path.relpath(secret)}"
    yield "to_itself", "to_itself"
    yield "to_nothing", "absent"
    for name in ("zero", "null", "full", "random", "stdin", "fd/0", "tty"):
        yield f"to_{name.replace('/', '_')}", f"/dev/{name}"
    for name in ("mem", "environ", "maps", "exe", "fd/0", "task"):
        yield f"to_proc_{name.replace('/', '_')}", f"/proc/self/{name}"
    for number in range(45):
        yield f"chain{number}", f"chain{number + 1}" if number < 44 else str(secret)


def folder_links(scene: Scene) -> Iterator[tuple[str, str]]:
    yield "away", str(scene.secret.parent)
    yield "away_by_steps", "../secret"
    yield "plates/deep/away", "../../../secret"
    yield "parent", ".."
    yield "everything", "/"
    yield "own_root", f"/proc/self/root{scene.secret.parent}"
    yield "closed", "spool"
    yield "to_away", "away"
    yield "sibling", str(scene.root / "show2")


def laid(scene: Scene) -> None:
    for name, target in (*links(scene), *folder_links(scene)):
        (scene.show / name).symlink_to(target)
    os.mkfifo(scene.show / "fifo")
    os.symlink("fifo", scene.show / "to_fifo")
    folder = os.open(scene.show, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"/proc/self/fd/{folder}/socket")  # its own path may be too long for one
    os.close(folder)


def device(scene: Scene) -> list[str]:
    """One of the share's own, where we may make one."""
    try:
        os.mknod(scene.show / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except OSError:
        return []
    return [f"{scene.show}/device"]


def paths(scene: Scene) -> list[str]:
    show, secret, root = str(scene.show), str(scene.secret), str(scene.root)
    tail = "secret/s.exr"
    found = [f"{show}/{name}" for name, _ in links(scene)]
    found += [f"{show}/{name}/s.exr" for name, _ in folder_links(scene)]
    found += [f"{show}/everything{secret}", f"{show}/parent/{tail}", f"{show}/parent/show2/s.exr"]
    for steps in range(1, 13):
        found.append(f"{show}/{'../' * steps}{tail}")
        found.append(f"{show}/{'../' * steps}{secret}")
        found.append(f"{show}/plates/{'../' * steps}{tail}")
    for dots in (
        *("./../", "..//", ".././", "..\\", "..\\..\\", "%2e%2e/", "..%2f", "%2e%2e%2f", "....//"),
        *("..;/", ".. /", " ../", "..\t/", "..\n/", "..\0/", "\0../", "..\u200b/", "\uff0e\uff0e/"),
        *(
            "..\u2215",
            "..\uff0f",
            "..%c0%af",
            "..%252f",
            "..%5c",
            ".../",
            "../.",
            "~/../",
            "$PWD/../",
        ),
    ):
        found.append(f"{show}/{dots}{tail}")
    found += [secret, f"/{secret}", f"//{secret}", f"file://{secret}", f"{secret}/", f"{secret}/."]
    found += [f"{show}{secret}", f"{show}/{secret}", f"{show}\0{secret}", f"{show}/s.exr\0{secret}"]
    found += [
        f"{root}/show2/s.exr",
        f"{root}/SHOW/s.exr",
        f"{show}2/s.exr",
        f"{show.upper()}/s.exr",
    ]
    found += [f"{root}/sho/../{tail}", f"{root}/./show/../{tail}", f"{root}//show/../{tail}"]
    found += [f"{show}/spool/s.exr", f"{show}/plates/../spool/s.exr", f"{show}/./spool/s.exr"]
    for start in ("Z:/shows", "z:\\shows", "Z:\\SHOWS", "Z:/shows/plates", "Z:\\shows\\plates"):
        found += [f"{start}/../{tail}", f"{start}\\..\\..\\secret\\s.exr", f"{start}/{secret}"]
        found += [f"{start}/away/s.exr", f"{start}\\spool\\s.exr", f"{start}/to_file"]
    found += ["Z:", "Z:/", "Z:/shows", "Z:/shows/", "Z:shows/s.exr", "Z:..\\secret\\s.exr"]
    found += [f"Z:{secret}", f"C:{secret}", f"Y:/shows/../{tail}", "Z:/shows2/s.exr"]
    for name in (
        "CON",
        "NUL",
        "AUX",
        "COM1",
        "LPT1",
        "p.exr::$DATA",
        "plates:s.exr",
        "SPOOL~1/s.exr",
    ):
        found.append(f"Z:/shows/{name}")
    found += [
        f"\\\\?\\Z:\\shows\\..\\{tail}",
        f"\\\\.\\Z:\\shows\\..\\{tail}",
        "\\\\.\\PhysicalDrive0",
    ]
    found += [f"\\\\server\\share{secret}", f"//localhost{secret}", "\\\\localhost\\C$\\s.exr"]
    found += ["", " ", ".", "..", "/", "//", "s.exr", "plates/p.exr", "./plates/p.exr", "~", "\0"]
    found += [show, f"{show}/", f"{show}/.", f"{show}/..", f"{show}/plates", f"{show}/plates/"]
    found += [f"{show}/fifo", f"{show}/to_fifo", f"{show}/socket", *device(scene)]
    for long in (255, 256, 1000, MAX_PATH - len(show) - 1):
        found.append(f"{show}/{'a' * long}")
    room = MAX_PATH - len(show) - len(tail) - 1
    found += [f"{show}/{'a/' * (room // 2)}", f"{show}/{'../' * (room // 3)}{tail}"]
    found += [f"{show}/{'plates/../' * (room // 10)}{tail}", f"{show}{'/' * room}{tail}"]
    assert all(len(path) <= MAX_PATH for path in found)
    return list(dict.fromkeys(found))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = set_up(tmp_path)
    laid(made)
    return made


def test_no_path_leads_out_of_the_share(scene: Scene) -> None:
    shares = scene.shares()
    for path in paths(scene):
        for size in {len(SECRET), size_of(path)}:  # that of a folder or a program may be known too
            file = shares.open(path, size)
            if file:
                with file:
                    assert file.read() == PLAIN, f"{path!r} leads to the secret"


def size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 1


def test_over_the_wire_all_of_them_get_one_answer(scene: Scene) -> None:
    """Against a real daemon, which takes the very same file as soon as it lies in the share."""
    tried = paths(scene)
    assert len(tried) >= 200
    (scene.closed / "s.exr").write_bytes(PLAIN)  # the spool of this daemon is elsewhere
    with daemon("--shares", f"{scene.show},Z:/shows={scene.show}") as made:
        hello = Hello(OLDEST, PROTOCOL, os.urandom(16).hex(), "mallory", "test")
        wire = ServerConnection(ConnectionOptions(made.address, hello, SECONDS, SECONDS))
        try:
            assert wire.welcome.shares == (str(scene.show), "Z:/shows")
            wanted(wire)
            with scene.secret.open("rb") as file:
                shown = proof(wire.welcome.epoch, SHA, len(SECRET), file)
            answers = {}
            for path in tried:
                wire.send_bulk(ImportFile(SHA, len(SECRET), path, shown))
                answers[path] = answer(wire)
            assert {path for path, said in answers.items() if not isinstance(said, Nack)} == set()
            (only,) = set(answers.values())
            assert (only.sha256, only.offset, only.code) == (SHA, 0, NotHere.code)
            assert not list((made.spool / "objects").glob("*/*"))
            (scene.show / "plates" / "same.exr").write_bytes(SECRET)
            wire.send_bulk(ImportFile(SHA, len(SECRET), "Z:\\shows\\plates\\same.exr", shown))
            assert answer(wire) == Got(SHA)
        finally:
            wire.close()


def wanted(wire: ServerConnection) -> None:
    """A job that lacks the secret file."""
    files = tuple(FrameFile(role, 1001, SHA, len(SECRET)) for role in ("matte", "plate"))
    request = Request(1001, 1001, RemoveSettings(engine="echo"), files)
    wire.send(Submit(), request.canonical())
    assert next(said for said, _ in wire.answers() if isinstance(said, Accepted)).need == "0-1"
    wire.send_bulk(JoinBulk(wire.peer.hello.session))


def answer(wire: ServerConnection) -> Message:
    """Returns the daemon's answer to the last import."""
    return next(said for said, _ in wire.answers(SECONDS) if isinstance(said, (Got, Nack)))


# -- links that move while the daemon looks -----------------------------------------------------------


def file_to_link(scene: Scene) -> None:
    link = scene.root / "link"
    link.symlink_to(scene.secret)
    link.replace(scene.show / "plates" / "s.exr")


def file_to_pipe(scene: Scene) -> None:
    os.mkfifo(scene.root / "pipe")
    (scene.root / "pipe").replace(scene.show / "plates" / "s.exr")


def file_to_folder(scene: Scene) -> None:
    (scene.show / "plates" / "s.exr").unlink()
    (scene.show / "plates" / "s.exr").mkdir()


def folder_to_link(scene: Scene) -> None:
    (scene.show / "plates").rename(scene.root / "moved")
    (scene.show / "plates").symlink_to(scene.secret.parent)


def share_to_link(scene: Scene) -> None:
    scene.show.rename(scene.root / "moved")
    (scene.secret.parent / "plates").mkdir()
    (scene.secret.parent / "plates" / "s.exr").write_bytes(SECRET)
    (scene.secret.parent / "current").symlink_to("plates")
    scene.show.symlink_to(scene.secret.parent)


def link_to_link(scene: Scene) -> None:
    link = scene.root / "link"
    link.symlink_to(scene.secret.parent)
    link.replace(scene.show / "current")


SWAPS = [file_to_link, file_to_pipe, file_to_folder, folder_to_link, share_to_link, link_to_link]
CALLS = ("open", "stat", "lstat", "readlink", "fstat")


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
@pytest.mark.parametrize("name", ["plates/s.exr", "current/s.exr"])
def test_a_link_that_is_moved_between_any_two_looks_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Scene], None], name: str
) -> None:
    """Before each single call with which the daemon looks at the disk, in turn."""
    came_to_an_end = False
    moment = 0
    while not came_to_an_end:
        scene = set_up(tmp_path / str(moment))
        (scene.show / "current").symlink_to("plates")
        shares, descriptors = scene.shares(), len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            calls = swapping_at(moment, partial(swap, scene), patch)
            file = shares.open(f"{scene.show}/{name}", len(SECRET))
        came_to_an_end = calls() <= moment
        assert moment or not came_to_an_end
        if file:
            with file:
                assert file.read() == PLAIN, f"before look {moment}"
        else:
            assert not came_to_an_end, "nothing was moved, and it is not opened"
        assert len(os.listdir("/proc/self/fd")) == descriptors
        moment += 1
    assert moment > 8


def swapping_at(
    moment: int, swap: Callable[[], None], patch: pytest.MonkeyPatch
) -> Callable[[], int]:
    """Swaps before this call of all that look at the disk; how many there were."""
    count, swapping = 0, False

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal count, swapping
            if not swapping:
                if count == moment:
                    swapping = True
                    swap()
                    swapping = False
                count += 1
            return real(*args, **more)

        return call

    # `supports_dir_fd` is asked with the real one, before.
    for each in CALLS:
        patch.setattr(os, each, around(getattr(os, each)))
    return lambda: count


def test_a_link_that_never_rests_leads_nowhere(tmp_path: Path) -> None:
    """The same with chance as the only master."""
    scene = set_up(tmp_path)
    shares = scene.shares()
    place, ended = scene.show / "plates" / "s.exr", threading.Event()
    (scene.root / "plain").write_bytes(PLAIN)
    looks = {True: 0, False: 0}

    def move() -> None:
        link, file = scene.root / "link", scene.root / "copy"
        while not ended.is_set():
            link.symlink_to(scene.secret)
            link.replace(place)
            os.link(scene.root / "plain", file)
            file.replace(place)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        while min(looks.values()) < 200 and sum(looks.values()) < 20_000:
            opened = shares.open(str(place), len(SECRET))
            looks[bool(opened)] += 1
            if opened:
                with opened:
                    assert opened.read() == PLAIN
    finally:
        ended.set()
        mover.join()
    assert looks[True], looks
