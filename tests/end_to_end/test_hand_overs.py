"""`voidbridge run` on what is really handed over: folders, single files, clips, odd names and numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import OpenImageIO as oiio
import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import Finished

from voidbridge_backend.exr import reader
from voidbridge_backend.sequences.found import find
from voidbridge_protocol.errors import BadPattern

Run = Callable[..., Finished]


def go(run: Run, plate: object, matte: object, result: object, *words: object) -> Finished:
    return run(SimpleNamespace(plate=plate, matte=matte), result, *words)


def failed(done: Finished, code: str, *words: str) -> None:
    error = done.event("error")
    assert (done.code, error["code"]) == (2, code), done.err
    for word in words:
        assert word in error["text"] + " " + error["hint"], error


def png(path: Path, pixels: np.ndarray) -> None:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 1, "uint8")
    path.parent.mkdir(exist_ok=True)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec)
    assert file.write_image(pixels[..., None].astype(np.uint8))
    file.close()


SQUARE = np.zeros((48, 64), np.uint8)
SQUARE[10:30, 20:40] = 255


def movie(
    path: Path, codec: str, kind: str, count: int, size: tuple[int, int] = (64, 48), **options: str
) -> None:
    """A ramp that moves, 24 frames a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=Fraction(24), options=options)
        stream.width, stream.height, stream.pix_fmt = *size, kind
        for index in range(count):
            ramp = np.linspace(9000, 50000, size[0]) + 300 * index
            pixels = np.broadcast_to(ramp[None, :, None], (size[1], size[0], 3)).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb48le")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def test_folders_give_their_only_sequence(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    (tmp_path / "mattes").mkdir()
    for frame in shot.frames:
        shot.file("matte", frame).rename(tmp_path / "mattes" / f"matte.{frame}.exr")
    (tmp_path / "out").mkdir()
    done = go(run, shot.folder, tmp_path / "mattes", tmp_path / "out")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").glob("*.exr"))) == 2


def test_a_folder_with_several_sequences_lists_them(tmp_path: Path) -> None:
    for name in ("a.1001.exr", "a.1002.exr", "b_01.png", "c.mov.txt"):
        (tmp_path / name).touch()
    with pytest.raises(BadPattern, match=r"2 sequences: a\.%04d\.exr \(2\), b_%02d\.png \(1\)"):
        find(str(tmp_path))
    (tmp_path / "b_01.png").unlink()
    assert find(str(tmp_path)).scan() == [1001, 1002]
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(BadPattern, match="holds no frames"):
        find(str(tmp_path))


def test_frames_without_padding_are_listed_without_it(tmp_path: Path) -> None:
    for number in (*range(8, 12), 998, 1001):
        (tmp_path / f"plate.{number}.exr").touch()
    found = find(str(tmp_path))
    assert (found.width, Path(str(found)).name) == (0, "plate.%d.exr")
    assert found.scan() == [8, 9, 10, 11, 998, 1001]
    assert str(find("plate.#.exr")) == "plate.%d.exr"


def test_two_single_files_belong_together(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1, 2))
    plate, matte = tmp_path / "plate_v01.exr", tmp_path / "matte_v02.exr"
    shot.file("plate", 1).rename(plate)
    shot.file("matte", 1).rename(matte)
    done = go(run, plate, matte, tmp_path / "clean.exr")
    assert done.code == 0, done.err
    assert (tmp_path / "clean.exr").is_file()


def test_names_with_brackets_are_literal(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1, 2))
    plate = tmp_path / "plate [v1] what?*.exr"
    shot.file("plate", 1).rename(plate)
    (tmp_path / "out").mkdir()
    done = go(run, plate, shot.file("matte", 1), tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / plate.name).is_file()


