"""What a gateway vouches for of its partners' logs."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from gateway import witnessing
from gateway.core.errors import BusyError
from gateway.core.witnessing import Remember
from gateway.quorum import verify
from gateway.tlog.checkpoint import parse_note
from gateway.tlog.cosignature import verify_cosignatures, with_lines
from gateway.tlog.witness import SIZE_TYPE
from keys.listed import Role
from tests.support.exchange import Gateway
from tests.support.keys import ed25519, make_bundle, make_entries, make_entry, make_origin, make_ring
from tests.support.messages import A, B
from tests.support.witnessing_town import ask, make_circle, make_witnessing_town, witness_key

LEAVES = [hashlib.sha256(bytes([number])).digest() for number in range(12)]
OTHERS = [hashlib.sha256(b"other" + bytes([number])).digest() for number in range(12)]
STRANGER = "la-999"


@pytest.fixture
def b() -> Gateway:
    """The witness: it knows la-207 and nobody else."""
    return make_witnessing_town(A, B).b


async def asked(gateway: Gateway, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
    answer = await witnessing.add_checkpoint(ask(*args, **kwargs).to_bytes(), gateway.exchange)
    return answer.status, answer.body


async def remembered(gateway: Gateway) -> int:
    held = await gateway.exchange.witnesses.log(make_origin(A))
    return held.size if held else 0


async def test_a_partners_growing_log_is_cosigned_and_remembered(b: Gateway) -> None:
    for old, new in ((0, 5), (5, 12)):
        request = ask(A, LEAVES[:new], old=old)
        answer = await witnessing.add_checkpoint(request.to_bytes(), b.exchange)
        assert answer.status == 200
        note = with_lines(request.note.text, answer.body)
        (found,) = verify_cosignatures(note, [witness_key(B)], verify)
        assert found.timestamp == int(b.clock().timestamp())
        assert await remembered(b) == new


async def test_the_last_note_is_the_logs_signature_and_ours_and_no_others(b: Gateway) -> None:
    stranger = ask(A, LEAVES[:5], signer=STRANGER).note.signatures
    request = ask(A, LEAVES[:5])
    request = replace(request, note=replace(request.note, signatures=(*stranger, *request.note.signatures)))
    assert (await witnessing.add_checkpoint(request.to_bytes(), b.exchange)).status == 200
    note = await witnessing.last_note(hashlib.sha256(make_origin(A).encode()).hexdigest(), b.exchange)
    assert note is not None
    names = [signature.name for signature in parse_note(note).signatures]
    assert names == [make_origin(A), witness_key(B).name]
    assert await witnessing.last_note("0" * 64, b.exchange) is None


async def test_who_names_another_old_size_is_told_what_is_remembered(b: Gateway) -> None:
    await asked(b, A, LEAVES[:5])
    answer = await witnessing.add_checkpoint(ask(A, LEAVES, old=0).to_bytes(), b.exchange)
    assert (answer.status, answer.body, answer.media) == (409, b"5\n", SIZE_TYPE)


@pytest.mark.parametrize("data", [b"", b"old 0\n\nno checkpoint\n", b"\x00" * 100])
async def test_what_is_no_request_is_answered_400(b: Gateway, data: bytes) -> None:
    assert (await witnessing.add_checkpoint(data, b.exchange)).status == 400


async def test_a_log_of_nobody_we_know_is_answered_404(b: Gateway) -> None:
    assert await asked(b, STRANGER, LEAVES[:5]) == (404, b"")
    assert await asked(b, B, LEAVES[:5]) == (404, b"")  # our own log is for others to witness


async def test_a_partner_not_yet_verified_is_not_witnessed(b: Gateway) -> None:
    b.know(A, verified=False)
    assert await asked(b, A, LEAVES[:5]) == (404, b"")


async def test_a_partners_origin_under_another_key_is_answered_403(b: Gateway) -> None:
    assert await asked(b, A, LEAVES[:5], signer=STRANGER) == (403, b"")
    assert await remembered(b) == 0


async def test_a_gateway_without_a_witness_key_witnesses_nobody() -> None:
    town = make_witnessing_town(A, B)
    town.b.ring = make_ring(B)
    assert await asked(town.b, A, LEAVES[:5]) == (404, b"")


async def test_two_histories_of_one_log_are_evidence_kept_logged_and_told(b: Gateway) -> None:
    await asked(b, A, LEAVES[:5])
    assert (await asked(b, A, OTHERS[:5], old=5))[0] == 409
    assert b.alarms == ["split-view"]
    (conflict,) = b.memory.conflicts
    assert (conflict.origin, conflict.size) == (make_origin(A), 5)
    assert b.kinds() == ["witness-conflict"]
    assert await remembered(b) == 5
    await asked(b, A, OTHERS[:5], old=5)  # the same once more is no more evidence
    assert b.alarms == ["split-view"]
    assert len(b.memory.conflicts) == 1


async def test_a_longer_history_that_does_not_continue_is_refused_and_told_once(b: Gateway) -> None:
    await asked(b, A, LEAVES[:5])
    for _ in range(3):
        assert (await asked(b, A, OTHERS, old=5))[0] == 422
    assert b.alarms == ["log-not-extended"]
    assert await remembered(b) == 5
    assert b.kinds() == []  # anybody could make this happen with an honest checkpoint


async def test_the_same_checkpoint_again_gets_the_same_line_and_writes_nothing(b: Gateway) -> None:
    first = await asked(b, A, LEAVES[:5])
    b.clock.forward(seconds=30)
    assert await asked(b, A, LEAVES[:5], old=5) == first
    b.clock.forward(seconds=31)
    later = await asked(b, A, LEAVES[:5], old=5)
    assert later[0] == 200
    assert later != first


async def test_of_two_requests_at_once_neither_takes_the_witness_back(b: Gateway) -> None:
    await asked(b, A, LEAVES[:5])
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(asked(b, A, LEAVES[:size], old=5)) for size in (7, 12)]
    cosigned = [size for size, task in zip((7, 12), both, strict=True) if task.result()[0] == 200]
    assert await remembered(b) == max(cosigned)


async def test_a_request_that_another_overtook_is_judged_again(b: Gateway) -> None:
    """The store refuses what was judged against another state; the flow reads again and says what is remembered now."""
    request, write = ask(A, LEAVES[:5]).to_bytes(), b.memory.write
    overtaking = [ask(A, LEAVES[:3]).to_bytes()]

    async def slow(command: object) -> object:
        if isinstance(command, Remember) and overtaking:
            answer = await witnessing.add_checkpoint(overtaking.pop(), b.exchange)
            assert answer.status == 200
        return await write(command)

    b.memory.write = slow
    answer = await witnessing.add_checkpoint(request, b.exchange)
    assert (answer.status, answer.body) == (409, b"3\n")


async def test_a_flood_for_one_log_is_told_to_come_back(b: Gateway) -> None:
    async def never(_: object) -> bool:
        return False

    b.memory.write = never
    with pytest.raises(BusyError):
        await asked(b, A, LEAVES[:5])


async def test_a_new_log_key_of_the_same_log_goes_on_where_the_old_one_was(b: Gateway) -> None:
    await asked(b, A, LEAVES[:5])
    new = make_entry(Role.LOG, ed25519(f"{A} new log"), origin=make_origin(A))
    held = tuple(b.memory.history(A))
    later = make_bundle(A, history=held, keys=(*held[-1].keys, new))
    b.memory.bundles[A].append(later.jws)
    assert (await asked(b, A, LEAVES, old=5, signer=f"{A} new"))[0] == 200


async def test_an_origin_that_two_partners_list_belongs_to_whose_log_was_cosigned_first() -> None:
    witness, _, thief = make_circle(B, A, "la-310")
    stolen = make_entry(Role.LOG, ed25519("la-310 stolen log"), origin=make_origin(A))
    entries = (*make_entries("la-310"), stolen)
    witness.memory.bundles["la-310"] = [make_bundle("la-310", keys=entries).jws]
    assert thief.own == "la-310"
    assert (await asked(witness, A, LEAVES[:5]))[0] == 200
    assert (await asked(witness, A, OTHERS, old=5, signer="la-310 stolen"))[0] == 403
    assert (await asked(witness, A, LEAVES, old=5))[0] == 200


async def test_an_origin_that_two_partners_list_is_judged_by_each_ones_key() -> None:
    """Before anything was cosigned, whoever signs with a key of his own is heard: the honest one is not shut out."""
    witness, *_ = make_circle(B, A, "la-310")
    stolen = make_entry(Role.LOG, ed25519("la-310 stolen log"), origin=make_origin(A))
    witness.memory.bundles["la-310"] = [make_bundle("la-310", keys=(*make_entries("la-310"), stolen)).jws]
    assert (await asked(witness, A, LEAVES[:5]))[0] == 200
