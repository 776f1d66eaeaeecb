"""One operator for all journeys: a home costs seconds to make."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.home import Home
from tests.support.operator import PASSPHRASE, Operator, make_cheap
from tests.support.world import World, opened_world


@pytest.fixture(scope="session")
def operator() -> Iterator[Operator]:
    with tempfile.TemporaryDirectory(prefix="sh-") as name:
        one = Operator(Path(name))
        assert one.init(one.home).exit_code == 0
        secret = ("--passphrase-file", one.file("passphrase", PASSPHRASE))
        root, request, bundle = (str(one.folder / n) for n in ("root.keystore", "request", "bundle.jws"))
        one.done("root", "init", root, "--org", "la-207", *secret)
        one.done("keys", "request", "--out", request, *secret)
        one.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret)
        one.done("keys", "publish", bundle, *secret)
        make_cheap(Home(one.home))
        yield one


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Two gateways that run, and everything that they say kept."""
    with opened_world() as opened:
        yield opened
