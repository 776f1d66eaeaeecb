"""Handing an event to a receiver of the own organisation: one POST to one configured address, over HTTPS.

It holds no secret (the headers come signed), remembers nothing and logs nothing. One for each receiver, so that none uses
up another's connections. Redirects and proxies are never followed, what is answered is thrown away, and the address of the
socket decides whether it may be connected to, as for partners; an address on this machine may lead nowhere else.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from adapters.addresses import AddressNotAllowedError, Network, guarded_socket, is_allowed, is_loopback, retry_after
from adapters.port import DeliveryError, DeliveryRefusedError, Handover

TOTAL_TIME: Final = timedelta(seconds=15)  # what Standard Webhooks asks receivers to keep within
ANSWER_LIMIT: Final = 64 * 1024  # bytes: read so that the connection can be used again, and never kept
_IDLE: Final = 15.0  # seconds


class WebhookAdapter:
    """Posts to one address. Make it inside a running event loop; `close` ends it."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None,
        allowed_private: tuple[Network, ...],
        on_loopback: bool,
        total_time: timedelta = TOTAL_TIME,
    ) -> None:
        """`on_loopback`: the address is this machine's, and nothing else may be connected to."""
        self._url = URL(url, encoded=True)
        connector = aiohttp.TCPConnector(
            ssl=_context(ca_file),
            socket_factory=lambda found: guarded_socket(
                found, is_loopback if on_loopback else lambda at: is_allowed(at, allowed_private)
            ),
            limit=1,  # in order, one at a time
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
        """End the connection; nothing can be posted any more."""
        await self._session.close()

    async def post(self, headers: Mapping[str, str], body: bytes) -> Handover:
        """POST once; the answer's body is empty whatever it was. Raises DeliveryError, DeliveryRefusedError."""
        try:
            async with self._session.post(self._url, headers=headers, data=body, allow_redirects=False) as answer:
                await _drain(answer)
                return Handover(
                    status=answer.status, body=b"", retry_after=retry_after(answer.headers.get("Retry-After"))
                )
        except TimeoutError:
            raise DeliveryError("time-out") from None
        except aiohttp.ClientSSLError:
            raise DeliveryError("tls") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressNotAllowedError):
                raise DeliveryRefusedError("address-not-allowed") from None
            raise DeliveryError("no-connection") from None
        except ValueError:  # aiohttp.InvalidURL is one
            raise DeliveryRefusedError("address-not-allowed") from None
        except (aiohttp.ClientError, OSError):
            # The texts of these hold addresses and the receiver's words: only the code goes on.
            raise DeliveryError("no-connection") from None


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificate and host name checked; TLS 1.2 too, as case systems stand behind older equipment than gateways."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Throw the answer away; leaving with more of it unread closes the connection."""
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > ANSWER_LIMIT:
            return
