"""What a written film says of itself: that a machine made it, with what, of whom and with whose consent.

Every container has a comment of it in words and, where it takes them, tags by name. MP4 and MOV files also carry XMP
(a ``uuid`` box at the end, XMP specification part 3, 1.1.5) with IPTC's digital source type, which is what other
programs read. A C2PA manifest is added with a certificate (visavis/credentials.py). Tags are easily removed; the
watermark (engine/watermark) is what stays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID
from xml.sax.saxutils import quoteattr

from visavis import __version__
from visavis.credentials import SOURCE_TYPE, Credentials, ProvenanceConfig

if TYPE_CHECKING:
    from engine.engine import Engine

XMP_BOX: Final = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:visavis="https://visavis.invalid/ns/1.0/"
 xmp:CreatorTool={tool} Iptc4xmpExt:DigitalSourceType={source}
 visavis:avatar={avatar} visavis:consent={consent} visavis:watermark={watermark}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True, slots=True)
class Provenance:
    """``avatar`` is its id, ``consent`` the SHA-256 of its pack's statement, ``watermark`` what the pictures tell, or
    "none". With ``credentials``, MP4 and MOV files are signed."""

    avatar: str
    consent: str
    watermark: str
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

    def tags(self) -> dict[str, str]:
        """By name, as containers keep them."""
        comment = (
            f"AI-generated video. Made by Visavis {__version__}; avatar: {self.avatar}; consent: {self.consent}; "
            f"watermark: {self.watermark}; digital source type: {SOURCE_TYPE}"
        )
        return {
            "comment": comment,
            "digital_source_type": SOURCE_TYPE,
            "visavis_version": __version__,
            "visavis_avatar": self.avatar,
            "visavis_consent": self.consent,
            "visavis_watermark": self.watermark,
        }

    def xmp(self) -> bytes:
        """As an XMP packet."""
        values = {"tool": f"Visavis {__version__}", "source": SOURCE_TYPE, "avatar": self.avatar,
                  "consent": self.consent, "watermark": self.watermark}  # fmt: skip
        return _XMP.format(**{name: quoteattr(value) for name, value in values.items()}).encode()

    def complete(self, path: Path, title: str) -> None:
        """Adds the XMP, and with credentials the signature, to a finished MP4 or MOV file."""
        body = XMP_BOX + self.xmp()
        with path.open("ab") as file:
            file.write((len(body) + 8).to_bytes(4, "big") + b"uuid" + body)
        if self.credentials is not None:
            self.credentials.sign(path, title)
