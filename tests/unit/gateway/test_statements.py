"""Daily statements between two gateways: both say the same, and what they say differently comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Action
from gateway import statements
from gateway.core import daily
from gateway.core.errors import ConflictError, NotYetError
from tests.support.exchange import Gateway, Town, make_message, make_town_in_force
from tests.support.messages import MESSAGE_ID, B, pair_of, submission

DAY = 86_400


async def _exchange_one(town: Town) -> None:
    """One message from a to b, received, and the receipt with a."""
    await submission(town.a.exchange)
    await town.a.run()


async def _a_day(town: Town, **how_long: float) -> None:
    """Both state; both hear."""
    for gateway in (town.a, town.b):
        await gateway.checkpoint()
        await statements.state_all(gateway.exchange)
    await town.a.run()
    await town.b.run()
    town.clock.forward(**(how_long or {"days": 1}))


def _last(gateway: Gateway, direction: str, partner: str) -> daily.StatementPayload:
    kept = [k[-1] for (d, org, _), k in gateway.memory.stated.kept.items() if (d, org) == (direction, partner)]
    return daily.read_daily(max(kept, key=lambda one: one.n).data).payload


def _resigned(town: Town, change: Callable[[dict[str, Any]], None]) -> bytes:
    """What b last stated to a, changed and signed again by b's own keys."""
    members = msgspec.json.decode(msgspec.json.encode(_last(town.b, "out", town.a.own)))
    change(members)
    payload = msgspec.json.decode(msgspec.json.encode(members), type=daily.StatementPayload)
    return daily.sign_daily(payload, pair_of(B))


async def _take(town: Town, data: bytes) -> None:
    await statements.take(data, daily.read_daily(data).payload.id, B, town.a.exchange)


async def test_both_sides_state_the_same_message_and_nothing_differs() -> None:
    town = await make_town_in_force()
    await _exchange_one(town)
    await _a_day(town)
    sent, received = _last(town.a, "out", B).sent, _last(town.b, "out", town.a.own).received
    assert sent == received
    assert len(sent) == 1
    for _ in range(4):
        await _a_day(town)
    assert "statement-differs" not in [*town.a.kinds(), *town.b.kinds()]


async def test_a_rejected_message_stands_in_both_statements() -> None:
    town = await make_town_in_force()
    await submission(town.a.exchange)
    await town.act(town.b, Action.SUSPEND, push=False)
    await town.a.run()
    await _a_day(town)
    sent, rejected = _last(town.a, "out", B).sent, _last(town.b, "out", town.a.own).rejected
    assert sent == rejected
    assert len(rejected) == 1


async def test_a_statement_is_made_once_a_day_and_follows_the_one_before() -> None:
    town = await make_town_in_force()
    await _a_day(town, hours=1)
    await _a_day(town, hours=23)
    assert _last(town.a, "out", B).n == 1
    first = _last(town.a, "out", B)
    await _exchange_one(town)
    await _a_day(town)
    second = _last(town.a, "out", B)
    assert (second.n, second.from_) == (2, first.to)
    assert second.head.size > first.head.size


async def test_a_message_received_in_our_name_that_we_never_sent_is_told_at_once() -> None:
    town = await make_town_in_force()
    forged = await make_message(town)  # by someone who holds a's signing keys
    await town.b.accept(forged, town.a.own, MESSAGE_ID)
    await _a_day(town)
    assert "statement-differs" in town.a.alarms
    [entry] = [entry for entry in town.a.memory.log if entry.kind == "statement-differs"]
    assert entry.outcome == "claimed-received"


async def test_a_message_that_the_partner_lost_is_told_after_two_days() -> None:
    town = await make_town_in_force()
    await _exchange_one(town)
    # b's database is put back to before the message: neither inbox nor log know it any more
    town.b.memory.arrived.clear()
    town.b.memory.log = [entry for entry in town.b.memory.log if entry.kind != "received"]
    await _a_day(town)
    assert [e.outcome for e in town.b.memory.log if e.kind == "statement-differs"] == ["claimed-sent"]
    assert "statement-differs" not in town.a.kinds()
    await _a_day(town)
    await _a_day(town)
    await _a_day(town)
    assert [e.outcome for e in town.a.memory.log if e.kind == "statement-differs"] == ["not-received"]


async def test_a_difference_is_logged_once() -> None:
    town = await make_town_in_force()
    await _exchange_one(town)
    town.b.memory.log = [entry for entry in town.b.memory.log if entry.kind != "received"]
    for _ in range(6):
        await _a_day(town)
    assert town.a.kinds().count("statement-differs") == 1


async def _talk_to_nobody(town: Town, hours: int) -> None:
    """a looks every hour, and b is not there."""
    for _ in range(hours):
        town.clock.forward(hours=1)
        await town.a.checkpoint()
        await statements.state_all(town.a.exchange)


async def test_silence_of_a_partner_is_told_when_two_days_have_passed_since_its_day() -> None:
    town = await make_town_in_force()
    await _a_day(town, hours=0)
    await _talk_to_nobody(town, 71)
    assert "statement-differs" not in town.a.alarms
    await _talk_to_nobody(town, 1)
    assert [e.outcome for e in town.a.memory.log if e.kind == "statement-differs"] == ["unanswered"]


