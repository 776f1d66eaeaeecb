"""A listener's TLS certificate, read to be looked at: when it ends, which hosts it names, whether a key belongs to it. Pure.

Looked at, not trusted: who connects verifies it. Loading it for the listener is `web.tls`'s.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.core.errors import SafehandError


class CertificateError(SafehandError):
    """The bytes are no certificate chain, or no private key without a passphrase, in PEM."""

    code = "certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The first certificate of a chain: its time in seconds since 1970, the names and addresses that it is for, its key."""

    begins: int
    ends: int
    names: tuple[str, ...]
    public: bytes

    def is_for(self, host: str) -> bool:
        """Whether it names this host: an address itself, a name itself or by one wildcard label (RFC 9525)."""
        wanted = host.lower().rstrip(".")
        return any(name == wanted or _covers(name, wanted) for name in self.names)


def read_chain(data: bytes) -> Certificate:
    """Return the first certificate of a PEM chain. Raises CertificateError."""
    try:
        first = x509.load_pem_x509_certificates(data)[0]
        public = first.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return Certificate(
            begins=int(first.not_valid_before_utc.timestamp()),
            ends=int(first.not_valid_after_utc.timestamp()),
            names=_names(first),
            public=public,
        )
    except (ValueError, IndexError) as error:
        raise CertificateError("no certificate chain in PEM") from error


def public_of(data: bytes) -> bytes:
    """Return the public half of a private key in PEM, as `Certificate.public`. Raises CertificateError."""
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError("no private key in PEM and without a passphrase") from error
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = [name.lower().rstrip(".") for name in listed.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in listed.get_values_for_type(x509.IPAddress)))


def _covers(name: str, host: str) -> bool:
    first, _, rest = host.partition(".")
    return name.startswith("*.") and bool(first and rest) and not _is_address(host) and name[2:] == rest


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
