"""Signs content credentials of generated frames with a studio's own key, as files `.c2pa` beside the frames.

The library is c2pa-python of the Content Authenticity Initiative. It embeds nothing into OpenEXR, so each manifest
is a file beside its frame, bound to it by the hash of all its bytes. The key stays here. Nothing is asked online.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import BadKey, BadSetting
from voidbridge_protocol.transfer.atomic_files import write_whole

KEY, CERTIFICATES = "VOIDBRIDGE_C2PA_KEY", "VOIDBRIDGE_C2PA_CERTIFICATES"
ENDING = ".c2pa"
FORMAT = "image/x-exr"
ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Of keys on elliptic curves, by the curve."""
MOST = 1 << 20
"""Bytes of a manifest that are looked at."""
PATHS = f"Check that {KEY} and {CERTIFICATES} hold the paths of PEM files."
SOURCES = "io.voidbridge.sources"
"""Label of the assertion with the SHA-256 of each source."""


@dataclass(frozen=True)
class CredentialSigner:
    """A key with its certificates, ready to sign."""

    chain: bytes
    """PEM, the signer's own certificate first."""
    key: bytes
    """PEM, PKCS 8."""
    algorithm: str

    @classmethod
    def configured(cls, environment: Mapping[str, str] | None = None) -> CredentialSigner | None:
        """The signer of the two variables; None without them. Raises `BadSetting`, `BadKey`."""
        found = os.environ if environment is None else environment
        named = [found.get(KEY, ""), found.get(CERTIFICATES, "")]
        if not any(named):
            return None
        if not all(named):
            raise BadSetting(
                f"only one of {KEY} and {CERTIFICATES} is set",
                "Name the PEM file of the key in the first, and of its certificates in the second.",
            )
        key, chain = map(_read, (KEY, CERTIFICATES), named)
        return cls(chain, key, _algorithm(key, named[0]))

    def sign(self, credentials: Mapping[str, Any], results: Mapping[str, Path]) -> dict[str, str]:
        """Writes a manifest beside each result. Returns the entry `signature` of the record.

        `credentials` is the record's block, `results` the file of each of its assets. Raises `BadKey`.
        """
        import c2pa

        info = c2pa.C2paSignerInfo(self.algorithm, self.chain, self.key, None)
        for name in credentials["assets"]:
            path = results[name]
            try:
                with c2pa.Signer.from_info(info) as signer:
                    builder = c2pa.Builder.from_json(json.dumps(_manifest(credentials, path)))
                    builder.set_no_embed()
                    source = io.BytesIO(path.read_bytes())
                    manifest = builder.sign(signer, FORMAT, source, io.BytesIO())
            except c2pa.C2paError as error:
                raise BadKey(
                    f"{path.name} cannot be signed: {str(error)[:200]}",
                    f"Check that the first certificate in {CERTIFICATES} belongs to the key, has not expired, and "
                    "is issued for signing documents.",
                ) from error
            write_whole(beside(path), bytes(manifest))
        return {"algorithm": self.algorithm, "files": f"*{ENDING}"}


def beside(result: Path) -> Path:
    """The file with the signed credentials of a result."""
    return result.with_suffix(ENDING)


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of Voidbridge, so that a new one may replace it."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST)
    except OSError:
        return False
    return data[4:8] == b"jumb" and b"Voidbridge" in data


def _manifest(credentials: Mapping[str, Any], path: Path) -> dict[str, Any]:
    name, _, version = str(credentials["claim_generator"]).partition("/")
    sources = {"label": SOURCES, "data": {"ingredients": credentials["ingredients"]}}
    return {
        "claim_generator_info": [{"name": name, "version": version}],
        "title": path.name,
        "format": FORMAT,
        "assertions": [*credentials["assertions"], sources],
    }


def _read(variable: str, name: str) -> bytes:
    """Reads the file that a variable names. A text that may be a key itself is in no message."""
    if "\n" in name or "-----" in name:
        raise BadKey(f"{variable} holds no path of a file", "Save the PEM text, and name its file.")
    try:
        return Path(name).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        shown = name if Path(name).suffix else "its file"  # a bare key has no dot
        raise BadKey(f"{variable}: {shown} cannot be read: {reason}", PATHS) from error


def _algorithm(key: bytes, name: str) -> str:
    """The algorithm of a private key. Raises `BadSetting` without the library, `BadKey`."""
    try:
        import c2pa  # noqa: F401
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise BadSetting(
            f"{KEY} is set, and the library that signs is missing: {error}",
            "Install it with: pip install 'voidbridge[credentials]', or unset the variable.",
        ) from error
    try:
        found = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise BadKey(
            f"{name} is not a private key without a password: {error}", "Give a PEM file, PKCS 8."
        ) from error
    if isinstance(found, ec.EllipticCurvePrivateKey) and found.curve.name in ALGORITHMS:
        return ALGORITHMS[found.curve.name]
    if isinstance(found, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(found, rsa.RSAPrivateKey):
        return "ps256"
    raise BadKey(f"{name} is a kind of key that C2PA does not take", "Use ES256, PS256 or Ed25519.")