def test_mattes_that_count_from_zero_are_told_of_matte_start(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    for index in range(3):
        png(tmp_path / "masks" / f"{index:05}.png", SQUARE)
    result = tmp_path / "out" / "r.%04d.exr"
    done = go(run, shot.plate, tmp_path / "masks", result)
    failed(done, "request.missing-frames", "--matte-start 1001")
    done = go(run, shot.plate, tmp_path / "masks", result, "--matte-start", "1001")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").glob("r.*.exr"))) == 3


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("shot.mov", "prores_ks", "yuv422p10le"),
        ("shot.mp4", "libx264", "yuv420p"),
        ("shot.mp4", "libx265", "yuv420p10le"),
        ("shot.mov", "dnxhd", "yuv422p10le"),
        ("shot.mxf", "dnxhd", "yuv422p10le"),
    ],
)
def test_a_clip_comes_back_as_frames(
    run: Run, tmp_path: Path, name: str, codec: str, kind: str
) -> None:
    clip = tmp_path / name
    choices = {"libx265": {"x265-params": "log-level=0"}, "dnxhd": {"profile": "dnxhr_hqx"}}
    width, height = (256, 128) if codec == "dnxhd" else (64, 48)
    square = np.zeros((height, width), np.uint8)
    square[10:30, 20:40] = 255
    movie(clip, codec, kind, 6, (width, height), **choices.get(codec, {}))
    for frame in range(1, 7):
        png(tmp_path / "masks" / f"m.{frame:04}.png", square)
    (tmp_path / "out").mkdir()
    done = go(
        run,
        *(clip, tmp_path / "masks", tmp_path / "out"),
        *("--color-space", "Rec.709", "--grow", "0", "--soften", "0"),
    )
    assert done.code == 0, done.err
    with av.open(str(clip)) as file:
        decoded = [
            f.to_ndarray(format="rgb24" if kind == "yuv420p" else "rgb48le")
            for f in file.decode(video=0)
        ]
    most = np.float32(np.iinfo(decoded[0].dtype).max)
    for frame, pixels in enumerate(decoded, 1):
        result = reader.read(tmp_path / "out" / f"shot.{frame:04}.exr")
        ours, theirs = result.rgb(), pixels.astype(np.float32) / most
        assert ours[square == 0].tobytes() == theirs[square == 0].tobytes()
        assert (ours != theirs)[square > 0].any()
        assert result.part.frames_per_second == 24


def test_a_clip_that_was_cut_off_is_told_as_that(run: Run, tmp_path: Path) -> None:
    """The table of frames stands at the end: a copy or a recording that stopped lacks it."""
    movie(tmp_path / "whole.mov", "prores_ks", "yuv422p10le", 2)
    data = (tmp_path / "whole.mov").read_bytes()
    (tmp_path / "cut.mov").write_bytes(data[: len(data) // 2])
    done = go(run, tmp_path / "cut.mov", tmp_path / "whole.mov", tmp_path / "r.%04d.exr")
    failed(
        done, "request.unreadable", "cut.mov has no table of its frames (moov)", "Copy or export"
    )


def test_a_clip_without_tags_needs_a_color_space(run: Run, tmp_path: Path) -> None:
    movie(tmp_path / "shot.mov", "prores_ks", "yuv422p10le", 2)
    for frame in (1, 2):
        png(tmp_path / "masks" / f"m.{frame}.png", SQUARE)
    done = go(run, tmp_path / "shot.mov", tmp_path / "masks", tmp_path / "r.%04d.exr")
    failed(done, "request.color-space", "clip, prores, 10 bits", "--color-space")


def test_an_error_of_the_worker_names_the_clients_file(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    for frame in shot.frames:
        png(tmp_path / "masks" / f"roto.{frame}.png", SQUARE)
    damaged = tmp_path / "masks" / "roto.1002.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    done = go(run, shot.plate, tmp_path / "masks", tmp_path / "r.%04d.exr")
    failed(done, "request.unreadable", "matte frame 1002 (roto.1002.png)")
    assert "plate as" not in done.event("error")["hint"]


def test_a_client_without_the_decoders_submits_a_png(tmp_path: Path) -> None:
    """The modules that a client loads for its files need neither NumPy nor a decoder."""
    code = (
        "import sys\n"
        "for name in ('numpy', 'OpenImageIO', 'av', 'OpenEXR', 'cv2'): sys.modules[name] = None\n"
        "from voidbridge_backend.client import submission, job_run, file_names\n"
        "from voidbridge_backend.sequences.found import find\n"
        "print(find(sys.argv[1]).scan())\n"
    )
    png(tmp_path / "masks" / "m.0007.png", SQUARE)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "masks")], capture_output=True, text=True
    )
    assert done.stdout == "[7]\n", done.stderr
