"""The engine `void` behind the command line: a tiny model, real frames, one daemon for all jobs.

The last is a show's LoRA: trained, killed on the way, and used.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import voidbridge_shots as shots
import voidbridge_stage as stage
from numpy.typing import NDArray

from voidbridge_backend.client.training.dataset_list import read_list
from voidbridge_backend.client.training.show_file import read_show
from voidbridge_backend.engines.void.tiny import make_tiny
from voidbridge_backend.engines.void_lora.engine import VoidTrainer
from voidbridge_backend.tools.dataset.build import build

FRAMES = range(1001, 1006)
GROW, SOFTEN = 8, 8
OPTIONS = {"height": 32, "width": 48, "window": 21, "steps": 4, "fineness": 2}
SHOW = """\
show = "harbour"
rights = "ours"
consent = "no persons"
variations = 1
[[plate]]
clip = "one/plate.%04d.exr"
[[plate]]
clip = "two/plate.%04d.exr"
[training]
steps = 60
rank = 4
accumulate = 1
learning_rate = 0.01
checkpoint_every = 4
validate_every = 60
"""


def frames_of(clip: Path, pixels: str) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(clip)) as video:
        for frame in video.decode(video=0):
            yield frame.to_ndarray(format=pixels)


@dataclass(frozen=True)
class Lime:
    """Five frames of the sample at a quarter of its size as a shot on disk: codes raised to 2.2, as halves."""

    folder: Path
    plate: str
    matte: str
    holes: dict[int, NDArray[np.bool_]]


@pytest.fixture(scope="module")
def lime(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Lime:
    folder = tmp_path_factory.mktemp("lime")
    clip = samples / "lime"
    holes = {}
    pictures = frames_of(clip / "input_video.mp4", "rgb24")
    masks = frames_of(clip / "quadmask_0.mp4", "gray")
    levels = np.array([0, 63, 127, 255], np.int16)
    for frame, picture, mask in zip(FRAMES, pictures, masks, strict=False):
        picture, mask = picture[::4, ::4], mask[::4, ::4]
        light = ((picture / np.float32(255)) ** np.float32(2.2)).astype(np.float16)
        planes = {name: np.ascontiguousarray(light[..., i]) for i, name in enumerate("RGB")}
        (folder / f"plate.{frame}.exr").write_bytes(shots.exr_bytes(planes))
        codes = levels[np.abs(mask.astype(np.int16)[..., None] - levels).argmin(-1)]
        matte = {"Y": (codes / np.float32(255)).astype(np.float16)}
        (folder / f"matte.{frame}.exr").write_bytes(shots.exr_bytes(matte))
        holes[frame] = codes != 255
    return Lime(folder, str(folder / "plate.%04d.exr"), str(folder / "matte.%04d.exr"), holes)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return folder


@pytest.fixture(scope="module")
def void_daemon(models: Path) -> Iterator[Any]:
    with stage.daemon("--devices", "cpu", "--models", models) as made:
        yield made


def stages(done: Any) -> list[str]:
    """Returns the stages of the job, each once in a row."""
    told = [event["stage"] for event in done.events if event["event"] == "status"]
    return [name for name, _ in groupby(told) if name]


def away_from(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that the growth and the softness of the hole do not reach."""
    import cv2

    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance > GROW + SOFTEN


