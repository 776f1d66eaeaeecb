"""Where an adapter may connect to: decided on the very address of the socket, so that no second look-up of a name can differ."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Final

import aiohttp

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SECONDS = re.compile(r"[0-9]{1,9}")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291 2.4; translated and mapped addresses lie outside
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")  # carries an IPv4 address of whoever wrote it


class AddressNotAllowedError(OSError):
    """An OSError, as that is what a connector expects of a socket that cannot be had."""


def is_allowed(address: Address, allowed_private: tuple[Network, ...]) -> bool:
    """Whether this address may be connected to: it is on the public internet, or in a network that the operator listed."""
    address = _plain(address)
    if any(address in network for network in allowed_private):
        return True
    if not address.is_global or address.is_multicast:
        return False
    return address.version == 4 or (address in _GLOBAL_UNICAST and address not in _SIX_TO_FOUR)


def is_loopback(address: Address) -> bool:
    """Whether this address is this machine's own."""
    return _plain(address).is_loopback


def guarded_socket(found: aiohttp.AddrInfoType, allowed: Callable[[Address], bool]) -> socket.socket:
    """Return a socket for the address that was found. Raises AddressNotAllowedError."""
    family, kind, protocol, _, where = found
    if family not in (socket.AF_INET, socket.AF_INET6) or not allowed(ipaddress.ip_address(where[0])):
        raise AddressNotAllowedError("not allowed")
    return socket.socket(family=family, type=kind, proto=protocol)


def retry_after(text: str | None) -> int | None:
    """Read Retry-After in seconds; its HTTP-date form counts as absent."""
    return int(text) if text is not None and _SECONDS.fullmatch(text) else None


def _plain(address: Address) -> Address:
    """An IPv4 address mapped into IPv6 is the same host: one rule for both spellings."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
