"""The TLS of the exchange listener: version 1.3 and nothing older. The client's side of it is the peer adapter's."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.core.errors import SafehandError


class TlsError(SafehandError):
    """The listener's certificate chain or key cannot be used; says which file, and what is asked of it."""

    code = "tls"


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a listener with this certificate chain and private key (PEM files). Raises TlsError.

    Partners prove who they are by signing each request, so that no certificate is asked of them.
    """
    for path, what in ((certificate, "the certificate chain"), (key, "its private key")):
        try:
            path.open("rb").close()  # the library does not name the file that it misses
        except OSError as error:
            raise TlsError(f"{path}: {what} of the listener cannot be read ({error.strerror})") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password="")  # a server does not stop to ask for one
    except ssl.SSLError as error:
        raise TlsError(
            f"{certificate}, {key}: must be a certificate chain and its private key, in PEM and without a passphrase"
        ) from error
    return context
