"""A user's file of CorridorKey's weights is read whole, or refused with the reason."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from voidbridge_backend.engines.corridorkey import weights
from voidbridge_backend.engines.corridorkey.hiera import Layout
from voidbridge_backend.engines.corridorkey.network import KeyNetwork
from voidbridge_protocol.errors import ModelMissing

SMALL = Layout(embed=16, heads=2, stages=(1, 2, 3, 2), size=64)


@pytest.fixture
def values() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return KeyNetwork(SMALL).state_dict()


def test_both_kinds_of_file_give_the_same_network(
    values: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({"state_dict": values}, tmp_path / "CorridorKey.pth")
    save_file(values, tmp_path / "CorridorKey.safetensors")
    picture = torch.rand(1, 4, 64, 64)
    with torch.inference_mode():
        found = [weights.load(tmp_path / name, SMALL)(picture).alpha for name in weights.NAMES]
    assert torch.equal(*found)


def test_the_position_table_is_resampled_to_another_size(
    values: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(values, tmp_path / "CorridorKey.pth")
    network = weights.load(tmp_path / "CorridorKey.pth", Layout(16, 2, (1, 2, 3, 2), size=96))
    assert network.encoder.model.pos_embed.shape == (1, 24 * 24, 16)


def test_another_network_is_refused_with_the_first_three_keys(
    values: dict[str, Tensor], tmp_path: Path
) -> None:
    for name in list(values)[3:9]:
        values[f"other.{name}"] = values.pop(name)
    torch.save(values, tmp_path / "CorridorKey.pth")
    with pytest.raises(ModelMissing, match=r"12 of 175 tensors differ; (\S+ is missing(; )?){3}$"):
        weights.load(tmp_path / "CorridorKey.pth", SMALL)


def test_a_tensor_of_another_shape_is_refused(values: dict[str, Tensor], tmp_path: Path) -> None:
    values["refiner.final.weight"] = torch.zeros(3, 64, 1, 1)
    torch.save(values, tmp_path / "CorridorKey.pth")
    with pytest.raises(
        ModelMissing, match=r"refiner\.final\.weight is \(3, 64, 1, 1\), not \(4, 64, 1, 1\)"
    ):
        weights.load(tmp_path / "CorridorKey.pth", SMALL)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harm",)


def test_a_file_that_would_run_code_is_refused_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CorridorKey.pth").write_bytes(pickle.dumps({"state_dict": Hostile()}, protocol=2))
    with pytest.raises(ModelMissing, match="cannot be read as weights"):
        weights.read(tmp_path / "CorridorKey.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", weights.NAMES)
def test_a_damaged_file_is_refused(values: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    torch.save(values, path) if path.suffix == ".pth" else save_file(values, path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ModelMissing, match="cannot be read as weights"):
        weights.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"CorridorKey\.pth does not exist"):
        weights.read(tmp_path / "CorridorKey.pth")
