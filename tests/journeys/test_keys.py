"""Keys after the first ceremony: what was revoked is in the next bundle, and what is past its end is destroyed."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.operator import PASSPHRASE, Operator


@pytest.fixture
def copy(operator: Operator) -> Iterator[Path]:
    home = operator.folder / "keys-copy"
    shutil.copytree(operator.home, home)
    yield home
    shutil.rmtree(home)


def payload(bundle: str) -> Any:
    text = json.loads(bundle)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def http_kid(operator: Operator) -> str:
    return next(key["kid"] for key in operator.ask("keys", "list") if key["role"] == "http")


def test_a_revoked_key_stands_in_the_published_bundle_and_has_a_successor(operator: Operator, copy: Path) -> None:
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    root, request, bundle = (str(operator.folder / name) for name in ("root.keystore", "revoking", "revoking.jws"))
    kid = http_kid(operator)
    operator.done(
        "keys", "revoke", kid, "--reason", "laptop lost", "--out", request, *secret, home=copy
    )  # fmt: skip
    operator.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret, home=copy)
    said = json.loads(operator.done("keys", "publish", bundle, "--json", *secret, home=copy))
    assert (said["seq"], said["destroyed"]) == (2, 0)

    published = payload(operator.done("keys", "bundle", home=copy))
    assert [(entry["kid"], entry["reason"]) for entry in published["revoked"]] == [(kid, "laptop lost")]
    states = {key["kid"]: key["state"] for key in json.loads(operator.done("keys", "list", "--json", home=copy))
              if key["role"] == "http"}  # fmt: skip
    assert states.pop(kid) == "revoked"
    assert set(states.values()) == {"active"}


def test_a_key_that_is_not_ours_is_not_revoked(operator: Operator) -> None:
    out = operator.folder / "not-written"
    refused = operator.run("keys", "revoke", "no-such-key", "--reason", "lost", "--out", str(out))
    assert refused.exit_code == 4
    assert "[key.unknown]" in refused.stderr
    assert not out.exists()


@pytest.mark.parametrize("half", [("one",), ("--reason", "lost")], ids=["no-reason", "no-key"])
def test_a_revocation_has_a_key_and_a_reason(operator: Operator, half: tuple[str, str]) -> None:
    refused = operator.run("keys", "revoke", *half, "--out", str(operator.folder / "not-written"))
    assert refused.exit_code == 2
