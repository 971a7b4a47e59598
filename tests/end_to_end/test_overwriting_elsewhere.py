"""The commands besides `run` and `fetch` write over no file of the artist, under its name or as a temporary one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from voidbridge_shots import Shot, make_shot, square
from voidbridge_stage import Finished, called, voidbridge

from voidbridge_backend.quality.png_mark import marked

SOURCE, EXISTS = "request.overwrites-source", "request.output-exists"
MINE = b"of the artist"
SHOW = """\
show = "harbour"
rights = "ours"
consent = "no persons"
variations = 1
[[plate]]
clip = "in/plate.####.exr"
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def shot(tmp_path: Path, request: pytest.FixtureRequest) -> Shot:
    return make_shot(tmp_path / "in", range(1001, 1003), seed=700 + len(request.node.name))


def refused(
    folder: Path, code: str, *words: object, how: Callable[..., Finished] = called
) -> Finished:
    """Refused before work, and every file is as it was."""
    before = contents(folder)
    done = how(*words, "--json")
    assert contents(folder) == before
    assert done.code == 2, (done.out, done.err)
    if done.out:
        assert done.event("error")["code"] == code
    return done


def put(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(MINE)


# -- mask -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["mask.1001-1002.voidbridge.json", "quadmask.1001.png.tmp"],
)
def test_a_tracked_mask_keeps_a_foreign_file(shot: Shot, tmp_path: Path, name: str) -> None:
    put(tmp_path / "out", name)
    refused(
        tmp_path, EXISTS, "mask", shot.plate, "--box", "1001:20,11,30,23",
        "-o", tmp_path / "out", "--png",
    )  # fmt: skip


def test_a_tracked_mask_keeps_a_plate_of_png_files(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for frame in (1001, 1002):
        picture = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"quadmask.{frame}.png"), picture)
    refused(
        tmp_path, SOURCE, "mask", tmp_path / "quadmask.####.png", "--box", "1001:20,11,30,23",
        "--color-space", "ACEScg", "-o", tmp_path, "--png", "--overwrite",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("quadmask.1001.exr.tmp", MINE),
        ("quadmask.1001-1002.voidbridge.json.tmp", MINE),
        ("quadmask.1001-1002.voidbridge.json.tmp", b'{"notes": "of the artist"}'),
        ("quadmask.1001-1002.voidbridge.json.tmp", b'{\n "notes": "of the artist"\n}'),
    ],
)
def test_combined_mattes_keep_a_foreign_file(
    shot: Shot, tmp_path: Path, name: str, content: bytes
) -> None:
    put(tmp_path / "out", name)
    (tmp_path / "out" / name).write_bytes(content)
    refused(
        tmp_path, EXISTS, "mask", shot.plate, "--combine", f"primary={shot.matte}",
        "-o", tmp_path / "out", "--png",
    )  # fmt: skip


@pytest.mark.parametrize("begun", [b"", b"{", b'{\n "generator": "voidbridge",\n "vers'])
def test_a_half_record_of_a_stopped_command_is_replaced(
    shot: Shot, tmp_path: Path, begun: bytes
) -> None:
    half = tmp_path / "out/quadmask.1001-1002.voidbridge.json.tmp"
    half.parent.mkdir()
    half.write_bytes(begun)
    done = called(
        "mask", shot.plate, "--combine", f"primary={shot.matte}", "-o", tmp_path / "out", "--json"
    )
    assert done.code == 0, done.err
    assert not half.exists()
    record = half.with_suffix("").read_bytes()
    assert record.startswith(b'{\n "generator": "voidbridge"')


@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_combined_mattes_keep_the_png_files_that_they_are_made_of(
    shot: Shot, tmp_path: Path, words: list[str]
) -> None:
    """Without --overwrite: pictures that this tool made are a source nevertheless."""
    (tmp_path / "out").mkdir()
    for frame in shot.frames:
        _, data = cv2.imencode(".png", (square() * 200).astype(np.uint8))
        (tmp_path / f"out/quadmask.{frame}.png").write_bytes(marked(data.tobytes()))
    matte = f"primary={tmp_path}/out/quadmask.####.png"
    refused(
        tmp_path, SOURCE, "mask", shot.plate, "--combine", matte, "-o", tmp_path / "out",
        "--png", *words,
    )  # fmt: skip


