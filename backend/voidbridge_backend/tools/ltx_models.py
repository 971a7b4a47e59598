"""Manages the models folder of the engine `ltx`: shows its parts, and fetches them after the consent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi
from rich.console import Console
from rich.table import Table

from voidbridge_backend.client.progress import JsonView
from voidbridge_backend.engines.ltx import tiny, weights
from voidbridge_backend.engines.ltx.terms import TERMS

from .models import fetch_pinned, require_empty, shown_size

REPOSITORY = "diffusers/LTX-2.3-Distilled-Diffusers"
FOLDERS = (*weights.NETWORKS, weights.UPSAMPLER, "scheduler", "tokenizer")
ENDS = (".safetensors", ".json", ".model", ".jinja")
LICENCES = ("license", "readme")


def show(folder: Path, *, as_json: bool) -> None:
    """Prints every part with its size. Raises `ModelMissing` if a job cannot run."""
    named = [(name, f"{weights.BASE}/{name}") for name in (*weights.NETWORKS, weights.UPSAMPLER)]
    table = Table("part", "path", "size", "state", box=None, pad_edge=False)
    for name, path in [*named, ("LoRA of hdr", weights.HDR)]:
        at = folder / path
        size = at.stat().st_size if at.is_file() else weights.bytes_of(at)
        state = "ok" if size else "missing"
        if as_json:
            _said(name, at, state, size)
        table.add_row(name, path, shown_size(size) if size else "", state)
    if not as_json:
        Console(highlight=False, markup=False, soft_wrap=True, width=250).print(str(folder), table)
    weights.require(folder)


def make_tiny(folder: Path) -> None:
    """Writes tiny networks to an empty or new folder. Raises `ModelMissing` if it has other files."""
    require_empty(folder)
    tiny.make_tiny(folder)


def fetch(folder: Path, on_message: Callable[[str], None], hub: HfApi | None = None) -> None:
    """Fetches the files that `folder` lacks from huggingface.co, at one revision.

    Raises `TermsNotAccepted` before anything is fetched, `ModelMissing` if the site is unreachable or sends other
    bytes than announced, `DiskFull`.
    """
    TERMS.require(folder)
    fetch_pinned(folder, REPOSITORY, weights.BASE, _is_wanted, on_message, hub, "ltx")


def _said(part: str, path: Path, state: str, size: int) -> None:
    """The upsampler and the LoRA are for one setting and one mode."""
    passes = 1 if part in weights.NETWORKS else 0
    JsonView().event(
        "model",
        part=part,
        path=str(path),
        state=state,
        size=size,
        passes=passes,
        text="",
        source=REPOSITORY,
        fingerprint="",
    )


def _is_wanted(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if not folder:
        return name == "model_index.json" or name.lower().startswith(LICENCES)
    return folder in FOLDERS and file.endswith(ENDS)
