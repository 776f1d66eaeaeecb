"""The protection list: rows that were planted. The rest is in `tests.conformance`."""

from __future__ import annotations

from gateway.core import deciding
from gateway.core.commands import Protect
from gateway.store.rows import TAMPERED
from tests.support.store import Lab, at, make_entry, noticed, tamper

TAGS = frozenset({b"t" * 32, b"u" * 32})


def protect(kind: str = "location") -> Protect:
    entry = make_entry("protection-changed", rows=deciding.of_protection(TAGS, {kind}, add=True))
    return Protect(tags=TAGS, kinds=frozenset({kind}), add=True, now=at(0), entry=entry)


async def test_a_planted_entry_counts_as_absent_and_listing_mends_it(lab: Lab) -> None:
    await lab.open.store.write(protect())
    tamper(lab.path, "UPDATE protection SET kind = 'identity'")
    assert await lab.open.read.protection.kinds(TAGS) == frozenset()
    assert {code for code, _ in lab.alarms.raised} == {TAMPERED}
    await noticed(lab.open.store)
    assert await lab.open.store.write(protect("identity")) == 2
    assert await lab.open.read.protection.kinds(TAGS) == {"identity", "location"}  # which the log says stands too
