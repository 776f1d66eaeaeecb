"""Being witnessed: what is brought to the witnesses, what of their answers counts, and what happens without a quorum."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adapters.port import DeliveryError, Handover
from gateway import quorum, witnessed
from gateway.config import WitnessPoint, WitnessSettings
from gateway.core.errors import LogBehindError
from gateway.tlog.checkpoint import NoteKey, parse_note, verify_checkpoint
from gateway.tlog.cosignature import CosignerKey, cosign, verify_cosignatures
from gateway.tlog.policy import parse_policy
from gateway.tlog.witness import SIZE_TYPE, parse_request
from tests.support.exchange import Gateway, Town, make_town
from tests.support.keys import ed25519, make_origin
from tests.support.messages import A, B
from tests.support.witnessing_town import give_witness_keys, grow, make_circle, make_witnessing_town, witness_key


@pytest.fixture
def town() -> Town:
    return make_witnessing_town(A, B)


async def round_of(gateway: Gateway) -> None:
    """One round, as a gateway just started would make it."""
    await witnessed.Rounds(gateway.exchange).round()


async def standing(gateway: Gateway) -> Any:
    return await quorum.look(gateway.exchange, gateway.clock())


async def cosigned(gateway: Gateway) -> list[str]:
    newest = await gateway.exchange.log.checkpoint()
    assert newest is not None
    note = parse_note(await quorum.cosigned_note(newest, gateway.exchange))
    return [signature.name for signature in note.signatures]


async def test_the_newest_checkpoint_gets_its_witnesss_cosignature(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    assert await cosigned(town.a) == [make_origin(A), witness_key(B).name]
    assert (await standing(town.a)).size == 5
    assert town.a.alarms == []


async def test_a_growing_log_is_proven_to_continue(town: Town) -> None:
    rounds = witnessed.Rounds(town.a.exchange)
    for size in (1, 2, 7, 8):
        await grow(town.a, size - len(town.a.memory.log))
        await rounds.round()
        assert (await standing(town.a)).size == size
    assert [parse_request(data).old for _, data in town.a.wire.shown] == [0, 1, 2, 7]


async def test_what_every_witness_cosigned_is_brought_to_nobody_again(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    await round_of(town.a)
    assert len(town.a.wire.shown) == 1


async def test_who_forgot_what_a_witness_saw_is_told_and_goes_on(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    town.a.memory.cosigned.clear()
    await grow(town.a, 3)
    await round_of(town.a)
    assert [parse_request(data).old for _, data in town.a.wire.shown] == [0, 0, 5]
    assert (await standing(town.a)).size == 8


async def test_a_witness_that_lost_its_memory_is_brought_up_from_where_it_is(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    town.b.memory.witnessed.clear()
    await grow(town.a, 3)
    await round_of(town.a)
    assert (await standing(town.a)).size == 8
    assert town.a.alarms == []


async def test_an_unreachable_witness_is_left_alone_for_a_while(town: Town) -> None:
    rounds = witnessed.Rounds(town.a.exchange)
    town.a.wire.cut.add(B)
    await grow(town.a)
    tried = []
    for _ in range(40):
        before = len(town.a.wire.shown)
        await rounds.round()
        tried.append(len(town.a.wire.shown) > before)
        town.clock.forward(seconds=20)
    assert sum(tried) == 4  # after 60, 120 and 240 s
    town.a.wire.cut.clear()
    town.clock.forward(minutes=15)
    await rounds.round()
    assert (await standing(town.a)).size == 1


@pytest.mark.parametrize(
    "reply",
    [
        Handover(status=200, body=b""),
        Handover(status=200, body=b"no signature\n"),
        Handover(status=200, body=b"\n\xe2\x80\x94 w AAAA\n"),
        Handover(status=409, body=b"no size\n", media=SIZE_TYPE),
        Handover(status=404, body=b""),
        Handover(status=500, body=b""),
        Handover(status=302, body=b""),
    ],
)
async def test_an_answer_that_is_no_cosignature_counts_for_nothing(town: Town, reply: Handover) -> None:
    await answering(town.a, reply)
    await grow(town.a)
    await round_of(town.a)
    assert (await standing(town.a)).size == 0
    assert town.a.memory.cosigned == {}


async def answering(gateway: Gateway, *replies: Handover) -> None:
    """Let every witness of this gateway answer so, the last for ever."""
    left = list(replies)

    async def add_checkpoint(prefix: str, data: bytes) -> Handover:
        gateway.wire.shown.append((prefix, data))
        return left.pop(0) if len(left) > 1 else left[0]

    gateway.wire.add_checkpoint = add_checkpoint


async def line_of(gateway: Gateway, label: str, name: str, at: int, text: str | None = None) -> bytes:
    newest = await gateway.exchange.log.checkpoint()
    assert newest is not None
    secret = ed25519(label)
    key = CosignerKey(name, secret.public.raw)
    return cosign(text or parse_note(newest.note).text, key, secret.sign, at).line().encode()


async def test_a_cosignature_by_another_key_or_over_another_text_is_not_kept(town: Town) -> None:
    await grow(town.a)
    now, name = int(town.clock().timestamp()), witness_key(B).name
    for line in (
        await line_of(town.a, "a stranger", name, now),
        await line_of(town.a, f"{B} witness", name, now, "another\n1\ntext\n"),
        b"\xff",
    ):
        await answering(town.a, Handover(status=200, body=line))
        await round_of(town.a)
    assert town.a.memory.cosigned == {}


async def test_a_cosignature_from_the_future_is_not_kept(town: Town) -> None:
    await grow(town.a)
    now = int(town.clock().timestamp())
    for at, kept in ((now + 301, 0), (now + 300, 1)):
        line = await line_of(town.a, f"{B} witness", witness_key(B).name, at)
        await answering(town.a, Handover(status=200, body=line))
        await round_of(town.a)
        assert len(town.a.memory.cosigned) == kept


async def test_strangers_lines_beside_the_cosignature_are_not_kept(town: Town) -> None:
    await grow(town.a)
    now = int(town.clock().timestamp())
    lines = await line_of(town.a, "a stranger", "stranger.example", now)
    lines += await line_of(town.a, f"{B} witness", witness_key(B).name, now)
    await answering(town.a, Handover(status=200, body=lines))
    await round_of(town.a)
    assert await cosigned(town.a) == [make_origin(A), witness_key(B).name]


@pytest.mark.parametrize(
    "reply",
    [
        Handover(status=422, body=b""),
        Handover(status=409, body=b""),
        Handover(status=409, body=b"0\n", media=SIZE_TYPE),  # the size that we named ourselves
        Handover(status=409, body=b"5\n", media="text/plain"),
    ],
)
async def test_a_witness_that_says_we_rewrote_our_log_is_an_alarm(town: Town, reply: Handover) -> None:
    await answering(town.a, reply)
    await grow(town.a)
    await round_of(town.a)
    assert town.a.alarms == ["log-contradicted"]


async def test_a_size_without_our_signature_behind_it_is_no_alarm(town: Town) -> None:
    await answering(town.a, Handover(status=409, body=b"1000000\n", media=SIZE_TYPE))
    await grow(town.a)
    await round_of(town.a)
    assert town.a.alarms == []


# --- the quorum


async def test_more_than_half_must_have_cosigned() -> None:
    a, b, c, d = make_circle("la-207", "la-850", "la-310", "la-311")
    await grow(a, 3)
    a.wire.cut |= {c.own, d.own}
    await round_of(a)
    assert (await standing(a)).size == 0
    a.wire.cut -= {c.own}
    await round_of(a)
    found = await standing(a)
    assert (found.witnesses, found.needed, found.size, found.since) == (3, 2, 3, None)
    assert b.own == "la-850"


async def test_two_keys_of_one_witness_are_one_witness() -> None:
    a, *_ = make_circle("la-207", "la-850", "la-310", "la-311")
    await grow(a, 3)
    now = int(a.clock().timestamp())
    line = await line_of(a, "la-850 witness", witness_key("la-850").name, now)
    await answering(a, Handover(status=200, body=line + line))
    await round_of(a)
    assert (await standing(a)).size == 0


async def test_the_quorum_is_found_however_many_sizes_were_cosigned_by_too_few() -> None:
    a, *_ = make_circle("la-207", "la-850", "la-310", "la-311")
    await grow(a, 2)
    await round_of(a)
    a.wire.cut |= {"la-310", "la-311"}
    for _ in range(30):
        await grow(a)
        await round_of(a)
    assert (await standing(a)).size == 2


async def test_configured_witnesses_count_and_those_left_out_do_not(town: Town) -> None:
    dpo = CosignerKey("dpo.example/witness", ed25519("dpo").public.raw)
    point = WitnessPoint(dpo, "https://dpo.example/witness/v1")
    town.a.witness_settings = WitnessSettings(further=(point,))
    assert [one.id for one in await quorum.witnesses(town.a.exchange, town.clock())] == [B, "dpo.example/witness"]
    town.a.witness_settings = WitnessSettings(further=(point,), without=(B,))
    assert [one.id for one in await quorum.witnesses(town.a.exchange, town.clock())] == ["dpo.example/witness"]


async def test_our_own_key_and_a_key_named_twice_witness_nothing(town: Town) -> None:
    points = tuple(WitnessPoint(witness_key(org), f"https://{org}.example") for org in (A, B))
    town.a.witness_settings = WitnessSettings(further=points)
    assert [one.id for one in await quorum.witnesses(town.a.exchange, town.clock())] == [B]


async def test_unverified_partners_and_those_without_a_key_are_not_asked(town: Town) -> None:
    town.a.know(B, verified=False)
    give_witness_keys((town.a, town.b))
    assert await quorum.witnesses(town.a.exchange, town.clock()) == ()
    town.a.know(B)  # the bundle of a gateway from before there were witnesses
    assert await quorum.witnesses(town.a.exchange, town.clock()) == ()


async def test_a_partner_whose_bundle_ended_is_no_witness(town: Town) -> None:
    town.clock.forward(days=81)
    assert await quorum.witnesses(town.a.exchange, town.clock()) == ()


async def test_the_policy_published_is_what_the_quorum_is(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    policy = await quorum.policy(town.a.exchange, town.clock())
    assert parse_policy(policy.to_bytes()) == policy
    newest = await town.a.exchange.log.checkpoint()
    assert newest is not None
    note = await quorum.cosigned_note(newest, town.a.exchange)
    (log,) = policy.logs
    assert log.key == NoteKey(make_origin(A), ed25519(f"{A} log").public.raw)
    assert verify_checkpoint(note, log.key, quorum.verify).size == 5
    keys = [witness.key for witness in policy.witnesses]
    found = verify_cosignatures(parse_note(note), keys, quorum.verify)
    assert policy.satisfied_by([one.key for one in found])
    assert not policy.satisfied_by([])


# --- the age of the quorum


async def test_an_hour_without_a_quorum_is_told_once_an_hour(town: Town) -> None:
    town.a.wire.cut.add(B)
    await grow(town.a)
    rounds = witnessed.Rounds(town.a.exchange)
    for _ in range(3 * 60):
        await rounds.round()
        town.clock.forward(minutes=1)
    assert town.a.alarms == ["log-unwitnessed"] * 2


async def test_a_log_that_does_not_grow_needs_no_new_cosignature(town: Town) -> None:
    await grow(town.a)
    rounds = witnessed.Rounds(town.a.exchange)
    await rounds.round()
    town.clock.forward(hours=30)
    await rounds.round()
    assert town.a.alarms == []
    assert not await quorum.holds_routine(town.a.exchange, town.clock())


async def test_the_age_counts_from_the_first_checkpoint_that_no_quorum_saw(town: Town) -> None:
    await grow(town.a)
    await round_of(town.a)
    town.a.wire.cut.add(B)
    started = town.clock()
    for _ in range(5):
        await grow(town.a)
        await round_of(town.a)
        town.clock.forward(hours=1)
    found = await standing(town.a)
    assert (found.size, found.since) == (1, int(started.timestamp()))
    assert quorum.unwitnessed_for(found, town.clock()) == timedelta(hours=5)


async def test_a_gateway_that_nobody_witnesses_says_so_and_holds_nothing() -> None:
    (alone,) = make_circle("la-207")
    await grow(alone)
    await round_of(alone)
    alone.clock.forward(days=1)
    assert not await quorum.holds_routine(alone.exchange, alone.clock())
    assert alone.alarms == ["log-has-no-witness"]


async def test_a_gateway_without_a_witness_key_says_so() -> None:
    town = make_town(A, B)
    await round_of(town.a)
    assert "no-witness-key" in town.a.alarms


# --- at the start


async def test_a_log_as_its_witnesses_remember_it_starts(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    await witnessed.check_at_start(town.a.exchange)
    await grow(town.a, 4)
    await witnessed.check_at_start(town.a.exchange)
    assert town.a.alarms == []


async def test_a_log_that_its_witness_saw_longer_does_not_start(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    put_back(town.a, 3)
    with pytest.raises(LogBehindError, match=r"new-epoch") as caught:
        await witnessed.check_at_start(town.a.exchange)
    assert caught.value.size == 5


async def test_a_log_that_was_put_back_and_grew_again_does_not_start(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    put_back(town.a, 3)
    await grow(town.a, 9)
    with pytest.raises(LogBehindError):
        await witnessed.check_at_start(town.a.exchange)


async def test_a_log_put_back_below_its_checkpoint_is_signed_and_compared_first(town: Town) -> None:
    """The entries are there again, but no checkpoint of them is kept."""
    await grow(town.a, 5)
    await round_of(town.a)
    town.a.memory.checkpoints.clear()
    await witnessed.check_at_start(town.a.exchange)


async def test_a_witness_that_cannot_be_reached_stops_no_start_and_is_told(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    put_back(town.a, 3)
    town.a.wire.cut.add(B)

    async def nobody(prefix: str, origin_hash: str) -> Handover:
        raise DeliveryError("no-connection")

    town.a.wire.last_checkpoint = nobody
    await witnessed.check_at_start(town.a.exchange)
    assert town.a.alarms == ["witness-unreachable"]


async def test_a_witness_cannot_stop_a_start_with_what_we_never_signed(town: Town) -> None:
    await grow(town.b, 9)
    newest = await town.b.exchange.log.checkpoint()
    assert newest is not None

    async def lies(prefix: str, origin_hash: str) -> Handover:
        return Handover(status=200, body=newest.note.replace(make_origin(B).encode(), make_origin(A).encode()))

    town.a.wire.last_checkpoint = lies
    await witnessed.check_at_start(town.a.exchange)
    assert town.a.alarms == []


async def test_a_log_found_behind_while_it_runs_is_told(town: Town) -> None:
    await grow(town.a, 5)
    await round_of(town.a)
    put_back(town.a, 3)
    await grow(town.a)
    await round_of(town.a)
    assert town.a.alarms == ["log-behind-witness"]


def put_back(gateway: Gateway, size: int) -> None:
    """Restore the gateway's whole memory of its log, cosignatures and checkpoints included, from when it had `size` entries."""
    memory = gateway.memory
    memory.log[size:] = []
    memory.checkpoints = {kept: put for kept, put in memory.checkpoints.items() if kept <= size}
    memory.cosigned = {place: row for place, row in memory.cosigned.items() if row.size <= size}
