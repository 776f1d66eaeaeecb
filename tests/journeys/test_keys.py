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


def test_keys_lost_in_a_disaster_are_published_as_lost_and_then_revoked(operator: Operator, copy: Path) -> None:
    """The keystores are older than the last ceremony: without its bundle the next would have its number."""
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    root, request, bundle = (str(operator.folder / name) for name in ("root.keystore", "rotating", "rotating.jws"))
    older = operator.folder / "older"
    shutil.copytree(copy, older)
    operator.done("keys", "rotate", "--role", "http", "--out", request, *secret, home=copy)
    operator.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret, home=copy)

    assert operator.run("keys", "publish", bundle, *secret, home=older).exit_code == 4
    said = json.loads(operator.done("keys", "publish", bundle, "--keys-lost", "--json", *secret, home=older))
    assert said["seq"] == 2
    assert set(said["lost"]) & {key["kid"] for key in json.loads(operator.done("keys", "list", "--json", home=older))
                                if key["role"] == "http"}  # fmt: skip
    operator.done("keys", "revoke", *said["lost"], "--reason", "lost", "--out", request, *secret, home=older)
    operator.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret, home=older)
    again = json.loads(operator.done("keys", "publish", bundle, "--json", *secret, home=older))
    assert (again["seq"], again["lost"]) == (3, [])
    states = [key["state"] for key in json.loads(operator.done("keys", "list", "--json", home=older))
              if key["role"] == "http"]  # fmt: skip
    assert sorted(states) == ["active", "retiring", "revoked"]
    shutil.rmtree(older)


def test_rotation_replaces_the_active_key_of_a_role_and_says_that_nothing_has_changed_yet(
    operator: Operator, copy: Path
) -> None:
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    request = str(operator.folder / "rotating")
    roles = ("message-sign", "http", "log", "agreement-sign")
    asked = [word for role in (*roles, "message-kem") for word in ("--role", role)]
    said = operator.done("keys", "rotate", *asked, "--out", request, *secret, home=copy)
    assert "The old keys stay in force until it is published" in said
    listed = json.loads((operator.folder / "rotating").read_bytes())["keys"]
    assert {role: sum(key["role"] == role for key in listed) for role in roles} == {
        "message-sign": 4,
        "http": 2,
        "log": 2,
        "agreement-sign": 4,
    }
    kems = [key for key in listed if key["role"] == "message-kem"]
    assert kems[0]["retire"] - json.loads((operator.folder / "rotating").read_bytes())["iat"] == 7 * 86_400


def test_revoking_says_what_takes_effect_when(operator: Operator, copy: Path) -> None:
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    request = str(operator.folder / "revoking-2")
    said = operator.done(
        "keys", "revoke", http_kid(operator), "--reason", "lost", "--out", request, *secret, home=copy
    )  # fmt: skip
    assert "NOTHING IS REVOKED YET" in said
    assert "72 hours" in said