# -- mask-ask -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["request.json", "picture.01.jpg"])
def test_a_question_keeps_a_foreign_file(shot: Shot, tmp_path: Path, name: str) -> None:
    put(tmp_path / "out", name)
    refused(tmp_path, EXISTS, "mask-ask", shot.plate, shot.matte, "-o", tmp_path / "out")


def test_a_question_may_be_repeated_until_somebody_changes_a_file(
    shot: Shot, tmp_path: Path
) -> None:
    words = ("mask-ask", shot.plate, shot.matte, "-o", tmp_path / "out")
    for _ in range(2):
        assert called(*words, "--json").code == 0
    (tmp_path / "out/picture.00.jpg").write_bytes(MINE)
    refused(tmp_path, EXISTS, *words)
    assert called(*words, "--overwrite", "--json").code == 0


def test_an_answer_keeps_a_foreign_file_and_nothing_is_sent(shot: Shot, tmp_path: Path) -> None:
    put(tmp_path / "out", "prompts.json")
    refused(
        tmp_path, EXISTS, "mask-ask", shot.plate, shot.matte, "-o", tmp_path / "out", "--send",
        "--endpoint", "http://127.0.0.1:9/v1", "--model", "any",
    )  # fmt: skip


def test_an_answer_keeps_the_matte_that_the_question_is_about(tmp_path: Path) -> None:
    """Mattes of this tool may be called `affected` too."""
    shot = make_shot(tmp_path, range(1001, 1003), seed=31)
    for frame in shot.frames:
        shot.file("matte", frame).rename(shot.file("affected", frame))
    refused(
        tmp_path, SOURCE, "mask-ask", shot.plate, shot.affected, "-o", tmp_path, "--send",
        "--endpoint", "http://127.0.0.1:9/v1", "--model", "any", "--overwrite",
    )  # fmt: skip


# -- farm -----------------------------------------------------------------------------------------


def test_no_task_of_a_bundle_replaces_the_plate_of_another(shot: Shot, tmp_path: Path) -> None:
    make_shot(tmp_path / "two", shot.frames, seed=32)
    (tmp_path / "shots.csv").write_text(
        "plate,matte,result\n"
        "in/plate.####.exr,in/matte.####.exr,two/plate.####.exr\n"
        "two/plate.####.exr,two/matte.####.exr,out/r.####.exr\n"
    )
    done = refused(
        tmp_path, SOURCE, "farm", "--shots", tmp_path / "shots.csv", "--bundle", tmp_path / "b",
        "--overwrite",
    )  # fmt: skip
    assert "two/plate.1001.exr is a source" in done.out + done.err


@pytest.mark.parametrize("result", ["out/r.####.exr", "link/r.%04d.exr"])
def test_no_two_tasks_of_a_bundle_write_the_same_file(
    shot: Shot, tmp_path: Path, result: str
) -> None:
    make_shot(tmp_path / "two", shot.frames, seed=33)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "shots.csv").write_text(
        "plate,matte,result\n"
        "in/plate.####.exr,in/matte.####.exr,out/r.####.exr\n"
        f"two/plate.####.exr,two/matte.####.exr,{result}\n"
    )
    done = refused(
        tmp_path, EXISTS, "farm", "--shots", tmp_path / "shots.csv", "--bundle", tmp_path / "b",
        "--overwrite",
    )  # fmt: skip
    assert "more than one shot" in done.event("error")["text"]


@pytest.mark.parametrize("name", ["template.json", "template.json.tmp"])
def test_a_bundle_keeps_its_table(shot: Shot, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        f"plate,matte,result\n{shot.plate},{shot.matte},{tmp_path}/out/r.####.exr\n"
    )
    refused(
        tmp_path, SOURCE, "farm", "--shots", tmp_path / name, "--bundle", tmp_path, "--overwrite"
    )