def test_two_jobs_on_one_daemon_give_exact_frames_and_the_second_loads_nothing(
    lime: Lime, void_daemon: Any, tmp_path: Path
) -> None:
    done = []
    for seed in (0, 1):
        result = tmp_path / str(seed) / "result.%04d.exr"
        finished = stage.called(
            "run", lime.plate, lime.matte, "-o", result, "--engine", "void",
            "--matte-kind", "quadmask",
            "--grow", GROW, "--soften", SOFTEN, "--seed", seed,
            "--daemon", void_daemon.address, "--json",
        )  # fmt: skip
        assert finished.code == 0, finished.err
        done.append(finished)
    assert len(void_daemon.worker_pids()) == 1
    assert void_daemon.log.count("engine void loaded in") == 1

    first, second = map(stages, done)
    assert "loading the model" in first
    assert not [name for name in second if "loading" in name]
    # Short stages may pass between two reports; some cannot.
    assert {"encoding the plate", "finishing"} & set(second)

    plates = {frame: shots.channels_of(lime.folder / f"plate.{frame}.exr") for frame in FRAMES}
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        assert sorted(folder.glob("*.exr")) == [folder / f"result.{f}.exr" for f in FRAMES]
    for frame in FRAMES:
        results = [
            shots.channels_of(tmp_path / str(seed) / f"result.{frame}.exr") for seed in (0, 1)
        ]
        outside, hole = away_from(lime.holes[frame]), lime.holes[frame]
        for result in results:
            for name, pixels in plates[frame].items():
                assert np.array_equal(
                    result[name].view(np.uint16)[outside], pixels.view(np.uint16)[outside]
                )
                assert np.isfinite(result[name]).all()
                assert (result[name] != pixels)[hole].mean() > 0.9
        # Another seed is another invention, and no other frame of the plate is as near.
        assert (results[0]["G"] != results[1]["G"])[hole].mean() > 0.9
        assert shift(results[0]["G"], {f: p["G"] for f, p in plates.items()}, outside) == frame

    record = json.loads((tmp_path / "0" / "result.1001-1005.voidbridge.json").read_text())
    assert set(record["engine"]["models"]) == {"vae", "text encoder", "pass 1", "pass 2"}
    assert record["notes"]


def shift(
    result: NDArray[np.float16], plates: dict[int, NDArray[np.float16]], outside: NDArray[np.bool_]
) -> int:
    """The frame of the plate that correlates best with a result outside the hole."""

    def correlation(plate: NDArray[np.float16]) -> float:
        one, other = result[outside].astype(np.float64), plate[outside].astype(np.float64)
        return float(np.corrcoef(one, other)[0, 1])

    found = {frame: correlation(plate) for frame, plate in plates.items()}
    best = max(found, key=lambda frame: found[frame])
    assert found[best] > max(value for frame, value in found.items() if frame != best)
    return best


