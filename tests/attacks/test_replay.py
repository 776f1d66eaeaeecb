"""Aim: make a true message count twice, or count for something that it was not.

Held off by (`from.org`, `id`) being unique for ever, together with the digest of the bytes: the same bytes get the stored
answer and change nothing, other bytes under a known id are a conflict that a person looks at.
"""

from __future__ import annotations

import pytest

from contracts.events import Action
from gateway import inbound
from gateway.core.errors import ConflictError, EnvelopeRejectedError, NotYetError
from gateway.core.lifecycle import InboundState
from gateway.core.receipt import read_receipt
from keys.listed import DAY
from keys.ring import KeyRing
from tests.support.exchange import Town, make_gateway, make_message, make_town_in_force
from tests.support.keys import NOW, make_bundle, make_revocation
from tests.support.messages import MESSAGE_ID, A, B, C, bundle_of, kem_of, make_body, signer_of


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


def entries_for_message(town: Town) -> list[str]:
    return [entry.kind for entry in town.b.memory.log if entry.message_id == MESSAGE_ID]


async def test_message_brought_again_gets_the_same_receipt_and_changes_nothing(town: Town) -> None:
    envelope = await make_message(town)
    first = await town.b.accept(envelope, A, MESSAGE_ID)
    assert await town.b.accept(envelope, A, MESSAGE_ID) == first
    assert entries_for_message(town) == ["received"]


async def test_message_brought_again_by_another_organisation_is_refused(town: Town) -> None:
    envelope = await make_message(town)
    await town.b.accept(envelope, A, MESSAGE_ID)
    town.b.know(C)
    with pytest.raises(EnvelopeRejectedError):
        await town.b.accept(envelope, C, MESSAGE_ID)
    assert entries_for_message(town) == ["received"]


async def test_first_answer_stands_after_expiry(town: Town) -> None:
    envelope = await make_message(town)
    first = await town.b.accept(envelope, A, MESSAGE_ID)
    town.clock.forward(days=40)
    assert await town.b.accept(envelope, A, MESSAGE_ID) == first


async def test_first_answer_stands_after_suspension(town: Town) -> None:
    envelope = await make_message(town)
    first = await town.b.accept(envelope, A, MESSAGE_ID)
    await town.act(town.a, Action.SUSPEND)
    assert await town.b.accept(envelope, A, MESSAGE_ID) == first


async def test_first_answer_stands_after_the_senders_keys_were_revoked(town: Town) -> None:
    envelope = await make_message(town)
    first = await town.b.accept(envelope, A, MESSAGE_ID)
    revoked = tuple(make_revocation(kid, since=NOW) for kid in signer_of(A).kids)  # type: ignore[arg-type]
    town.b.memory.bundles[A].append(make_bundle(A, history=(bundle_of(A),), revoked=revoked).jws)
    assert await town.b.accept(envelope, A, MESSAGE_ID) == first


async def test_first_answer_stands_after_the_opening_key_was_destroyed(town: Town) -> None:
    envelope = await make_message(town)
    first = await town.b.accept(envelope, A, MESSAGE_ID)
    left = tuple(stored for stored in town.b.ring.secrets if stored.kid != kem_of(B).public.kid)
    town.b.ring = KeyRing(bundle=town.b.ring.bundle, secrets=left)
    assert await town.b.accept(envelope, A, MESSAGE_ID) == first


async def test_refusal_is_answered_again_too(town: Town) -> None:
    envelope = await make_message(town, iat=NOW - 20 * DAY, exp=NOW - 10 * DAY, from__sig=list(signer_of(A).kids))
    with pytest.raises(EnvelopeRejectedError):
        await town.b.accept(envelope, A, MESSAGE_ID)  # before the keys' time: no receipt, so asked anew each time
    expired = await make_message(town, iat=NOW - 9 * DAY, exp=NOW - DAY)
    first = await town.b.accept(expired, A, MESSAGE_ID)
    assert read_receipt(first).payload.code == "expired"
    assert await town.b.accept(expired, A, MESSAGE_ID) == first
    assert entries_for_message(town) == ["refused-inbound"]


