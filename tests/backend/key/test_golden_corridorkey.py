"""CorridorKey's network against stored outputs of the published code, for weights made by a rule."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from voidbridge_backend.engines.corridorkey import pictures, weights
from voidbridge_backend.engines.corridorkey.hiera import PATCH, Layout
from voidbridge_backend.engines.corridorkey.network import KeyNetwork, Prediction
from voidbridge_backend.imaging.mattes.islands import remove_islands

Floats = NDArray[np.float32]

RELATIVE = 1e-5
"""Largest difference, as a share of the larger of 1 and a tensor's largest value."""


@pytest.fixture(scope="session")
def stored(golden: Path) -> Path:
    folder = golden / "key"
    if not (folder / "index.json").is_file():
        pytest.skip(f"no stored outputs in {folder}")
    return folder


def index(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "index.json").read_text())
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption("--golden")).resolve() / "key"
    cases = index(folder)["cases"] if (folder / "index.json").is_file() else {}
    forward = [name for name, about in cases.items() if "input_is_linear" in about]
    metafunc.parametrize(
        "case", forward or [pytest.param("none", marks=pytest.mark.skip("no stored outputs"))]
    )


@cache
def tensors(path: Path) -> dict[str, Tensor]:
    return load_file(path)


def assert_close(found: Tensor | Floats, expected: Tensor, name: str) -> None:
    ours = torch.as_tensor(found)
    assert ours.shape == expected.shape, name
    limit = RELATIVE * max(1.0, float(expected.abs().max()))
    assert float((ours - expected).abs().max()) <= limit, name


def layout_of(about: dict[str, Any], size: int) -> Layout:
    encoder = about.get("encoder", {})
    return Layout(
        embed=encoder.get("embed_dim", 112),
        heads=encoder.get("num_heads", 2),
        stages=tuple(encoder.get("stages", (2, 3, 16, 3))),
        size=size,
    )


def network_of(stored: Path, case: str, folder: Path) -> KeyNetwork:
    """The case's network, loaded from a .pth as a user would have it."""
    found = index(stored)
    about = found["cases"][case]
    if about["weights"] == "tiny_weights":
        source = found["cases"]["tiny_weights"]
        values = load_file(stored / "tiny_weights.safetensors")
    else:
        source = {}
        side = about["img_size"] // PATCH
        shapes = {**found["full_keys"], weights.POSITIONS: [1, side * side, Layout().embed]}
        values = made_by_rule(stored, shapes)
    layout = layout_of(source, about["img_size"])
    if about.get("use_refiner") is False:
        layout = Layout(layout.embed, layout.heads, layout.stages, layout.size, refiner=False)
        values = {name: value for name, value in values.items() if "refiner" not in name}
    path = folder / "CorridorKey.pth"
    torch.save({"state_dict": {f"_orig_mod.{name}": value for name, value in values.items()}}, path)
    return weights.load(path, layout)


