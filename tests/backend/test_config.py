"""Where settings come from and what they may be."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from voidbridge_backend.cluster.card import _without_ray
from voidbridge_backend.config import (
    Config,
    allocator_settings,
    devices,
    only_card,
    resolve,
    visible_cards,
)
from voidbridge_backend.daemon.workers.launch import place_of
from voidbridge_protocol.errors import BadSetting


def test_with_nothing_said_everything_is_the_default() -> None:
    config, settings = resolve({}, {}, {})
    assert [setting.name for setting in settings] == [field.name for field in fields(Config)]
    assert {setting.origin for setting in settings} == {"default"}
    assert config.listen == Config().listen
    assert config.max_frames == Config().max_frames


def test_the_last_word_wins_and_is_named() -> None:
    file = {"listen": "tcp://a:1", "ocio": "file.ocio", "window_mb": 4}
    environ = {"VOIDBRIDGE_LISTEN": "tcp://b:2", "VOIDBRIDGE_WINDOW_MB": "8", "HOME": "/root"}
    config, settings = resolve(file, environ, {"listen": "tcp://c:3"})
    assert (config.listen, config.ocio, config.window_mb) == ("tcp://c:3", "file.ocio", 8)
    origins = {setting.name: setting.origin for setting in settings}
    assert origins["listen"] == "command line"
    assert origins["window_mb"] == "environment"
    assert origins["ocio"] == "file"
    assert origins["spool"] == "default"


def test_settings_and_config_hold_the_same_values() -> None:
    config, settings = resolve({"spool": "/big", "devices": ["cpu"]}, {}, {})
    assert Config(**{setting.name: setting.value for setting in settings}) == config  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("devices", "cuda:0, cuda:1", ("cuda:0", "cuda:1")),
        ("devices", ["cpu"], ("cpu",)),
        ("spool", "/mnt/fast", Path("/mnt/fast")),
        ("max_frames", "24", 24),
        ("max_file_mb", 512, 512),
        ("ocio", "ocio://default", "ocio://default"),
    ],
)
def test_a_value_becomes_what_the_setting_is(name: str, given: object, value: object) -> None:
    config, _ = resolve({name: given}, {}, {})
    assert getattr(config, name) == value


def test_a_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config, _ = resolve({"models": "~/weights"}, {}, {})
    assert config.models == tmp_path / "weights"
    assert config.spool.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("file", "environ", "flags", "said"),
    [
        ({"spol": "/x"}, {}, {}, "'spol' .from the file."),
        ({}, {"VOIDBRIDGE_SPOL": "/x"}, {}, "'spol' .from the environment."),
        ({}, {}, {"window_mb": "many"}, "window_mb cannot be 'many'"),
        ({"devices": 7}, {}, {}, "devices cannot be 7"),
        ({}, {"VOIDBRIDGE_DEVICES": "cpu,gpu9"}, {}, "'gpu9' is not a device; use auto, or cpu"),
        ({"devices": ["auto", "cpu"]}, {}, {}, "auto stands alone"),
        ({"devicess": "cpu"}, {}, {}, "did you mean devices"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    file: dict[str, object], environ: dict[str, str], flags: dict[str, object], said: str
) -> None:
    with pytest.raises(BadSetting, match=said):
        resolve(file, environ, flags)


@pytest.mark.parametrize(
    ("said", "cards", "found"),
    [
        (("auto",), 0, ("cpu",)),
        (("auto",), 2, ("cuda:0", "cuda:1")),
        (("cpu",), 2, ("cpu",)),
        (("cuda:1",), 0, ("cuda:1",)),
    ],
)
def test_auto_is_every_card_or_else_the_cpu(
    said: tuple[str, ...], cards: int, found: tuple[str, ...]
) -> None:
    assert devices(Config(devices=said), cards) == found


@pytest.mark.parametrize(
    ("listed", "count"),
    [
        ("", 0),
        ("-1", 0),
        ("1", 1),
        ("0,2", 2),
        ("3,1,9,0", 2),
        ("0,-1,1", 1),
        ("GPU-8a1f,GPU-77", 2),
        ("MIG-1b", 1),
        (" 1 , 0 ", 2),
        ("none", 0),
    ],
)
def test_cards_that_the_process_may_not_see_are_not_counted(listed: str, count: int) -> None:
    """The list ends at the first entry that is no card, as CUDA reads it."""
    assert len(visible_cards(listed, count=4)) == count


@pytest.mark.parametrize(
    ("device", "visible", "name", "seen"),
    [
        ("cuda:1", None, "cuda:0", "1"),
        ("cuda:1", "2,5", "cuda:0", "5"),
        ("cuda:0", "GPU-1,GPU-2", "cuda:0", "GPU-1"),
        ("cuda:4", "2,5", "cuda:4", None),
        ("cuda", None, "cuda", None),
        ("cpu", "2,5", "cpu", None),
        ("cpu:1", None, "cpu", None),
    ],
)
def test_a_process_of_one_card_sees_no_other(
    device: str, visible: str | None, name: str, seen: str | None
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found, changed = only_card(device, environ)
    assert found == name
    assert changed.get("CUDA_VISIBLE_DEVICES") == seen


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, {}),
        ({"PYTORCH_CUDA_ALLOC_CONF": ""}, {}),
    ],
)
def test_blocks_of_device_memory_grow_unless_the_administrator_says_otherwise(
    environ: dict[str, str], expected: dict[str, str]
) -> None:
    assert allocator_settings(environ) == expected


@pytest.mark.parametrize("device", ["cpu", "ray:node/cuda:0"])
def test_a_worker_inherits_no_key_of_a_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str
) -> None:
    for name in ("ASK_KEY", "ASK_URL", "C2PA_KEY", "C2PA_CERTIFICATES", "KEYS"):
        monkeypatch.setenv(f"VOIDBRIDGE_{name}", "of a client")
    monkeypatch.setenv("OCIO", "studio.ocio")
    environment = place_of(device).launch(device, {"spool": str(tmp_path)}).environment
    assert [name for name in environment if name.startswith("VOIDBRIDGE_")] == []
    assert environment["OCIO"] == "studio.ocio"
    assert [name for name in _without_ray(os.environ) if name.startswith("VOIDBRIDGE_")] == []
