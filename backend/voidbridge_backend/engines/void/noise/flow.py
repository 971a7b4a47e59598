"""Optical flow from one frame to the next.

Pictures are [height, width, 3], uint8, RGB. Flows are [2, height, width], float32, (right, down) in pixels,
from the earlier picture to the later one, on the earlier one's grid.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

Picture = NDArray[np.uint8]
Flow = Callable[[Picture, Picture], Tensor]
"""(earlier, later) -> flow."""

DEAD_ZONE = 0.15
"""Pixels. Grain alone makes a flow of up to about this much, and noise that followed it would shimmer."""


class Dis:
    """Dense inverse search (Kroeger et al. 2016) from OpenCV: no weights, milliseconds on a CPU."""

    name = "dis"

    def __call__(self, earlier: Picture, later: Picture) -> Tensor:
        # A search object keeps state, and for pictures below about 45 pixels also its settings. A new one per
        # pair makes the flow a function of its two pictures.
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        one, two = (
            cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2GRAY) for p in (earlier, later)
        )
        found = search.calc(one, two, np.zeros((*one.shape, 2), np.float32))
        return torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))


class Steady:
    """Holds flows back, pixel by pixel, until the held sum reaches `DEAD_ZONE`.

    Flows from grain go to and fro and never add up. A slow pan does, and is followed in small jumps. A check of
    the backward flow would not help: grain misleads both directions alike.
    """

    def __init__(self) -> None:
        self._held = torch.zeros(1)

    def __call__(self, flow: Tensor) -> Tensor:
        """Returns the flow to follow now, from `flow` [2, h, w] and everything held back before."""
        total = self._held + flow
        goes = total.square().sum(0) >= DEAD_ZONE**2
        self._held = torch.where(goes, 0.0, total)
        return torch.where(goes, total, 0.0)


class Raft:
    """RAFT (Teed and Deng 2020) from torchvision: a network that returns a list of increasingly accurate flows.

    `network` takes two [1, 3, h, w] in [-1, 1] whose sides are multiples of 8.
    """

    name = "raft"

    def __init__(
        self, network: Callable[[Tensor, Tensor], list[Tensor]], device: str = "cpu"
    ) -> None:
        self.network, self.device = network, device

    @torch.inference_mode()
    def __call__(self, earlier: Picture, later: Picture) -> Tensor:
        height, width = earlier.shape[:2]
        size = (height - height % 8, width - width % 8)
        one, two = (self._seen(picture, size) for picture in (earlier, later))
        flow = self.network(one, two)[-1].float().cpu()
        scale = torch.tensor([width / size[1], height / size[0]])
        fitted = interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)[0]
        return fitted * scale[:, None, None]

    def _seen(self, picture: Picture, size: tuple[int, int]) -> Tensor:
        tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        return interpolate(tensor, size=size, mode="bilinear", align_corners=False).to(self.device)


def raft_weights(models: Path) -> Path | None:
    """Returns RAFT's weights in a models folder (`optical_flow/raft_large*.safetensors`), or None."""
    return next(iter(sorted((models / "optical_flow").glob("raft_large*.safetensors"))), None)


def best(models: Path | None, device: str) -> Dis | Raft:
    """Returns RAFT if both its weights and torchvision are installed, otherwise DIS."""
    path = raft_weights(models) if models is not None else None
    if path is None or importlib.util.find_spec("torchvision") is None:
        return Dis()
    network = importlib.import_module("torchvision.models.optical_flow").raft_large(weights=None)
    network.load_state_dict(load_file(path))
    return Raft(network.eval().to(device), device)
