"""Private details are removed from a text before it leaves the house; useful ones stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from voidbridge_backend.client.content_credentials import CERTIFICATES, CredentialSigner
from voidbridge_backend.client.content_credentials import KEY as SIGNER
from voidbridge_backend.tools.support_bundle.redaction import Redactor
from voidbridge_protocol.errors import BadKey

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("plate frame 1012: /shows/ab/plate.1012.exr: the file ends", "/shows"),
        ("no folder '/shows/The Big One/plates' here", "Big One"),
        ("no folder '/shows/The Big One/plates' here", "plates"),
        ('cannot read "C:\\Shows\\Big One\\a.exr"', "Shows"),
        ("cannot read C:\\Shows\\a.exr", "Shows"),
        ("cannot read \\\\server\\shows\\a.exr", "shows"),
        ("cannot read ~/shows/a.exr", "shows"),
        ("cannot read ../shows/a.exr", "shows"),
        ("listening on ipc:///run/shows/ctl", "shows"),
        ("bigone.1012.exr has no alpha", "bigone"),
        ("started job=1 plate=bigone_v003.1012.exr", "bigone"),
        ("no answer from tcp://render7.studio.example:5577 within 4 s", "render7"),
        ("no answer from tcp://10.1.2.3:5577 within 4 s", "10.1.2.3"),
        ("hello user=ana software=voidbridge", "ana"),
        ("hello user='Ana Müller' software=voidbridge", "Müller"),
        (f"key {KEY} is not allowed", KEY),
        (f"key={KEY}", KEY),
        (f"'{KEY}'", KEY),
        (f"{SHA}: another hash", SHA),
    ],
)
def test_a_secret_does_not_get_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in Redactor(["ana", "Ana Müller", "box7"]).text(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01T12:00:00+0200 INFO worker started device=cuda:0 pid=4711",
        "tried 3 times; the last error: cuda:0: CUDA error: an illegal memory access was encountered",
        "needs 31 GB, 24 GB are free on cuda:0",
        "job=1db5f1874dbfa5238f40f7ce frames=48 code=job.out-of-memory",
        "no answer from a daemon at tcp://127.0.0.1:5577 within 4 s",
        "voidbridge 0.1.0, protocol 1; engines: cleanplate, void, echo",
        'File "<string>", line 3, in step',
        "ratio 3/4, either/or, 50 %",
        "banana analysis",
    ],
)
def test_what_says_what_went_wrong_stays(text: str) -> None:
    assert Redactor(["ana", "box7"]).text(text) == text


def test_one_name_is_one_word_everywhere() -> None:
    redact = Redactor(["ana", "ben", "ben"])
    said = redact.value({"a": ["ana and ben", 3], "b": ("ben", None)})
    assert said == {"a": ["<name 1> and <name 2>", 3], "b": ["<name 2>", None]}


PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByqGSM49\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("variable", [SIGNER, CERTIFICATES])
@pytest.mark.parametrize(
    "value", [PEM, PEM.replace("\n", ""), PEM.replace("-----", ""), "MIGH" * 400]
)
def test_a_key_in_place_of_its_path_is_in_no_message(
    tmp_path: Path, variable: str, value: str
) -> None:
    (tmp_path / "file.pem").write_text(PEM)
    both = dict.fromkeys((SIGNER, CERTIFICATES), str(tmp_path / "file.pem"))
    with pytest.raises(BadKey, match=f"{variable}(:.*cannot be read| holds no path)") as found:
        CredentialSigner.configured({**both, variable: value})
    assert "MIGH" not in f"{found.value} {found.value.hint}"
    with pytest.raises(BadKey, match=f"{variable}: ~nobody-here/x.pem cannot be read"):
        CredentialSigner.configured({**both, variable: "~nobody-here/x.pem"})
