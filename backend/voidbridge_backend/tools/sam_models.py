"""Manages the models folder of the engines `sam2` and `sam3`: shows their checkpoints, and fetches one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi
from rich.console import Console
from rich.table import Table

from voidbridge_backend.client.progress import JsonView
from voidbridge_backend.engines import sam2, sam3
from voidbridge_backend.engines.sam2.weights import find

from .models import fetch_pinned, shown_size

OWNER = "facebook"
FOLDERS = {"sam2": sam2.FOLDERS, "sam3": sam3.FOLDERS}
LICENSES = {
    "sam2": "Apache-2.0",
    "sam3": "the SAM License; huggingface.co shows it and asks for your consent, and fetches with your own token",
}
ENDS = (".safetensors", ".json", "merges.txt")
TEXTS = ("license", "readme")


def show(engine: str, folder: Path, *, as_json: bool) -> None:
    """Prints every checkpoint with its size. Raises `ModelMissing` if none is there."""
    table = Table("checkpoint", "path", "size", "state", box=None, pad_edge=False)
    for name in FOLDERS[engine]:
        at = folder / name
        size = sum(path.stat().st_size for path in at.glob("*.safetensors"))
        state = "ok" if size and (at / "config.json").is_file() else "missing"
        if as_json:
            JsonView().event(
                "model",
                part=name,
                path=str(at),
                state=state,
                size=size,
                passes=0,
                text=LICENSES[engine],
                source=f"{OWNER}/{name}",
                fingerprint="",
            )
        table.add_row(name, name, shown_size(size) if size else "", state)
    if not as_json:
        console = Console(highlight=False, markup=False, soft_wrap=True, width=250)
        console.print(str(folder), table, f"license: {LICENSES[engine]}")
    find(engine, FOLDERS[engine], folder)


def fetch(
    engine: str, folder: Path, on_message: Callable[[str], None], hub: HfApi | None = None
) -> None:
    """Fetches what is lacking of the first checkpoint that is begun, or of the best, at one revision.

    Raises as `fetch_pinned`.
    """
    names = FOLDERS[engine]
    name = next((found for found in names if (folder / found).is_dir()), names[0])
    on_message(f"license: {LICENSES[engine]}")
    fetch_pinned(folder, f"{OWNER}/{name}", name, _is_wanted, on_message, hub, engine)


def _is_wanted(name: str) -> bool:
    return "/" not in name and (name.endswith(ENDS) or name.lower().startswith(TEXTS))
