"""Listeners on loopback under a throw-away certificate authority, and a port that is known before they start."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from gateway.demo.tls import LOOPBACK, Authority, make_authority, write_certificate

__all__ = ["LOOPBACK", "Authority", "make_ca", "make_cert", "open_port", "serving", "url_of"]


def make_ca() -> Authority:
    """An authority that outlives every clock of the tests."""
    return make_authority(datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=365 * 79))


def make_cert(authority: Authority, folder: Path, host: str = LOOPBACK) -> tuple[Path, Path]:
    """Write a certificate for `host` and its key; return both files."""
    return write_certificate(authority, folder, host, name=host)


def open_port() -> socket.socket:
    """Return a bound socket of loopback: its port is known before anything listens on it."""
    bound = socket.socket()
    bound.bind((LOOPBACK, 0))
    return bound


def url_of(bound: socket.socket) -> str:
    return f"https://{LOOPBACK}:{bound.getsockname()[1]}"


@asynccontextmanager
async def serving(runner: web.AppRunner, bound: socket.socket, context: ssl.SSLContext) -> AsyncIterator[None]:
    """Run a listener on `bound`."""
    await runner.setup()
    try:
        await web.SockSite(runner, bound, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()
        bound.close()
