"""`voidbridge generate --shots`: shots of a table and of a timeline, their takes, and the timeline with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import voidbridge_stage as stage

pytest.importorskip("diffusers")
pytest.importorskip("opentimelineio")

import opentimelineio as otio

from voidbridge_backend.client.shots.cut import Cut, KeptClip, NewShot
from voidbridge_backend.client.shots.table import read_table
from voidbridge_backend.client.shots.timeline import read_timeline, write_timeline
from voidbridge_backend.engines.ltx.terms import TERMS
from voidbridge_backend.engines.ltx.tiny import make_tiny
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.exr.reader import read
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.errors import BadSetting, BadTimeline, MissingFrames, VoidbridgeError
from voidbridge_protocol.operations.generate import GenerateSettings

SHOT = DemoShot(height=46, width=81, length=30)
TABLE = """
name = "reel"
rate = 25

[references]
hero = "a.1004.exr"

[[shot]]
name = "one"
clip = "a.####.exr"
frames = "1001-1006"

[[shot]]
name = "two"
mode = "bridge"
length = 3

[[shot]]
name = "three"
clip = "b.####.exr"

[[shot]]
name = "four"
mode = "from-frame"
reference = "hero"
length = 4
engine = "ltx"
schedule = "full"
steps = 1
takes = 2
prompt = "a red ball rolls"

[[shot]]
name = "five"
mode = "extend"
length = 2
"""


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips a, 1001-1008, and b, 1-5, and the table."""
    folder = tmp_path_factory.mktemp("reel")
    for name, first, count, offset in (("a", 1001, 8, 0), ("b", 1, 5, 12)):
        for number in range(count):
            plate = SHOT.render(1001 + offset + number).plate.astype(np.float16)
            data = new_file({c: plate[..., i] for i, c in enumerate("RGB")})
            (folder / f"{name}.{first + number:04d}.exr").write_bytes(data)
    (folder / "reel.toml").write_text(TABLE)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("models"))
    TERMS.accept(folder, date(2026, 11, 29))
    return folder


def media_of(clip: Any) -> list[str]:
    """The names of the files that a clip shows, by OpenTimelineIO's own arithmetic."""
    reference = clip.media_reference
    names = []
    for n in range(int(clip.source_range.duration.value)):
        time = clip.source_range.start_time + otio.opentime.RationalTime(
            n, clip.source_range.start_time.rate
        )
        place = reference.frame_for_time(time) - reference.start_frame
        names.append(reference.target_url_for_image_number(place).removeprefix("file://"))
    return names


def test_five_shots_of_a_table_become_takes_and_a_timeline(
    reel: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in reel.iterdir()}
    with stage.daemon(extra={"VOIDBRIDGE_MODELS": str(models)}) as daemon:
        words = ("generate", "--shots", reel / "reel.toml", "-o", out, "--daemon", daemon.address)
        done = stage.called(*words, "--json")
        assert done.code == 0, done.err
        again = stage.called(*words, "--json")
        assert again.code == 0, again.err
    assert {path: path.read_bytes() for path in reel.iterdir()} == before
    timeline = otio.adapters.read_from_file(str(out / "reel.takes.otio"))
    assert timeline.name == "reel"
    (track,) = timeline.video_tracks()
    assert [clip.name for clip in track] == ["one", "two", "three", "four", "five"]
    assert [clip.duration().value for clip in track] == [6, 3, 5, 4, 2]
    assert {clip.duration().rate for clip in track} == {25.0}
    for clip in track:
        for path in media_of(clip):
            assert Path(path).is_file(), path
    assert [Path(path).name for path in media_of(track[0])] == [
        f"a.{n}.exr" for n in range(1001, 1007)
    ]
    assert [Path(path).name for path in media_of(track[1])] == [
        f"two.{n}.exr" for n in range(1007, 1010)
    ]
    assert list(track[3].media_references()) == ["DEFAULT_MEDIA", "take 2"]
    listed = json.loads((out / "four/takes.voidbridge.json").read_text())
    assert [(take["take"], take["seed"]) for take in listed["takes"]] == [
        (n, n - 1) for n in range(1, 5)
    ]
    assert {take["prompt"] for take in listed["takes"]} == {"a red ball rolls"}
    frames = [read(out / f"four/take_00{n}/four.1005.exr").rgb() for n in range(1, 5)]
    assert len({frame.tobytes() for frame in frames}) == 4
    assert [path.name for path in (out / "two").glob("take_*")] == ["take_001"]
    sheet = cv2.imread(str(out / "four/takes.png"))
    assert sheet is not None
    assert sheet.shape[0] > 4 * 100


