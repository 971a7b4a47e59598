"""`voidbridge models` describes a folder, and brings the files there."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
from lora_parts import layers_of, random_pairs, write

from voidbridge_backend import cli
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.files.inventory import (
    REPOSITORIES,
    SUMS,
    inventory,
    sha256,
    sums,
)
from voidbridge_backend.engines.void.files.weights import BASE, PASSES
from voidbridge_backend.engines.void.model.lora_file import LoraRecord
from voidbridge_backend.tools import models
from voidbridge_protocol.errors import DiskFull, ModelMissing

Say = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(tiny, tmp_path / "models", ignore=shutil.ignore_patterns("prompts"))
    )


def listed(capsys: Say, *words: object) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    """Exit code, parts by name, and the error, of `voidbridge models` with these words."""
    code = cli.main(["models", *map(str, words), "--devices", "cpu", "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    parts = {event["part"]: event for event in events if event["event"] == "model"}
    return code, parts, next((event for event in events if event["event"] == "error"), {})


def test_a_whole_folder_is_right_in_every_part(folder: Path, capsys: Say) -> None:
    code, parts, _ = listed(capsys, folder)
    assert code == 0
    assert {name: part["state"] for name, part in parts.items()} == {
        "scheduler": "ok",
        "tokenizer": "ok",
        "text encoder": "ok",
        "transformer's configuration": "ok",
        "autoencoder": "ok",
        "pass 1": "ok",
        "pass 2": "ok",
        "prompts": "missing",
    }
    assert parts["pass 1"]["size"] == (folder / PASSES[1]).stat().st_size
    assert "tensors are correct" in parts["pass 1"]["text"]
    assert parts["pass 1"]["fingerprint"] != parts["pass 2"]["fingerprint"]


def test_loras_are_listed_with_their_show_and_a_wrong_one_with_the_reason(
    folder: Path, capsys: Say
) -> None:
    base = networks.fingerprints(folder)["pass 1"]
    pairs = random_pairs(layers_of(folder))
    for name, record in (
        ("harbour", LoraRecord("harbour", base, 1, 4)),
        ("old", LoraRecord("old", "0" * 64, 1, 4)),
    ):
        write(folder / "loras" / f"{name}.safetensors", pairs, record)
    (folder / "loras" / "users.toml").write_text('harbour = ["ben", "ana"]')
    _, parts, _ = listed(capsys, folder)
    good, wrong = parts["LoRA harbour"], parts["LoRA old"]
    assert (good["state"], good["text"]) == ("ok", "show harbour, pass 1, rank 4, for ana, ben")
    assert good["fingerprint"] == sha256(folder / "loras" / "harbour.safetensors")
    assert wrong["state"] == "wrong"
    assert "trained on the weights 000000000000" in wrong["text"]


def test_a_folder_that_is_not_there_lacks_everything_and_the_way_to_get_it_is_said(
    tmp_path: Path, capsys: Say
) -> None:
    code, parts, error = listed(capsys, tmp_path / "none")
    assert code == 4
    assert {part["state"] for part in parts.values()} == {"missing"}
    assert sum(part["size"] for part in parts.values()) == pytest.approx(32.2e9, rel=0.01)
    assert error["code"] == "job.model-missing"
    for word in ("models fetch", *REPOSITORIES.values(), str(tmp_path / "none" / BASE)):
        assert word in error["hint"]


def test_without_the_second_pass_jobs_of_one_can_be_run(folder: Path, capsys: Say) -> None:
    (folder / PASSES[2]).unlink()
    code, parts, _ = listed(capsys, "list", folder)
    assert code == 0
    assert parts["pass 2"]["state"] == "missing"
    assert parts["pass 2"]["passes"] == 2


def cut_short(folder: Path) -> None:
    path = folder / PASSES[1]
    path.write_bytes(path.read_bytes()[:-100])


def of_another_model(folder: Path) -> None:
    shutil.copyfile(folder / BASE / "vae/diffusion_pytorch_model.safetensors", folder / PASSES[1])


def pickled(folder: Path) -> None:
    (folder / PASSES[1]).rename(folder / "void_pass1.ckpt")


@pytest.mark.parametrize(
    ("damage", "state", "said"),
    [
        (cut_short, "wrong", "not a readable safetensors"),
        (of_another_model, "wrong", "tensors are missing"),
        (pickled, "missing", "pickles are not opened"),
    ],
)
def test_damaged_files_are_named_with_what_is_wrong(
    folder: Path, capsys: Say, damage: Callable[[Path], None], state: str, said: str
) -> None:
    damage(folder)
    code, parts, error = listed(capsys, folder)
    assert code == 4
    assert parts["pass 1"]["state"] == state
    assert said in parts["pass 1"]["text"]
    assert parts["pass 1"]["text"] in error["text"]
    assert {parts[name]["state"] for name in parts if name != "pass 1"} == {"ok"}


def test_weights_cannot_be_judged_without_the_configurations(folder: Path, capsys: Say) -> None:
    (folder / BASE / "vae/config.json").unlink()
    _, parts, error = listed(capsys, folder)
    assert parts["autoencoder"]["state"] == "missing"
    assert parts["pass 1"]["state"] == parts["text encoder"]["state"] == "unknown"
    assert "config.json is missing" in error["text"]


def test_a_changed_byte_is_found_where_the_sha256_is_known(folder: Path, capsys: Say) -> None:
    path = folder / PASSES[1]
    (folder / SUMS).write_text(f"{sha256(path)}  {PASSES[1]}\n")
    assert sums(folder) == {PASSES[1]: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert "matches its SHA-256" in listed(capsys, folder, "--sha256")[1]["pass 1"]["text"]
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert listed(capsys, folder)[0] == 0  # headers cannot tell
    code, parts, _ = listed(capsys, folder, "--sha256")
    assert (code, parts["pass 1"]["state"]) == (4, "wrong")
    assert sha256(path) in parts["pass 1"]["text"]


def test_sums_of_another_form_are_refused(folder: Path, capsys: Say) -> None:
    (folder / SUMS).write_text("MD5 (x) = 12\n")
    with pytest.raises(ModelMissing, match="has an invalid line"):
        inventory(folder)


def test_people_get_a_table(folder: Path, capsys: Say) -> None:
    assert cli.main(["models", str(folder), "--devices", "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"{BASE}/text_encoder" in said
    assert "--passes 2" in said


def test_a_tiny_model_is_written_where_nothing_is_and_nowhere_else(
    tmp_path: Path, capsys: Say
) -> None:
    code, parts, _ = listed(capsys, "make-tiny", tmp_path / "tiny")
    assert code == 0
    assert parts["pass 2"]["state"] == parts["prompts"]["state"] == "ok"
    before = sha256(tmp_path / "tiny" / PASSES[1])
    assert listed(capsys, "make-tiny", tmp_path)[0] == 4
    assert sha256(tmp_path / "tiny" / PASSES[1]) == before
    assert cli.main(["models", "make-tiny"]) == 2
    assert cli.main(["models", "delete", str(tmp_path)]) == 2
    assert "make-tiny" in capsys.readouterr().err


def test_prepared_prompts_are_there_afterwards(folder: Path, capsys: Say) -> None:
    (folder / "voidbridge.json").write_text('{"negative_prompt": "fog"}')
    assert listed(capsys, folder)[1]["prompts"]["state"] == "missing"
    code, parts, _ = listed(capsys, "prepare", folder)
    assert (code, parts["prompts"]["state"]) == (0, "ok")
    assert len(list((folder / "prompts").glob("*.safetensors"))) == 2


def test_without_torch_the_command_says_what_to_install() -> None:
    script = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "diffusers", "transformers", "huggingface_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
from voidbridge_backend import cli
sys.exit(cli.main(["models", "/none"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "voidbridge[backend,void]" in done.stderr
    assert "Traceback" not in done.stderr


# -- fetching, from a server on this machine that answers as the site does --------------------------


@contextmanager
def hub(folder: Path, *, damaged: str = "") -> Iterator[tuple[HfApi, list[str]]]:
    """A site that has the files of a models folder, and the names of those that were sent."""
    sent: list[str] = []

    def content(path: str) -> bytes | None:
        repository, _, name = path.partition("/resolve/")
        name = name.partition("/")[2]
        file = folder / (f"{BASE}/{name}" if repository == REPOSITORIES["base"] else name)
        return file.read_bytes() if file.is_file() else None

    class Site(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0].removeprefix("/")
            if path.startswith("api/models/"):
                body, kind = info(path.removeprefix("api/models/")), "application/json"
            else:
                found = content(path)
                if found is None:
                    self.send_error(404)
                    return
                body, kind = found, "application/octet-stream"
                if with_body:
                    sent.append(path.rpartition("/")[2])
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.end_headers()
            if with_body:
                self.wfile.write(b"x" * len(body) if damaged and path.endswith(damaged) else body)

        def log_message(self, *_: object) -> None:
            pass

    def info(repository: str) -> bytes:
        base = repository == REPOSITORIES["base"]
        root = folder / BASE if base else folder
        files = [p for p in root.rglob("*") if p.is_file()] if base else [*root.glob("void_*")]
        siblings = [
            {
                "rfilename": path.relative_to(root).as_posix(),
                "size": path.stat().st_size,
                "lfs": {"sha256": sha256(path), "size": path.stat().st_size, "pointerSize": 130}
                if path.suffix == ".safetensors"
                else None,
            }
            for path in files
        ]
        return json.dumps({"id": repository, "sha": "c" * 40, "siblings": siblings}).encode()

    disable_progress_bars()
    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    try:
        yield HfApi(endpoint=f"http://127.0.0.1:{site.server_port}", token=False), sent
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


def test_what_is_missing_is_fetched_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    here, said = tmp_path / "here", []
    with hub(folder) as (api, sent):
        models.fetch(here, said.append, api)
        assert [part.state for part in inventory(here, whole=True)] == ["ok"] * 7
        assert all("its SHA-256" in p.text for p in inventory(here, whole=True) if p.print)
        # The base transformer's own weights are not needed, and large.
        assert not (here / BASE / "transformer/diffusion_pytorch_model.safetensors").exists()
        assert len(said) == len(sent) == 9
        (here / PASSES[2]).unlink()
        sent.clear()
        models.fetch(here, said.append, api)
    assert sent == [PASSES[2]]
    assert "void_pass2.safetensors" in said[-1]


def test_what_was_fetched_is_prepared(
    folder: Path, tmp_path: Path, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(folder) as (api, _):
        monkeypatch.setattr(models, "HfApi", lambda: api)
        code, parts, _ = listed(capsys, "fetch", tmp_path / "here")
    assert (code, parts["prompts"]["state"]) == (0, "ok")


def test_bytes_that_were_not_announced_are_not_kept(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    with (
        hub(folder, damaged=PASSES[1]) as (api, _),
        pytest.raises(ModelMissing, match=r"void_pass1\.safetensors arrived with a SHA-256 other"),
    ):
        models.fetch(here, lambda text: None, api)
    assert not (here / PASSES[1]).exists()


def test_a_site_without_the_files_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / PASSES[2]).unlink()
    with (
        hub(folder) as (api, sent),
        pytest.raises(ModelMissing, match=r"no longer has void_pass2\.safetensors"),
    ):
        models.fetch(tmp_path / "here", lambda text: None, api)
    assert sent == []


def test_a_full_disk_is_found_out_before_anything_is_fetched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "KEEP_FREE", 1 << 60)
    with hub(folder) as (api, sent), pytest.raises(DiskFull, match="are free"):
        models.fetch(tmp_path / "here", lambda text: None, api)
    assert sent == []


def test_offline_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=REPOSITORIES["base"]) as caught:
        models.fetch(tmp_path, lambda text: None, HfApi(endpoint="http://127.0.0.1:9", token=False))
    assert "offline" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
