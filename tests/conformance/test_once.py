"""An act and the answer to who asked for it, in one transaction; over `gateway.store` and the fake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.commands import Move
from gateway.core.errors import IdempotencyConflictError, IllegalTransitionError
from gateway.core.lifecycle import Event, State
from gateway.core.once import Asked, Done, Once
from tests.conformance.subject import Subject, real
from tests.support.store import START, make_entry, make_submit

ASKED = Asked(client="token-1", key="stop", digest=b"d" * 32)


async def queued(subject: Subject) -> str:
    submit = make_submit()
    await subject.store.write(submit)
    return submit.message.id


async def state(subject: Subject, own: str) -> State:
    message = await subject.outbox.message(own)
    assert message is not None
    return message.state


def cancelling(own: str, **changes: Any) -> Once:
    entry = make_entry("cancelled", msg=own, outcome="cancelled")
    act = Move(message_id=own, event=Event.CANCEL, entry=entry, now=START)
    once = Once(act=act, asked=ASKED, answer=lambda state: f"it is {state.value}".encode())
    return replace(once, **changes)


async def test_act_is_carried_out_and_its_answer_is_kept_with_it(subject: Subject) -> None:
    own = await queued(subject)
    done = await subject.store.write(cancelling(own))
    assert done == Done(value=State.CANCELLED, response=b"it is cancelled")
    assert await state(subject, own) is State.CANCELLED
    assert await subject.outbox.response("token-1", "stop") == (b"d" * 32, b"it is cancelled")


async def test_repeat_gets_the_first_answer_and_does_nothing(subject: Subject) -> None:
    own = await queued(subject)
    await subject.store.write(cancelling(own))
    again = await subject.store.write(cancelling(own, answer=lambda _: b"another"))
    assert again == Done(value=None, response=b"it is cancelled")


async def test_key_of_another_request_is_refused_before_anything_is_done(subject: Subject) -> None:
    own, other = await queued(subject), await queued(subject)
    await subject.store.write(cancelling(own))
    with pytest.raises(IdempotencyConflictError):
        await subject.store.write(cancelling(other, asked=replace(ASKED, digest=b"e" * 32)))
    assert await state(subject, other) is State.QUEUED


async def test_refused_act_keeps_nothing_and_leaves_the_key_free(subject: Subject) -> None:
    own, other = await queued(subject), await queued(subject)
    await subject.store.write(cancelling(own))
    later = replace(ASKED, key="later")
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(cancelling(own, asked=later))
    assert await subject.outbox.response("token-1", "later") is None
    assert (await subject.store.write(cancelling(other, asked=later))).value is State.CANCELLED


async def test_half_of_an_act_keeps_no_answer(subject: Subject) -> None:
    own = await queued(subject)
    done = await subject.store.write(cancelling(own, answer=lambda _: None))
    assert done == Done(value=State.CANCELLED, response=None)
    assert await subject.outbox.response("token-1", "stop") is None


async def test_answer_that_cannot_be_made_undoes_the_act(database: Path) -> None:
    """Nothing is done that nobody can be told of; the fake has no transaction to undo it by."""

    def fails(_: object) -> bytes:
        raise ValueError("a bug")

    async with real(database) as subject:
        own = await queued(subject)
        with pytest.raises(ValueError, match="a bug"):
            await subject.store.write(cancelling(own, answer=fails))
        assert await state(subject, own) is State.QUEUED


def test_act_touches_its_own_and_its_key() -> None:
    once = cancelling("01890a5d-ac96-774b-bcce-b302099a8057")
    assert once.touches() == once.act.touches() | {"idempotency:token-1:stop"}