def as_timeline(reel: Path, change: Callable[[Any], None] = lambda timeline: None) -> Path:
    """A timeline of the clip a, a gap to bridge, the clip b, and a part of b to take again."""

    def clip(name: str, first: int, count: int, start: int, most: int) -> Any:
        def span(begin: int, length: int) -> Any:
            time = otio.opentime.RationalTime
            return otio.opentime.TimeRange(time(begin, 24), time(length, 24))

        reference = otio.schema.ImageSequenceReference(
            f"file://{reel}/",
            f"{name}.",
            ".exr",
            start,
            1,
            24,
            4,
            available_range=span(start, most),
        )
        return otio.schema.Clip(name, reference, span(first, count))

    timeline = otio.schema.Timeline("cut")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    new = otio.schema.Gap(duration=otio.opentime.RationalTime(4, 24))
    new.name = "join"
    new.metadata["voidbridge"] = {"mode": "bridge"}
    again = clip("b", 2, 2, 1, 5)
    again.name = "again"
    again.metadata["voidbridge"] = {"mode": "retake"}
    pause = otio.schema.Gap(duration=otio.opentime.RationalTime(7, 24))
    track.extend([clip("a", 1002, 5, 1001, 8), new, clip("b", 1, 5, 1, 5), pause, again])
    change(timeline)
    path = reel / "cut.otio"
    otio.adapters.write_to_file(timeline, str(path))
    return path


