"""Signed content credentials of generated frames: certificates made here, checked by the library's own reader."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

c2pa = pytest.importorskip("c2pa", reason="the extra `credentials` is not installed")

import studio_key  # noqa: E402

from voidbridge_backend.client import job_run  # noqa: E402
from voidbridge_backend.client.content_credentials import (  # noqa: E402
    CERTIFICATES,
    FORMAT,
    KEY,
    CredentialSigner,
    beside,
    is_manifest,
)
from voidbridge_backend.sequences.patterns import Sequence  # noqa: E402
from voidbridge_protocol.errors import BadKey, BadSetting  # noqa: E402
from voidbridge_protocol.job_task import Outcome  # noqa: E402

CLAIMS = {
    "claim_generator": "Voidbridge/0.1.0",
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
                        "parameters": {"io.voidbridge.model": {"revision": "d" * 40}},
                    }
                ]
            },
        }
    ],
    "ingredients": [{"title": "plate 1001", "sha256": "0" * 64}],
    "assets": {"1002": "1" * 64},
    "signature": None,
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return studio_key.key_files(tmp_path_factory.mktemp("keys"))


def state(data: bytes, manifest: bytes) -> str:
    return str(c2pa.Reader(FORMAT, io.BytesIO(data), manifest_data=manifest).get_validation_state())


def test_a_finished_job_leaves_a_manifest_that_one_changed_bit_makes_invalid(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = Sequence(tmp_path, "new.", ".exr", 4)
    data = b"v/1\x01" + bytes(range(256)) * 40
    result.path(1002).write_bytes(data)
    outcome = Outcome("job", [1002], json.dumps({"credentials": CLAIMS}).encode(), False, 0)
    job_run.finish(outcome, result, view=None, began=time.monotonic(), announce=False)  # type: ignore[arg-type]
    record = json.loads((tmp_path / "new.1002.voidbridge.json").read_text())
    assert record["credentials"]["signature"] == {"algorithm": "es256", "files": "*.c2pa"}
    assert result.path(1002).read_bytes() == data
    signed = beside(result.path(1002))
    assert is_manifest(signed)
    manifest = signed.read_bytes()
    assert state(data, manifest) == "Valid"
    assert state(data[:-1] + b"\0", manifest) == "Invalid"
    told = c2pa.Reader(FORMAT, io.BytesIO(data), manifest_data=manifest).get_active_manifest()
    labels = {found["label"]: found["data"] for found in told["assertions"]}
    (action,) = labels["c2pa.actions.v2"]["actions"]
    assert action["digitalSourceType"].endswith("/algorithmicMedia")
    assert action["parameters"] == {"io.voidbridge.model": {"revision": "d" * 40}}
    assert labels["io.voidbridge.sources"] == {"ingredients": CLAIMS["ingredients"]}


def test_without_the_variables_nothing_is_signed_and_half_of_them_is_an_error(
    environment: dict[str, str],
) -> None:
    assert CredentialSigner.configured({}) is None
    with pytest.raises(BadSetting, match="only one of"):
        CredentialSigner.configured({KEY: environment[KEY]})


def test_a_key_that_cannot_sign_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadKey, match=r"none\.pem cannot be read"):
        CredentialSigner.configured({**environment, KEY: str(tmp_path / "none.pem")})
    with pytest.raises(BadKey, match="is not a private key"):
        CredentialSigner.configured({**environment, KEY: environment[CERTIFICATES]})
    signer = CredentialSigner.configured({**environment, CERTIFICATES: environment[KEY]})
    assert signer is not None
    (tmp_path / "new.1002.exr").write_bytes(b"v/1\x01")
    with pytest.raises(BadKey, match=r"new\.1002\.exr cannot be signed"):
        signer.sign(CLAIMS, {"1002": tmp_path / "new.1002.exr"})


def test_another_file_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "x.c2pa").write_bytes(b"mine")
    assert not is_manifest(tmp_path / "x.c2pa")
    assert not is_manifest(tmp_path / "none.c2pa")
