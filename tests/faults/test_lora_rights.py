"""LoRAs that a daemon has by name: who may use and see which, and nobody learns of the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from voidbridge_guarded import Guarded, guarded_daemon
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Finished, run_words

USERS = 'harbour = ["ana"]\nsecret = []\n'


class Site(NamedTuple):
    """A daemon with three LoRAs by name. Its engine `echo` uses none, but says so only after the daemon let a
    job in.
    """

    daemon: Guarded
    shot: Shot
    folder: Path
    users: Path

    def asked(self, name: str, loras: str, *words: object) -> Finished:
        run = run_words(self.shot, self.folder / name, self.daemon.address)[:-2]
        return self.daemon.command(name, *run, "--json", "--lora", loras, *words)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rights")
    loras = folder / "models" / "loras"
    loras.mkdir(parents=True)
    for name in ("fog", "harbour", "secret"):
        (loras / f"{name}.safetensors").write_bytes(b"never opened")
    others = folder / "models" / "LTX-2-loras"
    others.mkdir()
    (others / "hero.safetensors").write_bytes(b"never opened")
    (others / "users.toml").write_text('hero = ["ana"]')
    shot = make_shot(folder / "in", range(1001, 1002))
    with guarded_daemon("--models", folder / "models") as daemon:
        for name in ("ana", "ben"):
            daemon.let_in(name)
        daemon.let_in("root", admin=True)
        yield Site(daemon, shot, folder / "out", loras / "users.toml")


@pytest.fixture(autouse=True)
def lists(site: Site) -> None:
    site.users.write_text(USERS)


@pytest.mark.parametrize(
    ("user", "lora", "known"),
    [
        ("ben", "harbour", "fog"),
        ("ben", "fog:0.2,harbour:0.5", "fog"),
        ("ana", "secret", "fog, harbour"),
        ("ben", "nothing", "fog"),
        ("ben", "..:1", "fog"),
        ("ben", "harbour\n:1", "fog"),
        ("ben", "Harbour", "fog"),
    ],
)
def test_a_name_of_others_reads_like_a_name_that_is_not_there(
    site: Site, user: str, lora: str, known: str
) -> None:
    found = site.asked(user, lora)
    error = found.event("error")
    assert (found.code, error["code"]) == (2, "request.lora")
    assert error["text"].endswith(f"'; it has {known}")


@pytest.mark.parametrize(
    ("user", "lora"), [("ana", "harbour:0.5,fog"), ("ben", "fog"), ("root", "secret")]
)
def test_a_user_of_a_lora_and_an_admin_are_let_in(site: Site, user: str, lora: str) -> None:
    found = site.asked(user, lora)
    assert found.event("error")["code"] == "request.setting"
    assert "takes no LoRA" in found.event("error")["text"]


@pytest.mark.parametrize(
    ("user", "lora", "is_let_in"), [("ana", "hero", True), ("ben", "hero:0.5", False)]
)
def test_loras_of_generated_shots_have_users_too(
    site: Site, tmp_path: Path, user: str, lora: str, is_let_in: bool
) -> None:
    words = (
        "bridge",
        site.shot.plate,
        site.shot.plate,
        "--length",
        1,
        "-o",
        tmp_path / "g.%04d.exr",
    )
    found = site.daemon.command(user, "generate", *words, "--json", "--lora", lora)
    refused = [event for event in found.events if event["event"] == "error"]
    assert [one["code"] for one in refused] == ["request.lora"] * (not is_let_in)
    assert all(one["text"].endswith("; it has none") for one in refused)


def test_a_number_that_is_no_file_of_the_job_opens_nothing(site: Site) -> None:
    for lora in ("@harbour", "@" + "1" * 5000):
        found = site.asked("ben", lora)
        assert found.event("error")["code"] == "request.setting"


def test_another_name_on_the_command_line_gives_no_rights(site: Site) -> None:
    found = site.asked("ben", "harbour", "--user", "ana")
    assert found.event("error")["code"] == "request.lora"


@pytest.mark.parametrize("text", ["harbour = [", 'harbour = "ana"', "x = " + "[" * 5000])
def test_lists_that_cannot_be_read_let_nobody_in(site: Site, text: str) -> None:
    site.users.write_text(text)
    found = site.asked("ana", "fog")
    assert found.event("error")["code"] == "request.lora"
    assert "nobody may use a LoRA by its name" in found.event("error")["text"]


def test_an_own_file_needs_no_right(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"mine")
    found = site.asked("ben", str(path))
    assert found.event("error")["code"] == "request.setting"
