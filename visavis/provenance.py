"""What a finished film says of itself: the statement of streaming/provenance.py, and with a certificate a C2PA manifest
(visavis/credentials.py)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streaming.provenance import XMP_BOX, Statement
from visavis.credentials import Credentials, ProvenanceConfig

if TYPE_CHECKING:
    from engine.engine import Engine

__all__ = ["XMP_BOX", "Provenance"]


@dataclass(frozen=True, slots=True)
class Provenance(Statement):
    """A Statement; with ``credentials``, MP4 and MOV files are signed."""

    credentials: Credentials | None = None

    @classmethod
    def of(
        cls, engine: Engine, avatar: str | None, seed: int = 0, config: ProvenanceConfig | None = None
    ) -> Provenance:
        """That of a session of ``avatar`` (None: the default one) with this seed. Raises ValueError for a certificate
        that cannot be used."""
        name = avatar or engine.default_avatar
        meta, mark = engine.avatar(name).meta, engine.mark(name, seed)
        told = "none" if mark is None else f"{mark.payload.avatar:04x}-{mark.payload.session:04x}"
        credentials = Credentials(config) if config is not None and config.certificate else None
        return cls(meta.id, "sha256:" + hashlib.sha256(meta.consent.encode()).hexdigest(), told, credentials)

    def complete(self, path: Path, title: str) -> None:
        """Adds the XMP, and with credentials the signature, to a finished MP4 or MOV file."""
        with path.open("ab") as file:
            file.write(self.box())
        if self.credentials is not None:
            self.credentials.sign(path, title)
