"""Manages the models folder of the engine `void`: shows its content, its missing files, and fetches them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from rich.console import Console
from rich.table import Table

from voidbridge_backend.client.progress import JsonView
from voidbridge_backend.engines.base import LoraChoice
from voidbridge_backend.engines.ltx import weights as ltx
from voidbridge_backend.engines.void import options, tiny
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import inventory, lora_names, loras, networks
from voidbridge_backend.engines.void.files.inventory import REPOSITORIES, SUMS, ModelPart
from voidbridge_backend.engines.void.files.prompts import PromptEmbeddings
from voidbridge_backend.engines.void.files.weights import BASE, PASSES
from voidbridge_protocol.errors import BadLora, DiskFull, ModelMissing

WANTED = {
    REPOSITORIES["base"]: (
        ("scheduler/scheduler_config.json", "tokenizer/spiece.model", "transformer/config.json"),
        ("text_encoder/", "vae/"),
    ),
    REPOSITORIES["passes"]: (tuple(PASSES.values()), ()),
}
"""Files to fetch from each repository: files by name; from folders the safetensors, their index and config."""

KEEP_FREE = 1 << 30
"""Bytes of the disk that stay free after fetching."""
REVISION = ltx.REVISION
"""Beside fetched networks: the revision of the first fetch. A later fetch takes the same."""


@dataclass(frozen=True)
class Remote:
    """One published file: its name in its repository, and the repository's data on it."""

    repository: str
    revision: str
    name: str
    size: int
    sha256: str
    """Empty if the repository gives none, as for small files."""
    folder: str = ""
    """Folder of the models folder for the repository's files; empty for the models folder itself."""

    def path(self) -> str:
        """The file's path below the models folder."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


def show(folder: Path, device: str, *, whole: bool, as_json: bool) -> None:
    """Prints for every part of the model if it exists and is correct.

    Raises `ModelMissing`, with how to get it, if a one-pass job cannot run.
    """
    parts = [*inventory.inventory(folder, whole=whole)]
    if all(part.state == "ok" for part in parts if part.passes == 1):
        parts.append(_prompts(folder, device))
        parts += [_lora(folder, name) for name in lora_names.names(folder)]
    (_show_json if as_json else _show_table)(folder, parts)
    wrong = [part for part in parts if part.passes == 1 and part.state != "ok"]
    if wrong:
        raise ModelMissing(
            f"{folder} is incomplete: " + "; ".join(f"{p.name}: {p.text}" for p in wrong),
            how_to_get(folder),
        )


def make_tiny(folder: Path) -> None:
    """Writes a tiny model to an empty or new folder. Raises `ModelMissing` if it has other files."""
    require_empty(folder)
    tiny.make_tiny(folder)


def require_empty(folder: Path) -> None:
    """Raises `ModelMissing` if a folder for a tiny model has other files."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelMissing(
            f"{folder} is not empty, and a tiny model would replace its files",
            "Choose a folder that is empty or does not exist yet.",
        )


def prepare(folder: Path, device: str) -> None:
    """Computes the embeddings of common prompts, so that no job waits for the encoder."""
    _kept(folder, device).embeddings(_usual(folder), device)


