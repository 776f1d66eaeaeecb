"""Where a partner may be: which addresses the peer adapter connects to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.addresses import is_allowed

LOOPBACK = (ipaddress.ip_network("127.0.0.1"),)
TEN = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize("address", ["8.8.8.8", "51.140.0.1", "2606:4700::1111", "2a00:23c4::1"])
def test_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), ())


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - an address to be refused
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_address_inside_or_of_no_host_is_refused(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), ())


def test_listed_network_is_allowed_and_no_other() -> None:
    assert is_allowed(ipaddress.ip_address("10.255.0.1"), TEN)
    assert not is_allowed(ipaddress.ip_address("127.0.0.2"), LOOPBACK)
    assert not is_allowed(ipaddress.ip_address("192.168.0.1"), TEN)


@given(st.ip_addresses(v=4))
def test_mapped_address_is_judged_as_the_one_it_maps(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    assert is_allowed(mapped, TEN) == is_allowed(address, TEN)


@given(st.ip_addresses())
def test_private_address_is_never_allowed_unlisted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_allowed(address, ())
