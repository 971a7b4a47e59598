"""The engines `sam2` and `sam3` with tiny random networks that are loaded as published checkpoints are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the extra `void` is not installed")
pytest.importorskip("transformers", reason="the extra `void` is not installed")

import voidbridge_shots as shots  # noqa: E402
import voidbridge_stage as stage  # noqa: E402
import voidbridge_tiny_sam as tiny_sam  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from voidbridge_backend.engines.mask_base import Clicks, Prompts, Tracked  # noqa: E402
from voidbridge_backend.engines.registry import make  # noqa: E402
from voidbridge_backend.engines.sam2.engine import MEMORY, SamTracker  # noqa: E402
from voidbridge_protocol.errors import JobCancelled, ModelMissing  # noqa: E402

HEIGHT, WIDTH, FRAMES = 36, 64, range(1001, 1011)
NAMES = {"sam2": "sam2.1-hiera-tiny", "sam3": "sam3"}
POINTS = Clicks(((30.0, 15.0), (34.0, 18.0)), ((5.0, 5.0),))
BOX = Clicks(box=(20.0, 10.0, 45.0, 30.0))
BOTH = Clicks(((30.0, 15.0),), (), (20.0, 10.0, 45.0, 30.0))
KEY = np.zeros((HEIGHT, WIDTH), np.float32)
KEY[10:30, 20:45] = 1


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    saved = tiny_sam
    saved.save_sam2(folder / NAMES["sam2"])
    saved.save_sam3_with_nouns(folder / NAMES["sam3"])
    return folder


@pytest.fixture(scope="module", params=["sam2", "sam3"])
def engine(request: pytest.FixtureRequest, models: Path) -> SamTracker:
    made = make("mask", request.param, "cpu", models)
    assert isinstance(made, SamTracker)
    return made


def picture(frame: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(frame)
    return random.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def tracked(
    engine: SamTracker,
    clicks: dict[int, Clicks] | None = None,
    keys: dict[int, NDArray[np.float32]] | None = None,
    frames: range = FRAMES,
) -> dict[int, Tracked]:
    prompts = Prompts(clicks or {}, keys or {})
    found = list(engine.track(picture, list(frames), prompts, lambda: None))
    assert sorted(one.frame for one in found) == list(frames), "each frame once, both directions"
    assert all(0 <= one.score <= 1 and one.matte.shape == (HEIGHT, WIDTH) for one in found)
    return {one.frame: one for one in found}


def bits(found: dict[int, Tracked]) -> list[bytes]:
    return [found[frame].matte.tobytes() for frame in sorted(found)]


@pytest.mark.parametrize("start", [1001, 1006, 1010])
def test_every_kind_of_prompt_tracks_both_ways(engine: SamTracker, start: int) -> None:
    by_kind = [
        bits(tracked(engine, {start: POINTS})),
        bits(tracked(engine, {start: BOX})),
        bits(tracked(engine, {start: BOTH})),
        bits(tracked(engine, keys={start: KEY})),
    ]
    assert len({str(one) for one in by_kind}) == 4, "each prompt reaches the network"


def test_key_mattes_are_given_back_as_they_are(engine: SamTracker) -> None:
    empty = np.zeros_like(KEY)
    found = tracked(engine, {1003: BOX}, {1003: KEY, 1008: empty})
    np.testing.assert_array_equal(found[1003].matte, KEY)
    np.testing.assert_array_equal(found[1008].matte, empty)


def test_a_second_prompt_changes_the_track(engine: SamTracker) -> None:
    one, two = tracked(engine, {1002: BOX}), tracked(engine, {1002: BOX, 1007: POINTS})
    assert one[1009].matte.tobytes() != two[1009].matte.tobytes()


def test_two_objects_that_begin_at_different_frames_do_not_touch(engine: SamTracker) -> None:
    alone = bits(tracked(engine, {1007: POINTS}))
    first = bits(tracked(engine, {1002: BOX}))
    assert bits(tracked(engine, {1007: POINTS})) == alone
    assert first != alone


def test_the_same_input_gives_the_same_bits(engine: SamTracker) -> None:
    assert bits(tracked(engine, {1004: BOTH})) == bits(tracked(engine, {1004: BOTH}))


def test_what_stops_the_job_stops_within_a_frame(engine: SamTracker) -> None:
    beats = 0

    def heartbeat() -> None:
        nonlocal beats
        beats += 1
        if beats == 4:
            raise JobCancelled("stopped")

    going = engine.track(picture, list(FRAMES), Prompts({1001: BOX}, {}), heartbeat)
    assert [next(going).frame for _ in range(3)] == [1001, 1002, 1003]
    with pytest.raises(JobCancelled):
        next(going)


def test_memory_is_flat_over_200_frames(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make("mask", "sam2", "cpu", models)
    sessions: list[Any] = []
    kind = engine._session

    def session(**words: Any) -> Any:
        sessions.append(kind(**words))
        return sessions[-1]

    monkeypatch.setattr(engine, "_session", session)
    held: dict[int, int] = {}
    frames = range(1001, 1201)
    for one in engine.track(picture, list(frames), Prompts({1001: BOX}, {}), lambda: None):
        outputs = sessions[0].output_dict_per_obj[0]
        tensors = [
            tensor
            for kept in outputs.values()
            for output in kept.values()
            for value in output.values()
            for tensor in (value if isinstance(value, list) else [value])
            if isinstance(tensor, torch.Tensor)
        ]
        held[one.frame] = sum(tensor.nbytes for tensor in tensors)
        assert len(outputs["non_cond_frame_outputs"]) <= MEMORY + 2
        assert not dict.__len__(sessions[0].processed_frames), "no frame is kept"
    assert held[1200] == held[1040]


@pytest.mark.parametrize("name", NAMES)
def test_missing_weights_name_the_engine_that_needs_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=f"{name} needs weights") as failure:
        make("mask", name, "cpu", tmp_path)
    assert "--engine flow" in failure.value.hint


def test_a_checkpoint_that_is_torn_or_another_is_refused(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAMES["sam2"]
    folder.mkdir()
    source = models / NAMES["sam2"]
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    with pytest.raises(ModelMissing, match="cannot be loaded"):
        make("mask", "sam2", "cpu", tmp_path)
    torch.save(load_file(source / "model.safetensors"), folder / "pytorch_model.bin")
    with pytest.raises(ModelMissing, match="cannot be loaded"):
        make("mask", "sam2", "cpu", tmp_path)
    tensors = load_file(source / "model.safetensors")
    lost = next(iter(tensors))
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelMissing, match=r"lacks 1 tensors"):
        make("mask", "sam2", "cpu", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelMissing, match="holds a network 'bert'"):
        make("mask", "sam2", "cpu", tmp_path)


def test_a_daemon_tracks_with_it_and_names_flow_without_weights(
    models: Path, tmp_path: Path
) -> None:
    for frame in range(1001, 1004):
        light = picture(frame).astype(np.float16) / np.float16(255)
        channels = {name: light[..., plane].copy() for plane, name in enumerate("RGB")}
        (tmp_path / f"plate.{frame}.exr").write_bytes(shots.exr_bytes(channels, (0, 0)))
    words = ("mask", tmp_path / "plate.####.exr", "--box", "1002:20,10,45,30")
    shutil.copytree(models / NAMES["sam2"], tmp_path / "models" / NAMES["sam2"])
    with stage.daemon("--models", tmp_path / "models") as daemon:
        there = ("--daemon", daemon.address, "-o", tmp_path / "out")
        done = stage.voidbridge(*words, *there, "--engine", "sam2")
        refused = stage.voidbridge(*words, *there, "--engine", "sam3", "--overwrite")
        shutil.copytree(models / NAMES["sam3"], tmp_path / "models" / NAMES["sam3"])
        named = stage.voidbridge(
            *("mask", tmp_path / "plate.####.exr", "--noun", "the dog:dog", "--engine", "sam3"),
            *("--daemon", daemon.address, "-o", tmp_path / "noun"),
        )
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out/mask.1001-1003.voidbridge.json").read_text())
    assert record["engine"]["checkpoint"] == NAMES["sam2"]
    assert (tmp_path / "out/object.1003.exr").is_file()
    assert named.code == 0, named.err
    record = json.loads((tmp_path / "noun/mask.1001-1003.voidbridge.json").read_text())
    assert record["engine"]["checkpoint"] == NAMES["sam3"]
    assert record["objects"]["dog"]["scores"]["1003"] > 0.5
    assert (tmp_path / "noun/dog.1003.exr").is_file()
    assert (refused.code, "--engine flow" in refused.err) == (4, True), refused.err