def test_a_preview_is_labelled_and_the_same_job_in_full_is_another(
    void_daemon: Any, tmp_path: Path
) -> None:
    """It says so to whoever waits, in its record and in its header."""
    shot = shots.make_shot(tmp_path / "s", range(1001, 1003))
    words = stage.run_words(shot, tmp_path / "r", void_daemon.address, "--engine", "void")
    done = stage.called(*words, "--quality", "preview")
    assert done.code == 0, done.err
    assert "note: preview quality: 2 steps instead of 4" in done.err
    assert done.err.splitlines()[-1].endswith("PREVIEW QUALITY")
    record = json.loads((tmp_path / "r/r.1001-1002.voidbridge.json").read_text())
    assert record["preview"] is True
    assert [note for note in record["notes"] if note.startswith("preview quality")]
    attributes = shots.header_of(tmp_path / "r/r.1001.exr")
    assert json.loads(attributes["voidbridge/provenance"])["settings"]["quality"] == "preview"

    again = stage.called(*words, "--quality", "preview", "--json")
    assert again.event("done")["from_store"]
    assert again.event("done")["preview"] is True
    full = stage.called(*words, "--json")
    assert full.event("done")["preview"] is False
    assert "preview" not in full.err.lower()
    assert full.event("done")["job"] != again.event("done")["job"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the daemon's processes, so that sums have the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Quiet:
    def step(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, text: str) -> None: ...


def test_a_training_survives_the_death_of_its_worker_and_its_lora_is_used(
    models: Path, void_daemon: Any, tmp_path: Path
) -> None:
    shot = shots.make_shot(tmp_path / "one", range(1001, 1003))
    shots.make_shot(tmp_path / "two", range(1, 3), seed=1)
    (tmp_path / "show.toml").write_text(SHOW)
    show = read_show(tmp_path / "show.toml")
    build(show, models, show.dataset, "cpu", lambda *_: None)
    lora = tmp_path / "harbour.safetensors"
    daemon = void_daemon
    going = stage.Going("train", tmp_path / "show.toml", "-o", lora, "--daemon", daemon.address)
    going.until(lambda event: event.get("stage") == "training" and event["step"] >= 5)
    urgent = daemon.submit(shot, "producer", priority=1)
    daemon.wait_for_state(urgent, "done")
    (stopped,) = [job for job in daemon.jobs() if job.operation == "train"]
    assert (stopped.state.value, stopped.attempt) in (("queued", 0), ("running", 1))
    assert "attempt 1 was stopped for a more urgent job" in stopped.warnings
    going.until(lambda event: event.get("stage") == "training" and event["step"] >= 20)
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGKILL)
    trained = going.end()
    assert trained.code == 0, trained.err
    result = tmp_path / "result" / "result.%04d.exr"
    removed = stage.called(
        "run", shot.plate, shot.matte, "-o", result, "--engine", "void",
        "--daemon", daemon.address, "--json", "--lora", f"{lora}:0.55",
    )  # fmt: skip
    assert removed.code == 0, removed.err
    words = ("train", tmp_path / "show.toml", "-o", lora, "--daemon", daemon.address, "--json")
    repeated = stage.called(*words)
    assert repeated.code == 0, repeated.err
    (tmp_path / "show.toml").write_text(SHOW.replace("rank = 4", "rank = 2"))
    other = stage.called(*words)
    assert other.event("error")["code"] == "request.output-exists"
    (tmp_path / "show.toml").write_text(SHOW)
    compared = stage.called(
        "train", tmp_path / "show.toml", "-o", lora, "--evaluate", "--strengths", "0,1",
        "--daemon", daemon.address, "--json",
    )  # fmt: skip
    assert compared.code == 0, compared.err
    check_evaluation(compared.events[-1], lora)
    assert max(event.get("attempt", 0) for event in trained.events) == 2
    assert lora.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "harbour.voidbridge.json").read_text())
    assert [step for step, _ in record["training"]["loss"]] == list(range(1, 61))

    pairs = read_list(show.dataset)
    chosen = [[show.dataset / p.file for p in pairs if p.held == held] for held in (False, True)]
    unbroken = VoidTrainer(models).train(*chosen, tmp_path / "c", show.settings, Quiet())
    assert lora.read_bytes() == unbroken.data

    used = json.loads((tmp_path / "result" / "result.1001-1002.voidbridge.json").read_text())
    (one,) = used["engine"]["loras"]
    assert (one["show"], one["strength"]) == ("harbour", 0.55)
    assert one["sha256"] == hashlib.sha256(unbroken.data).hexdigest()


def check_evaluation(event: dict[str, Any], lora: Path) -> None:
    """The event, the sheet and the record of an evaluation at the strengths 0 and 1."""
    assert event["event"] == "evaluated"
    sheet, record = (Path(event[name]) for name in ("sheet", "record"))
    assert sheet == lora.with_name("harbour.evaluation.png")
    assert sheet.read_bytes().startswith(b"\x89PNG")
    wanted, base, none, full = event["rows"]
    assert [row["name"] for row in event["rows"]] == ["wanted", "base", "0", "1"]
    assert wanted["hole_ssim"] == 1
    assert {**none, "name": 0, "strength": 0} == {**base, "name": 0, "strength": 0}
    assert full["hole_psnr_db"] != base["hole_psnr_db"]
    found = json.loads(record.read_text())
    assert found["evaluation"]["rows"] == event["rows"]
    (used,) = found["engine"]["loras"]
    assert used["sha256"] == hashlib.sha256(lora.read_bytes()).hexdigest()
