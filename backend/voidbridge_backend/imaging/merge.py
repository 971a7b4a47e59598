"""Puts the result inside the matte and keeps the plate's own bits everywhere else.

Arrays are [height, width], one channel at a time. A kept pixel is copied as a word, whatever its value.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Word = TypeVar("Word", bound=np.generic)

LARGEST_HALF = 65504.0
"""The largest finite half float. Generated values stop there; the plate's own infinities stay."""


def merge(
    plate: NDArray[Word], result: NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[Word]:
    """Returns `plate` bit for bit where `alpha` is 0, `result` where it is 1, and a float32 mix between.

    `plate` is float16 or float32 in the file's own values; `result` is float32 in the same; `alpha` is in [0,
    1]. Where the plate is NaN or infinite, a mix takes only the result. Generated pixels are finite: a value
    beyond the plate's type becomes its largest finite value. Returns a new array of the plate's type.

    Raises `ValueError` if the shapes differ, the plate is not float, or a used pixel of `result` is NaN.
    """
    if plate.dtype.kind != "f" or not plate.shape == result.shape == alpha.shape:
        raise ValueError(
            f"plate {plate.dtype} {plate.shape}, result {result.shape}, alpha {alpha.shape}"
        )
    used = alpha > 0
    weight = alpha[used]
    generated = result[used]
    if np.isnan(generated).any():
        raise ValueError(f"the result has {int(np.isnan(generated).sum())} pixels that are NaN")
    source = plate[used].astype(np.float32)
    mixed = (weight < 1) & np.isfinite(source)
    generated = _finite(generated, plate.dtype)
    # float64, because the difference of two floats can overflow in their own type
    behind = source[mixed].astype(np.float64)
    generated[mixed] = behind + weight[mixed] * (generated[mixed] - behind)
    merged = plate.copy()
    merged[used] = _finite(generated, plate.dtype).astype(plate.dtype)
    return merged


def _finite(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    limit = LARGEST_HALF if dtype.itemsize == 2 else float(np.finfo(np.float32).max)
    return np.clip(values, -limit, limit)
