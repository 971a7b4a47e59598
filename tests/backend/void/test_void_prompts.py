"""Words become numbers once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from voidbridge_backend.engines.void.files import prompts
from voidbridge_backend.engines.void.files.prompts import (
    END,
    PAD,
    TOKENS,
    PromptEmbeddings,
    Tokenizer,
)
from voidbridge_backend.engines.void.files.weights import BASE
from voidbridge_protocol.errors import ModelMissing


def test_a_text_is_ended_and_padded(tiny: Path) -> None:
    ids = Tokenizer(tiny).ids("the table")[0].tolist()
    end = ids.index(END)
    assert len(ids) == TOKENS
    assert end > 0
    assert set(ids[end + 1 :]) == {PAD}
    assert Tokenizer(tiny).ids("")[0].tolist() == [END, *[PAD] * (TOKENS - 1)]


def test_a_long_text_is_cut_and_still_ended(tiny: Path) -> None:
    ids = Tokenizer(tiny).ids("the table stands by the window " * 100)[0].tolist()
    assert len(ids) == TOKENS
    assert ids[-1] == END


def test_an_embedding_is_kept_on_disk_and_the_encoder_is_not_read_again(
    tiny: Path, tmp_path: Path
) -> None:
    models = Path(shutil.copytree(tiny, tmp_path / "models"))
    cache = tmp_path / "cache"
    first = PromptEmbeddings(models, torch.float32, cache).embeddings(["a table", ""], "cpu")
    again = PromptEmbeddings(models, torch.float32, cache)
    encoder = models / BASE / "text_encoder" / "config.json"
    encoder.unlink()
    assert all(
        torch.equal(a, b)
        for a, b in zip(first, again.embeddings(["a table", ""], "cpu"), strict=True)
    )
    with pytest.raises(ModelMissing, match=r"config\.json"):
        again.embeddings(["another"], "cpu")


def test_another_type_or_another_encoder_is_another_embedding(tiny: Path, tmp_path: Path) -> None:
    models = Path(shutil.copytree(tiny, tmp_path / "models"))
    cache = tmp_path / "cache"
    PromptEmbeddings(models, torch.float32, cache).embeddings(["a table"], "cpu")
    PromptEmbeddings(models, torch.bfloat16, cache).embeddings(["a table"], "cpu")
    assert len(list(cache.glob("*.safetensors"))) == 2
    shards = models / BASE / "text_encoder" / "model.safetensors"
    shards.write_bytes((models / BASE / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    with pytest.raises(ModelMissing, match="does not fit"):
        PromptEmbeddings(models, torch.float32, cache).embeddings(["a table"], "cpu")


def test_each_kind_of_device_and_each_torch_has_embeddings_of_its_own(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They round differently, so the frames of a job would depend on where its prompt was read before."""
    cached = PromptEmbeddings(tiny, torch.float32, tmp_path)
    cached.embeddings(["a table"], "cpu")
    assert cached.lacking(["a table"], "cpu") == []
    assert cached.lacking(["a table"], "meta") == ["a table"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index // 2}")
    kinds = [prompts.kind(device) for device in ("cpu", "cuda:0", "cuda:1", "cuda:2")]
    assert kinds == ["cpu", "card 0", "card 0", "card 1"]
    monkeypatch.setattr(torch, "__version__", "9.9")
    again = PromptEmbeddings(tiny, torch.float32, tmp_path)
    assert again.lacking(["a table"], "cpu") == ["a table"]


def test_a_damaged_entry_is_computed_again(tiny: Path, tmp_path: Path) -> None:
    first = PromptEmbeddings(tiny, torch.float32, tmp_path).embeddings(["a table"], "cpu")[0]
    (entry,) = tmp_path.glob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:100])
    assert torch.equal(
        PromptEmbeddings(tiny, torch.float32, tmp_path).embeddings(["a table"], "cpu")[0], first
    )


def test_a_cache_that_cannot_be_written_is_done_without(tiny: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    found = PromptEmbeddings(tiny, torch.float32, blocked / "cache").embeddings(["a table"], "cpu")[
        0
    ]
    assert found.shape == (1, TOKENS, 16)


def test_a_missing_tokenizer_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"spiece\.model"):
        Tokenizer(tmp_path)
