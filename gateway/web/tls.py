"""The TLS of the exchange listener: version 1.3 and nothing older. The client's side of it is the peer adapter's."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a listener with this certificate chain and private key (PEM files).

    Partners prove who they are by signing each request, so that no certificate is asked of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context
