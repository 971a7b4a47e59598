"""Shadows and contact: where a frame's background has changed beside the object.

A shadow multiplies the light of all three channels by about the same factor below 1.
"""

from __future__ import annotations

import cv2
import numpy as np

from .background import Change, Floats, Mask, grown

BLUR = 1.5
"""Standard deviation in pixels of the smoothing of ratios, against grain."""
FAINTEST = 0.07
"""ln of the light's ratio below which nothing counts as a shadow: a loss of 7 %."""
SURE = 2.0
"""A shadow holds a pixel that loses this many times the threshold."""
NOISE = 4.0
"""The threshold is at least this many standard deviations of the ratio where nothing changes."""
TINT = 0.5
"""Largest difference of a channel's ln ratio to the mean, as a share of the mean: a sky tints it."""
SMALLEST = 2e-4
"""Share of the picture below which a region is a speck."""
REACH = 0.04
"""Share of the width within which a region belongs to the object without moving like it."""


def darkened(change: Change) -> Mask:
    """Regions that are darker than the background by one factor in all channels."""
    smooth = _smooth(change)
    loss = -smooth.mean(axis=-1)
    threshold = max(FAINTEST, NOISE * change.noise / (2 * BLUR))
    tint = np.abs(smooth + loss[..., None]).max(axis=-1)
    weak = change.known & (loss > threshold) & (tint < np.maximum(TINT * loss, threshold))
    return _held(weak, loss > SURE * threshold)


def changed(change: Change) -> Mask:
    """Regions that are brighter, darker or of another color than the background."""
    smooth = np.abs(_smooth(change)).max(axis=-1)
    threshold = max(FAINTEST, NOISE * change.noise / (2 * BLUR))
    return _held(change.known & (smooth > threshold), smooth > SURE * threshold)


def near(mask: Mask, beside: Mask) -> Mask:
    """The parts of the mask that come within `REACH` of `beside`, whole."""
    reach = max(1, round(REACH * mask.shape[1]))
    return parts_touching(mask, grown(beside, reach))


def contact(change: Change) -> Mask:
    """Changed background within `REACH` of the object."""
    reach = max(1, round(REACH * change.object.shape[1]))
    return changed(change) & grown(change.object, reach)


def parts_touching(mask: Mask, seeds: Mask) -> Mask:
    """The connected parts of the mask that share a pixel with `seeds`."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = np.bincount(labels[seeds], minlength=count) > 0
    kept[0] = False
    return np.asarray(kept[labels])


def _held(weak: Mask, sure: Mask) -> Mask:
    """Parts of `weak` that hold a sure pixel and are no specks."""
    count, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    kept = np.bincount(labels[sure & weak], minlength=count) > 0
    kept &= np.bincount(labels.ravel(), minlength=count) >= SMALLEST * weak.size
    kept[0] = False
    return np.asarray(kept[labels])


def _smooth(change: Change) -> Floats:
    """The ln ratio smoothed over known pixels only."""
    weight = cv2.GaussianBlur(change.known.astype(np.float32), (0, 0), BLUR)
    total = cv2.GaussianBlur(change.log_light, (0, 0), BLUR)
    return np.asarray(total / np.maximum(weight, 1e-3)[..., None], np.float32)
