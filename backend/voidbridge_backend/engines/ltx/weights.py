"""Finds and checks the files of LTX-2 in a models folder. Standard library only.

    LTX-2/                          as published for diffusers: model_index.json and a folder for each network
    LTX-2/latent_upsampler/         the network that doubles the size (the setting `upscale`)
    LTX-2-loras/NAME.safetensors    LoRAs that jobs name
    LTX-2-HDR.safetensors           the LoRA of the mode `hdr`
    LTX-2-HDR-text.safetensors      the embeddings published with it, if there are any

Only safetensors are read. A pickle can run code when it is opened.
"""

from __future__ import annotations

import json
from pathlib import Path

from voidbridge_protocol.errors import ModelMissing

BASE = "LTX-2"
HDR = "LTX-2-HDR.safetensors"
HDR_TEXT = "LTX-2-HDR-text.safetensors"
NETWORKS = ("transformer", "vae", "audio_vae", "text_encoder", "connectors", "vocoder")
CONFIGS = ("scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json")
LORAS = "LTX-2-loras"
UPSAMPLER = "latent_upsampler"
REVISION = "revision.txt"
"""Beside fetched networks: the published revision that they are of."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
MOST_REVISION = 80
"""Letters of a revision; a hash has 40 or 64."""
HINT = "Fetch them with: voidbridge models fetch --engine ltx. `--engine morph` needs no weights."


def require(models: Path) -> Path:
    """Returns the folder of the networks. Raises `ModelMissing` with every lacking part, and names `morph`."""
    folder = models / BASE
    if not (folder / "model_index.json").is_file():
        raise ModelMissing(
            f"ltx needs weights, and {folder / 'model_index.json'} is not there", HINT
        )
    lacking = [name for name in NETWORKS if not files_of(folder / name)]
    lacking += [name for name in CONFIGS if not (folder / name).is_file()]
    if lacking:
        raise ModelMissing(f"{folder} lacks {', '.join(lacking)}", HINT)
    return folder


def files_of(folder: Path) -> tuple[Path, ...]:
    """The safetensors of one network; of one in several files, those that its index names, if all are there.

    Raises `ModelMissing` for a network that is only there as a pickle.
    """
    found = tuple(sorted(folder.glob("*.safetensors")))
    for index in folder.glob("*.safetensors.index.json"):
        if lacking := {*_named(index)} - {path.name for path in found}:
            raise ModelMissing(f"{index} names missing files: {', '.join(sorted(lacking))}", HINT)
    pickles = [path.name for path in folder.glob("*") if path.suffix in PICKLES]
    if pickles and not found:
        raise ModelMissing(
            f"{folder} has {pickles[0]} and no safetensors; pickles are not opened", HINT
        )
    return found


def revision_of(folder: Path) -> str | None:
    """The published revision of the networks; None for those that nobody fetched."""
    try:
        return (folder / REVISION).read_text(encoding="utf-8").strip()[:MOST_REVISION] or None
    except (OSError, ValueError):
        return None


def bytes_of(folder: Path) -> int:
    """The size of a network's files."""
    return sum(path.stat().st_size for path in files_of(folder))


def _named(index: Path) -> set[str]:
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return {Path(str(name)).name for name in named}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelMissing(f"{index} cannot be read: {error}", HINT) from error
