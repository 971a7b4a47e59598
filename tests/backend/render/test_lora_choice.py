"""LoRAs of a request on their way to the engine, and as they are typed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from voidbridge_backend.cli.options import sent_loras
from voidbridge_backend.engines.base import LoraChoice
from voidbridge_backend.engines.echo import ENGINE
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.render.inputs import InputFiles
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.render.remove import lora_choices, use_loras
from voidbridge_protocol.errors import BadSetting, DamagedFile
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request


class Quiet:
    def step(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, text: str) -> None: ...


def order(settings: RemoveSettings, folder: Path) -> RenderJob:
    files = tuple(FrameFile(role, 1, "a" * 64, 9) for role in ("lora", "matte", "plate"))
    return RenderJob("job", Request(1, 1, settings, files), lambda sha256: folder / sha256, folder)


def test_a_typed_file_is_sent_and_a_name_stays_a_name(tmp_path: Path) -> None:
    file = tmp_path / "show.safetensors"
    file.write_bytes(b"x")
    settings, files = sent_loras(RemoveSettings(engine="void", lora=f"harbour=0.5, {file}:-.25"))
    assert settings.lora == "harbour:0.5,@1:-0.25"
    assert [files["lora"].path(frame) for frame in files["lora"].scan()] == [file]
    assert sent_loras(RemoveSettings(lora="harbour"))[1] == {}


def test_a_file_is_not_sent_to_an_engine_without_use_for_it(tmp_path: Path) -> None:
    file = tmp_path / "show.safetensors"
    file.write_bytes(b"x")
    with pytest.raises(BadSetting, match="cleanplate takes no LoRA, so "):
        sent_loras(RemoveSettings(lora=f"{file}:1"))
    assert sent_loras(RemoveSettings(engine="of-a-newer-daemon", lora=str(file)))[1]


@pytest.mark.parametrize("words", ["gone.safetensors", "folder/gone:0.5"])
def test_a_file_that_is_not_there_is_refused_before_anything_is_sent(words: str) -> None:
    with pytest.raises(BadSetting, match="there is no LoRA file"):
        sent_loras(RemoveSettings(lora=words))


def test_a_strength_outside_its_range_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"strength 5; it lies in \[-4, 4\]"):
        RemoveSettings(lora="harbour:5")


def test_a_number_means_the_file_of_the_request(tmp_path: Path) -> None:
    settings = RemoveSettings(engine="void", lora="@1:0.5,harbour")
    first, second = lora_choices(order(settings, tmp_path), settings)
    assert (first.name, first.strength, first.path) == ("lora frame 1", 0.5, tmp_path / ("a" * 64))
    assert (second.name, second.strength, second.path) == ("harbour", 1.0, None)
    settings = RemoveSettings(engine="void", lora="@2")
    with pytest.raises(BadSetting, match="has no file in this job"):
        lora_choices(order(settings, tmp_path), settings)


class Taker:
    def __init__(self) -> None:
        self.files: list[bytes] = []

    def use_loras(self, choices: Sequence[LoraChoice], settings: object, watch: object) -> None:
        self.files += [choice.path.read_bytes() for choice in choices if choice.path]


def test_a_file_that_changed_on_the_disk_reaches_no_engine(tmp_path: Path) -> None:
    settings, name = (
        RemoveSettings(engine="void", lora="@1"),
        hashlib.sha256(b"trained").hexdigest(),
    )
    files = tuple(FrameFile(role, 1, name, 7) for role in ("lora", "matte", "plate"))
    made = RenderJob("job", Request(1, 1, settings, files), lambda _: tmp_path / "file", tmp_path)
    taker = Taker()
    (tmp_path / "file").write_bytes(b"trained")
    use_loras(made, taker, settings, Quiet())
    (tmp_path / "file").write_bytes(b"trainer")
    with pytest.raises(DamagedFile, match="lora frame 1 changed") as found:
        use_loras(made, taker, settings, Quiet())
    assert found.value.files == (name,)
    assert taker.files == [b"trained"]


def test_an_engine_without_weights_refuses_a_lora(tmp_path: Path) -> None:
    engine = ENGINE.make("cpu", None)
    settings = RemoveSettings(engine="echo", lora="harbour")
    with pytest.raises(BadSetting, match="the engine echo takes no LoRA"):
        use_loras(order(settings, tmp_path), engine, settings, Quiet())
    settings = RemoveSettings(engine="echo")
    use_loras(order(settings, tmp_path), engine, settings, Quiet())


def test_the_header_that_a_shot_depends_on_is_of_the_file_that_was_sent(tmp_path: Path) -> None:
    light = dict.fromkeys("RGB", np.zeros((2, 4), np.float16))
    data = new_file(light)
    name = hashlib.sha256(data).hexdigest()
    files = tuple(FrameFile(role, 1, name, len(data)) for role in ("matte", "plate"))
    (tmp_path / "file").write_bytes(data)
    source = InputFiles.of(Request(1, 1, RemoveSettings(), files), lambda _: tmp_path / "file")
    assert source.checked_header("plate", 1).parts[0].data_window.width == 4
    (tmp_path / "file").write_bytes(new_file({**light, "A": light["R"]}))
    with pytest.raises(DamagedFile, match="plate frame 1: the file changed"):
        source.checked_header("plate", 1)
