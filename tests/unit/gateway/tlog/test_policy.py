"""Policies: read as the format has them, written in one form, and what a quorum is."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.cosignature import CosignerKey
from gateway.tlog.errors import PolicyError
from gateway.tlog.policy import Policy, PolicyLog, PolicyWitness, majority, majority_policy, parse_policy


def key(name: str) -> CosignerKey:
    return CosignerKey(f"{name}.example", (name.encode() * 32)[:32])


LOG = NoteKey("log.example/1", b"\x01" * 32)
NESTED = f"""
# two levels, as in the specification's example
log {LOG.vkey()} https://log.example

witness X1 {key("X1").vkey()}
witness\tX2 {key("X2").vkey()}  https://x2.example/
witness X3 {key("X3").vkey()}
group X-witnesses 2 X1 X2 X3
  witness Y1 {key("Y1").vkey()}
witness Y2 {key("Y2").vkey()}
group Y-witnesses any Y1 Y2
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
""".encode()


def test_nested_groups_are_counted_as_the_specification_says() -> None:
    policy = parse_policy(NESTED)
    names = ("X1", "X2", "X3", "Y1", "Y2")
    for size in range(6):
        for chosen in combinations(names, size):
            wanted = sum(name.startswith("X") for name in chosen) >= 2 and any(name.startswith("Y") for name in chosen)
            assert policy.satisfied_by([key(name) for name in chosen]) is wanted


def test_what_is_read_is_written_in_one_form_that_reads_alike() -> None:
    policy = parse_policy(NESTED)
    assert parse_policy(policy.to_bytes()) == policy
    assert parse_policy(policy.to_bytes()).to_bytes() == policy.to_bytes()


def test_octets_above_ascii_come_out_as_they_went_in() -> None:
    data = f"witness Zo\udce9 {key('X1').vkey()}\nquorum Zo\udce9\n".encode("utf-8", "surrogateescape")
    assert parse_policy(data).to_bytes() == data


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (10, 6)])
def test_a_quorum_is_more_than_half(count: int, needed: int) -> None:
    assert majority(count) == needed
    witnesses = [[PolicyWitness(f"w{number}", key(f"w{number}"))] for number in range(count)]
    policy = majority_policy([PolicyLog(LOG)], witnesses)
    keys = [witness.key for (witness,) in witnesses]
    assert policy.satisfied_by(keys[:needed])
    assert not policy.satisfied_by(keys[: needed - 1])


def test_two_keys_of_one_witness_count_once() -> None:
    both = [PolicyWitness("w1", key("w1")), PolicyWitness("w1-2", key("w1b"))]
    policy = majority_policy([], [both, [PolicyWitness("w2", key("w2"))]])
    assert not policy.satisfied_by([key("w1"), key("w1b")])
    assert policy.satisfied_by([key("w1b"), key("w2")])
    assert parse_policy(policy.to_bytes()) == policy


def test_without_witnesses_every_checkpoint_will_do() -> None:
    policy = majority_policy([PolicyLog(LOG)], [])
    assert policy.to_bytes() == f"log {LOG.vkey()}\nquorum none\n".encode()
    assert policy.satisfied_by([])


W1, W2 = f"witness w1 {key('w1').vkey()}\n", f"witness w2 {key('w2').vkey()}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        W1,
        f"{W1}quorum w2\n",
        f"quorum w1\n{W1}",
        f"{W1}quorum w1\nquorum w1\n",
        f"{W1}quorum w1",
        f"{W1}{W1}quorum w1\n",
        f"{W1}witness w2 {key('w1').vkey()}\nquorum w1\n",
        f"{W1}witness other {CosignerKey('other.example', key('w1').public).vkey()}\nquorum w1\n",
        f"log {LOG.vkey()}\nlog {NoteKey('other', LOG.public).vkey()}\nquorum none\n",
        f"log {key('w1').vkey()}\nquorum none\n",
        f"witness w1 {LOG.vkey()}\nquorum w1\n",
        f"witness none {key('w1').vkey()}\nquorum none\n",
        f"{W1}group g 1\nquorum g\n",
        f"{W1}group g 2 w1\nquorum g\n",
        f"{W1}group g 0 w1\nquorum g\n",
        f"{W1}group g 01 w1\nquorum g\n",
        f"{W1}group g some w1\nquorum g\n",
        f"{W1}group g any w1 w1\nquorum g\n",
        f"{W1}group g any w2\n{W2}quorum g\n",
        f"{W1}group g any none\nquorum g\n",
        f"{W1}group w1 any w1\nquorum w1\n",
        f"{W1}{W2}group g any w1\ngroup h any w1 w2\nquorum h\n",
        f"{W1}quorum w1 w1\n",
        f"{W1}unknown w1\nquorum w1\n",
        f"{W1}quorum w1\r\n",
        f"{W1}quorum w1\x00\n",
    ],
)
def test_a_policy_with_a_fault_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(text.encode())


@given(st.binary(max_size=200))
def test_nothing_but_a_policy_error_comes_of_any_bytes(data: bytes) -> None:
    try:
        policy = parse_policy(data)
    except PolicyError:
        return
    assert isinstance(policy, Policy)
