"""Where a secret key might have left a trace, in files, processes and texts, and in whatever form it could have.

Loaded under the name `voidbridge_traces` by the `conftest.py` of each folder that uses it.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from voidbridge_guarded import Guarded
from zmq.utils import z85


def forms(secret: str) -> list[bytes]:
    """A secret key, given as Z85, as it may have been written down: text, bytes, and either in other alphabets."""
    found = []
    for raw in (secret.encode(), z85.decode(secret)):
        found += [raw, raw.hex().encode(), raw.hex().upper().encode()]
        found += [base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")]
    return found


class Traces:
    """Takes in whatever may hold a secret, and says where one was found."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = [form for secret in secrets for form in forms(secret)]
        self.found: list[str] = []
        self.seen = 0
        """Bytes that were searched."""

    @classmethod
    def of(cls, daemon: Guarded) -> Traces:
        """Of every secret key that this daemon and its people have."""
        return cls(pair.secret for pair in (daemon.pair, *daemon.people.values()))

    def text(self, where: str, text: str | bytes) -> None:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        self.seen += len(data)
        if any(form in data for form in self._forms):
            self.found.append(where)

    def folder(self, folder: Path, but: Iterable[Path] = ()) -> None:
        """Every file there, and what is packed in archives; not below `but`, where keys are at home."""
        homes = set(but)
        for path in folder.rglob("*"):
            if path.is_file() and not homes & {path, *path.parents}:
                self.text(str(path), path.read_bytes())
                if zipfile.is_zipfile(path):
                    self._archive(path)

    def processes(self) -> bytes:
        """Command line and environment of every process that can be looked at; all of it."""
        heard = b""
        for process in Path("/proc").glob("[0-9]*"):
            for part in ("cmdline", "environ"):
                try:
                    data = (process / part).read_bytes()
                except OSError:  # it has ended, or is another's
                    continue
                self.text(f"{process}/{part}", data)
                heard += data
        return heard

    def daemon(self, daemon: Guarded, folder: Path) -> None:
        """Everything that it keeps and logs, and what it gives away in a bundle for support, put into `folder`."""
        homes = [daemon.folder / name for name in ("keys", *daemon.people)]
        self.folder(daemon.folder, homes)
        for name in daemon.people:
            bundle = folder / f"{name}.zip"
            log = daemon.folder / "daemon.log"
            made = daemon.command(name, "support-bundle", "-o", bundle, "--log", log)
            assert bundle.is_file(), made.err
            self.text(f"support-bundle of {name}", made.out + made.err)
        self.folder(folder)

    def _archive(self, path: Path) -> None:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            for name in archive.namelist():
                self.text(f"{path}:{name}", archive.read(name))


def plain(value: Any) -> str:
    """Any value as a text that shows everything in it."""
    if isinstance(value, dict):
        return " ".join(f"{plain(key)} {plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(plain, value))
    return str(value)
