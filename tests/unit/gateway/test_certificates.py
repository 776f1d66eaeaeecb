"""A listener's certificate, looked at: time, hosts, key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.certificates import Certificate, CertificateError, public_of, read_chain
from gateway.demo.tls import make_authority, write_certificate

START = datetime(2026, 3, 1, tzinfo=UTC)


def made(folder: Path, host: str = "exchange.a.example") -> tuple[Certificate, bytes]:
    certificate, key = write_certificate(make_authority(START, timedelta(days=30)), folder, host)
    return read_chain(certificate.read_bytes()), key.read_bytes()


def test_time_and_key_are_those_of_the_first_certificate(tmp_path: Path) -> None:
    certificate, key = made(tmp_path)
    assert certificate.ends == int((START + timedelta(days=30)).timestamp())
    assert certificate.begins < START.timestamp()
    assert public_of(key) == certificate.public


def test_another_key_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate, _ = made(tmp_path)
    _, other = made(tmp_path / "other")
    assert public_of(other) != certificate.public


@pytest.mark.parametrize(
    ("named", "host", "covered"),
    [
        ("exchange.a.example", "exchange.a.example", True),
        ("exchange.a.example", "EXCHANGE.A.EXAMPLE.", True),
        ("exchange.a.example", "a.example", False),
        ("*.a.example", "exchange.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "deep.exchange.a.example", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("*.0.0.1", "127.0.0.1", False),
    ],
)
def test_a_host_is_covered_by_its_name_or_by_one_wildcard_label(
    tmp_path: Path, named: str, host: str, *, covered: bool
) -> None:
    assert made(tmp_path, named)[0].is_for(host) is covered


@pytest.mark.parametrize("data", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_chain_and_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateError):
        read_chain(data)
    with pytest.raises(CertificateError):
        public_of(data)
