"""How far a quorum vouches: the same answer as the plain definition, by a bounded number of questions to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quorum
from gateway.core.witnessing import CosignatureRow
from gateway.tlog.checkpoint import parse_note
from gateway.tlog.cosignature import cosign
from tests.support.exchange import Gateway
from tests.support.keys import ed25519
from tests.support.witnesses import MemoryWitnesses
from tests.support.witnessing_town import grow, make_circle, witness_key

OWN, *WITNESSES = "la-207", "la-850", "la-310", "la-311", "la-312"
SIZES = 8  # checkpoints of the log, one for each entry


def line_by(gateway: Gateway, org: str, size: int, *, good: bool = True) -> CosignatureRow:
    """The row of a cosignature by `org`; a bad one is over the text of no checkpoint."""
    put = next(put for put in gateway.memory.checkpoints.values() if put.size == size)
    text = parse_note(put.note.encode()).text if good else f"{OWN}/another\n{size}\nAAAA\n"
    key, at = witness_key(org), int(gateway.clock().timestamp())
    line = cosign(text, key, ed25519(f"{org} witness").sign, at).line()
    return CosignatureRow(size=size, witness=key.vkey(), at=at, line=line)


def keep(gateway: Gateway, *rows: CosignatureRow) -> None:
    for row in rows:
        gateway.memory.cosigned[row.size, row.witness] = row


async def make_log(sizes: int = SIZES) -> Gateway:
    gateway = make_circle(OWN, *WITNESSES)[0]
    for _ in range(sizes):
        await grow(gateway)
    return gateway


def plainly(cosigned: Mapping[tuple[int, str], bool], needed: int) -> int:
    """The definition: the largest size whose checkpoint so many witnesses really cosigned."""
    counted = {size: sum(good for (at, _), good in cosigned.items() if at == size) for size, _ in cosigned}
    return max((size for size, count in counted.items() if count >= needed), default=0)


@settings(max_examples=50, deadline=None)
@given(
    cosigned=st.dictionaries(
        st.tuples(st.integers(1, SIZES), st.sampled_from(WITNESSES)),
        st.sampled_from([True, True, True, False]),
        max_size=SIZES * len(WITNESSES),
    ),
    strangers=st.sets(st.integers(1, SIZES)),
)
def test_what_is_found_is_the_definition(cosigned: dict[tuple[int, str], bool], strangers: set[int]) -> None:
    async def found() -> int:
        gateway = await make_log()
        keep(gateway, *(line_by(gateway, org, size, good=good) for (size, org), good in cosigned.items()))
        keep(gateway, *(line_by(gateway, "la-999", size) for size in strangers))  # not asked: they count for nothing
        return (await quorum.look(gateway.exchange, gateway.clock())).size

    assert asyncio.run(found()) == plainly(cosigned, 3)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each answer to the look held."""
    answers: list[int] = []
    for name in ("newest_cosigned", "cosignatures"):
        real = getattr(MemoryWitnesses, name)

        async def watched(self: MemoryWitnesses, *args: Any, _real: Any = real) -> Any:
            found = await _real(self, *args)
            answers.append(len(found))
            return found

        monkeypatch.setattr(MemoryWitnesses, name, watched)
    return answers


async def test_where_a_quorum_never_was_nothing_is_walked_back(questions: list[int]) -> None:
    gateway = await make_log(60)
    keep(gateway, *(line_by(gateway, org, size) for size in range(1, 61) for org in WITNESSES[:2]))
    found = await quorum.look(gateway.exchange, gateway.clock())
    assert (found.size, found.needed) == (0, 3)
    assert questions == [2]


async def test_where_one_goes_on_alone_the_others_newest_is_where_the_look_begins(questions: list[int]) -> None:
    gateway = await make_log(60)
    keep(gateway, *(line_by(gateway, org, 7) for org in WITNESSES[:3]))
    keep(gateway, *(line_by(gateway, WITNESSES[0], size) for size in range(8, 61)))
    assert (await quorum.look(gateway.exchange, gateway.clock())).size == 7
    assert questions == [3, 3]


async def test_witnesses_that_never_meet_are_followed_back_only_so_far(
    questions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await make_log(40)
    keep(gateway, *(line_by(gateway, org, 1) for org in WITNESSES))
    keep(gateway, *(line_by(gateway, WITNESSES[size % 4], size) for size in range(2, 41)))
    assert (await quorum.look(gateway.exchange, gateway.clock())).size == 1
    monkeypatch.setattr(quorum, "_LOOKS_BACK", 5)
    questions.clear()
    assert (await quorum.look(gateway.exchange, gateway.clock())).size == 0
    assert len(questions) <= 2 * 5


async def test_how_long_it_waits_is_read_from_the_entry_and_not_from_the_row_of_a_checkpoint() -> None:
    gateway = await make_log(2)
    keep(gateway, *(line_by(gateway, org, 2) for org in WITNESSES))
    made = int(gateway.clock().timestamp())
    await grow(gateway)
    put = gateway.memory.checkpoints[3]
    for planted in (made - 7 * 3600, made + 3600):
        gateway.memory.checkpoints[3] = replace(put, signed_at=planted)
        assert (await quorum.look(gateway.exchange, gateway.clock())).since == made
