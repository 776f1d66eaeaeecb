"""The check of a whole log: each single fault is named by its index and column, and nothing else is accused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from gateway.tlog.checkpoint import Checkpoint, NoteKey, sign_checkpoint, sign_note
from gateway.tlog.entry import Entry, encode, leaf_hash, nonce_text, row_mac
from gateway.tlog.fsck import CheckpointRow, EntryRow, EntryRules, HeadRow, NoteRules, Problem, check_log
from gateway.tlog.merkle import Frontier, Node

ORIGIN = "safehand.hants.example/exchange-log/1"
APPEND_KEY = b"k" * 32
SECRET = SigningKey(b"\x01" * 32)
KEY = NoteKey(ORIGIN, bytes(SECRET.verify_key))


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def copies(entry: Entry) -> Mapping[str, object]:
    return {"kind": entry.kind, "partner": entry.partner}


def mac(index: int, data: bytes) -> bytes:
    return row_mac(APPEND_KEY, ORIGIN, index, data)


RULES = EntryRules(origin=ORIGIN, mac=mac, copies=copies, grammar=True)
EMPTY_HEAD = HeadRow(origin=ORIGIN, size=0, frontier=b"")
NOTES = NoteRules(origin=ORIGIN, keys=lambda _: (KEY,), verify=verify)


@dataclass
class Log:
    """A stored log whose rows a test may falsify."""

    entries: list[EntryRow] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    head: HeadRow = EMPTY_HEAD
    rules: EntryRules = RULES

    def problems(self) -> list[tuple[int, str]]:
        return [(problem.index, problem.column) for problem in self.found()]

    def found(self) -> Iterator[Problem]:
        return check_log(
            entries=iter(self.entries),
            entry_rules=self.rules,
            nodes=lambda level: (node for node in sorted(self.nodes) if node.level == level),
            checkpoints=iter(self.checkpoints),
            note_rules=NOTES,
            head=self.head,
        )

    def alter_entry(self, index: int, **columns: object) -> None:
        self.entries[index] = replace(self.entries[index], **columns)  # type: ignore[arg-type]


def entry_bytes(number: int, origin: str = ORIGIN) -> bytes:
    nonce = nonce_text(number.to_bytes(16, "big"))
    return encode(
        Entry(v=1, kind="received", at=1_795_000_000_000_000 + number, nonce=nonce, partner="la-207", origin=origin)
    )


def signed(tree: Frontier) -> CheckpointRow:
    checkpoint = Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root())
    note = sign_checkpoint(checkpoint, KEY, lambda message: SECRET.sign(message).signature)
    return CheckpointRow(size=tree.size, root=tree.root(), note=note, signed_at=1_795_000_000)


def make_log(size: int, data: Callable[[int], bytes] = entry_bytes, every: int = 5) -> Log:
    log, tree = Log(), Frontier()
    log.checkpoints.append(signed(tree))
    for index in range(size):
        entry = data(index)
        log.entries.append(
            EntryRow(
                idx=index,
                entry=entry,
                leaf_hash=leaf_hash(entry),
                mac=mac(index, entry),
                copies={"kind": "received", "partner": "la-207"},
            )
        )
        log.nodes += tree.append(leaf_hash(entry))
        if tree.size % every == 0:
            log.checkpoints.append(signed(tree))
    log.head = HeadRow(origin=ORIGIN, size=size, frontier=tree.to_bytes())
    return log


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize("size", [0, 1, 2, 7, 33])
def test_an_honest_log_has_no_problem(size: int) -> None:
    assert make_log(size).problems() == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_single_changed_byte_is_named_and_nothing_else(data: st.DataObject) -> None:
    log = make_log(13)
    what = data.draw(st.sampled_from(["entry", "leaf_hash", "mac", "node", "root", "note", "frontier"]))
    if what in ("entry", "leaf_hash", "mac"):
        index = data.draw(st.integers(0, 12))
        value = getattr(log.entries[index], what)
        log.alter_entry(index, **{what: flip(value, data.draw(st.integers(0, len(value) - 1)))})
        assert log.problems() == [(index, what)]
    elif what == "node":
        at = data.draw(st.integers(0, len(log.nodes) - 1))
        node = log.nodes[at]
        log.nodes[at] = node._replace(hash=flip(node.hash, data.draw(st.integers(0, 31))))
        assert log.problems() == [(node.idx, f"node[{node.level}].hash")]
    elif what == "frontier":
        frontier = flip(log.head.frontier, data.draw(st.integers(0, len(log.head.frontier) - 1)))
        log.head = replace(log.head, frontier=frontier)
        assert log.problems() == [(13, "head.frontier")]
    else:
        at = data.draw(st.integers(0, len(log.checkpoints) - 1))
        row = log.checkpoints[at]
        value = getattr(row, what)
        changed = flip(value, data.draw(st.integers(0, len(value) - 1)))
        log.checkpoints[at] = replace(row, root=changed) if what == "root" else replace(row, note=changed)
        assert {(index, column) for index, column in log.problems()} == {(row.size, f"checkpoint.{what}")}


def test_a_changed_entry_without_mac_is_still_named() -> None:
    log = make_log(13)
    log.rules = replace(RULES, mac=None)
    log.alter_entry(4, entry=entry_bytes(99))
    assert log.problems() == [(4, "entry")]


def test_an_entry_rewritten_with_hash_and_mac_is_found_by_nodes_and_roots() -> None:
    log, other = make_log(13), entry_bytes(99)
    log.alter_entry(4, entry=other, leaf_hash=leaf_hash(other), mac=mac(4, other))
    found = log.problems()
    assert (2, "node[1].hash") in found
    assert {index for index, column in found if column == "checkpoint.root"} == {5, 10}
    assert (13, "head.frontier") in found


def test_an_entry_put_at_another_index_is_named_by_its_mac() -> None:
    log = make_log(13)
    first, second = log.entries[2], log.entries[3]
    log.entries[2], log.entries[3] = replace(second, idx=2), replace(first, idx=3)
    assert {(2, "mac"), (3, "mac"), (1, "node[1].hash")} <= set(log.problems())


def test_a_deleted_entry_is_named_and_later_ones_are_still_read() -> None:
    log = make_log(13)
    log.alter_entry(9, mac=bytes(32))
    del log.entries[4]
    assert log.problems() == [(4, "idx"), (9, "mac"), (4, "tree")]


def test_entries_cut_off_at_the_end_are_missed_by_head_nodes_and_checkpoints() -> None:
    log = make_log(13)
    del log.entries[8:]
    assert set(log.problems()) == {(4, "node[1].idx"), (5, "node[1].idx"), (2, "node[2].idx"), (10, "checkpoint.size"), (13, "head.size")}  # fmt: skip


def test_a_deleted_node_and_a_surplus_one_are_named() -> None:
    log = make_log(13)
    log.nodes = [node for node in log.nodes if (node.level, node.idx) != (1, 2)] + [
        Node(1, 6, bytes(32)),
        Node(9, 0, b""),
    ]
    assert log.problems() == [(2, "node[1].idx"), (6, "node[1].idx"), (0, "node[9].idx")]


def test_a_copied_column_that_says_something_else_is_named() -> None:
    log = make_log(13)
    log.alter_entry(3, copies={"kind": "received", "partner": "la-919"})
    log.alter_entry(5, copies={"kind": "received"})
    assert log.problems() == [(3, "partner"), (5, "partner")]


def test_an_entry_outside_the_grammar_is_named_when_the_grammar_is_asked_for() -> None:
    def with_name(index: int) -> bytes:
        data = entry_bytes(index)
        return data.replace(b'"received"', b'"Amara Okafor"') if index == 6 else data

    log = make_log(13, with_name)
    log.alter_entry(6, copies={"kind": "Amara Okafor", "partner": "la-207"})
    assert log.problems() == [(6, "entry")]
    assert "Okafor" not in " ".join(map(str, log.found()))
    log.rules = replace(RULES, grammar=False)
    assert log.problems() == []


def test_an_entry_that_is_not_canonical_is_named_though_every_hash_is_right() -> None:
    log = make_log(13, lambda index: entry_bytes(index).replace(b'"v":1', b'"v": 1' if index == 6 else b'"v":1'))
    log.rules = replace(RULES, grammar=False)
    assert log.problems() == [(6, "entry")]


def test_entry_head_and_checkpoint_of_another_log_are_named() -> None:
    other = "safehand.rbkc.example/exchange-log/1"
    log = make_log(13, lambda index: entry_bytes(index, other if index == 2 else ORIGIN))
    log.head = replace(log.head, origin=other)
    text = Checkpoint(origin=other, size=5, root=log.checkpoints[1].root).text()
    note = sign_note(text, KEY, lambda message: SECRET.sign(message).signature).to_bytes()
    log.checkpoints[1] = replace(log.checkpoints[1], note=note)
    assert log.problems() == [(2, "entry"), (5, "checkpoint.note"), (13, "head.origin")]


def test_a_checkpoint_whose_size_column_is_not_that_of_its_note_is_named() -> None:
    log = make_log(13)
    log.checkpoints[2] = replace(log.checkpoints[2], size=9)
    assert next(log.found()) == Problem(index=9, column="checkpoint.size", rule="not what the note says")


def test_a_checkpoint_under_a_key_that_was_not_valid_then_is_named() -> None:
    log = make_log(13)
    rules = NoteRules(origin=ORIGIN, keys=lambda row: () if row.size == 5 else (KEY,), verify=verify)
    found = check_log(
        entries=log.entries,
        entry_rules=RULES,
        nodes=lambda level: [node for node in log.nodes if node.level == level],
        checkpoints=log.checkpoints,
        note_rules=rules,
        head=log.head,
    )
    assert [str(problem) for problem in found] == ["5 checkpoint.note: no known key signed"]


def test_problems_come_while_rows_are_still_being_read() -> None:
    """Constant memory: the check holds no more of the log than the frontier and one row of each kind."""
    log = make_log(64)
    log.alter_entry(3, mac=bytes(32))
    read = 0

    def rows() -> Iterable[EntryRow]:
        nonlocal read
        for row in log.entries:
            read += 1
            yield row

    found = check_log(
        entries=rows(),
        entry_rules=RULES,
        nodes=lambda level: (node for node in sorted(log.nodes) if node.level == level),
        checkpoints=log.checkpoints,
        note_rules=NOTES,
        head=log.head,
    )
    assert next(found).index == 3
    assert read == 4
    assert list(found) == []
