"""Suppression and connected areas, in place of the package `kernels`, which fetches from a hub.

`Sam3VideoModel` of transformers looks for both in a variable of its module. Ours stands there, so nothing is
fetched.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch


class OwnKernels:
    """The two functions of kernels-community/cv-utils that are used, by OpenCV and torch."""

    @staticmethod
    def generic_nms(
        overlaps: torch.Tensor, scores: torch.Tensor, most: float, use_iou_matrix: bool = True
    ) -> torch.Tensor:
        """Indices of the detections that stay: none overlaps a better one by more than `most`."""
        kept: list[int] = []
        rows = overlaps.float().cpu()
        for number in scores.argsort(descending=True, stable=True).tolist():
            if all(float(rows[number, other]) <= most for other in kept):
                kept.append(number)
        return torch.tensor(kept, dtype=torch.long, device=overlaps.device)

    @staticmethod
    def cc_2d(masks: torch.Tensor, get_counts: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """[n, 1, height, width]: for each pixel the number of its connected area, and that area's pixels."""
        labels = np.empty(masks.shape, np.int32)
        counts = np.zeros(masks.shape, np.int32)
        for place, mask in enumerate(masks[:, 0].cpu().numpy()):
            _, found, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            sizes = stats[:, cv2.CC_STAT_AREA]
            sizes[0] = 0
            labels[place, 0], counts[place, 0] = found, sizes[found]
        return (
            torch.from_numpy(labels).to(masks.device),
            torch.from_numpy(counts).to(masks.device),
        )


def use_own_kernels() -> None:
    """Lets `Sam3VideoModel` use them."""
    from transformers.models.sam3_video import modeling_sam3_video

    modeling_sam3_video.cv_utils_kernel = OwnKernels
