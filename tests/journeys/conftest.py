"""An operator for each file of journeys: a home costs seconds to make, so it is made once and copied."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.home import Home
from tests.support.operator import PASSPHRASE, Operator, make_cheap
from tests.support.world import World, opened_world


@pytest.fixture(scope="session")
def first_home() -> Iterator[Operator]:
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
def operator(first_home: Operator) -> Iterator[Operator]:
    """A home that nothing but the tests of one file has touched."""
    with tempfile.TemporaryDirectory(prefix="sh-") as name:
        shutil.copytree(first_home.folder, name, dirs_exist_ok=True)
        yield Operator(Path(name))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Two gateways that run, and everything that they say kept."""
    with opened_world() as opened:
        yield opened
