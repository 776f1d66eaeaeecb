"""A root change on the command line: four signatures, then two; a partner follows, and agreements stay in force."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.home import Home
from keys.bundle import KeyBundle, accept_bundles, first_trust, replay_history
from keys.errors import BundleError
from keys.statement import read_statement
from tests.support.operator import PASSPHRASE, Operator, make_cheap


@pytest.fixture(scope="module")
def changed(operator: Operator) -> Iterator[tuple[Operator, Path]]:
    """The operator's gateway in a copy, after the first half of the ceremony: both bundles are signed."""
    home = operator.folder / "root-copy"
    shutil.copytree(operator.home, home)
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    old, new, request, bundle = (
        str(operator.folder / name) for name in ("root.keystore", "new-root.keystore", "changing", "changing.jws")
    )
    operator.done("root", "change", old, "--out", new, *secret, home=home)
    operator.done("keys", "request", "--out", request, *secret, home=home)
    said = operator.done("root", "sign", request, "--root", new, "--out", bundle, "--yes", *secret, home=home)
    assert "THE ROOT CHANGES" in said
    assert "changing.jws changing-2.jws" in said
    make_cheap(Home(home))
    yield operator, home
    shutil.rmtree(home)


def signed(operator: Operator) -> tuple[bytes, bytes]:
    return (operator.folder / "changing.jws").read_bytes(), (operator.folder / "changing-2.jws").read_bytes()


def first_bundle(operator: Operator) -> KeyBundle:
    return replay_history([(operator.folder / "bundle.jws").read_bytes()], org="la-207")[0]


def test_first_bundle_has_four_signatures_and_the_second_the_same_content_with_two(
    changed: tuple[Operator, Path],
) -> None:
    operator, _ = changed
    four, two = (read_statement(jws, limit=len(jws)) for jws in signed(operator))
    assert (len(four.signatures), len(two.signatures)) == (4, 2)
    said, again = json.loads(four.payload), json.loads(two.payload)
    for member in ("seq", "prev"):
        said.pop(member)
        again.pop(member)
    assert said == again


def test_partner_that_trusts_the_old_root_follows_to_the_new_one(changed: tuple[Operator, Path]) -> None:
    operator, _ = changed
    before = first_bundle(operator)
    now = json.loads(read_statement(signed(operator)[0], limit=1 << 20).payload)["iat"]
    history = accept_bundles(signed(operator), org="la-207", history=(before,), foreign=(), now=now)
    assert [bundle.seq for bundle in history] == [1, 2, 3]
    assert history[-1].roots.kids == before.next_roots
    assert history[-1].next_roots != before.next_roots


def test_partner_that_missed_the_change_believes_nothing_after_it(changed: tuple[Operator, Path]) -> None:
    operator, _ = changed
    _, two = signed(operator)
    before = first_bundle(operator)
    with pytest.raises(BundleError) as refused:
        accept_bundles([two], org="la-207", history=(before,), foreign=(), now=before.iat)
    assert refused.value.code == "bundle.roots"


def test_newcomer_begins_at_the_second_bundle(changed: tuple[Operator, Path]) -> None:
    operator, _ = changed
    now = json.loads(read_statement(signed(operator)[1], limit=1 << 20).payload)["iat"]
    listed = [(operator.folder / "bundle.jws").read_bytes(), *signed(operator)]
    history = first_trust(listed, org="la-207", foreign=(), now=now, fingerprint=None)
    assert [bundle.seq for bundle in history] == [3]


def test_bundles_are_published_in_order_and_the_next_ceremony_has_two_signatures(
    changed: tuple[Operator, Path],
) -> None:
    operator, home = changed
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    fingerprint = operator.run("partner", "fingerprint", "--json", home=home)
    four, two = (str(operator.folder / name) for name in ("changing.jws", "changing-2.jws"))
    backwards = operator.run("keys", "publish", two, four, *secret, home=home)
    assert backwards.exit_code == 4
    assert "[bundle.roots]" in backwards.stderr
    said = json.loads(operator.done("keys", "publish", four, two, "--json", *secret, home=home))
    assert said["seq"] == 3
    after = json.loads(operator.done("partner", "fingerprint", "--json", home=home))
    assert after["words"] != json.loads(fingerprint.output)["words"]

    request, bundle = str(operator.folder / "later"), str(operator.folder / "later.jws")
    operator.done("keys", "request", "--out", request, *secret, home=home)
    root = str(operator.folder / "new-root.keystore")
    operator.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret, home=home)
    jws = Path(bundle).read_bytes()
    assert len(read_statement(jws, limit=len(jws)).signatures) == 2
    assert json.loads(operator.done("keys", "publish", bundle, "--json", *secret, home=home))["seq"] == 4


def test_new_root_keystore_is_not_made_in_a_home_nor_over_another(operator: Operator) -> None:
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    old = str(operator.folder / "root.keystore")
    inside = operator.run("root", "change", old, "--out", str(operator.home / "data" / "root2.keystore"), *secret)
    assert inside.exit_code == 2
    over = operator.run("root", "change", old, "--out", old, *secret)
    assert over.exit_code == 2
    assert "exists" in over.stderr
