"""Content credentials: a C2PA manifest in MP4 and MOV files, signed with one's own certificate. Needs the extra
``provenance`` (c2pa-python: MIT or Apache-2.0, 16 MB to download, 53 MB installed); works without a network.

Any certificate chain that C2PA allows will do (key usage digitalSignature, extended key usage emailProtection);
programs that show credentials call a certificate that they do not know untrusted, and check the rest all the same.
"""

from __future__ import annotations

import importlib
import io
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from engine.image import encode_png
from streaming.provenance import SOURCE_TYPE
from visavis import __version__

KINDS: Final = {".mp4": "video/mp4", ".mov": "video/quicktime"}
_CURVES: Final = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}


@dataclass(frozen=True, slots=True)
class ProvenanceConfig:
    """With whose certificate written films are signed; nobody's without."""

    certificate: str = ""  # PEM file of the chain, the signer's own first; needs the extra "provenance"
    private_key: str = ""  # PEM file of its private key, not encrypted

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("certificate and private_key go together; give both, or neither")


class Credentials:
    """Signs films. Raises ValueError, saying what to do, for files that hold no certificate or key, and without the
    extra."""

    def __init__(self, config: ProvenanceConfig) -> None:
        try:
            self._c2pa = importlib.import_module("c2pa")
        except ImportError:
            raise ValueError("signed films need the extra 'provenance': pip install 'visavis[provenance]'") from None
        chain, key = _read(config.certificate), _read(config.private_key)
        try:
            info = self._c2pa.C2paSignerInfo(_algorithm(key, config.private_key), chain, key, None)
            self._signer = self._c2pa.Signer.from_info(info)
            speck = io.BytesIO(encode_png(np.zeros((1, 1, 1), np.uint8)))
            self._sign("image/png", speck, io.BytesIO(), "a trial")  # a mistake is said before an hour of painting
        except self._c2pa.C2paError as error:
            raise ValueError(f"{config.certificate}: films cannot be signed with this certificate ({error})") from error

    def sign(self, path: Path, title: str) -> None:
        """Puts a manifest into the finished film ``path``, whole or not at all. Raises ValueError when it cannot be."""
        signed = path.with_name(f"{path.stem}.signed{path.suffix}")
        try:
            with path.open("rb") as source, signed.open("w+b") as target:
                self._sign(KINDS[path.suffix.lower()], source, target, title)
            os.replace(signed, path)
        except self._c2pa.C2paError as error:
            raise ValueError(f"{title}: cannot be signed ({error})") from error
        finally:
            with suppress(FileNotFoundError):
                signed.unlink()

    def _sign(self, kind: str, source: IO[bytes], target: IO[bytes], title: str) -> None:
        action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        manifest = {
            "claim_generator_info": [{"name": "Visavis", "version": __version__}],
            "title": title,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
        }
        self._c2pa.Builder(json.dumps(manifest)).sign(self._signer, kind, source, target)


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ValueError(f"[provenance] {name}: cannot be read ({error.strerror})") from error


def _algorithm(pem: bytes, name: str) -> bytes:
    """C2PA's name of the signature that a private key makes."""
    serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"[provenance] {name}: not a private key in PEM, or an encrypted one ({error})") from error
    if hasattr(key, "curve"):
        return _CURVES.get(key.curve.name, b"es256")
    return b"ps256" if "RSA" in type(key).__name__ else b"ed25519"