async def test_who_was_away_himself_does_not_complain_of_silence() -> None:
    town = await make_town_in_force()
    await _a_day(town, days=5)
    await _talk_to_nobody(town, 1)
    assert "statement-differs" not in town.a.alarms


def _differences(gateway: Gateway) -> list[str | None]:
    return [entry.outcome for entry in gateway.memory.log if entry.kind == "statement-differs"]


async def test_a_repeat_changes_nothing_and_other_bytes_under_its_id_are_a_conflict() -> None:
    town = await make_town_in_force()
    await _a_day(town)
    before = len(town.a.memory.log)
    same = town.a.memory.stated.kept["in", B, 1][0].data
    await _take(town, same)
    assert len(town.a.memory.log) == before
    with pytest.raises(ConflictError):
        await _take(town, _resigned(town, lambda members: members.update(to=members["to"] - 1)))


async def test_a_second_statement_under_one_number_is_kept_told_and_heard() -> None:
    """A partner that came back from a backup numbers anew: the chain must not end there."""
    town = await make_town_in_force()
    await _exchange_one(town)
    await _a_day(town)
    other = _resigned(town, lambda members: members.update(id=MESSAGE_ID, received=[]))
    await _take(town, other)
    await _take(town, other)
    assert len(town.a.memory.stated.kept["in", B, 1]) == 2
    assert _differences(town.a) == ["forked"]
    assert town.a.alarms == ["statement-differs"]


async def test_a_partner_that_was_restored_is_heard_again() -> None:
    town = await make_town_in_force()
    await _a_day(town)
    backup = {place: list(kept) for place, kept in town.b.memory.stated.kept.items()}
    for _ in range(3):
        await _a_day(town)
    town.b.memory.stated.kept = {place: list(kept) for place, kept in backup.items()}
    for _ in range(5):
        await _a_day(town)
    assert _last(town.a, "in", B).n == 6
    assert set(_differences(town.a)) == {"forked"}
    before = len(_differences(town.a))
    await _a_day(town)
    assert len(_differences(town.a)) == before, "from here on it follows"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda m: m.update(partner="la-999"), "another organisation"),
        (lambda m: m.update(org="la-999"), "another organisation"),
        (lambda m: m.update(to=m["to"] + 10 * DAY), "future"),
        (lambda m: m["head"].update(origin="another/log"), "no log"),
    ],
)
async def test_a_statement_out_of_its_place_is_refused(change: Callable[[dict[str, Any]], None], rule: str) -> None:
    town = await make_town_in_force()
    await _a_day(town)
    with pytest.raises(daily.StatementRejectedError, match=rule):
        await _take(town, _resigned(town, change))


async def test_a_statement_signed_by_others_is_refused() -> None:
    town = await make_town_in_force()
    await _a_day(town)
    [kept] = town.a.memory.stated.kept.pop(("in", B, 1))
    forged = daily.sign_daily(daily.read_daily(kept.data).payload, pair_of(town.a.own))
    with pytest.raises(daily.StatementRejectedError):
        await _take(town, forged)


@pytest.mark.parametrize("wrong", ["prev", "from", "size", "root"])
async def test_one_that_does_not_follow_is_kept_and_told(wrong: str) -> None:
    town = await make_town_in_force()
    await _a_day(town)
    [first] = town.a.memory.stated.kept["in", B, 1]

    def next_one(members: dict[str, Any]) -> None:
        members.update(n=2, prev=first.digest, id=MESSAGE_ID)
        members["from"] = members["to"] = first.to
        match wrong:
            case "prev":
                members["prev"] = "sha256:" + "0" * 64
            case "from":
                members["from"] -= 1
            case "size":
                members["head"].update(size=first.head.size - 1)
            case _:
                members["head"].update(root="sha256:" + "0" * 64)

    await _take(town, _resigned(town, next_one))
    assert _differences(town.a) == ["forked"]
    assert len(town.a.memory.stated.kept["in", B, 2]) == 1


async def test_a_gap_is_waited_for_and_then_told() -> None:
    town = await make_town_in_force()
    await _a_day(town)

    def later(members: dict[str, Any]) -> None:
        members.update(n=3, prev="sha256:" + "1" * 64)

    data = _resigned(town, later)
    with pytest.raises(NotYetError):
        await _take(town, data)
    town.clock.forward(days=3)
    await _take(town, data)
    assert _differences(town.a) == ["forked"]


@given(st.lists(st.uuids(), max_size=5, unique=True))
def test_a_list_ascends_or_the_statement_is_refused(ids: list[Any]) -> None:
    items = tuple(daily.Item(id=f"019bbd3c-8ac0-7abc-8def-{one.hex[:12]}", env="sha256:" + "ab" * 32) for one in ids)
    payload = daily.StatementPayload(
        v=1,
        id="019bbd3c-8ac0-7abc-8def-0123456789ab",
        org="la-850",
        sig=("A" * 43, "A" * 43),
        bundle="sha256:" + "cd" * 32,
        partner="la-207",
        n=1,
        from_=0,
        to=1,
        sent=items,
        received=(),
        rejected=(),
        head=daily.Head(origin="o", size=1, root="sha256:" + "ef" * 32),
    )
    data = daily.sign_daily(payload, pair_of(B))
    if items == daily.ascending(items):
        assert daily.read_daily(data).payload == payload
    else:
        with pytest.raises(daily.StatementRejectedError):
            daily.read_daily(data)