def fetch(folder: Path, on_message: Callable[[str], None], hub: HfApi | None = None) -> None:
    """Fetches the files that `folder` lacks from huggingface.co, and records their SHA-256.

    A file of the published size stays; a partial download is resumed. Raises `ModelMissing` if the site is
    unreachable or sends other bytes than announced, and `DiskFull` before anything is fetched.
    """
    hub = hub or HfApi()
    wanted = [remote for name in WANTED for remote in _published(hub, name)]
    lacking = [remote for remote in wanted if not is_there(folder, remote)]
    folder.mkdir(parents=True, exist_ok=True)
    size, free = sum(remote.size for remote in lacking), shutil.disk_usage(folder).free
    if size + KEEP_FREE > free:
        raise DiskFull(f"{folder} needs {shown_size(size)}, but {shown_size(free)} are free")
    for remote in lacking:
        on_message(f"fetching {remote.path()}, {shown_size(remote.size)}, from {remote.repository}")
        fetched(hub, folder, remote)
    known = inventory.sums(folder) | {r.path(): r.sha256 for r in wanted if r.sha256}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(known.items())]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def fetch_pinned(
    folder: Path,
    repository: str,
    base: str,
    is_wanted: Callable[[str], bool],
    on_message: Callable[[str], None],
    hub: HfApi | None = None,
    engine: str = "",
) -> None:
    """Fetches the wanted files of a repository that `folder`/`base` lacks, at the revision of the first fetch.

    Raises `ModelMissing` if the site is unreachable or sends other bytes than announced, `DiskFull`.
    """
    hub = hub or HfApi()
    pinned = folder / base / REVISION
    pinned.parent.mkdir(parents=True, exist_ok=True)
    revision = pinned.read_text(encoding="utf-8").strip() if pinned.is_file() else None
    try:
        info = hub.model_info(repository, revision=revision, files_metadata=True)
    except FAILURES as error:
        raise unreachable(repository, error, engine) from error
    sha = info.sha or "main"
    wanted = [
        Remote(
            repository, sha, one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else "", base
        )
        for one in info.siblings or []
        if is_wanted(one.rfilename)
    ]
    lacking = [remote for remote in wanted if not is_there(folder, remote)]
    size, free = sum(remote.size for remote in lacking), shutil.disk_usage(folder).free
    if size + KEEP_FREE > free:
        raise DiskFull(f"{folder} needs {shown_size(size)}, but {shown_size(free)} are free")
    pinned.write_text(f"{sha}\n", encoding="utf-8")
    on_message(f"revision {sha} of {repository}")
    for remote in lacking:
        on_message(f"fetching {remote.path()}, {shown_size(remote.size)}")
        fetched(hub, folder, remote, engine)


def how_to_get(folder: Path) -> str:
    """Describes the ways to a complete models folder."""
    return (
        f"Online: voidbridge models fetch {folder}. Without a network: copy {REPOSITORIES['base']} "
        f"to {folder / BASE} and the safetensors files of {REPOSITORIES['passes']} to {folder}; "
        "both are on huggingface.co."
    )


def _lora(folder: Path, name: str) -> ModelPart:
    """Returns what a LoRA of the models folder is, or why no job can use it."""
    path = folder / lora_names.FOLDER / f"{name}{lora_names.ENDING}"
    part = ModelPart(f"LoRA {name}", f"{lora_names.FOLDER}/{path.name}", "", path.stat().st_size, 0)
    notes: list[str] = []
    try:
        used = loras.checked(
            [LoraChoice(name, 1.0)],
            folder,
            max(PASSES),
            networks.transformer_layers(folder),
            networks.fingerprints(folder),
            notes.append,
        )
        listed = lora_names.users(folder).get(name)
    except BadLora as error:
        return replace(part, state="wrong", text=error.text)
    (one,) = used.used
    record = one.lora.record
    said = [f"show {record.show}"] if record.show else []
    said += [f"pass {record.passes}"] if record.passes else []
    said += [f"rank {max(one.lora.ranks.values())}", *notes]
    said += [] if listed is None else [f"for {', '.join(sorted(listed)) or 'nobody'}"]
    return replace(part, state="ok", text=", ".join(said), print=one.lora.sha256)


def _prompts(folder: Path, device: str) -> ModelPart:
    lacking = _kept(folder, device).lacking(_usual(folder), device)
    text = f"voidbridge models prepare {folder} computes {len(lacking)} of {len(_usual(folder))}"
    return ModelPart(
        "prompts",
        "prompts",
        "",
        0,
        passes=0,
        state="missing" if lacking else "ok",
        text=text if lacking else "the empty and the negative one are prepared",
    )


