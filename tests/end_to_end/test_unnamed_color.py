"""A plate of integers whose color space nothing says is refused before a daemon is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
import voidbridge_stage as stage

NOBODY = "tcp://127.0.0.1:9"


def written(path: Path, channels: int = 3) -> None:
    spec = oiio.ImageSpec(16, 12, channels, "uint16")
    out = oiio.ImageOutput.create(str(path))
    assert out.open(str(path), spec)
    assert out.write_image(np.full((12, 16, channels), 9000, np.uint16))
    out.close()


@pytest.mark.parametrize("ending", ["dpx", "tif"])
def test_it_is_refused_with_its_name_and_the_option(ending: str, tmp_path: Path) -> None:
    written(tmp_path / f"plate.1001.{ending}")
    written(tmp_path / "matte.1001.png", 1)
    files = tmp_path / f"plate.####.{ending}", tmp_path / "matte.####.png"
    done = stage.called("run", *files, "-o", f"{tmp_path}/out/", "--daemon", NOBODY)
    assert done.code == 2
    assert f"plate.1001.{ending}" in done.err
    assert "--color-space" in done.err


def test_with_its_color_space_the_daemon_is_asked(tmp_path: Path) -> None:
    written(tmp_path / "plate.1001.dpx")
    written(tmp_path / "matte.1001.png", 1)
    files = tmp_path / "plate.####.dpx", tmp_path / "matte.####.png"
    words = ("-o", f"{tmp_path}/out/", "--daemon", NOBODY, "--color-space", "sRGB")
    done = stage.called("run", *files, *words)
    assert done.code == 3, done.err
