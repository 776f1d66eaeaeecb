"""What a witness is asked, in one form, and the table of its answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from gateway.tlog.checkpoint import Checkpoint, NoteKey, parse_note, sign_checkpoint
from gateway.tlog.errors import NoteError
from gateway.tlog.merkle import Frontier, root_of
from gateway.tlog.proof import consistency_proof
from gateway.tlog.witness import (
    EMPTY_ROOT,
    NOTHING,
    REQUEST_LIMIT,
    STATUS,
    AddCheckpoint,
    Decision,
    Grown,
    Refusal,
    Refused,
    Seen,
    answered_size,
    decide,
    parse_request,
    told_size,
)
from tests.unit.gateway.tlog.test_checkpoint import verify

ORIGIN = "safehand.hants.example/exchange-log/1"
SECRET = SigningKey(b"\x01" * 32)
KEY = NoteKey(ORIGIN, bytes(SECRET.verify_key))
STRANGER = SigningKey(b"\x09" * 32)


def leaves(count: int, history: bytes = b"honest") -> list[bytes]:
    return [bytes([number % 256]) * 16 + (history * 8)[:16] for number in range(count)]


def seen(size: int, history: bytes = b"honest") -> Seen:
    return Seen(size, root_of(leaves(size, history)))


def proof(old: int, new: int, history: bytes = b"honest") -> tuple[bytes, ...]:
    nodes: dict[tuple[int, int], bytes] = {}
    tree = Frontier()
    for number, leaf in enumerate(leaves(new, history)):
        nodes[0, number] = leaf
        nodes |= {(node.level, node.idx): node.hash for node in tree.append(leaf)}
    return consistency_proof(old, new, lambda level, idx: nodes[level, idx])


def request(
    old: int, new: int, history: bytes = b"honest", *, secret: SigningKey = SECRET, origin: str = ORIGIN
) -> AddCheckpoint:
    checkpoint = Checkpoint(origin=origin, size=new, root=root_of(leaves(new, history)))
    key = NoteKey(origin, bytes(secret.verify_key))
    note = sign_checkpoint(checkpoint, key, lambda message: secret.sign(message).signature)
    path = proof(old, new, history) if 0 < old < new else ()
    return AddCheckpoint(old=old, proof=path, note=parse_note(note))


def judge(asked: AddCheckpoint, held: Seen = NOTHING) -> Decision:
    origin = asked.note.text.partition("\n")[0]
    return decide(asked, [KEY] if origin == ORIGIN else None, held, verify)


def refusal(asked: AddCheckpoint, held: Seen = NOTHING) -> Refusal:
    decision = judge(asked, held)
    assert isinstance(decision, Refused)
    return decision.refusal


# --- the table


def test_the_first_checkpoint_of_a_known_log_is_taken_without_a_proof() -> None:
    decision = judge(request(0, 5))
    assert decision == Grown(Checkpoint(origin=ORIGIN, size=5, root=seen(5).root))


def test_a_longer_tree_with_its_proof_is_taken() -> None:
    assert isinstance(judge(request(5, 12), seen(5)), Grown)


def test_the_same_tree_is_taken_again() -> None:
    assert isinstance(judge(request(5, 5), seen(5)), Grown)


def test_an_unknown_origin_is_answered_404_before_its_signature_is_looked_at() -> None:
    asked = request(0, 5, origin="safehand.nobody.example/exchange-log/1", secret=STRANGER)
    assert STATUS[refusal(asked)] == 404


def test_a_stolen_origin_without_the_key_is_answered_403() -> None:
    assert STATUS[refusal(request(0, 5, secret=STRANGER))] == 403


def test_signatures_of_others_beside_the_logs_own_do_not_matter() -> None:
    asked = request(0, 5)
    other = request(0, 5, secret=STRANGER).note.signatures
    both = replace(asked.note, signatures=(*other, *asked.note.signatures))
    assert isinstance(judge(replace(asked, note=both)), Grown)


def test_an_old_size_above_the_new_one_is_answered_400() -> None:
    asked = replace(request(0, 5), old=6)
    assert STATUS[refusal(asked, seen(6))] == 400


@pytest.mark.parametrize(("old", "held"), [(0, 5), (4, 5), (5, 0), (5, 4)])
def test_another_old_size_than_remembered_is_answered_409_with_the_one_that_is(old: int, held: int) -> None:
    asked = request(old, 9)
    decision = judge(asked, seen(held))
    assert isinstance(decision, Refused)
    assert STATUS[decision.refusal] == 409
    assert told_size(asked, decision) == f"{held}\n".encode()


def test_two_roots_of_one_size_are_a_split_view() -> None:
    asked = request(5, 5, b"other history")
    decision = judge(asked, seen(5))
    assert isinstance(decision, Refused)
    assert decision.refusal is Refusal.SPLIT_VIEW
    assert STATUS[decision.refusal] == 409
    assert told_size(asked, decision) is None


def test_a_split_view_is_seen_whatever_old_size_is_named_beside_it() -> None:
    asked = request(0, 5, b"other history")
    decision = judge(asked, seen(5))
    assert isinstance(decision, Refused)
    assert decision.refusal is Refusal.SPLIT_VIEW
    assert told_size(asked, decision) == b"5\n"


def test_a_longer_tree_of_another_history_is_answered_422() -> None:
    assert STATUS[refusal(request(5, 12, b"other history"), seen(5))] == 422


def test_an_old_entry_rewritten_under_a_good_signature_is_answered_422_with_any_proof() -> None:
    rewritten = leaves(12)
    rewritten[2] = b"\xee" * 32
    checkpoint = Checkpoint(origin=ORIGIN, size=12, root=root_of(rewritten))
    note = parse_note(sign_checkpoint(checkpoint, KEY, lambda message: SECRET.sign(message).signature))
    for path in (proof(5, 12), (), proof(5, 12)[:-1], (*proof(5, 12), b"\x00" * 32)):
        assert refusal(AddCheckpoint(old=5, proof=path, note=note), seen(5)) is Refusal.NO_EXTENSION


def test_a_proof_where_none_can_be_is_answered_422() -> None:
    asked = replace(request(0, 5), proof=(b"\x01" * 32,))
    assert refusal(asked) is Refusal.NO_EXTENSION
    assert refusal(replace(request(5, 5), proof=(b"\x01" * 32,)), seen(5)) is Refusal.NO_EXTENSION


def test_an_empty_tree_has_one_root() -> None:
    assert isinstance(judge(request(0, 0)), Grown)
    checkpoint = Checkpoint(origin=ORIGIN, size=0, root=b"\x01" * 32)
    note = parse_note(sign_checkpoint(checkpoint, KEY, lambda message: SECRET.sign(message).signature))
    assert refusal(AddCheckpoint(old=0, proof=(), note=note)) is Refusal.SPLIT_VIEW
    assert root_of([]) == EMPTY_ROOT


def test_a_note_that_is_no_checkpoint_is_refused_before_anything_is_decided() -> None:
    note = replace(request(0, 5).note, text="a text\n")
    with pytest.raises(NoteError):
        judge(replace(request(0, 5), note=note))


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_witness_never_goes_back_and_never_changes_history(held: int, new: int, old: int) -> None:
    """Whatever is asked: what is taken has the tree remembered as its beginning."""
    asked = replace(request(0, new), old=old, proof=proof(old, new) if 0 < old < new else ())
    decision = judge(asked, seen(held))
    if isinstance(decision, Grown):
        assert old == held <= new
        assert root_of(leaves(new)[:held]) == seen(held).root


# --- the form

requests = st.builds(
    AddCheckpoint,
    old=st.integers(0, 2**63 - 1),
    proof=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    note=st.integers(0, 20).map(lambda size: request(0, size).note),
)


@given(requests)
def test_a_request_reads_as_it_was_written(asked: AddCheckpoint) -> None:
    assert parse_request(asked.to_bytes()) == asked


GOOD = request(5, 12).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n" + GOOD,
        GOOD.replace(b"old 5", b"old 05"),
        GOOD.replace(b"old 5", b"old -5"),
        GOOD.replace(b"old 5", b"old  5"),
        GOOD.replace(b"old 5", b"Old 5"),
        GOOD.replace(b"old 5", b"old 5 "),
        GOOD.replace(b"old 5", b"old \xd9\xa5"),
        GOOD.replace(b"old 5", b"old 99999999999999999999"),
        GOOD.replace(b"old 5\n", b"old 5\r\n"),
        GOOD.replace(b"old 5\n", b"old 5\n!!!!\n"),
        GOOD.replace(b"old 5\n", b"old 5\nAAAA\n"),
        GOOD.replace(b"old 5\n", b"old 5\n" + b"A" * 42 + b"B=\n"),  # base64 with bits that mean nothing
        b"old 5\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\n" + request(5, 12).note.to_bytes(),
        GOOD[:-1],
        GOOD.partition(b"\n\n")[0] + b"\n\n",
        GOOD + b"x" * REQUEST_LIMIT,
    ],
)
def test_a_request_with_a_fault_of_form_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        parse_request(data)


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (b"0\n", 0),
        (b"17\n", 17),
        (b"017\n", None),
        (b"17", None),
        (b"17\n\n", None),
        (b"-1\n", None),
        (b"9" * 19 + b"\n", None),
    ],
)
def test_the_size_in_a_409_is_read_strictly(body: bytes, size: int | None) -> None:
    assert answered_size(body) == size
