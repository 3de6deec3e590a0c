"""Certificates for a webhook without cert-manager: an authority, a leaf, and what to do with them.

One shot: the authority's key is thrown away, so that nobody can sign with it. Whoever makes new
ones in the same folder gets a bundle that has the old authority too, so that neither certificate is
refused while they change places.
"""

import base64
import ipaddress
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from tiergate import ConfigError
from tiergate_sidecar.certificates import CERTIFICATE_FILE, KEY_FILE

SERVICE: Final = "tiergate-webhook.tiergate.svc"
"""What API servers call the shipped Service; they look for it among the alternative names."""
SECRET: Final = "tiergate-webhook-tls"
CONFIGURATION: Final = "tiergate"
"""The shipped MutatingWebhookConfiguration."""
WEBHOOKS: Final = 2
"""In that configuration: by namespace, and by pod."""

AUTHORITY_FILE: Final = "ca.crt"
SECRET_FILE: Final = "secret.yaml"
PATCH_FILE: Final = "ca-bundle.json"

DAYS: Final = 365
"""Seldom enough to do by hand, and the metric of the certificate's end can be alerted on."""
_SKEW: Final = timedelta(minutes=5)  # so far behind ours may the clock be that looks at it


def make_certs(folder: Path, names: Sequence[str], now: datetime, days: int = DAYS) -> list[str]:
    """Write the files, and give lines for people: what there is, until when, what to do with it.

    `names` are the webhook's DNS names or addresses, the first `service.namespace.svc` or whatever
    it is outside of a cluster; `now` knows its time zone. The key is for its owner's eyes alone.
    Raises `ConfigError`.
    """
    authority, certificate, key = _issued(names, now, now + timedelta(days=days))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bundle = b"".join([authority, *_still_valid(folder / AUTHORITY_FILE, now)])
        _write(folder / AUTHORITY_FILE, bundle, 0o644)
        _write(folder / KEY_FILE, key, 0o600)
        _write(folder / CERTIFICATE_FILE, certificate, 0o644)
        _write(folder / SECRET_FILE, _secret(names[0], certificate, key), 0o600)
        _write(folder / PATCH_FILE, _patch(bundle), 0o644)
    except OSError as error:
        raise ConfigError(f"--make-certs: cannot write to {folder}: {error.strerror}") from None
    return [
        f"{folder}: {CERTIFICATE_FILE} and {KEY_FILE} for {', '.join(names)}, valid {days} days",
        "First let API servers trust them, then let the webhook show them:",
        f"  kubectl patch mutatingwebhookconfiguration {CONFIGURATION} --type=json"
        f" --patch-file {folder / PATCH_FILE}",
        f"  kubectl apply -f {folder / SECRET_FILE}",
        f"{SECRET_FILE} and {KEY_FILE} are secret: delete them once they are applied.",
    ]


def _issued(names: Sequence[str], now: datetime, until: datetime) -> tuple[bytes, bytes, bytes]:
    """An authority's certificate, one that it has signed for these names, and its key, in PEM."""
    # An extra, and costly to import: only here is anything signed.
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        message = "--make-certs needs cryptography: pip install 'tiergate[webhook]'"
        raise ConfigError(message) from None

    def builder(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        return x509.KeyUsage(
            digital_signature=not signs_certificates,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            encipher_only=False,
            decipher_only=False,
            **dict.fromkeys(unused, False),
        )

    def alternative(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    try:
        alternatives = x509.SubjectAlternativeName([alternative(name) for name in names])
    except ValueError as error:
        raise ConfigError(f"--name: {error}") from None
    # A name of its own each time: with two authorities in a bundle each must be found.
    own_name = f"tiergate webhook authority {now:%Y-%m-%dT%H:%M:%SZ}"
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, own_name)])
    signer, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = (
        builder(own_name, signer)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .sign(signer, hashes.SHA256())
    )
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        builder("tiergate webhook", key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(signed_by, critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return authority.public_bytes(pem), certificate.public_bytes(pem), written


def _still_valid(bundle: Path, now: datetime) -> Iterator[bytes]:
    """The newest authority of a bundle from before, unless it has ended."""
    # An extra, and costly to import; whoever comes here has it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    if not bundle.exists():
        return
    try:
        newest = x509.load_pem_x509_certificates(bundle.read_bytes())[0]
    except ValueError as error:
        raise ConfigError(f"--make-certs: {bundle} is no certificate: {error}") from None
    if newest.not_valid_after_utc > now:
        yield newest.public_bytes(Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """A new file in its place, so that nobody reads half of it, nor has it open from before."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)


def _secret(name: str, certificate: bytes, key: bytes) -> bytes:
    namespace = name.split(".")[1] if name.count(".") >= 2 and name.endswith(".svc") else "tiergate"
    secret = f"""\
apiVersion: v1
kind: Secret
metadata:
  name: {SECRET}
  namespace: "{namespace}"
type: kubernetes.io/tls
data:
  {CERTIFICATE_FILE}: {base64.b64encode(certificate).decode()}
  {KEY_FILE}: {base64.b64encode(key).decode()}
"""
    return secret.encode()


def _patch(bundle: bytes) -> bytes:
    encoded = base64.b64encode(bundle).decode()
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": encoded}
        for number in range(WEBHOOKS)
    ]
    return msgspec.json.format(msgspec.json.encode(operations)) + b"\n"
