"""What a film says of itself: that a machine made it, of whom, and with whose consent. In tags, and in MP4 as XMP.

The XMP is a ``uuid`` box (XMP specification part 3, 1.1.5) with IPTC's digital source type, which is what other
programs read. Tags are easily removed; the watermark (engine/watermark) is what stays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Final
from uuid import UUID
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from engine.engine import Engine

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP_BOX: Final = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:visavis="https://visavis.invalid/ns/1.0/"
 xmp:CreatorTool={tool} Iptc4xmpExt:DigitalSourceType={source}
 visavis:avatar={avatar} visavis:consent={consent} visavis:watermark={watermark}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def version() -> str:
    """Of Visavis, as installed."""
    try:
        return metadata.version("visavis")
    except metadata.PackageNotFoundError:
        return "from source"


@dataclass(frozen=True, slots=True)
class Statement:
    """``avatar`` is its id, ``consent`` the SHA-256 of its pack's statement, ``watermark`` what the pictures tell, or
    "none"."""

    avatar: str
    consent: str
    watermark: str

    @classmethod
    def about(cls, engine: Engine, avatar: str | None, seed: int = 0) -> Statement:
        """That of a session of ``avatar`` (None: the default one) with this seed."""
        name = avatar or engine.default_avatar
        meta, mark = engine.meta(name), engine.mark(name, seed)
        told = "none" if mark is None else f"{mark.payload.avatar:04x}-{mark.payload.session:04x}"
        return Statement(meta.id, "sha256:" + hashlib.sha256(meta.consent.encode()).hexdigest(), told)

    def tags(self) -> dict[str, str]:
        """By name, as containers keep them."""
        comment = (
            f"AI-generated video. Made by Visavis {version()}; avatar: {self.avatar}; consent: {self.consent}; "
            f"watermark: {self.watermark}; digital source type: {SOURCE_TYPE}"
        )
        return {
            "comment": comment,
            "digital_source_type": SOURCE_TYPE,
            "visavis_version": version(),
            "visavis_avatar": self.avatar,
            "visavis_consent": self.consent,
            "visavis_watermark": self.watermark,
        }

    def xmp(self) -> bytes:
        """As an XMP packet."""
        values = {"tool": f"Visavis {version()}", "source": SOURCE_TYPE, "avatar": self.avatar,
                  "consent": self.consent, "watermark": self.watermark}  # fmt: skip
        return _XMP.format(**{name: quoteattr(value) for name, value in values.items()}).encode()

    def box(self) -> bytes:
        """The XMP as a box of an MP4 or MOV file."""
        body = XMP_BOX + self.xmp()
        return (len(body) + 8).to_bytes(4, "big") + b"uuid" + body