async def test_same_id_with_other_content_is_a_conflict_that_changes_nothing(town: Town) -> None:
    first = await town.b.accept(await make_message(town), A, MESSAGE_ID)
    other = await make_message(town, body=make_body(child__name__given="Mara"))
    with pytest.raises(ConflictError):
        await town.b.accept(other, A, MESSAGE_ID)
    held = town.b.memory.arrived[A, MESSAGE_ID]
    assert (held.receipt, held.state) == (first, InboundState.RECEIVED)
    assert entries_for_message(town) == ["received"]
    assert town.b.alarms == ["message-id-reused"]


async def test_conflict_comes_before_expiry(town: Town) -> None:
    """Order of step 13: an expired forgery under a known id must not earn a signed refusal of that id."""
    await town.b.accept(await make_message(town), A, MESSAGE_ID)
    with pytest.raises(ConflictError):
        await town.b.accept(await make_message(town, iat=NOW - 9 * DAY, exp=NOW - DAY), A, MESSAGE_ID)
    assert entries_for_message(town) == ["received"]


async def test_conflict_comes_before_the_clock(town: Town) -> None:
    await town.b.accept(await make_message(town), A, MESSAGE_ID)
    with pytest.raises(ConflictError):
        await town.b.accept(await make_message(town, iat=NOW + 3600, exp=NOW + DAY), A, MESSAGE_ID)


async def test_refused_id_cannot_come_back_with_better_content(town: Town) -> None:
    await town.b.accept(await make_message(town, iat=NOW - 9 * DAY, exp=NOW - DAY), A, MESSAGE_ID)
    with pytest.raises(ConflictError):
        await town.b.accept(await make_message(town), A, MESSAGE_ID)


async def test_same_id_of_another_sender_is_another_message_and_hides_none(town: Town) -> None:
    """Whoever learns an id must not be able to make the message with it unreachable."""
    await town.b.accept(await make_message(town), A, MESSAGE_ID)
    carol = make_gateway(C, town.b.wire.gateways, town.clock)
    carol.know(B)
    town.b.know(C)
    other = Town(a=carol, b=town.b, clock=town.clock)
    await other.sign_agreement()
    await town.b.accept(await make_message(other), C, MESSAGE_ID)
    assert entries_for_message(town) == ["received", "received"]
    await inbound.take(MESSAGE_ID, town.b.exchange, sender=A)
    assert town.b.memory.arrived[A, MESSAGE_ID].state is InboundState.TAKEN
    assert town.b.memory.arrived[C, MESSAGE_ID].state is InboundState.RECEIVED


async def test_two_deliveries_at_once_are_one_message(town: Town) -> None:
    """Both pass the look-up before either is stored: the store's rule decides, and both get one receipt."""
    envelope = await make_message(town)
    receipts: list[bytes] = []
    accept, write = town.b.accept, town.b.memory.write

    async def write_after_a_twin(command):  # type: ignore[no-untyped-def]
        town.b.memory.write = write  # type: ignore[method-assign]
        receipts.append(await accept(envelope, A, MESSAGE_ID))
        return await write(command)

    town.b.memory.write = write_after_a_twin  # type: ignore[method-assign]
    receipts.append(await accept(envelope, A, MESSAGE_ID))
    assert receipts[0] == receipts[1]
    assert entries_for_message(town) == ["received"]


async def test_message_kept_back_by_an_attacker_does_not_pass_once_it_has_expired(town: Town) -> None:
    envelope = await make_message(town)
    town.clock.forward(days=10, seconds=300)
    assert read_receipt(await town.b.accept(envelope, A, MESSAGE_ID)).payload.code == "expired"


async def test_message_of_the_future_waits_for_its_time(town: Town) -> None:
    envelope = await make_message(town, iat=NOW + 301, exp=NOW + DAY)
    with pytest.raises(NotYetError):
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert entries_for_message(town) == []
    town.clock.forward(seconds=1)
    assert read_receipt(await town.b.accept(envelope, A, MESSAGE_ID)).payload.event == "checked"
