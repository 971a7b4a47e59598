"""The forms of new jobs have what the commands have, and no value in them escapes the named folders."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from voidbridge_backend import cli
from voidbridge_backend.cli.parsers.page_forms import page_options
from voidbridge_backend.web.folders import Folders
from voidbridge_backend.web.forms import COMMANDS, OFFERED, ONE_FILE, TEXT_SETTINGS, JobForms
from voidbridge_protocol.errors import BadSetting, PathNotAllowed
from voidbridge_protocol.operations import operation
from voidbridge_protocol.operations.generate import GenerateSettings
from voidbridge_protocol.settings import described

FORMS = JobForms(page_options())
OF_THE_PAGE = {
    *("daemon", "server-key", "keys", "user", "json", "config", "models", "spool", "devices"),
    *("ocio", "window-mb"),
}
"""Options that every command gets from the page itself, or that only a temporary daemon has."""
OF_PROGRAMS = {
    *("status-file", "frames-from-stdin", "openjd", "shots", "takes", "survey"),
    *("one-file", "again-from", "earlier"),
}
"""Options for hosts, farms and lists of shots."""


def words(folder: Path, name: str, **fields: Any) -> list[str]:
    files = {"plate": f"{folder}/plate.%04d.exr", "output": f"{folder}/out/"}
    return FORMS.words({"operation": name, **files, **fields}, Folders([folder]))[0]


def parsed(folder: Path, name: str, **fields: Any) -> argparse.Namespace:
    return cli.parser().parse_args(words(folder, name, **fields))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_form_has_every_option_of_its_command(name: str) -> None:
    form = FORMS.described()[name]
    shown = {field["name"] for field in form["fields"]}
    shown |= {s["name"].replace("_", "-") for group in form["groups"].values() for s in group}
    every = {info.name for info in page_options()[COMMANDS[name]]}
    left_out = OF_THE_PAGE | OF_PROGRAMS | {option for one, option in ONE_FILE if one == name}
    assert every - shown == every & left_out
    settings = {field.name for field, info in described(operation(name).settings) if info.is_option}
    assert settings == {s["name"] for group in form["groups"].values() for s in group}
    assert all(field["help"] for field in form["fields"])


def test_a_form_for_new_frames_becomes_its_command(tmp_path: Path) -> None:
    made = parsed(
        tmp_path,
        "generate",
        mode="bridge",
        tail=f"{tmp_path}/tail.%04d.exr",
        length="12",
        priority="3",
        settings={"grain": "off", "seed": "7"},
    )
    assert (made.mode, made.plate) == ("bridge", f"{tmp_path}/plate.%04d.exr")
    assert (made.tail, made.length, made.priority) == (f"{tmp_path}/tail.%04d.exr", 12, 3)
    assert (made.grain, made.seed, made.before) == ("off", 7, False)
    assert parsed(tmp_path, "generate", mode="extend", length="2", before=True).before


def test_a_form_for_mattes_becomes_its_command(tmp_path: Path) -> None:
    made = parsed(
        tmp_path,
        "mask",
        point="1:3,4:ball\n2:5,6:ball\n",
        key=f"3={tmp_path}/roto.exr:ball",
        role="ball=primary",
        noun="the dog:dog",
        find="shadow",
        origin="bottom-left",
        png=True,
        settings={"engine": "sam2"},
    )
    assert made.point == ["1:3,4:ball", "2:5,6:ball"]
    assert made.noun == ["the dog:dog"]
    assert (made.key, made.role) == ([f"3={tmp_path}/roto.exr:ball"], ["ball=primary"])
    assert (made.find, made.origin, made.png, made.engine) == (
        "shadow",
        "bottom-left",
        True,
        "sam2",
    )
    assert "--origin=top-left" not in words(tmp_path, "mask", origin="top-left")


def test_a_form_for_a_key_becomes_its_command(tmp_path: Path) -> None:
    screen = f"{tmp_path}/screen.exr"
    made = parsed(tmp_path, "key", **{"clean-screen": screen, "settings": {"despill": "0.5"}})
    assert (made.hint, made.clean_screen, made.despill) == (None, screen, 0.5)


def test_the_quadmasks_of_a_form_are_named_as_the_command_writes_them(tmp_path: Path) -> None:
    for plate, quadmask in (("p.%04d.exr", "%04d"), ("p.######.exr", "%06d"), ("p.%d.exr", "%d")):
        fields = {"plate": f"{tmp_path}/{plate}", "output": f"{tmp_path}/m", "operation": "mask"}
        _, files = FORMS.words(fields, Folders([tmp_path]))
        assert files["matte"] == f"{tmp_path}/m/quadmask.{quadmask}.exr"


PATHS = {
    "plate": "{}", "matte": "{}", "hint": "{}", "tail": "{}", "affected": "{}", "output": "{}/",
    "clean-screen": "{}", "clean": "7={}", "key": "7={}:ball", "prompts": "{}", "combine": "primary={}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "field"),
    [(n, f["name"]) for n, form in FORMS.described().items() for f in form["fields"] if f["name"] in PATHS],
)  # fmt: skip
def test_a_path_outside_of_the_folders_is_refused_in_every_field(
    tmp_path: Path, name: str, field: str
) -> None:
    show = tmp_path / "show"
    show.mkdir()
    (show / "link.exr").symlink_to("/etc/hostname")
    for path in ("/etc/hostname", f"{show}/../x.exr", f"{show}/link.exr", "relative.exr"):
        value = PATHS[field].format(path)
        with pytest.raises(PathNotAllowed):
            words(show, name, mode="extend", **{field: value})


@pytest.mark.parametrize(
    ("name", "field"), [("remove", "plate"), ("remove", "matte"), ("remove", "clean"), ("mask", "combine")]
)  # fmt: skip
def test_a_frame_that_is_a_link_out_of_the_folders_is_refused(
    tmp_path: Path, name: str, field: str
) -> None:
    show = tmp_path / "show"
    show.mkdir()
    (show / "shot.1001.exr").write_bytes(b"x")
    (show / "shot.1002.exr").symlink_to("shot.1001.exr")
    value = PATHS[field].format(f"{show}/shot.%04d.exr").removeprefix("7=")
    assert words(show, name, **{field: value})
    (show / "shot.1003.exr").symlink_to(tmp_path / "secret.exr")
    (tmp_path / "secret.exr").write_bytes(b"x")
    with pytest.raises(PathNotAllowed, match="lies below none"):
        words(show, name, **{field: value})


def test_the_paths_of_every_other_field_are_none() -> None:
    assert [n for n, paths in OFFERED.items() if paths("7=/etc/x") and n not in PATHS] == []


def texts(name: str) -> set[tuple[str, str]]:
    """Settings of an operation that take any text."""
    kind = operation(name).settings
    types = get_type_hints(kind)
    return {
        (name, field.name)
        for field, info in described(kind)
        if info.is_option and not info.choices and types[field.name] is str
    }


def test_the_paths_of_every_setting_are_known(tmp_path: Path) -> None:
    assert set.union(*map(texts, COMMANDS)) == {*TEXT_SETTINGS}
    with_paths = {setting for setting, paths in TEXT_SETTINGS.items() if paths("/etc/x")}
    assert with_paths == {("remove", "lora")}
    with pytest.raises(BadSetting):
        GenerateSettings(mode="text", engine="ltx", lora="/etc/x")


@pytest.mark.parametrize(
    "lora",
    [
        "/outside/s.safetensors:1", "../s.safetensors", "~/s.safetensors", "~root", "..", "s.safetensors=0.5",
        "hero:1,/outside/s.safetensors", "{}/link.safetensors", "{}/../s.safetensors:0.5", "a/b",
    ],
)  # fmt: skip
def test_a_lora_outside_of_the_folders_is_refused(tmp_path: Path, lora: str) -> None:
    show = tmp_path / "show"
    show.mkdir()
    (show / "link.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(PathNotAllowed):
        words(show, "remove", settings={"engine": "void", "lora": lora.format(show)})


def test_a_lora_by_name_and_one_inside_of_the_folders_are_taken(tmp_path: Path) -> None:
    lora = f"hero:0.5,{tmp_path}/s.safetensors:1,@1"
    assert parsed(tmp_path, "remove", settings={"lora": lora}).lora == lora
    assert parsed(tmp_path, "generate", mode="text", settings={"lora": "h.v2"}).lora == "h.v2"


def test_a_file_of_prompts_names_no_matte_outside_of_the_folders(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    for matte in ("/etc/hostname", "../../etc/hostname"):
        file.write_text(json.dumps({"objects": [{"name": "ball", "keys": {"7": matte}}]}))
        with pytest.raises(PathNotAllowed):
            words(tmp_path, "mask", prompts=str(file))
    file.write_text('{"objects": ' + "[" * 100_000)
    with pytest.raises(BadSetting, match="not a file of prompts"):
        words(tmp_path, "mask", prompts=str(file))
    file.write_text(json.dumps({"objects": [{"name": "ball", "keys": {"7": "roto.exr"}}]}))
    assert f"--prompts={file}" in words(tmp_path, "mask", prompts=str(file))


@pytest.mark.parametrize("mode", ["", "@/etc/hostname", "--shots=/etc/x", "serve"])
def test_a_word_that_is_no_mode_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(BadSetting, match="mode"):
        words(tmp_path, "generate", mode=mode)
