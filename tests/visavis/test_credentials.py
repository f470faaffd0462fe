"""Content credentials: a film is signed with one's own certificate, and what cannot be signed with is named."""

from __future__ import annotations

import datetime
import json
from types import SimpleNamespace

import av
import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME
from visavis import credentials
from visavis.credentials import SOURCE_TYPE, Credentials, ProvenanceConfig
from visavis.provenance import Provenance
from visavis.video import VideoWriter


@pytest.fixture
def own(tmp_path):
    """A chain of two made here, and the signer's key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
                          x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Tests")])  # fmt: skip

    def usage(sign, certify):
        return x509.KeyUsage(sign, False, False, False, False, certify, False, False, False)

    def certificate(key, subject, issuer_key, issuer, usages, ca):
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(issuer_name=name(issuer), subject_name=name(subject),
                                       public_key=key.public_key(), serial_number=x509.random_serial_number(),
                                       not_valid_before=now - datetime.timedelta(1),
                                       not_valid_after=now + datetime.timedelta(9))  # fmt: skip
        made = made.add_extension(x509.BasicConstraints(ca, None), True).add_extension(usages, True)
        if not ca:
            made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        issued = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        return made.add_extension(issued, False).sign(issuer_key, hashes.SHA256())

    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = (certificate(key, "signer", root, "root", usage(True, False), False),
             certificate(root, "root", root, "root", usage(False, True), True))  # fmt: skip
    pem = serialization.Encoding.PEM
    (tmp_path / "chain.pem").write_bytes(b"".join(one.public_bytes(pem) for one in chain))
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(plain)
    return ProvenanceConfig(str(tmp_path / "chain.pem"), str(tmp_path / "key.pem"))


@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_a_film_is_signed_and_every_byte_is_covered(tmp_path, own, ending):
    c2pa = pytest.importorskip("c2pa")
    path = tmp_path / f"a{ending}"
    with VideoWriter(path, 64, 64, provenance=Provenance("leo", "sha256:0", "none", Credentials(own))) as writer:
        for k in range(5):
            writer.write(SimpleNamespace(cutout=None, i420=np.full((96, 64), 90 + k, np.uint8), pts=FRAME * k,
                                         voice=np.zeros(VOICE_FRAME, np.float32)))  # fmt: skip
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, "chain.pem", "key.pem"]
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 5

    def failures(data):
        (tmp_path / "b").write_bytes(data)
        with (tmp_path / "b").open("rb") as file:
            report = json.loads(c2pa.Reader(credentials.KINDS[ending], file).json())
        manifest = report["manifests"][report["active_manifest"]]
        actions = next(a for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
        assert actions["data"]["actions"][0]["digitalSourceType"] == SOURCE_TYPE
        return {one["code"] for one in report["validation_results"]["activeManifest"]["failure"]}

    whole = path.read_bytes()
    assert failures(whole) <= {"signingCredential.untrusted"}
    at = whole.rindex(b"mdat") + 40
    assert "assertion.bmffHash.mismatch" in failures(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


def test_what_cannot_be_signed_with_is_named(tmp_path, own):
    pytest.importorskip("c2pa")
    (tmp_path / "text.pem").write_text("nothing")
    with pytest.raises(ValueError, match="none.pem: cannot be read"):
        Credentials(ProvenanceConfig(str(tmp_path / "none.pem"), own.private_key))
    with pytest.raises(ValueError, match="text.pem: not a private key"):
        Credentials(ProvenanceConfig(own.certificate, str(tmp_path / "text.pem")))
    with pytest.raises(ValueError, match="cannot be signed with this certificate"):
        Credentials(ProvenanceConfig(str(tmp_path / "text.pem"), own.private_key))


def test_half_a_configuration_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(ValueError, match="go together"):
        ProvenanceConfig(certificate="chain.pem")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(credentials.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"visavis\[provenance\]"):
        Credentials(ProvenanceConfig("a", "b"))