def _kept(folder: Path, device: str) -> PromptEmbeddings:
    """Returns the prompt cache of an engine on `device`, which decides the number type. Loads nothing."""
    return Void(folder, device, options.from_folder(folder)).prompts


def _usual(folder: Path) -> list[str]:
    """Prompts that jobs use by default."""
    return list(dict.fromkeys(["", options.from_folder(folder).negative_prompt]))


def _published(hub: HfApi, repository: str) -> list[Remote]:
    """Returns the needed files of a repository."""
    try:
        info = hub.model_info(repository, files_metadata=True)
    except FAILURES as error:
        raise unreachable(repository, error) from error
    files = [
        Remote(
            repository,
            info.sha or "main",
            sibling.rfilename,
            sibling.size or 0,
            sibling.lfs.sha256 if sibling.lfs else "",
            BASE if repository == REPOSITORIES["base"] else "",
        )
        for sibling in info.siblings or []
        if _is_wanted(repository, sibling.rfilename)
    ]
    lacking = set(WANTED[repository][0]) - {file.name for file in files}
    if lacking:
        raise ModelMissing(
            f"{repository} on huggingface.co no longer has {', '.join(sorted(lacking))}"
        )
    return files


def _is_wanted(repository: str, name: str) -> bool:
    names, folders = WANTED[repository]
    ends = (".safetensors", ".safetensors.index.json", "/config.json")
    return name in names or (name.startswith(folders) and name.endswith(ends))


def is_there(folder: Path, remote: Remote) -> bool:
    """Whether a file of the published size is in the models folder."""
    path = folder / remote.path()
    return path.is_file() and path.stat().st_size == remote.size


def fetched(hub: HfApi, folder: Path, remote: Remote, engine: str = "") -> None:
    """Fetches one file and compares its SHA-256. Raises `ModelMissing`."""
    into = folder / remote.folder
    try:
        path = Path(
            hub.hf_hub_download(
                remote.repository, remote.name, revision=remote.revision, local_dir=into
            )
        )
    except FAILURES as error:
        raise unreachable(remote.repository, error, engine) from error
    if remote.sha256 and inventory.sha256(path) != remote.sha256:
        path.unlink()
        raise ModelMissing(
            f"{remote.name} arrived with a SHA-256 other than the {remote.sha256} of {remote.repository}",
            "Fetch it again; the damaged file has been removed.",
        )


FAILURES = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError)


def unreachable(repository: str, error: Exception, engine: str = "") -> ModelMissing:
    """The error for a site that does not answer. The command fetches for `void` if no engine is named."""
    words = f"voidbridge models fetch FOLDER{f' --engine {engine}' if engine else ''}"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelMissing(
        f"{repository} is not available from huggingface.co: {reason}",
        f"This machine may be offline. Fetch it on another one with `{words}` "
        "and copy the folder here; its files do not depend on the machine.",
    )


def _show_json(folder: Path, parts: list[ModelPart]) -> None:
    for part in parts:
        JsonView().event(
            "model",
            part=part.name,
            path=str(folder / part.path),
            state=part.state,
            size=part.size,
            passes=part.passes,
            text=part.text,
            source=part.source,
            fingerprint=part.print,
        )


def _show_table(folder: Path, parts: list[ModelPart]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("part", "path", "size", "state", "for", "fingerprint", ""):
        table.add_column(column, overflow="fold")
    for part in parts:
        need = {0: "speed", 1: "every job", 2: "--passes 2"}[part.passes]
        need = "--lora" if part.name.startswith("LoRA ") else need
        size = (
            shown_size(part.size) if part.state != "missing" else f"about {shown_size(part.size)}"
        )
        table.add_row(part.name, part.path, size, part.state, need, part.print[:12], part.text)
    console = Console(highlight=False, markup=False, soft_wrap=True, width=250)
    console.print(str(folder))
    console.print(table)


def shown_size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e3:.0f} kB"
