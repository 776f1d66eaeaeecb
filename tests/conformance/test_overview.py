"""What a store owes the lists and counts that people look at."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.lifecycle import State
from tests.conformance.steps import arrived, bring, claim_outgoing, found, submitted
from tests.conformance.subject import Subject
from tests.support.store import at, make_acknowledge, make_receive, make_submit


async def test_lists_show_the_newest_headers_and_no_body(subject: Subject) -> None:
    sent = [make_submit(lane=b"%d" % n, when=at(n)) for n in (1, 3, 2)]
    came = [make_receive(when=at(n)) for n in (1, 3, 2)]
    for command in (*sent, *came):
        await subject.store.write(command)
    await subject.store.write(make_acknowledge(came[1].message.id))
    outbox, inbox = await subject.overview.outbox(2), await subject.overview.inbox(2)
    assert [listed.id for listed in outbox] == [sent[1].message.id, sent[2].message.id]
    assert [listed.id for listed in inbox] == [came[1].message.id, came[2].message.id]
    assert outbox[0] == replace(await found(subject, sent[1]), envelope=b"", inner=b"")
    assert inbox[0] == replace(await arrived(subject, came[1].message.id), inner=None)


async def test_counts_are_by_state_and_of_what_is_owed_and_logged(subject: Subject) -> None:
    assert await subject.overview.counts() == {"owed": 0, "owed.dead": 0, "log.size": 1, "statements.different": 0}
    assert await subject.overview.protected() == {}
    await submitted(subject)
    await bring(subject, await submitted(subject, b"other"), State.DELIVERED)
    receive = make_receive()
    for command in (receive, make_receive(refused=True), make_acknowledge(receive.message.id)):
        await subject.store.write(command)
    (item,) = await subject.outbox.owed(at(0), 10)
    await subject.store.write(claim_outgoing(item.id))  # and still owed
    assert await subject.overview.counts() == {
        "outbound.queued": 1,
        "outbound.delivered": 1,
        "inbound.taken": 1,
        "inbound.refused": 1,
        "owed": 1,
        "owed.dead": 0,
        "log.size": 7,
        "statements.different": 0,
    }
