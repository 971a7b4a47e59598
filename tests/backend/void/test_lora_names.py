"""LoRAs of a models folder by name, and their users."""

from __future__ import annotations

from pathlib import Path

import pytest

from voidbridge_backend.engines.ltx import weights
from voidbridge_backend.engines.void.files import lora_names
from voidbridge_protocol.errors import BadLora


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "loras").mkdir()
    for name in ("fog", "harbour", "-odd", "a b", "x" * 65, "y" * 64):
        (tmp_path / "loras" / f"{name}.safetensors").touch()
    return tmp_path


def test_names_are_short_and_plain(models: Path, tmp_path: Path) -> None:
    assert lora_names.names(models) == ["fog", "harbour", "y" * 64]
    assert lora_names.names(tmp_path / "none") == []


def test_a_list_of_users_closes_a_name_to_all_others(models: Path) -> None:
    (models / "loras" / "users.toml").write_text('harbour = ["ana"]\n"gone" = ["ana"]\n')
    assert "harbour" in lora_names.names_for(models, "ana")
    assert lora_names.names_for(models, "ben") == lora_names.open_names(models)
    assert lora_names.open_names(models) == ["fog", "y" * 64]


def test_without_lists_all_names_are_open(models: Path) -> None:
    assert lora_names.names_for(models, "ben") == lora_names.names(models)


@pytest.mark.parametrize(
    "data", [b"\xff", b"harbour = 3", b"harbour = [3]", b"#" * (2**20 + 1), b"a=" + b"[" * 10**5]
)
def test_lists_that_cannot_be_read_close_every_name(models: Path, data: bytes) -> None:
    (models / "loras" / "users.toml").write_bytes(data)
    with pytest.raises(BadLora, match=r"loras/users\.toml cannot be read"):
        lora_names.names_for(models, "ana")


def test_loras_of_ltx_have_lists_of_their_own(models: Path) -> None:
    assert lora_names.LTX_FOLDER == weights.LORAS
    folder = models / lora_names.LTX_FOLDER
    folder.mkdir()
    (folder / "hero.safetensors").touch()
    (folder / "users.toml").write_text('hero = ["ana"]')
    assert lora_names.names_for(models, "ana", lora_names.LTX_FOLDER) == ["hero"]
    assert lora_names.names_for(models, "ben", lora_names.LTX_FOLDER) == []
    (folder / "users.toml").write_text("hero = 3")
    with pytest.raises(BadLora, match=r"LTX-2-loras/users\.toml cannot be read"):
        lora_names.names_for(models, "ana", lora_names.LTX_FOLDER)