def test_morph_leaves_the_take_of_another_engine(reel: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "cut.toml", tmp_path / "out"
    clip = f'[[shot]]\nclip = "{reel}/a.####.exr"\n'
    table.write_text(clip + '[[shot]]\nname = "new"\nmode = "extend"\nlength = 2\n')
    with stage.daemon() as daemon:
        words = ("generate", "--shots", table, "-o", out, "--daemon", daemon.address)
        done = stage.called(*words)
        assert done.code == 0, done.err
        (record,) = (out / "new" / "take_001").glob("*.voidbridge.json")
        made = json.loads(record.read_text())
        made["settings"]["engine"] = "ltx"
        record.write_text(json.dumps(made))
        before = {path: path.read_bytes() for path in (out / "new" / "take_001").iterdir()}
        for _ in range(2):
            done = stage.called(*words)
            assert done.code == 0, done.err
        (out / "new" / "take_002" / "old.voidbridge.json").write_text('{"settings": 3')
        held = stage.called(*words, "--motion", "hold")
        assert held.code == 0, held.err
        (out / "new" / "takes.png").write_bytes(b"mine")
        refused = stage.called(*words, "--seed", "7")
        elsewhere = stage.called(*words, "-o", tmp_path / "none", "--engine", "lxt")
    assert elsewhere.code == 2
    assert "the shot new: this daemon has no engine 'lxt' for generate" in elsewhere.err
    assert not (tmp_path / "none").exists()
    assert {path: path.read_bytes() for path in (out / "new" / "take_001").iterdir()} == before
    listed = json.loads((out / "new" / "takes.voidbridge.json").read_text())["takes"]
    takes = [(row["take"], row["engine"]) for row in listed]
    assert takes == [(1, "ltx"), (2, "morph"), (3, "morph")]
    assert "old.voidbridge.json is not a record of a take" in held.err
    assert refused.code == 2
    assert "takes.png exists" in refused.err
    assert not (out / "new" / "take_004").exists()


@pytest.mark.parametrize("name", ["..", ".", "a/b"])
def test_a_shot_whose_name_leads_out_of_the_folder_is_refused(
    name: str, reel: Path, tmp_path: Path
) -> None:
    table, out = tmp_path / "cut.toml", tmp_path / "takes" / "out"
    clip = f'[[shot]]\nclip = "{reel}/a.####.exr"\n'
    table.write_text(clip + f'[[shot]]\nname = "{name}"\nmode = "extend"\nlength = 1\n')
    done = stage.called("generate", "--shots", table, "-o", out)
    assert done.code == 2, done.err
    assert "Rename the shot" in done.err
    assert not out.parent.exists()


def test_a_timeline_keeps_its_clips_and_its_items_with_a_mode_become_shots(reel: Path) -> None:
    cut = read_timeline(as_timeline(reel))
    assert cut.rate == 24
    one, join, two, pause, again = cut.items
    assert isinstance(one, KeptClip)
    assert (one.frames.first, one.frames.last) == (1002, 1006)
    assert isinstance(join, NewShot)
    assert (join.name, join.mode, join.length) == ("join", "bridge", 4)
    assert isinstance(two, KeptClip)
    assert pause == 7
    assert isinstance(again, NewShot)
    assert again.clip is not None
    assert (again.clip.frames.first, again.clip.frames.last) == (2, 3)
    job = cut.submission(1, GenerateSettings(), {})
    assert (job.frames and (job.frames.first, job.frames.last)) == (1007, 1010)
    assert (job.parts["plate"].last, job.parts["tail"].first) == (1006, 1)


def test_a_timeline_goes_through_morph_and_comes_back_with_gaps(
    reel: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    words = ("generate", "--shots", as_timeline(reel), "-o", tmp_path / "out")
    done = stage.called(*words, "--daemon", daemon.address, "--user", "ana", "--json")
    assert done.code == 0, done.err
    timeline = otio.adapters.read_from_file(str(tmp_path / "out/cut.takes.otio"))
    (track,) = timeline.video_tracks()
    assert [item.duration().value for item in track] == [5, 4, 5, 7, 2]
    assert isinstance(track[3], otio.schema.Gap)
    for clip in (track[1], track[4]):
        assert all(Path(path).is_file() for path in media_of(clip))
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "cut.takes.otio").write_text("mine")
    refused = stage.called("generate", "--shots", reel / "cut.otio", "-o", foreign)
    assert refused.code == 2
    assert (foreign / "cut.takes.otio").read_text() == "mine"


def test_the_sound_of_takes_is_on_an_audio_track(tmp_path: Path) -> None:
    def take(number: int) -> KeptClip:
        media = Sequence(tmp_path / f"take_{number:03d}", "new.", ".exr", 4)
        media.folder.mkdir()
        return KeptClip("new", media, FrameRange(1007, 1009))

    kept = KeptClip("one", Sequence(tmp_path, "a.", ".exr", 4), FrameRange(1001, 1006))
    cut = Cut("reel", 25, (kept, NewShot("new", "bridge", 3, {}), 7))
    takes = {1: [take(1), take(2)]}
    silent = otio.adapters.read_from_string(write_timeline(cut, takes).decode(), "otio_json")
    assert not silent.audio_tracks()
    (tmp_path / "take_002/new.1007-1009.wav").write_bytes(b"RIFF")
    found = otio.adapters.read_from_string(write_timeline(cut, takes).decode(), "otio_json")
    (track,) = found.audio_tracks()
    assert [item.duration().value for item in track] == [6, 3, 7]
    assert [type(item).__name__ for item in track] == ["Gap", "Clip", "Gap"]
    assert track[1].active_media_reference_key == "DEFAULT_MEDIA"
    assert track[1].media_reference.metadata["voidbridge"] == {"take": 2}
    assert Path(track[1].media_reference.target_url) == tmp_path / "take_002/new.1007-1009.wav"


def test_a_written_timeline_has_the_forms_that_hosts_write_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "a #1 50%25"
    folder.mkdir()
    media = Sequence(folder, "a.", ".exr", 4)
    for number in range(1001, 1009):
        media.path(number).touch()
    cut = Cut("reel", 23.98, (KeptClip("one", media, FrameRange(1003, 1006)), 7))
    text = write_timeline(cut, {})
    timeline = otio.adapters.read_from_string(text.decode(), "otio_json")
    rate = 24000 / 1001
    assert timeline.global_start_time == otio.opentime.RationalTime(0, rate)
    clip = timeline.video_tracks()[0][0]
    assert clip.active_media_reference_key == "DEFAULT_MEDIA"
    reference = clip.media_reference
    assert reference.target_url_base == str(folder)
    assert (reference.name, reference.start_frame) == ("a.[1001-1008].exr", 1001)
    seen, available = clip.source_range, reference.available_range
    assert (seen.start_time.value, seen.duration.value) == (2, 4)
    assert (available.start_time.value, available.duration.value) == (0, 8)
    assert {seen.start_time.rate, available.duration.rate, reference.rate} == {rate}
    assert [Path(name) for name in media_of(clip)] == [media.path(n) for n in range(1003, 1007)]
    (tmp_path / "again.otio").write_bytes(text)
    assert read_timeline(tmp_path / "again.otio").items == cut.items
    beside = text.replace(json.dumps(str(folder)).encode(), b'""')
    (folder / "beside.otio").write_bytes(beside)
    kept = read_timeline(folder / "beside.otio").items[0]
    assert isinstance(kept, KeptClip)
    assert kept.media.path(1003) == media.path(1003)
    # Resolve's own export begins the ranges of files with a time code at it.
    hour = otio.opentime.RationalTime(86400, rate)
    clip.source_range = otio.opentime.TimeRange(seen.start_time + hour, seen.duration)
    reference.available_range = otio.opentime.TimeRange(hour, available.duration)
    otio.adapters.write_to_file(timeline, str(tmp_path / "resolve.otio"))
    assert read_timeline(tmp_path / "resolve.otio").items == cut.items


def without_media(timeline: Any) -> None:
    timeline.tracks[0][0].media_reference = otio.schema.MissingReference()


def at_another_rate(timeline: Any) -> None:
    timeline.tracks[0][1].source_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(0, 30), otio.opentime.RationalTime(4, 30)
    )


