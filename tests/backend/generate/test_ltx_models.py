"""Models folders of `ltx` and `sam2`: fetched from a server on this machine that answers as huggingface.co does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("huggingface_hub")

from huggingface_hub import HfApi

from voidbridge_backend.engines.ltx import weights
from voidbridge_backend.engines.ltx.terms import TERMS
from voidbridge_backend.tools import ltx_models, models, sam_models
from voidbridge_protocol.errors import ModelMissing, TermsNotAccepted

SHA = "d" * 40


@contextmanager
def site(folder: Path, damaged: str = "") -> Iterator[tuple[HfApi, list[str]]]:
    """A site that has the files of a folder, and the paths that were asked for."""
    asked: list[str] = []

    def listed() -> bytes:
        siblings = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                one = {"rfilename": path.relative_to(folder).as_posix(), "size": len(data)}
                if path.suffix == ".safetensors":
                    digest = hashlib.sha256(data).hexdigest()
                    one["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
                siblings.append(one)
        return json.dumps({"id": ltx_models.REPOSITORY, "sha": SHA, "siblings": siblings}).encode()

    class Site(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0].removeprefix("/")
            if with_body:
                asked.append(path)
            if path.startswith("api/models/"):
                body = listed()
            else:
                file = folder / path.partition(f"/resolve/{SHA}/")[2]
                if not file.is_file():
                    self.send_error(404)
                    return
                body = file.read_bytes()
                if damaged and path.endswith(damaged):
                    body = b"x" * len(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", SHA)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token=False), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def published(tiny_ltx: Path) -> Path:
    """As it is published, with files that nobody needs."""
    folder = tiny_ltx / weights.BASE
    (folder / "LICENSE.md").write_text("the licence")
    (folder / "vae" / "old.bin").write_bytes(b"pickle")
    (folder / "demo.mp4").write_bytes(b"film")
    return folder


def test_nothing_is_fetched_before_the_terms_are_accepted(published: Path, tmp_path: Path) -> None:
    with site(published) as (hub, asked), pytest.raises(TermsNotAccepted):
        ltx_models.fetch(tmp_path, lambda text: None, hub)
    assert asked == []


def test_a_fetch_gets_what_the_engine_needs_at_one_revision(
    published: Path, tmp_path: Path
) -> None:
    TERMS.accept(tmp_path, date(2026, 11, 29))
    said: list[str] = []
    with site(published) as (hub, asked):
        ltx_models.fetch(tmp_path, said.append, hub)
        first = len(asked)
        ltx_models.fetch(tmp_path, said.append, hub)
    base = weights.require(tmp_path)
    assert (base / "LICENSE.md").read_text() == "the licence"
    assert not [*base.rglob("*.bin"), *base.rglob("*.mp4")]
    assert (base / models.REVISION).read_text() == f"{SHA}\n"
    assert asked[first:] == [f"api/models/{ltx_models.REPOSITORY}/revision/{SHA}"]
    assert said[0] == f"revision {SHA} of {ltx_models.REPOSITORY}"


def test_bytes_other_than_announced_are_not_kept(published: Path, tmp_path: Path) -> None:
    TERMS.accept(tmp_path, date(2026, 11, 29))
    name = "transformer/diffusion_pytorch_model.safetensors"
    with (
        site(published, damaged=name) as (hub, _),
        pytest.raises(ModelMissing, match="arrived with a SHA-256 other"),
    ):
        ltx_models.fetch(tmp_path, lambda text: None, hub)
    assert not (tmp_path / weights.BASE / name).exists()


def test_a_site_that_does_not_answer_is_a_typed_error(tmp_path: Path) -> None:
    TERMS.accept(tmp_path, date(2026, 11, 29))
    hub = HfApi(endpoint="http://127.0.0.1:9", token=False)
    for engine, fetch in (
        ("", lambda: models.fetch(tmp_path, print, hub)),
        (" --engine ltx", lambda: ltx_models.fetch(tmp_path, print, hub)),
        (" --engine sam2", lambda: sam_models.fetch("sam2", tmp_path, print, hub)),
    ):
        with pytest.raises(ModelMissing, match="is not available from") as raised:
            fetch()
        assert f"`voidbridge models fetch FOLDER{engine}`" in raised.value.hint


def test_the_list_says_which_parts_are_there(
    tiny_ltx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ltx_models.show(tiny_ltx, as_json=True)
    parts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {part["part"] for part in parts} == {*weights.NETWORKS, weights.UPSAMPLER, "LoRA of hdr"}
    assert {part["state"] for part in parts} == {"ok"}
    with pytest.raises(ModelMissing):
        ltx_models.show(tmp_path, as_json=False)
    assert "missing" in capsys.readouterr().out


def test_a_checkpoint_of_sam2_is_fetched_without_pickles_and_its_license_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "site", tmp_path / "models"
    for name in ("config.json", "model.safetensors", "README.md", "sam2.1_hiera_tiny.pt"):
        source.mkdir(exist_ok=True)
        (source / name).write_bytes(name.encode())
    with pytest.raises(ModelMissing, match="sam2 needs weights") as failure:
        sam_models.show("sam2", folder, as_json=False)
    assert "voidbridge models fetch --engine sam2" in failure.value.hint
    begun = folder / "sam2.1-hiera-tiny"
    begun.mkdir(parents=True)
    said: list[str] = []
    with site(source) as (hub, asked):
        sam_models.fetch("sam2", folder, said.append, hub)
    assert said[:2] == ["license: Apache-2.0", f"revision {SHA} of facebook/sam2.1-hiera-tiny"]
    assert asked[0] == "api/models/facebook/sam2.1-hiera-tiny"
    found = {path.name for path in begun.iterdir() if path.is_file()}
    assert found == {"config.json", "model.safetensors", "README.md", models.REVISION}
    capsys.readouterr()
    sam_models.show("sam2", folder, as_json=True)
    parts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {part["part"]: part["state"] for part in parts}["sam2.1-hiera-tiny"] == "ok"
