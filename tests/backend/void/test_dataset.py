"""Datasets: pasting, reading a show's clips, encoding, holding out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.client.training.dataset_list import read_list
from voidbridge_backend.client.training.show_file import read_show
from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void_lora.pairs import read_pair
from voidbridge_backend.tools.dataset.build import build, held_out
from voidbridge_backend.tools.dataset.paste import CutOutClip, blob, pasted
from voidbridge_protocol.errors import BadPair, BadSetting

FRAMES = range(1001, 1004)


def plate_of(count: int, height: int = 48, width: int = 80) -> list[Pixels]:
    texture = np.random.default_rng(4).random((height, width + count, 3)).astype(np.float32)
    return [texture[:, at : at + width] for at in range(count)]


def disk(count: int, height: int = 48, width: int = 80) -> CutOutClip:
    rows, columns = np.mgrid[:height, :width]
    alpha = (np.hypot(rows - 24, columns - 40) < 6).astype(np.float32)
    return CutOutClip([np.full((height, width, 3), 0.9, np.float32)] * count, [alpha] * count)


def test_a_pasted_clip_is_the_plate_wherever_the_quadmask_keeps_it() -> None:
    plate = plate_of(6)
    made = pasted(plate, disk(2), seed=3)
    assert len(made.pictures) == len(made.codes) == 6
    for index, (picture, codes) in enumerate(zip(made.pictures, made.codes, strict=True)):
        kept = codes == 255
        # Object and shadow are counted from 2 and 3 % on; the first frame has no affected area.
        limit = 0.05 if index else 0.7
        assert np.abs(picture - plate[index])[kept].max() < limit
        removed = (codes == 0) | (codes == 63)
        assert 40 < removed.sum() < 600
        assert (np.abs(picture - plate[index]).max(2)[removed] > 0.01).mean() > 0.9
    assert not (made.codes[0] == 127).any()
    assert (made.codes[3] == 127).any()


def test_an_object_moves_blurs_and_casts_a_shadow() -> None:
    plate = [np.full((48, 80, 3), 0.5, np.float32)] * 8
    made = pasted(plate, disk(1), seed=5)
    middles = [np.argwhere((c == 0) | (c == 63)).mean(0) for c in made.codes]
    assert np.hypot(*(middles[-1] - middles[0])) > 5
    shadow = [(p < 0.45).all(2).sum() for p in made.pictures]
    assert min(shadow) > 10
    # A still alpha of 0 and 1 has soft edges after motion blur.
    light = made.pictures[4][..., 0]
    assert ((light > 0.55) & (light < 0.85)).sum() > 10


def test_the_same_seed_pastes_the_same_and_another_one_otherwise() -> None:
    plate = plate_of(3)
    one, same, other = (pasted(plate, blob(plate, seed), seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.pictures, same.pictures, strict=True))
    assert not np.array_equal(one.pictures[1], other.pictures[1])


def test_a_tenth_of_the_clips_is_held_out_and_at_least_one() -> None:
    assert [len(held_out(clips, 0)) for clips in (0, 1, 2, 9, 10, 25, 40)] == [0, 0, 1, 1, 1, 2, 4]
    assert held_out(40, 0) == held_out(40, 0) != held_out(40, 1)


def write(path: Path, planes: dict[str, NDArray[np.float16]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, dict(planes)).write(str(path))


SHOW = """\
show = "harbour"
rights = "Harbour Films"
consent = "no persons"
variations = 2

[[plate]]
clip = "a/plate.####.exr"
prompt = "a table"

[[object]]
clip = "b/plate.####.exr"
matte = "b/matte.####.exr"

[[approved]]
clip = "b/plate.####.exr"
matte = "b/matte.####.exr"
clean = "b/clean.####.exr"
prompt = "a street"
rights = "Another House"

[training]
pass_number = 2
rank = 16
learning_rate = 1
"""


@pytest.fixture(scope="module")
def show_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A show with one clean plate, one object, and one approved shot, in HALF light."""
    folder = tmp_path_factory.mktemp("show")
    random = np.random.default_rng(2)
    for name in "ab":
        texture = random.random((60, 110, 3)).astype(np.float16)
        for frame in FRAMES:
            light = texture[:, frame - 1001 : frame - 1001 + 96].copy()
            planes = {c: np.ascontiguousarray(light[..., i]) for i, c in enumerate("RGB")}
            if name == "b":
                write(folder / f"b/clean.{frame}.exr", planes)
                light[20:36, 30:50] = 0.9
                planes = {c: np.ascontiguousarray(light[..., i]) for i, c in enumerate("RGB")}
                matte = np.zeros((60, 96), np.float16)
                matte[20:36, 30:50] = 1
                write(folder / f"b/matte.{frame}.exr", {"A": matte})
            write(folder / f"{name}/plate.{frame}.exr", planes)
    (folder / "show.toml").write_text(SHOW)
    return folder / "show.toml"