def made_by_rule(stored: Path, shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("rule_of_weights", stored / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    return {name: torch.as_tensor(value) for name, value in rule.fill(shapes).items()}


def test_golden_network_gives_the_stored_tensors(stored: Path, case: str, tmp_path: Path) -> None:
    about, expected = index(stored)["cases"][case], tensors(stored / f"{case}.safetensors")
    network = network_of(stored, case, tmp_path)
    picture = pictures.network_input(
        expected["rgb"].numpy(),
        expected["hint"].numpy(),
        about["img_size"],
        linear=about["input_is_linear"],
    )
    with torch.inference_mode():
        found = network(picture, about.get("refiner_scale", 1.0))
    ours = by_name(found, network, picture)
    compared = {name for name in expected if name in ours}
    assert compared == {name for name in expected if "." not in name} - {"rgb", "hint"}
    for name in compared:
        assert_close(ours[name], expected[name], name)


def by_name(found: Prediction, network: KeyNetwork, picture: Tensor) -> dict[str, Tensor]:
    size = network.layout.size
    named = {
        "network_input": picture,
        "alpha": found.alpha,
        "fg": found.foreground,
        "coarse": found.coarse,
        "alpha_logits_quarter": found.alpha_logits,
        "fg_logits_quarter": found.foreground_logits,
        f"pos_embed_{size}": network.encoder.model.pos_embed,
    }
    if found.deltas is not None:
        named["refiner_delta_logits"] = found.deltas
    named.update({f"feature_{number}": grid for number, grid in enumerate(found.features)})
    return named


def despilled(
    foreground: Floats, strength: float, limit: Callable[[Floats, Floats], Floats] | None = None
) -> Floats:
    """[height, width, 3] without green above `limit` of red and blue, as the published code removes it."""
    if strength <= 0:
        return foreground
    red, green, blue = (foreground[..., plane] for plane in range(3))
    most = (red + blue) / 2 if limit is None else limit(red, blue)
    spill = np.maximum(green - most, 0)
    clean = np.stack([red + spill / 2, green - spill, blue + spill / 2], axis=-1)
    if strength >= 1:
        return clean
    return foreground + (clean - foreground) * np.float32(strength)


def back_bilinear(planes: Tensor, height: int, width: int) -> Floats:
    """[1, channels, S, S] to [height, width, channels], as the published code does on a card."""
    size = (height, width)
    planes = interpolate(planes, size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(planes[0].numpy().transpose(1, 2, 0))


def checkerboard(height: int, width: int) -> Floats:
    """[height, width, 3] of linear light, as the published code shows a key."""
    rows, columns = np.indices((height, width)) // 128
    board = np.where((rows + columns) % 2 == 0, 0.15, 0.55).astype(np.float32)
    return pictures.to_linear(np.repeat(board[..., None], 3, axis=-1))


def test_golden_results_of_a_frame_are_the_stored_ones(stored: Path, case: str) -> None:
    about, expected = index(stored)["cases"][case], tensors(stored / f"{case}.safetensors")
    ways = {"cpu": pictures.back_lanczos, "torch": back_bilinear}
    ways = {name: way for name, way in ways.items() if f"{name}.alpha" in expected}
    if not ways:
        pytest.skip("the case holds the network's outputs only")
    height, width = expected["rgb"].shape[:2]
    for name, way in ways.items():
        alpha = way(expected["alpha"], height, width)
        foreground = way(expected["fg"], height, width)
        assert_close(alpha, expected[f"{name}.alpha"], "alpha")
        assert_close(foreground, expected[f"{name}.fg"], "fg")
        area = about["despeckle_size"] if about["auto_despeckle"] else 0
        matte = remove_islands(alpha[..., 0], area) if area else alpha[..., 0]
        light = pictures.to_linear(despilled(foreground, about["despill_strength"]))
        premultiplied = light * matte[..., None]
        over = premultiplied + checkerboard(height, width) * (1 - matte[..., None])
        assert_close(np.dstack([premultiplied, matte]), expected[f"{name}.processed"], "processed")
        assert_close(pictures.to_srgb(over), expected[f"{name}.comp"], "comp")


def test_golden_islands_are_removed_as_stored(stored: Path) -> None:
    expected = tensors(stored / "post_clean_matte.safetensors")
    alpha = expected["alpha"].numpy()
    for name in set(expected) - {"alpha"}:
        area, growth, blur = (int(part) for part in name.split(".")[1:])
        assert_close(remove_islands(alpha, area, growth, blur), expected[name], name)


def test_golden_spill_is_removed_as_stored(stored: Path) -> None:
    expected = tensors(stored / "post_despill.safetensors")
    foreground = expected["fg"].numpy()
    for name in set(expected) - {"fg"}:
        mode, strength = name.split(".", 1)
        limit = np.maximum if mode == "max" else None
        assert_close(despilled(foreground, float(strength), limit), expected[name], name)


def test_golden_curves_and_checkerboard_are_the_stored_ones(stored: Path) -> None:
    expected = tensors(stored / "post_curve.safetensors")
    x = expected["x"].numpy()
    assert_close(pictures.to_srgb(x), expected["to_srgb"], "to_srgb")
    assert_close(pictures.to_linear(x), expected["to_linear"], "to_linear")
    board = expected["checker_300x200"]
    found = checkerboard(*board.shape[:2])
    either = [torch.as_tensor(found), torch.as_tensor(pictures.to_srgb(found))]
    assert min(float((one - board).abs().max()) for one in either) <= RELATIVE


def test_golden_layout_has_the_published_keys_and_shapes(stored: Path) -> None:
    expected = index(stored)["full_keys"]
    with torch.device("meta"):
        network = KeyNetwork(Layout(size=64))
        published = KeyNetwork(Layout())
    found = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert len(found) == 367
    assert found == expected
    for name, shape in index(stored)["full_keys_at_2048"].items():
        assert list(published.state_dict()[name].shape) == shape
