"""Handing sealed bytes to a partner's gateway over HTTPS: the client side of envelope sections 6 and 10.

It holds no key (`sign` makes the headers), reads nothing that it carries, remembers nothing and logs nothing. What stops
what: a partner's address that leads inside our own network is refused at the socket, on the very address that is
connected to, so that no second look-up of the name can answer otherwise; redirects and proxies are never followed; an
answer is cut off at its cap before it is kept, and is never decompressed.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from adapters.port import DeliveryError, DeliveryRefusedError, Handover, Parcel

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Sign = Callable[[str, str, bytes | None, str | None], Mapping[str, str]]
"""(method, target URI, body, idempotency key) -> the RFC 9421 headers of one attempt."""

MEDIA_TYPE: Final = "application/jose+json"
TOTAL_TIME: Final = timedelta(seconds=30)  # log.md B3
ANSWER_LIMIT: Final = 640 * 1024  # bytes: the largest thing that partners exchange (envelope section 10)
LIST_LIMIT: Final = 4 * 1024 * 1024  # bytes: lists of them, asked for from where the last one ended

_ROUTES: Final[Mapping[str, bool]] = {
    "messages": True,
    "receipts": True,
    "events": True,
    "statements": True,
    "bundles": False,
}  # signed?
_LISTS: Final = frozenset({"/exchange/v1/bundles", "/exchange/v1/events"})
_PER_PARTNER: Final = 8  # connections; four attempts and what is owed besides
_IDLE: Final = 15.0  # seconds; shorter than a listener's patience, so that no request meets a closing connection

_PUBLIC_URL = re.compile(r"https://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{0,4})?")
_PATH = re.compile(r"/[!-~]*")
_SECONDS = re.compile(r"[0-9]{1,9}")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 section 2.4; translated and mapped addresses lie outside
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # carries an IPv4 address of whoever wrote it


class PeerAdapter:
    """HTTPS to partners, one session for all of them. Make it inside a running event loop; `close` ends it."""

    def __init__(
        self,
        *,
        sign: Sign,
        ca_file: Path | None,
        allowed_private: tuple[Network, ...],
        total_time: timedelta = TOTAL_TIME,
    ) -> None:
        """`ca_file` holds authorities trusted besides the system's; `allowed_private` the private networks to connect to."""
        self._sign = sign
        connector = aiohttp.TCPConnector(
            ssl=client_context(ca_file),
            socket_factory=lambda found: _guarded_socket(found, allowed_private),
            limit_per_host=_PER_PARTNER,
            keepalive_timeout=_IDLE,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=total_time.total_seconds()),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            skip_auto_headers=("User-Agent",),
            trust_env=False,
        )

    async def close(self) -> None:
        """End every connection; nothing can be handed over any more."""
        await self._session.close()

    async def deliver(self, parcel: Parcel) -> Handover:
        """POST the bytes once. Raises DeliveryError, DeliveryRefusedError (`address-not-allowed`)."""
        target = _target(parcel.url, f"/exchange/v1/{parcel.kind}")
        headers: Mapping[str, str] = {"Content-Type": MEDIA_TYPE}
        if _ROUTES[parcel.kind]:
            headers = self._sign("POST", target, parcel.data, parcel.idempotency_key)
        return await self._request("POST", target, headers, parcel.data, ANSWER_LIMIT)

    async def fetch(self, partner: str, url: str, path: str, *, signed: bool) -> Handover:
        """GET `url` + `path`. Raises as `deliver` does."""
        del partner  # who is asked is for adapters that keep a place for each
        target = _target(url, path)
        headers = self._sign("GET", target, None, None) if signed else {}
        limit = LIST_LIMIT if path.partition("?")[0] in _LISTS else ANSWER_LIMIT
        return await self._request("GET", target, headers, None, limit)

    async def _request(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes | None, limit: int
    ) -> Handover:
        try:
            async with self._session.request(
                method,
                URL(target, encoded=True),  # the very text that was signed
                headers=headers,
                data=data,
                allow_redirects=False,
            ) as answer:
                return Handover(
                    status=answer.status,
                    body=await _read(answer, limit),
                    retry_after=_seconds(answer.headers.get("Retry-After")),
                )
        except TimeoutError:
            raise DeliveryError("time-out") from None
        except aiohttp.ClientSSLError:
            raise DeliveryError("tls") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _AddressNotAllowedError):
                raise DeliveryRefusedError("address-not-allowed") from None
            raise DeliveryError("no-connection") from None
        except ValueError:  # aiohttp.InvalidURL is one: a port of 99999, an IPv4 address in another spelling
            raise DeliveryRefusedError("address-not-allowed") from None
        except (aiohttp.ClientError, OSError):
            # The texts of these hold addresses, and a partner can choose some of the words: only the code goes on.
            raise DeliveryError("no-connection") from None


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS context towards partners: version 1.3, certificate and host name checked."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def is_allowed(address: Address, allowed_private: tuple[Network, ...]) -> bool:
    """Whether a partner may be at this address: on the public internet, or in a network that the operator listed."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # the same host: one rule for both spellings
    if any(address in network for network in allowed_private):
        return True
    if not address.is_global or address.is_multicast:
        return False
    return address.version == 4 or (address in _GLOBAL_UNICAST and address not in _SIX_TO_FOUR)


class _AddressNotAllowedError(OSError):
    """An OSError, as that is what a connector expects of a socket that cannot be had."""


def _guarded_socket(found: aiohttp.AddrInfoType, allowed_private: tuple[Network, ...]) -> socket.socket:
    family, kind, protocol, _, where = found
    if family not in (socket.AF_INET, socket.AF_INET6) or not is_allowed(
        ipaddress.ip_address(where[0]), allowed_private
    ):
        raise _AddressNotAllowedError("not allowed")
    return socket.socket(family=family, type=kind, proto=protocol)


def _target(url: str, path: str) -> str:
    if not _PUBLIC_URL.fullmatch(url) or not _PATH.fullmatch(path):
        raise DeliveryRefusedError("address-not-allowed")
    return url + path


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise DeliveryError("answer-too-large")  # leaving the request closes the connection
    return bytes(body)


def _seconds(text: str | None) -> int | None:
    """Read Retry-After in seconds; the HTTP-date form is not used between gateways and counts as absent."""
    return int(text) if text is not None and _SECONDS.fullmatch(text) else None