def half_a_frame(timeline: Any) -> None:
    timeline.tracks[0][1].source_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(4.5, 24)
    )


def without_a_rate(timeline: Any) -> None:
    timeline.tracks[0][1].source_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(0, 0), otio.opentime.RationalTime(4, 0)
    )


def without_end(timeline: Any) -> None:
    timeline.tracks[0][1].source_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(1e30, 24)
    )


def over_the_network(timeline: Any) -> None:
    timeline.tracks[0][0].media_reference.target_url_base = "https://example.com/"


def beyond_the_files(timeline: Any) -> None:
    timeline.tracks[0][0].source_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(1005, 24), otio.opentime.RationalTime(9, 24)
    )


def another_mode(timeline: Any) -> None:
    timeline.tracks[0][1].metadata["voidbridge"] = {"mode": "dream"}


def no_words(timeline: Any) -> None:
    timeline.tracks[0][1].metadata["voidbridge"] = 7


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (without_media, BadTimeline, "the item a has no media"),
        (at_another_rate, BadTimeline, "has 30 frames a second, the others 24"),
        (half_a_frame, BadTimeline, "4.5 frames, which is not a whole number"),
        (without_a_rate, BadTimeline, "has 0 frames a second"),
        (without_end, BadTimeline, "1e\\+30 frames, which is not a whole number up to 10000000"),
        (over_the_network, BadTimeline, "which is not a file"),
        (beyond_the_files, MissingFrames, "the clip a lacks 1009-1013"),
        (another_mode, BadSetting, "the mode 'dream'"),
        (no_words, BadTimeline, "has the metadata voidbridge = 7"),
    ],
)
def test_a_wrong_item_is_a_typed_error(
    change: Callable[[Any], None], error: type[VoidbridgeError], said: str, reel: Path
) -> None:
    path = as_timeline(reel, change)
    with pytest.raises(error, match=said):
        read_timeline(path).check(GenerateSettings())


@pytest.mark.parametrize("cut_at", [0, 1, 100, 700])
def test_a_damaged_timeline_is_a_typed_error(cut_at: int, reel: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "d.otio"
    damaged.write_bytes(as_timeline(reel).read_bytes()[:cut_at])
    with pytest.raises(BadTimeline, match="cannot be read as a timeline"):
        read_timeline(damaged)


def test_a_timeline_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadTimeline, match=r"no\.otio cannot be read: No such file"):
        read_timeline(tmp_path / "no.otio")


@pytest.mark.parametrize(
    "text", ['{"OTIO_SCHEMA": "Gap.1"}', '{"OTIO_SCHEMA": "New.7"}', "[1]", "7"]
)
def test_a_file_without_a_timeline_is_a_typed_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.otio"
    path.write_text(text)
    with pytest.raises(BadTimeline):
        read_timeline(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[shot]", "cannot be read as TOML"),
        ('rate = "fast"', "has rate = 'fast'"),
        ("shot = 3", "has no list of shots"),
        ('[[shot]]\nname = "x"', "the shot x has neither a clip nor a mode"),
        ('[[shot]]\nname = "x"\nclip = "x.exr"\nprompt = "y"', "has prompt but no mode"),
        ('[[shot]]\nname = "x"\nmode = "text"', "the shot x has no length"),
        ('[[shot]]\nname = "x"\nmode = "retake"', "the shot x has no clip"),
        ('[[shot]]\nname = "x"\nmode = "text"\nlength = "3"', "has length = '3'"),
        ('[[shot]]\nname = "x"\nmode = "text"\nlength = 3\nsteps = "many"', "has steps = 'many'"),
        ('[[shot]]\nname = "x"\nmode = "text"\nlength = 3\nprompt = 7', "x has prompt = 7"),
        (
            '[[shot]]\nname = "x"\nmode = "text"\nlength = 3\nsteps = 1\nhue = 2',
            "unknown setting 'hue'",
        ),
    ],
)
def test_a_wrong_table_is_a_typed_error(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises((BadTimeline, BadSetting), match=said):
        read_table(path).check(GenerateSettings(engine="ltx"))


def test_a_shot_without_the_clip_that_it_needs_is_refused_before_any_job(
    reel: Path, tmp_path: Path
) -> None:
    path = reel / "short.toml"
    path.write_text('[[shot]]\nname = "x"\nmode = "bridge"\nlength = 3\n')
    done = stage.called("generate", "--shots", path, "-o", tmp_path / "out")
    assert done.code == 2
    assert "the shot x (bridge) needs a clip before it" in done.err
    assert not (tmp_path / "out").exists()