def test_a_show_becomes_pairs_with_origin_rights_and_a_held_out_clip(
    show_file: Path, tiny: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    show = read_show(show_file)
    assert (show.settings.rank, show.settings.learning_rate, show.settings.show) == (
        16,
        1,
        "harbour",
    )
    build(show, tiny, tmp_path, "cpu", lambda *step: told.append(step))
    pairs = read_list(tmp_path)
    assert [pair.kind for pair in pairs] == ["pasted", "pasted", "approved"]
    assert sorted({pair.held for pair in pairs}) == [False, True]
    assert pairs[0].held == pairs[1].held != pairs[2].held
    assert [pair.rights for pair in pairs] == ["Harbour Films"] * 2 + ["Another House"]
    assert told[-1] == ("making pairs", 3, 3)
    found = [read_pair(tmp_path / pair.file, 2) for pair in pairs]
    for pair in found:
        assert pair.target.shape == (6, 16, 6, 10)
        assert pair.moving_noise.shape == (4, 6, 16, 6, 10)
        assert 0.9 < float(pair.moving_noise.std()) < 1.1
        assert 0 < float(pair.hole.mean()) < 0.7
        inside = (pair.hole > 0.5).expand_as(pair.target)
        away = (pair.hole == 0).expand_as(pair.target)
        change = (pair.plate - pair.target).abs()
        assert change[inside].mean() > change[away].mean()
    assert found[0].record.sources.keys() == {"a/plate.####.exr", "b/plate.####.exr"}
    assert (tmp_path / "dataset.png").stat().st_size > 1000
    first = (tmp_path / pairs[0].file).read_bytes()
    build(show, tiny, tmp_path, "cpu", lambda *_: None)
    assert (tmp_path / pairs[0].file).read_bytes() == first


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('consent = "no persons"\n', "", "has no consent"),
        ("[[plate]]", "[[plates]]", "unknown entry 'plates'"),
        ('matte = "b/matte.####.exr"\n\n', "\n", "without matte"),
        ('show = "harbour"', "", "does not name its show"),
        ("rank = 16", "rank = 16.5", "no int"),
        ("rank = 16", "ranks = 16", "unknown entry in"),
        ("rank = 16", "rank = 0", r"rank is 0; it must lie in \[1, 1024\]"),
        ("variations = 2", "variations = 0", "at least 1"),
        ('prompt = "a table"', "prompt = 3", "not text"),
        ("[training]", "[training", "cannot be read as TOML"),
    ],
)
def test_a_show_file_that_is_wrong_is_refused_with_the_entry(
    show_file: Path, tiny: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in SHOW
    path = tmp_path / "show.toml"
    path.write_text(SHOW.replace(old, new, 1))
    with pytest.raises(BadSetting, match=words):
        build(read_show(path), tiny, tmp_path, "cpu", lambda *_: None)


def test_a_show_without_clips_is_refused(show_file: Path, tiny: Path, tmp_path: Path) -> None:
    show = replace(read_show(show_file), plates=(), approved=())
    with pytest.raises(BadSetting, match="names no clip"):
        build(show, tiny, tmp_path, "cpu", lambda *_: None)


def test_a_dataset_that_lacks_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPair, match="has no list of pairs"):
        read_list(tmp_path)
    pair = {
        "file": "a.safetensors",
        "held": False,
        "sha256": "",
        "name": "a",
        "kind": "",
        "frames": 1,
    }
    (tmp_path / "dataset.json").write_text(json.dumps({"pairs": [pair]}))
    with pytest.raises(BadPair, match=r"lacks the pair a\.safetensors"):
        read_list(tmp_path)
    (tmp_path / "a.safetensors").touch()
    (tmp_path / "sub").mkdir()
    for outside in ("sub/../a.safetensors", f"{tmp_path}/a.safetensors", "c:a.safetensors"):
        (tmp_path / "dataset.json").write_text(json.dumps({"pairs": [{**pair, "file": outside}]}))
        with pytest.raises(BadPair, match="lacks the pair"):
            read_list(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"pairs": [{**pair, "held": True}]}))
    with pytest.raises(BadPair, match="no pair to train on"):
        read_list(tmp_path)


def test_a_show_that_is_too_deep_or_no_plain_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "show.toml"
    path.write_text('show = "a"\nx = ' + "[" * 100_000)
    for hostile in (path, Path("/dev/zero")):
        with pytest.raises(BadSetting, match="cannot be read as TOML"):
            read_show(hostile)


@pytest.mark.parametrize("name", ["5", '"\\u0000"', "[" * 100_000])
def test_a_list_of_pairs_with_values_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "dataset.json").write_text(
        '{"pairs": [{"held": false, "sha256": "", "name": "", "kind": "", "frames": 1, "file": '
        + name
        + "}]}"
    )
    with pytest.raises(BadPair):
        read_list(tmp_path)
