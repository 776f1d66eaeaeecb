"""What one bundle may say, whatever came before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.document import write_wire
from keys import base64url
from keys.bundle import UnsignedBundle
from keys.errors import BundleError
from keys.listed import DAY, Holder, Role
from tests.support.keys import (
    ISSUED,
    NOW,
    ORG,
    accept,
    ed25519,
    make_altered_jws,
    make_bundle,
    make_entries,
    make_entry,
    make_jws,
    make_pair,
    make_request,
    make_revocation,
    make_roots,
    ml_dsa_65,
    x_wing,
)

KEM, SIGN, HTTP, LOG = 0, 3, 5, 6  # places in `keys` of a bundle from tests.support.keys


def refusal(alter: Callable[[Any], object], write: Callable[[Any], bytes] = write_wire) -> str:
    """Return the code with which a truly signed payload is refused."""
    with pytest.raises(BundleError) as caught:
        accept(make_altered_jws(alter, write=write), org=ORG)
    return caught.value.code


def unaltered(members: Any) -> None:
    """Leave the members as they are."""


def test_unaltered_bundle_is_accepted():
    assert accept(make_altered_jws(unaltered)).seq == 1


def reorder(members: dict[str, Any], *names: str) -> None:
    """Move members to the front."""
    rest = {name: members.pop(name) for name in list(members) if name not in names}
    front = {name: members.pop(name) for name in names}
    members.update(front | rest)


def entry(place: int, **changes: Any) -> Callable[[Any], None]:
    return lambda members: members["keys"][place].update(changes)


def without(member: str, *places: str | int) -> Callable[[Any], None]:
    def alter(members: Any) -> None:
        for place in places:
            members = members[place]
        members.pop(member)

    return alter


def revoked(**members: Any) -> Callable[[Any], None]:
    return lambda m: m["revoked"].append({"kid": m["next_roots"][0], "from": 1, "reason": "lost"} | members)


MALFORMED: dict[str, Callable[[Any], object]] = {
    "an unknown member": lambda m: m.update(extra=1),
    "a missing member": without("suites"),
    "members in another order": lambda m: reorder(m, "org", "v"),
    "entry members in another order": lambda m: reorder(m["keys"][0], "holder", "role"),
    "a null": lambda m: m.update(prev=None),
    "a number as text": lambda m: m.update(seq="1"),
    "a float": lambda m: m.update(iat=float(m["iat"])),
    "true for a number": lambda m: m.update(v=True),
    "another version": lambda m: m.update(v=2),
    "seq 0": lambda m: m.update(seq=0),
    "an organisation id in capitals": lambda m: m.update(org="LA-850"),
    "an empty name": lambda m: m.update(name=""),
    "a name of 201 characters": lambda m: m.update(name="n" * 201),
    "no roots": without("roots"),
    "no next_roots": without("next_roots"),
    "a short thumbprint in next_roots": lambda m: m["next_roots"].__setitem__(0, "AAAA"),
    "an unknown role": entry(HTTP, role="root"),
    "an unknown holder": entry(HTTP, holder="vault"),
    "an entry without exp": without("exp", "keys", HTTP),
    "an origin on an http key": entry(HTTP, origin="a"),
    "a name on a log key": entry(LOG, name="a"),
    "a log key without origin": without("origin", "keys", LOG),
    "an origin with a space": entry(LOG, origin="safehand example"),
    "an origin with a plus": entry(LOG, origin="safehand+example"),
    "an empty origin": entry(LOG, origin=""),
    "a witness key without name": entry(HTTP, role="witness"),
    "a witness key with an empty name": entry(HTTP, role="witness", name=""),
    "a witness key with a name of 201 characters": entry(HTTP, role="witness", name="n" * 201),
    "a revoked entry with a further member": revoked(by="la-850"),
    "an empty reason": revoked(reason=""),
    "a reason of 201 characters": revoked(reason="r" * 201),
    "revoked before 1970": revoked(**{"from": -1}),
    "a revoked kid that is no thumbprint": revoked(kid="a"),
    "no exchange endpoint": without("exchange", "endpoints"),
    "an unknown endpoint": lambda m: m["endpoints"].update(mail="https://a.example"),
    "endpoints in another order": lambda m: m.update(endpoints={"police": "https://b.example", **m["endpoints"]}),
}


@pytest.mark.parametrize("alter", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bundle_is_refused(alter: Callable[[Any], object]):
    assert refusal(alter) == "bundle.malformed"


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "white space": lambda members: json.dumps(members).encode(),
    "a duplicate member": lambda members: write_wire(members).replace(b'"seq":1', b'"seq":1,"seq":1'),
    "a needless escape": lambda members: write_wire(members).replace(b"Invented", b"Invente\\u0064"),
    "an array": lambda members: write_wire([members]),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_payload_in_another_form_is_refused(write: Callable[[Any], bytes]):
    assert refusal(unaltered, write) == "bundle.malformed"


def test_rule_names_the_place_and_never_the_value():
    jws = make_altered_jws(entry(HTTP, role="Alice Example"))
    with pytest.raises(BundleError) as caught:
        accept(jws)
    assert "$.keys[5].role" in caught.value.rule
    assert "Alice" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://safehand.example",
        "http://127.0.0.1:8443",
        "https://safehand.example/",
        "https://safehand.example/exchange",
        "https://safehand.example?a",
        "https://user@safehand.example",
        "https://safehand.example:0",
        "https://safehand.example:65536",
        "https://safehand.example:",
        "https://",
        "HTTPS://safehand.example",
        "https://safehand.example\n",
    ],
)
def test_endpoint_that_is_more_or_less_than_https_host_and_port_is_refused(url: str):
    assert refusal(lambda members: members["endpoints"].update(exchange=url)) == "bundle.endpoints"


@pytest.mark.parametrize("url", ["https://127.0.0.1:8443", "https://[::1]:8443", "https://a-b.example:65535"])
def test_endpoint_of_host_and_port_is_accepted(url: str):
    jws = make_altered_jws(lambda m: m.update(endpoints={"exchange": url, "witness": url, "police": url}))
    assert accept(jws).endpoints.police == url


def test_bundle_without_the_suite_is_refused():
    assert refusal(lambda members: members.update(suites=["sh2"])) == "bundle.suites"
    assert accept(make_altered_jws(lambda members: members.update(suites=["sh2", "sh1"])))


def test_bundle_for_more_than_ninety_days_is_refused():
    assert refusal(lambda members: members.update(exp=members["iat"] + 90 * DAY + 1)) == "bundle.period"


def test_bundle_that_ends_as_it_begins_is_refused():
    assert refusal(lambda members: members.update(exp=members["iat"])) == "bundle.period"


def test_first_bundle_with_prev_is_refused():
    def alter(members: Any) -> None:
        members["prev"] = "sha256:" + "0" * 64
        reorder(members, "v", "org", "name", "seq", "prev")

    assert refusal(alter) == "bundle.prev"


def test_later_bundle_without_prev_is_refused():
    assert refusal(lambda members: members.update(seq=2)) == "bundle.prev"


def test_prev_that_is_no_digest_is_refused():
    with pytest.raises(BundleError, match="digest") as caught:
        make_jws(make_request(seq=2, prev="sha256:" + "A" * 64))
    assert caught.value.code == "bundle.prev"


# --- roots


def test_roots_in_the_wrong_order_are_refused():
    assert refusal(lambda members: members["roots"].reverse()) == "bundle.roots"


def test_three_roots_are_refused():
    assert refusal(lambda members: members["roots"].append(ed25519("third").public.jwk())) == "bundle.roots"


def test_one_next_root_is_refused():
    assert refusal(lambda members: members["next_roots"].pop()) == "bundle.roots"


@pytest.mark.parametrize("half", [0, 1])
def test_next_root_equal_to_a_root_is_refused(half: int):
    def alter(members: Any) -> None:
        members["next_roots"][half] = members["roots"][half]["kid"]

    assert refusal(alter) == "bundle.roots"


def test_equal_next_roots_are_refused():
    assert refusal(lambda m: m["next_roots"].__setitem__(1, m["next_roots"][0])) == "bundle.roots"


# --- keys


JWK_FAULTS: dict[str, Callable[[Any], object]] = {
    "another kid": lambda jwk: jwk.update(kid=ed25519("other").public.kid),
    "a further member": lambda jwk: jwk.update(alg="Ed25519"),
    "another use": lambda jwk: jwk.update(use="enc"),
    "members in another order": lambda jwk: jwk.update(use=jwk.pop("use")),
    "a small-order point": lambda jwk: jwk.update(x=base64url.encode(b"\1" + bytes(31))),
    "a point that is not canonical": lambda jwk: jwk.update(x=base64url.encode(b"\xed" + b"\xff" * 30 + b"\x7f")),
    "padding": lambda jwk: jwk.update(x=jwk["x"] + "="),
}


@pytest.mark.parametrize("fault", JWK_FAULTS.values(), ids=JWK_FAULTS.keys())
def test_key_with_a_faulty_jwk_is_refused(fault: Callable[[Any], object]):
    assert refusal(lambda members: fault(members["keys"][HTTP]["jwk"])) == "bundle.key"


def test_kem_key_with_a_small_order_x25519_half_is_refused():
    def alter(members: Any) -> None:
        jwk = members["keys"][KEM]["jwk"]
        jwk["pub"] = base64url.encode(base64url.decode(jwk["pub"])[:1184] + bytes(32))

    assert refusal(alter) == "bundle.key"


def test_kem_key_with_a_bad_ml_kem_half_is_refused():
    def alter(members: Any) -> None:
        jwk = members["keys"][KEM]["jwk"]
        jwk["pub"] = base64url.encode(b"\xff" * 1184 + base64url.decode(jwk["pub"])[1184:])

    assert refusal(alter) == "bundle.key"


@pytest.mark.parametrize(("role", "extra"), [("http", {}), ("log", {"origin": "a"}), ("witness", {"name": "a"})])
def test_single_key_that_is_not_ed25519_is_refused(role: str, extra: dict[str, str]):
    key = {"role": role, "holder": "gateway", "jwk": ml_dsa_65("odd").public.jwk()}
    times = {"nbf": NOW, "retire": NOW + 1, "exp": NOW + 1}
    assert refusal(lambda members: members["keys"].append(key | times | extra)) == "bundle.key"


def test_kem_key_that_is_no_kem_key_is_refused():
    assert refusal(entry(KEM, jwk=ed25519("odd").public.jwk())) == "bundle.key"


def test_witness_key_with_a_name_is_accepted():
    witness = make_entry(Role.WITNESS, ed25519("witness"), name="la-850 witness")
    bundle = make_bundle(keys=(*make_entries(), witness))
    assert bundle.find(witness.kid) == witness


def test_kid_that_occurs_twice_is_refused():
    assert refusal(lambda members: members["keys"].append(members["keys"][HTTP])) == "bundle.duplicate"


def test_two_kem_keys_with_one_x25519_half_are_refused():
    def alter(members: Any) -> None:
        one, other = (base64url.decode(members["keys"][place]["jwk"]["pub"]) for place in (0, 1))
        mixed = type(x_wing("any").public).from_raw(one[:1184] + other[1184:])
        members["keys"][0]["jwk"] = mixed.jwk()

    assert refusal(alter) == "bundle.duplicate"


def test_key_in_two_roles_is_refused():
    key = make_entry(Role.LOG, make_roots().ed)
    with pytest.raises(BundleError) as caught:
        make_jws(make_request(keys=(*make_entries(), key)))
    assert caught.value.code == "bundle.two-roles"


def test_announced_root_listed_as_a_key_is_refused():
    key = make_entry(Role.HTTP, make_roots(generation=2).ed)
    with pytest.raises(BundleError) as caught:
        make_jws(make_request(keys=(*make_entries(), key)))
    assert caught.value.code == "bundle.two-roles"


def test_kid_revoked_twice_is_refused():
    def alter(members: Any) -> None:
        revoked()(members)
        revoked(reason="stolen")(members)

    assert refusal(alter) == "bundle.duplicate"


# --- pairs

PAIR_FAULTS: dict[str, Callable[[Any], object]] = {
    "one half": lambda keys: keys.pop(SIGN + 1),
    "the second half alone": lambda keys: keys.pop(SIGN),
    "ML-DSA first": lambda keys: keys.insert(SIGN, keys.pop(SIGN + 1)),
    "another key between": lambda keys: keys.insert(SIGN + 1, keys.pop(HTTP)),
    "another role": lambda keys: keys[SIGN + 1].update(role="agreement-sign"),
    "another nbf": lambda keys: keys[SIGN].update(nbf=keys[SIGN]["nbf"] + 1),
    "another retire": lambda keys: keys[SIGN].update(retire=keys[SIGN]["retire"] + 1),
    "another exp": lambda keys: keys[SIGN + 1].update(exp=keys[SIGN + 1]["exp"] + 1),
    "another holder": lambda keys: keys[SIGN].update(holder="browser", retire=NOW, exp=NOW + 1),
}


@pytest.mark.parametrize("fault", PAIR_FAULTS.values(), ids=PAIR_FAULTS.keys())
def test_broken_pair_is_refused(fault: Callable[[Any], object]):
    assert refusal(lambda members: fault(members["keys"])) == "bundle.pair"


# --- periods


@pytest.mark.parametrize(
    ("place", "nbf", "retire", "exp"),
    [
        (HTTP, NOW, NOW, NOW + 1),
        (HTTP, NOW + 1, NOW, NOW + 2),
        (HTTP, NOW, NOW + 2, NOW + 1),
        (HTTP, -1, NOW, NOW),
        (KEM, NOW, NOW + 30 * DAY + 1, NOW + 61 * DAY + 1),
        (KEM, NOW, NOW + 30 * DAY, NOW + 61 * DAY - 1),
        (KEM, NOW, NOW + 30 * DAY, NOW + 61 * DAY + 1),
    ],
)
def test_key_with_a_period_beyond_its_rule_is_refused(place: int, nbf: int, retire: int, exp: int):
    assert refusal(entry(place, nbf=nbf, retire=retire, exp=exp)) == "bundle.period"


def test_shorter_kem_period_is_accepted():
    key = make_entry(Role.MESSAGE_KEM, x_wing("short"), nbf=NOW, retire=NOW + 1)
    assert make_bundle(keys=(key,)).keys == (key,)


@pytest.mark.parametrize(("days", "accepted"), [(400, True), (401, False)])
def test_browser_key_lives_at_most_four_hundred_days(days: int, accepted: bool):
    end = ISSUED + days * DAY
    key = make_entry(Role.MESSAGE_KEM, x_wing("school"), retire=end, exp=end, holder=Holder.BROWSER)
    if accepted:
        assert make_bundle(keys=(key,)).keys == (key,)
    else:
        with pytest.raises(BundleError) as caught:
            make_bundle(keys=(key,))
        assert caught.value.code == "bundle.period"


# --- the request file


def test_request_file_comes_back_as_it_was_written():
    request = make_request(revoked=(make_revocation(make_pair("lost").kids[0], since=ISSUED),))
    assert UnsignedBundle.from_bytes(request.to_bytes()) == request


def test_request_file_has_no_roots():
    assert not {"roots", "next_roots"} & set(json.loads(make_request().to_bytes()))


def test_signed_payload_is_not_taken_for_a_request():
    members = json.loads(make_request().to_bytes())
    at = list(members).index("suites")
    items = list(members.items())
    roots = ("roots", [public.jwk() for public in make_roots().public.publics])
    data = write_wire(dict([*items[:at], roots, ("next_roots", []), *items[at:]]))
    with pytest.raises(BundleError, match="no roots"):
        UnsignedBundle.from_bytes(data)


def test_request_that_breaks_a_rule_is_refused_when_read():
    with pytest.raises(BundleError, match="90 days"):
        UnsignedBundle.from_bytes(make_request(exp=ISSUED + 91 * DAY).to_bytes())


def test_request_that_breaks_a_rule_is_never_signed():
    with pytest.raises(BundleError):
        make_jws(dataclasses.replace(make_request(), name=""))
