"""The fast check of an export and a plain one say the same of whatever was done to it, in the same words and order."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tlog.entry import Entry, encode, leaf_hash, nonce_text
from gateway.tlog.exported import Head, LogCheck, check_lines, note_name
from gateway.tlog.merkle import root_of
from tests.support.plain_export import Reading, blocks_of, check_plainly, lines_of

OLD, ORIGIN, ORG = "safehand.la-207.example/exchange-log/1", "safehand.la-207.example/exchange-log/2", "la-207"


def make_entry(number: int, **members: str) -> bytes:
    nonce = nonce_text(number.to_bytes(16, "big"))
    return encode(Entry(v=1, kind="search", at=number, nonce=nonce, **{"org": ORG, "origin": ORIGIN, **members}))


ENTRIES = tuple(make_entry(number, **({"origin": OLD} if number < 12 else {})) for number in range(60))
STRANGE = (
    make_entry(99),
    make_entry(98, origin="other.example/log"),
    make_entry(97, org="la-850"),
    make_entry(96, origin=OLD),
    make_entry(95, receipt="sha256:" + "0" * 64),
    ENTRIES[20].replace(b":", b": ", 1),
    b"",
    b"{}",
)
PLACE = st.integers(0, 70)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("out"), PLACE, st.integers(1, 6)),
        st.tuples(st.just("in"), PLACE, st.sampled_from(STRANGE)),
        st.tuples(st.just("replace"), PLACE, st.sampled_from(STRANGE)),
        st.tuples(st.just("double"), PLACE, PLACE),
        st.tuples(st.just("move"), PLACE, PLACE),
        st.tuples(st.just("exchange"), PLACE, PLACE),
        st.tuples(st.just("neighbours"), PLACE, PLACE),
        st.tuples(st.just("byte"), PLACE, st.integers(1, 255)),
    ),
    max_size=4,
)


def done(things: list[bytes], acts: list[tuple[str, int, object]]) -> list[bytes]:
    for act, place, what in acts:
        if not things:
            return things
        at = place % len(things)
        other = what % len(things) if isinstance(what, int) else 0
        match act:
            case "out":
                del things[at : at + other]
            case "in":
                things.insert(at, what if isinstance(what, bytes) else b"")
            case "replace":
                things[at] = what if isinstance(what, bytes) else b""
            case "double":
                things.insert(other, things[at])
            case "move":
                things.insert(other, things.pop(at))
            case "exchange":
                things[at], things[other] = things[other], things[at]
            case "neighbours":
                other = (at + 1) % len(things)
                things[at], things[other] = things[other], things[at]
            case "byte" if things[at]:
                changed = bytearray(things[at])
                changed[place % len(changed)] ^= what if isinstance(what, int) else 0
                things[at] = bytes(changed)
    return things


@settings(max_examples=400)
@given(
    before=st.one_of(st.just([]), ACTS),  # what the log itself was made of
    acts=ACTS,
    of_leaves=st.one_of(st.just([]), ACTS, st.none()),
    sizes=st.sets(st.integers(0, 64), max_size=8),
    false=st.sets(st.integers(0, 64), max_size=2),
    cut=st.sampled_from([0, 0, 0, 1, 50]),
    every=st.integers(1, 70),
    earlier=st.booleans(),
    wanted=st.integers(1, 9),
)
def test_both_say_the_same_of_whatever_was_done(
    before: list[tuple[str, int, object]],
    acts: list[tuple[str, int, object]],
    of_leaves: list[tuple[str, int, object]] | None,
    sizes: set[int],
    false: set[int],
    cut: int,
    every: int,
    earlier: bool,
    wanted: int,
) -> None:
    signed = done(list(ENTRIES), before)
    leaves = [leaf_hash(line) for line in signed]
    heads = [Head(size, root_of(leaves[:size]), note_name(size)) for size in sorted({*sizes, len(signed)})]
    heads += [Head(size, bytes(32), "elsewhere") for size in false]
    heads.sort(key=lambda head: head.size)
    data = b"".join(line + b"\n" for line in done(list(signed), acts))
    data = data[: len(data) - cut]
    stored = None if of_leaves is None else [leaf_hash(line) for line in done(list(signed), of_leaves)]

    def rules(reading: Reading) -> LogCheck:
        names = frozenset({OLD}) if earlier else frozenset()
        return LogCheck(origin=ORIGIN, org=ORG, heads=heads, reader=reading, earlier=names)

    plain, fast, some = Reading(), Reading(), Reading(every=wanted)
    said = check_plainly(lines_of(data), stored, rules(plain))
    for reading in (fast, some):
        source = None if stored is None else BytesIO(b"".join(stored))
        found = list(check_lines(blocks_of(data, rules(reading), every=every), source, rules(reading)))
        assert found == said
    assert fast.seen == plain.seen
    assert some.count == len(plain.seen)
    assert [shown for shown in plain.seen if shown in some.seen] == some.seen
