"""The published code beside ours: what it is given, what its answers become; where it is there, the real one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from safetensors.torch import load_file

FOLDER = Path(__file__).parents[3] / "benchmarks" / "void"
OPTIONS = {"height": 32, "width": 48, "window": 21, "fineness": 1}

STAND_IN = {
    "videox_fun/__init__.py": "",
    "videox_fun/models.py": """
import json, pathlib
class Part:
    def __init__(self, path, given):
        self.config = json.loads((path / "config.json").read_text()) if (path / "config.json").exists() else {}
        self.given = given
    @classmethod
    def from_pretrained(cls, base, subfolder, **given):
        assert list((pathlib.Path(base) / subfolder).iterdir())
        return cls(pathlib.Path(base) / subfolder, given)
    def to(self, dtype):
        return self
    def load_state_dict(self, state, strict):
        self.loaded = state["patch_embed.proj.weight"].shape
class AutoencoderKLCogVideoX(Part): pass
class CogVideoXTransformer3DModel(Part): pass
class T5EncoderModel(Part): pass
class T5Tokenizer(Part): pass
""",
    "videox_fun/pipeline/__init__.py": """
from .pipeline_cogvideox_fun_inpaint import CogVideoXFunInpaintPipeline
""",
    "videox_fun/pipeline/pipeline_cogvideox_fun_inpaint.py": """
import json, os, torch
def add_noise_to_reference_video(image, ratio=None):
    raise AssertionError("not the given noise")
class CogVideoXFunInpaintPipeline:
    def __init__(self, **parts):
        self.parts = parts
    def set_progress_bar_config(self, **given): pass
    def to(self, device):
        return self
    def __call__(self, **given):
        transformer = self.parts["transformer"]
        assert transformer.config["add_noise_in_inpaint_model"] and transformer.config["in_channels"] == 33
        with open(os.environ["HEARD"], "a") as file:
            said = {name: list(value.shape) if torch.is_tensor(value) else value for name, value in given.items()}
            said["scheduler"] = type(self.parts["scheduler"]).__name__
            said["weights"] = list(transformer.loaded)
            file.write(json.dumps(said) + "\\n")
        noisy = add_noise_to_reference_video(given["video"] * 2 - 1, 0.0)
        return type("Answer", (), {"videos": noisy / 2 + 0.5})
""",
}
"""A package with the names that the driver uses, which answers with the plate."""


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("rig", "exactness", "rival"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import rival as found  # type: ignore[import-not-found]

    return found


@pytest.fixture
def bench(rival: Any, tiny: Path, tmp_path: Path) -> Any:
    models = tmp_path / "models"
    models.mkdir()
    for path in tiny.iterdir():
        if path.name != "voidbridge.json":
            (models / path.name).symlink_to(path)
    (models / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return rival.Bench(models, "cpu", 1, 0.01)


def test_both_sides_are_given_the_same(
    rival: Any, bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, work = tmp_path / "checkout", tmp_path / "work"
    work.mkdir()
    for name, text in STAND_IN.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("VOID_REFERENCE", str(checkout))
    monkeypatch.delenv("VOID_REFERENCE_PYTHON", raising=False)
    monkeypatch.setenv("HEARD", str(tmp_path / "heard"))
    found = rival.rival(bench, [29], work)

    assert [(row["pass"], row["frames"]) for row in found["warm"]] == [(1, 29), (2, 21)]
    assert all(row["seconds"] > 0 and row["published_s"] >= 0 for row in found["warm"])
    assert all(0 < row["psnr_db"] < 100 for row in found["warm"])  # It answers with the plate.
    assert found["script_cold"]["left_out"]
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    first, _, second, _ = heard
    assert (first["scheduler"], second["scheduler"]) == ("DDIMScheduler", "CogVideoXDDIMScheduler")
    assert (first["guidance_scale"], second["guidance_scale"]) == (1.0, 6.0)
    assert (first["use_trimask"], second["use_trimask"]) == (True, False)
    assert (first["latents"], second["latents"]) == ([1, 8, 16, 4, 6], [1, 6, 16, 4, 6])
    assert (first["video"], first["num_frames"]) == ([1, 3, 29, 32, 48], 21)
    assert first["weights"][1] == 384
    given = load_file(work / "pass1_29.safetensors")
    assert set(np.unique(given["mask"].numpy())) == {0, 1}
    assert float(given["mask"][0, 0, 0, 10, 16]) == 1  # The hole is 1 there.
    plates = np.stack([bench.shot(29).plate(1001 + index) for index in range(29)])
    assert np.allclose(given["video"][0].permute(1, 2, 3, 0).numpy(), plates, atol=1e-6)


def test_without_a_checkout_it_says_so(
    rival: Any, bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOID_REFERENCE", raising=False)
    found = rival.rival(bench, [21], tmp_path)
    assert found == {"left_out": "VOID_REFERENCE names no checkout of Netflix/void-model"}


def test_its_script_is_started_with_the_same_model_and_a_clip_without_loss(
    rival: Any, bench: Any, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    script = checkout / rival.SCRIPT
    script.parent.mkdir(parents=True)
    script.write_text(
        "import json, pathlib, sys\n"
        "given = dict(word.lstrip('-').split('=', 1) for word in sys.argv[1:])\n"
        "out = pathlib.Path(given['config.experiment.save_path'])\n"
        "out.mkdir()\n"
        "(out / 'shot-fg=-1-0001.mp4').touch()\n"
        "(out / 'heard.json').write_text(json.dumps(given))\n"
    )
    found = rival.script(bench, checkout, sys.executable, tmp_path / "base", tmp_path)
    assert found["seconds"] > 0
    heard = json.loads((tmp_path / "out/heard.json").read_text())
    assert heard["config.video_model.model_name"] == str(tmp_path / "base")
    assert heard["config.video_model.transformer_path"].endswith("void_pass1.safetensors")
    assert heard["config.data.sample_size"] == "32x48"
    folder = Path(heard["config.data.data_rootdir"]) / heard["config.experiment.run_seqs"]
    assert set(json.loads((folder / "prompt.json").read_text())) == {"bg"}
    shot = bench.shot(bench.options.window)
    for name, read in (("input_video", shot.plate), ("quadmask_0", shot.quadmask)):
        with av.open(str(folder / f"{name}.mp4")) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) == 21
        wanted = read(1003)
        wanted = (wanted * 255).round() if wanted.ndim == 3 else wanted[..., None]
        assert np.array_equal(frames[2], np.broadcast_to(wanted, frames[2].shape))

    script.write_text("raise SystemExit('no torchvision here')")
    assert "no torchvision here" in str(
        rival.script(bench, checkout, sys.executable, tmp_path, tmp_path)
    )


@pytest.mark.skipif(
    not (os.environ.get("VOID_REFERENCE") and os.environ.get("VOID_REFERENCE_PYTHON")),
    reason="VOID_REFERENCE and VOID_REFERENCE_PYTHON name no checkout of Netflix/void-model and its Python",
)
def test_the_published_pipeline_gives_the_same_pictures(
    rival: Any, bench: Any, tmp_path: Path
) -> None:
    bench.steps = 2
    found = rival.rival(bench, [21, 37], tmp_path)
    assert all(row["psnr_worst_db"] > 100 for row in found["warm"]), found
