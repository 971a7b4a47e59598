"""The file of CorridorKey's weights: read without running code, checked key by key, and fitted to a size.

The weights are a user's own: nothing here fetches them or holds a copy.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from voidbridge_protocol.errors import ModelMissing

from .hiera import PATCH, Layout
from .network import KeyNetwork

POSITIONS = "encoder.model.pos_embed"
COMPILED = "_orig_mod."
"""A prefix that a compiled module leaves on its keys."""
NAMES = ("CorridorKey.safetensors", "CorridorKey.pth")
"""Files of a models folder that hold the weights; the first that exists is read."""


def load(path: Path, layout: Layout) -> KeyNetwork:
    """The network with the weights of `path`, on the CPU, in float32, ready for inference.

    `layout.size` decides the size of the position table, which is resampled if the file's differs. Raises
    `ModelMissing` if the file is absent, damaged or not exactly a CorridorKey.
    """
    tensors = fitted(read(path), layout)
    with torch.device("meta"):
        network = KeyNetwork(layout)
    _check(path, tensors, {name: tensor.shape for name, tensor in network.state_dict().items()})
    floats = {n: t if n.endswith("num_batches_tracked") else t.float() for n, t in tensors.items()}
    network.load_state_dict(floats, assign=True)
    return network.eval().requires_grad_(False)


def read(path: Path) -> dict[str, Tensor]:
    """Every tensor of a .pth (opened with `weights_only`) or .safetensors file, by its published key."""
    if not path.is_file():
        raise ModelMissing(
            f"{path} does not exist",
            "CorridorKey's weights are yours to get and may not be passed on. Put the file there.",
        )
    try:
        found: object
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelMissing(
            f"{path} cannot be read as weights: {said}",
            "Get the file again; it is damaged or is not a file of weights.",
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(
        isinstance(value, Tensor) for value in found.values()
    ):
        raise ModelMissing(
            f"{path} holds no table of tensors",
            "Name the file CorridorKey.pth as it was published.",
        )
    return {str(name).removeprefix(COMPILED): tensor for name, tensor in found.items()}


def fitted(tensors: dict[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The tensors with the position table resampled (bicubic, no antialiasing) to the layout's size."""
    table = tensors.get(POSITIONS)
    side = layout.size // PATCH
    if table is None or table.ndim != 3 or table.shape[1] == side * side:
        return tensors
    old = round(table.shape[1] ** 0.5)
    if old * old != table.shape[1]:
        return tensors
    square = table.float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    square = interpolate(square, size=(side, side), mode="bicubic", align_corners=False)
    return {**tensors, POSITIONS: square.permute(0, 2, 3, 1).reshape(1, side * side, -1)}


def _check(path: Path, tensors: dict[str, Tensor], shapes: dict[str, torch.Size]) -> None:
    """Raises `ModelMissing` with the first three keys that are missing, unknown or of another shape."""
    wrong = [f"{name} is missing" for name in shapes if name not in tensors]
    wrong += [f"{name} is unknown" for name in tensors if name not in shapes]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if wrong:
        raise ModelMissing(
            f"{path} is not CorridorKey: {len(wrong)} of {len(shapes)} tensors differ; {'; '.join(wrong[:3])}",
            "Use the weights that CorridorKey's author publishes, unchanged.",
        )


def find(folder: Path) -> Path:
    """The file of weights in a models folder. Raises `ModelMissing`."""
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    raise ModelMissing(
        f"{folder} holds neither {NAMES[0]} nor {NAMES[1]}",
        "CorridorKey's weights are yours to get and may not be passed on. Put the file there.",
    )
