"""`voidbridge generate` through a real daemon: its modes, their files, and words that do not fit."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import voidbridge_stage as stage

from voidbridge_backend.cli.argument_parser import Parser
from voidbridge_backend.cli.commands.jobs import new_frames_notes
from voidbridge_backend.cli.parsers.operations import add_generate
from voidbridge_backend.client.submission import result_sequence
from voidbridge_backend.exr.header import read_header
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.exr.part import TimeCode
from voidbridge_backend.exr.reader import read
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.errors import BadPattern, VoidbridgeError

SHOT = DemoShot(height=72, width=128, length=30)


@pytest.fixture(scope="module")
def drawn() -> dict[int, bytes]:
    """Frames of the demo shot as files, with an alpha, a frame rate and a time code."""
    found = {}
    for frame in range(1001, 1013):
        plate = SHOT.render(frame).plate.astype(np.float16)
        channels = {c: plate[..., i] for i, c in enumerate("RGB")}
        alpha = np.full(plate.shape[:2], frame - 1000, np.float16)
        rate = {"framesPerSecond": Fraction(24)}
        code = TimeCode(10, 0, 0, frame - 1001, False)
        found[frame] = new_file({**channels, "A": alpha}, rate, code)
    return found


@pytest.fixture
def clips(tmp_path: Path, drawn: dict[int, bytes]) -> Path:
    """`a` has 1001-1005, `b` the frames 1009-1012 under the numbers 1-4."""
    folder = tmp_path / "in"
    folder.mkdir()
    for frame in range(1001, 1006):
        (folder / f"a.{frame}.exr").write_bytes(drawn[frame])
    for frame in range(1009, 1013):
        (folder / f"b.{frame - 1008:04d}.exr").write_bytes(drawn[frame])
    return folder


def generate(daemon: stage.Daemon, *words: object) -> stage.Done:
    return stage.called("generate", *words, "--daemon", daemon.address, "--user", "ana", "--json")


def test_a_bridge_joins_two_clips_and_numbers_on_from_the_first(
    clips: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in clips.iterdir()}
    done = generate(
        daemon, "bridge", clips / "a.####.exr", clips / "b.####.exr", "--length", 3, "-o", f"{out}/"
    )
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.glob("*.exr")) == [
        f"a.{n}.exr" for n in range(1006, 1009)
    ]
    errors, dissolves = [], []
    first, last = (
        read(clips / name).rgb().astype(np.float32) for name in ("a.1005.exr", "b.0001.exr")
    )
    for frame in range(1006, 1009):
        truth = SHOT.render(frame).plate
        share = (frame - 1005) / 4
        errors.append(np.square(read(out / f"a.{frame}.exr").rgb() - truth).mean())
        dissolves.append(np.square(first * (1 - share) + last * share - truth).mean())
    assert np.mean(errors) < np.mean(dissolves) / 2
    assert {path: path.read_bytes() for path in clips.iterdir()} == before


def test_a_new_frame_has_the_nearest_frames_channels_and_its_own_time_code(
    clips: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    done = generate(
        daemon, "extend", clips / "a.####.exr", "--length", 2, "-o", tmp_path / "out/n.%04d.exr"
    )
    assert done.code == 0, done.err
    path = tmp_path / "out/n.1007.exr"
    part = read_header(path).parts[0]
    assert part.time_code == TimeCode(10, 0, 0, 6, False)
    assert [channel.name for channel in part.channels] == ["A", "B", "G", "R"]
    made = read(path)
    assert made.channels["R"].dtype == np.float16
    assert (made.channels["A"] == 5).all()
    assert "these channels repeat the nearest frame: A" in done.out
    record = json.loads((tmp_path / "out/n.1006-1007.voidbridge.json").read_text())
    assert record["generated"] == {"frames": "1006-1007", "from": "1001-1005"}
    assert record["engine"]["engine"] == "morph"
    (action,) = record["credentials"]["assertions"][0]["data"]["actions"]
    assert action["digitalSourceType"].endswith("/algorithmicMedia")
    assert record["credentials"]["signature"] is None
    assert not list(path.parent.glob("*.c2pa"))


def test_a_key_signs_what_a_whole_job_made_and_from_what(
    clips: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    c2pa = pytest.importorskip("c2pa", reason="the extra `credentials` is not installed")
    pytest.importorskip("cryptography", reason="the extra `credentials` is not installed")
    import studio_key

    words = ("generate", "extend", clips / "a.####.exr", "--length", 2, "--daemon", daemon.address)
    keys = studio_key.key_files(tmp_path)
    done = stage.called(*words, "-o", tmp_path / "out/n.%04d.exr", extra=keys)
    assert done.code == 0, done.err
    seen = {hashlib.sha256(path.read_bytes()).hexdigest() for path in clips.glob("a.*.exr")}
    for frame in (1006, 1007):
        path = tmp_path / f"out/n.{frame}.exr"
        signed, data = path.with_suffix(".c2pa").read_bytes(), io.BytesIO(path.read_bytes())
        reader = c2pa.Reader("image/x-exr", data, manifest_data=signed)
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
        assert manifest["title"] == path.name
        assert manifest["claim_generator_info"][0]["name"] == "Voidbridge"
        said = {one["label"]: one["data"] for one in manifest["assertions"]}
        (action,) = said["c2pa.actions.v2"]["actions"]
        assert action["action"] == "c2pa.created"
        assert action["digitalSourceType"].endswith("/algorithmicMedia")
        assert action["softwareAgent"]["name"] == "Voidbridge morph"
        sources = said["io.voidbridge.sources"]["ingredients"]
        assert {source["sha256"] for source in sources} == seen
    record = json.loads((tmp_path / "out/n.1006-1007.voidbridge.json").read_text())
    assert record["credentials"]["signature"] == {"algorithm": "es256", "files": "*.c2pa"}


def test_a_retake_sees_none_of_the_frames_that_it_makes_again(
    clips: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    words = ("--frames", "1003-1003", "-o")
    one = generate(daemon, "retake", clips / "a.####.exr", *words, tmp_path / "one.%04d.exr")
    (clips / "a.1003.exr").unlink()
    two = generate(daemon, "retake", clips / "a.####.exr", *words, tmp_path / "two.%04d.exr")
    assert (one.code, two.code) == (0, 0), one.err + two.err
    first, second = (read(tmp_path / f"{name}.1003.exr").rgb() for name in ("one", "two"))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bridge", "a.####.exr", "--length", "3"), "bridge needs TAIL"),
        (("bridge", "a.####.exr", "b.####.exr"), "bridge needs --length N"),
        (("extend", "a.####.exr", "--length", "0"), "--length is 0; at least one frame"),
        (
            ("extend", "a.####.exr", "--length", "99999999999"),
            "99999999999 new frames are asked for; one job makes up to 1000",
        ),
        (
            ("hdr", "a.####.exr", "--engine", "ltx", "--frames", "1004-1007"),
            "the plate lacks 1006-1007; it has 1001-1005",
        ),
        (("extend", "a.####.exr", "b.####.exr", "--length", "2"), "extend does not take TAIL"),
        (
            ("retake", "a.####.exr", "--frames", "1003-1009"),
            "no frame within 8 is behind 1003-1009",
        ),
        (("retake", "a.####.exr", "--frames", "1003-1003", "--before"), "not take --before"),
    ],
)
def test_words_that_do_not_fit_the_mode_are_refused_before_anything_is_sent(
    words: tuple[str, ...], said: str, clips: Path, tmp_path: Path
) -> None:
    paths = [clips / word if word.endswith(".exr") else word for word in words]
    done = stage.called("generate", *paths, "-o", tmp_path / "x.%04d.exr")
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "generate needs MODE, PLATE and -o RESULT; or --shots LIST, -o FOLDER"),
        ("bridge", "bridge needs PLATE, TAIL, --length N and -o RESULT"),
        ("text --engine ltx", "text needs a prompt"),
        ("text --engine ltx --prompt x", "text needs PLATE, --length N and -o RESULT"),
        ("text", "the mode text needs a model"),
        ("hdr --engine ltx", "hdr needs PLATE and -o RESULT"),
        ("retake a.####.exr --frames 3-4", "retake needs -o RESULT"),
        ("--shots cut.otio", "--shots needs -o FOLDER"),
        ("--shots cut.edl -o x", "cut.edl is not a list of shots; its name has to end in"),
        ("--shots none.toml -o x", "none.toml cannot be read: No such file or directory"),
        ("--shots cut.otio -o x --length 3", "--shots does not take --length"),
        ("--shots cut.otio -o x --plate-start 3", "--shots does not take --plate-start"),
    ],
)
def test_all_that_is_missing_is_named_at_once(words: str, said: str) -> None:
    parser = Parser()
    add_generate(parser)
    parsed = parser.parse_args(words.split())
    with pytest.raises(VoidbridgeError) as error:
        parsed.run(parsed)
    assert error.value.text.startswith(said)


def test_a_retake_over_its_own_plate_is_refused(clips: Path, daemon: stage.Daemon) -> None:
    before = (clips / "a.1003.exr").read_bytes()
    done = generate(
        daemon, "retake", clips / "a.####.exr", "--frames", "1003-1003", "-o", clips / "a.####.exr"
    )
    assert done.code == 2
    assert (clips / "a.1003.exr").read_bytes() == before


def test_new_frames_may_lie_beside_the_plate_and_replace_none_of_it(
    clips: Path, daemon: stage.Daemon
) -> None:
    before = {path.name: path.read_bytes() for path in clips.iterdir()}
    pattern = clips / "a.####.exr"
    done = generate(daemon, "extend", pattern, "--length", 1, "-o", f"{clips}/")
    assert done.code == 0, done.err
    assert any("so they count as the plate's" in event.get("text", "") for event in done.events)
    made = {path.name: path.read_bytes() for path in clips.glob("*.exr")}
    assert set(made) - set(before) == {"a.1006.exr"}
    assert {name: made[name] for name in before} == before
    # Files 1-4 as 3-6: the new frames 1-2 would have the names of the plate's own.
    words = ("extend", clips / "b.####.exr", "--plate-start", 3, "--before", "--length", 2)
    done = generate(daemon, *words, "-o", f"{clips}/")
    assert done.code == 2
    assert "would overwrite what it is made from, frames 1-2" in done.err
    assert {path.name: path.read_bytes() for path in clips.glob("*.exr")} == made


def test_new_frames_below_zero_are_said_to_be_hard_to_read() -> None:
    plate, result = Sequence.parse("b.%04d.exr"), Sequence.parse("new.%04d.exr")
    with_files = replace(plate, clip=4, offset=1)
    (text,) = new_frames_notes(with_files, result, FrameRange(-2, 0))
    assert text.startswith("2 of 3 new frames have a number below 0, as new.-002.exr")
    assert text.endswith("counts from 1001 and the new frames from 998")
    below = replace(plate, clip=4, offset=-9)
    assert not [*new_frames_notes(below, result, FrameRange(-12, -10))]


def test_a_tail_of_another_format_is_refused_before_it_is_sent(clips: Path) -> None:
    small = new_file({c: np.zeros((60, 128), np.float16) for c in "RGB"})
    for frame in (1, 2):
        (clips / f"c.{frame}.exr").write_bytes(small)
    words = ("bridge", clips / "a.####.exr", clips / "c.#.exr", "--length", 2)
    done = stage.called("generate", *words, "-o", clips / "x.####.exr")
    assert done.code == 2
    assert "the tail is 128x60 and the plate 128x72" in done.err


def test_several_frames_do_not_go_into_one_file(clips: Path) -> None:
    words = ("extend", clips / "a.1005.exr", "--length", 2, "-o", clips / "x.exr")
    done = stage.called("generate", *words)
    assert done.code == 2
    assert "x.exr is one file, and the results are 1006-1007" in done.err
    clip = Sequence(clips, "a.mov", "", 0, clip=1)
    for plate, kind in ((Sequence.parse("a.####.exr"), "sequence"), (clip, "clip")):
        with pytest.raises(BadPattern, match=f"the plate is a {kind}: results are one file a"):
            result_sequence("new.mov", plate, [])


def test_a_gray_clip_is_carried_on_in_gray(daemon: stage.Daemon, tmp_path: Path) -> None:
    for frame in range(1, 4):
        light = SHOT.render(1000 + frame).plate[..., 1].astype(np.float16)
        (tmp_path / f"g.{frame}.exr").write_bytes(new_file({"Y": light}))
    done = generate(daemon, "extend", tmp_path / "g.#.exr", "--length", 1, "-o", f"{tmp_path}/out/")
    assert done.code == 0, done.err
    made = read(tmp_path / "out/g.4.exr")
    assert list(made.channels) == ["Y"]
    assert made.channels["Y"].std() > 0.01


def test_frames_that_do_not_adjoin_the_clip_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.0003.exr").write_bytes(b"")
    words = ("generate", "extend", tmp_path / "a.####.exr", "-o", tmp_path / "out/")
    for frames in ("5-6", "3-4", "1-1"):
        done = stage.called(*words, "--frames", frames)
        assert done.code == 2
        assert "Begin at 4." in done.err
    both = stage.called(*words, "--frames", "4-5", "--length", "2")
    assert both.code == 2
    assert "extend does not take --length" in both.err