# -- dataset and train ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dataset.json", "dataset.png", "pair-0001.safetensors"])
def test_a_dataset_keeps_a_foreign_file(shot: Shot, tmp_path: Path, name: str) -> None:
    (tmp_path / "show.toml").write_text(SHOW)
    put(tmp_path / "out", name)
    words = ("dataset", tmp_path / "show.toml", "-o", tmp_path / "out")
    refused(tmp_path, EXISTS, *words, how=voidbridge)


def tensors(**record: object) -> bytes:
    """A safetensors file without tensors, with a record of this tool."""
    header = json.dumps({"__metadata__": {"voidbridge": json.dumps(record)}}).encode()
    return len(header).to_bytes(8, "little") + header


def make_pairs(folder: Path) -> None:
    (folder / "pairs").mkdir()
    (folder / "pairs/pair-0001.safetensors").write_bytes(tensors())
    one: dict[str, Any] = {"file": "pair-0001.safetensors", "held": False, "sha256": ""}
    one |= {"name": "a", "kind": "pasted", "frames": 1}
    listed = {"version": 1, "show": "harbour", "pairs": [one]}
    (folder / "pairs/dataset.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    "name", ["pairs/pair-0001.safetensors", "in/plate.1001.safetensors"], ids=["pair", "plot"]
)
def test_a_training_keeps_its_pairs_and_the_clips_of_the_show(tmp_path: Path, name: str) -> None:
    """The plot of `in/plate.1001.safetensors` would be `in/plate.1001.png`, a frame of the show."""
    (tmp_path / "show.toml").write_text(SHOW.replace(".exr", ".png"))
    put(tmp_path / "in", "plate.1001.png")
    make_pairs(tmp_path)
    refused(
        tmp_path, SOURCE, "train", tmp_path / "show.toml", "-o", tmp_path / name,
        "--dataset", tmp_path / "pairs", "--overwrite",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.safetensors", tensors(show="harbour", steps=2000)),
        ("l.png", marked(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())),
        ("l.voidbridge.json", b'{"generator": "voidbridge", "sources": {"pair/1": "0"}}'),
        ("l.voidbridge.json.tmp", b'{"notes": "of the artist"}'),
        ("l.safetensors.tmp", MINE),
    ],
)
def test_a_training_keeps_what_another_training_made(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """A LoRA takes hours, so it is no file that any other training may replace unasked."""
    (tmp_path / "show.toml").write_text(SHOW)
    make_pairs(tmp_path)
    (tmp_path / name).write_bytes(content)
    done = refused(
        tmp_path, EXISTS, "train", tmp_path / "show.toml", "-o", tmp_path / "l.safetensors",
        "--dataset", tmp_path / "pairs",
    )  # fmt: skip
    assert name in done.event("error")["text"]


# -- other files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status.json.tmp", '{"of the artist": 1}'),
        ("status.json", '{"phase": "dailies", "alive": 1}'),
    ],
)
def test_a_status_file_replaces_no_other_json(
    shot: Shot, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    refused(
        tmp_path, EXISTS, "run", shot.plate, shot.matte, "-o", tmp_path / "out/r.####.exr",
        "--engine", "echo", "--status-file", tmp_path / "status.json",
    )  # fmt: skip


def test_a_report_keeps_a_foreign_temporary_file(shot: Shot, tmp_path: Path) -> None:
    put(tmp_path, "sheet.png.tmp")
    refused(
        tmp_path, EXISTS, "report", shot.plate, shot.plate, shot.matte,
        "-o", tmp_path / "sheet.png",
    )  # fmt: skip


def test_a_self_test_keeps_a_foreign_temporary_file(tmp_path: Path) -> None:
    put(tmp_path, "test.py.tmp")
    done = voidbridge("selftest", "nuke", "--to", tmp_path / "test.py")
    assert done.code == 2
    assert contents(tmp_path) == {"test.py.tmp": MINE}
