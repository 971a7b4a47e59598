"""The engine `sam3` with a noun in place of clicks: tiny random networks, loaded as the published checkpoint is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the extra `void` is not installed")
pytest.importorskip("transformers", reason="the extra `void` is not installed")

import voidbridge_tiny_sam as tiny_sam  # noqa: E402

from voidbridge_backend.engines.mask_base import Clicks, Prompts, Tracked  # noqa: E402
from voidbridge_backend.engines.registry import make  # noqa: E402
from voidbridge_backend.engines.sam2.engine import MEMORY  # noqa: E402
from voidbridge_backend.engines.sam3 import nouns  # noqa: E402
from voidbridge_backend.engines.sam3.components import OwnKernels  # noqa: E402
from voidbridge_backend.engines.sam3.engine import Sam3  # noqa: E402
from voidbridge_protocol.errors import BadSetting, JobCancelled, ModelMissing  # noqa: E402

HEIGHT, WIDTH, FRAMES = 36, 64, range(1001, 1009)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_sam.save_sam3_with_nouns(folder / "sam3")
    return folder


@pytest.fixture(scope="module")
def engine(models: Path) -> Sam3:
    made = make("mask", "sam3", "cpu", models)
    assert isinstance(made, Sam3)
    return made


def picture(frame: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(frame)
    return random.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def no_heartbeat() -> None: ...


def found(
    engine: Sam3, noun: str, frames: range = FRAMES, heartbeat: Callable[[], None] = no_heartbeat
) -> list[Tracked]:
    mattes = list(engine.track(picture, list(frames), Prompts({}, {}, noun), heartbeat))
    assert [one.frame for one in mattes] == list(frames), "each frame once, in order"
    assert all(one.matte.shape == (HEIGHT, WIDTH) and 0 <= one.score <= 1 for one in mattes)
    return mattes


def bits(mattes: list[Tracked]) -> bytes:
    return b"".join(one.matte.tobytes() for one in mattes)


def test_a_noun_is_found_on_every_frame_with_the_same_bits_and_another_noun_elsewhere(
    engine: Sam3,
) -> None:
    man = found(engine, "the man")
    assert all((one.matte > 0.5).any() and one.score > 0.5 for one in man)
    assert bits(found(engine, "the man")) == bits(man)
    assert bits(found(engine, "the red ball")) != bits(man)


def test_clicks_use_the_tracker_of_the_same_checkpoint(engine: Sam3) -> None:
    prompts = Prompts({1003: Clicks(((30.0, 15.0),))}, {})
    mattes = list(engine.track(picture, list(FRAMES), prompts, no_heartbeat))
    assert sorted(one.frame for one in mattes) == list(FRAMES)


def test_what_is_not_there_has_empty_mattes(engine: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    found(engine, "the man")  # loads the detector
    assert engine._nouns is not None
    network = engine._nouns._network
    monkeypatch.setattr(network, "score_threshold_detection", 1.0)
    assert {(one.matte.any(), one.score) for one in found(engine, "the man")} == {(False, 0.0)}


def test_what_stops_the_job_stops_within_a_frame(engine: Sam3) -> None:
    beats = 0

    def heartbeat() -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled):
        found(engine, "the man", heartbeat=heartbeat)
    assert beats == 3


def test_memory_is_flat(engine: Sam3, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    found(engine, "the man", range(2))  # loads the detector
    assert engine._nouns is not None
    network = engine._nouns._network
    monkeypatch.setattr(network, "max_num_objects", 2)
    reach = MEMORY + network.hotstart_delay + 2
    tracked = nouns._tracked

    def looked_at(output: Any, session: Any, *rest: Any) -> Tracked:
        kept = [by for outputs in session.output_dict_per_obj.values() for by in outputs.values()]
        assert 0 < len(session.obj_ids) <= 2
        assert max(map(len, kept)) <= reach
        assert len(session.obj_id_to_tracker_score_frame_wise) <= reach
        assert not dict.__len__(session.processed_frames), "no frame is kept"
        return tracked(output, session, *rest)

    monkeypatch.setattr(nouns, "_tracked", looked_at)
    found(engine, "the man", range(200 if full else 40))


def test_a_noun_of_too_many_words_is_refused(engine: Sam3) -> None:
    with pytest.raises(BadSetting, match="has 40 tokens, and sam3 reads 32"):
        found(engine, "man " * 40)


def test_a_checkpoint_without_a_detector_and_one_without_words_are_named(
    models: Path, tmp_path: Path
) -> None:
    tiny_sam.save_sam3(tmp_path / "sam3")
    with pytest.raises(ModelMissing, match="'sam3_video' is needed") as failure:
        found(make("mask", "sam3", "cpu", tmp_path), "the man")
    assert "--engine flow" in failure.value.hint
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(models / "sam3" / name, tmp_path / "sam3" / name)
    with pytest.raises(ModelMissing, match=r"tokenizer\.json is not there"):
        found(make("mask", "sam3", "cpu", tmp_path), "the man")


def test_of_two_that_overlap_the_better_one_stays() -> None:
    overlaps = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, 0.05], [0.0, 0.05, 1.0]])
    scores = torch.tensor([0.7, 0.9, 0.8])
    assert OwnKernels.generic_nms(overlaps, scores, 0.1).tolist() == [1, 2]


def test_each_pixel_knows_the_size_of_its_area() -> None:
    mask = torch.zeros(1, 1, 5, 6, dtype=torch.uint8)
    mask[0, 0, 0, 0] = mask[0, 0, 1, 1] = 1  # connected over a corner
    mask[0, 0, 3:, 4:] = 1
    labels, counts = OwnKernels.cc_2d(mask)
    assert counts[0, 0, 0, 0] == counts[0, 0, 1, 1] == 2
    assert counts[0, 0, 4, 5] == 4
    assert counts[mask == 0].eq(0).all()
    assert labels.unique().numel() == 3


def test_holes_are_filled_and_nothing_is_fetched(engine: Sam3) -> None:
    from transformers.models.sam3_video import modeling_sam3_video

    found(engine, "the man")
    assert modeling_sam3_video.cv_utils_kernel is OwnKernels
    mask = torch.full((1, 1, 12, 12), -5.0)
    mask[..., 2:10, 2:10] = 5
    mask[..., 5, 5] = -5
    filled = modeling_sam3_video.fill_holes_in_mask_scores(mask, max_area=16)
    assert filled[0, 0, 5, 5] > 0
    assert filled[0, 0, 0, 0] < 0
