"""Real homes for tests: on a short path, with keystores that cost nothing, opened as a gateway by the test's clock."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from gateway.app import Running, Writing, open_exchange, reload_bundles
from gateway.cli.log import prepare_database
from gateway.config import Settings, settings_from
from gateway.home import Home, create
from gateway.partners import publish
from keys.bundle import KeyBundle, Revocation
from keys.bundle_payload import Endpoints
from keys.keyset import KeySet
from keys.listed import Role
from keys.rotation import plan_request
from keys.sources.keystore import LOWEST, KeystoreFile
from tests.support.keys import make_jws, make_makers

AGREEMENT_PASSPHRASE = b"an invented passphrase"


def cheap_keystores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every keystore made from now on costs nothing to open."""
    monkeypatch.setattr(KeystoreFile.__init__, "__kwdefaults__", {"cost": LOWEST})


def settings_of(org: str) -> Settings:
    tables = {"org": org, "name": "Invented Council", "public_url": f"https://{org}.example", "listen": "127.0.0.1:1"}
    return settings_from(tables, file="test")


@contextmanager
def make_home(org: str) -> Iterator[Home]:
    """A new home with an empty database, gone at the end with everything beside it."""
    with tempfile.TemporaryDirectory(prefix="sh-") as folder:
        home = Home(Path(folder) / "home")
        create(home, settings_of(org), AGREEMENT_PASSPHRASE)
        prepare_database(home)
        yield home


@dataclass(frozen=True)
class Ceremony:
    """What `keys request` left in the keystores, and what the root signed."""

    jws: bytes
    request_at: int


def request_keys(home: Home, newest: KeyBundle | None, now: int, *, revoke: tuple[Revocation, ...] = ()) -> Ceremony:
    """As `safehand keys request` and `root sign`, at an instant; the gateway's keys are in its keystore then."""
    settings = home.settings()
    plan = plan_request(
        org=settings.org,
        name=settings.name,
        endpoints=Endpoints(exchange=settings.public_url, witness=None, police=None),
        origin=settings.log_origin,
        newest=newest,
        revoke=revoke,
        now=now,
        makers=make_makers(f"{settings.org} {now}"),
        early=frozenset[Role](),
    )

    def with_made(held: KeySet) -> KeySet:
        return held.add(*plan.gateway)

    home.change_keystore("gateway", with_made)
    return Ceremony(jws=make_jws(plan.request), request_at=now)


async def take_up(running: Running, ceremony: Ceremony) -> KeyBundle:
    """As `safehand keys publish` beside a running server."""
    bundle = await publish(ceremony.jws, running.exchange, by=None)
    await reload_bundles(running.keys, running.exchange)
    return bundle


@asynccontextmanager
async def running_at(home: Home, clock: Callable[[], datetime]) -> AsyncIterator[Writing]:
    """The open exchange of a home, as a gateway has it, by the test's clock."""
    failures: list[BaseException] = []
    with home.locked():
        async with open_exchange(home, failures.append, clock=clock) as running:
            yield running
    assert failures == []
