"""What service messages have asked, and what followed: the effects that travel with a message, a person's acts, and the
answers of the `Service` port.

Destroying a message's content is deleting its wrapped key and its ciphertext; its row, its receipts and the log stay, so
that every proof stays valid (architecture section 5). What is destroyed, opened or owed was decided by `core.service`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Select, and_, delete, func, or_, select, tuple_, update

from contracts.service import CORRECTION
from gateway.core import service
from gateway.core.commands import Effect
from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import InboundEvent, InboundState, State, after_inbound
from gateway.core.service import (
    Asked,
    BreachRecord,
    BreachState,
    Closure,
    DecideBreach,
    Destroy,
    Duty,
    DutyState,
    Erasure,
    Reminded,
)
from gateway.store.readers import Reader, Rows
from gateway.store.schema import (
    breach,
    closure,
    content,
    content_key,
    duty,
    erasure,
    handoff,
    log_entry,
    mention,
    message,
)
from gateway.store.transaction import Transaction

_RELEASED: Final = "released"  # the kind of entry that says that a case system was given the content
_NEVER_ARRIVED: Final = (State.REJECTED, State.EXPIRED, State.CANCELLED)
_GONE: Final = (InboundState.WITHDRAWN, InboundState.DESTROYED)


# --- effects


def apply(tx: Transaction, effects: Iterable[Effect]) -> None:
    """Carry out what follows from a message, in the transaction that keeps it."""
    for effect in effects:
        _EFFECTS[type(effect)](tx, effect)


def _ask(tx: Transaction, ask: service.Ask) -> None:
    asked = ask.asked
    tx.insert(
        duty,
        sender=asked.sender,
        message_id=asked.message_id,
        partner=asked.partner,
        type=asked.type,
        code=asked.code,
        thread=asked.thread,
        since=asked.since,
        due=asked.due,
        state=DutyState.OPEN,
        answered_by=None,
        answer_code=None,
        answered_at=None,
        told_at=None,
    )
    for n, (sender, message_id) in enumerate(asked.about):
        tx.insert(
            mention, sender=asked.sender, message_id=asked.message_id, n=n, about_sender=sender, about_id=message_id
        )


def _answer(tx: Transaction, answer: service.Answer) -> None:
    state = DutyState.DECLINED if answer.declined else DutyState.DONE
    tx.change(
        update(duty)
        .where(duty.c.sender == answer.sender, duty.c.message_id == answer.message_id, duty.c.state != DutyState.DONE)
        .values(state=state, answered_by=answer.answer_id, answer_code=answer.code, answered_at=answer.at)
    )


def _answer_destroyed(tx: Transaction, answer: service.AnswerDestroyed) -> None:
    asked = tx.read(
        select(duty.c.message_id, duty.c.type, duty.c.code)
        .join_from(duty, mention, _MENTIONS)
        .where(
            duty.c.sender == answer.sender,
            duty.c.state != DutyState.DONE,
            mention.c.about_sender == answer.sender,
            mention.c.about_id.in_(answer.messages),
        )
    )
    done = [row.message_id for row in asked if service.answered_by_destruction(row.type, row.code)]
    tx.change(
        update(duty)
        .where(duty.c.sender == answer.sender, duty.c.message_id.in_(done))
        .values(state=DutyState.DONE, answered_by=answer.answer_id, answer_code=None, answered_at=answer.at)
    )


def _withdraw(tx: Transaction, withdraw: service.Withdraw) -> None:
    sender, message_id = withdraw.sender, withdraw.message_id
    if _state(tx, sender, message_id) is not None and all(
        _unseen(tx, sender, part) for part in (message_id, *_corrections(tx, sender, message_id))
    ):
        _erase(tx, withdraw.sender, withdraw.message_id, InboundEvent.WITHDRAW, withdraw.at, service.KEYS_DESTROYED)
        tx.append(withdraw.erased)


def _open_breach(tx: Transaction, opened: service.OpenBreach) -> None:
    tx.insert(
        breach,
        sender=opened.sender,
        message_id=opened.message_id,
        partner=opened.partner,
        about_sender=opened.about_sender,
        about_id=opened.about_id,
        code=opened.code,
        opened_at=opened.opened_at,
        decide_by=opened.decide_by,
        state=BreachState.OPEN,
        told_at=None,
    )
    tx.append(opened.entry)


def _close_thread(tx: Transaction, close: service.CloseThread) -> None:
    said = close.closure
    same = (closure.c.partner == said.partner) & (closure.c.thread == said.thread)
    values = {"on": said.on, "status": said.status, "said_by": said.said_by, "said_at": said.said_at}
    if not tx.change(update(closure).where(same).values(values)):
        tx.insert(closure, partner=said.partner, thread=said.thread, **values)


_EFFECTS: Final[Mapping[type[Effect], Callable[[Transaction, Any], None]]] = {
    service.Ask: _ask,
    service.Answer: _answer,
    service.AnswerDestroyed: _answer_destroyed,
    service.Withdraw: _withdraw,
    service.OpenBreach: _open_breach,
    service.CloseThread: _close_thread,
}


# --- commands


def destroy(tx: Transaction, destroy: Destroy) -> bool:
    """A person destroys what a partner sent; what is destroyed already stays as it is."""
    state = _state(tx, destroy.sender, destroy.message_id)
    if state is None:
        raise IllegalTransitionError("inbound message: no such message")
    if state in _GONE:
        return False
    after_inbound(state, InboundEvent.DESTROY)  # refuses before anything is changed
    _erase(tx, destroy.sender, destroy.message_id, InboundEvent.DESTROY, destroy.at, destroy.how)
    tx.append(destroy.entry)
    return True


def decide_breach(tx: Transaction, decide: DecideBreach) -> bool:
    """A decision is made once."""
    changed = tx.change(
        update(breach)
        .where(
            breach.c.sender == decide.sender,
            breach.c.message_id == decide.message_id,
            breach.c.state == BreachState.OPEN,
        )
        .values(state=decide.outcome)
    )
    if changed:
        tx.append(decide.entry)
    return changed == 1


def reminded(tx: Transaction, reminded: Reminded) -> None:
    """Alarms were raised: not again before a day has passed."""
    for table, keys in ((duty, reminded.duties), (breach, reminded.breaches)):
        if keys:
            tx.change(
                update(table).where(tuple_(table.c.sender, table.c.message_id).in_(keys)).values(told_at=reminded.at)
            )


def _state(tx: Transaction, sender: str, message_id: str) -> InboundState | None:
    rows = tx.read(select(message.c.state).where(_same(sender, message_id), message.c.direction == "in"))
    return InboundState(rows[0].state) if rows else None


def _released(tx: Transaction, sender: str, message_id: str) -> bool:
    """Whether a case system was given the content. The log alone says so: no state tells it."""
    same = (log_entry.c.message_id == message_id, log_entry.c.dir == "in", log_entry.c.partner == sender)
    return bool(tx.read(select(log_entry.c.idx).where(*same, log_entry.c.kind == _RELEASED).limit(1)))


def _same(sender: str, message_id: str) -> Any:
    return and_(message.c.sender == sender, message.c.id == message_id)


def _erase(tx: Transaction, sender: str, message_id: str, event: InboundEvent, at: int, how: str) -> None:
    """Take the content of a message away, and of every correction of it: they repeat what it said."""
    corrections = _corrections(tx, sender, message_id)
    _erase_one(tx, sender, message_id, event, at, how)
    for correction in corrections:
        _erase_one(tx, sender, correction, InboundEvent.DESTROY, at, how)


def _corrections(tx: Transaction, sender: str, message_id: str) -> list[str]:
    """The corrections of a message whose content is still here."""
    said = tx.read(
        select(duty.c.message_id)
        .join_from(duty, mention, _MENTIONS)
        .where(
            duty.c.sender == sender,
            duty.c.type == CORRECTION,
            mention.c.about_sender == sender,
            mention.c.about_id == message_id,
        )
    )
    return [row.message_id for row in said if _state(tx, sender, row.message_id) not in (None, *_GONE)]


def _unseen(tx: Transaction, sender: str, message_id: str) -> bool:
    """Whether nobody here has seen the message, and no case system has it."""
    state = _state(tx, sender, message_id)
    return state is not None and service.destroyed_at_once(state, released=_released(tx, sender, message_id))


def _erase_one(tx: Transaction, sender: str, message_id: str, event: InboundEvent, at: int, how: str) -> None:
    rows = tx.read(select(message.c.state, message.c.body_ref).where(_same(sender, message_id)))
    before, body = InboundState(rows[0].state), rows[0].body_ref
    tx.change(
        update(message)
        .where(_same(sender, message_id), message.c.state == before)
        .values(state=after_inbound(before, event))
    )
    tx.erased = True
    tx.change(delete(content).where(content.c.id == body))
    tx.change(delete(content_key).where(content_key.c.id == body))
    mine = (handoff.c.sender == sender) & (handoff.c.message_id == message_id)
    tx.change(update(handoff).where(mine).values(state="done"))  # no case system gets it any more
    tx.insert(erasure, sender=sender, message_id=message_id, at=at, how=how)


# --- the port

_MENTIONS: Final = and_(mention.c.sender == duty.c.sender, mention.c.message_id == duty.c.message_id)
_DUTY: Final = select(duty, message.c.state.label("message_state")).join_from(
    duty, message, and_(message.c.sender == duty.c.sender, message.c.id == duty.c.message_id)
)


class StoredService:
    """`ports.Service` on the tables."""

    def __init__(self, reader: Reader, own: str) -> None:
        self._reader = reader
        self._own = own

    async def duties(self, *, settled: bool) -> tuple[Duty, ...]:
        statement = _DUTY if settled else _DUTY.where(duty.c.state == DutyState.OPEN, _may_arrive(self._own))
        return await self._duties(statement.order_by(duty.c.due, duty.c.message_id))

    async def said_of(self, sender: str, message_id: str) -> tuple[Duty, ...]:
        about = select(mention.c.sender, mention.c.message_id).where(
            mention.c.about_sender == sender, mention.c.about_id == message_id
        )
        named = tuple_(duty.c.sender, duty.c.message_id).in_(about)
        return await self._duties(_DUTY.where(named).order_by(duty.c.since, duty.c.message_id))

    async def _duties(self, statement: Select[Any]) -> tuple[Duty, ...]:
        def question(rows: Rows) -> tuple[Duty, ...]:
            found = rows(statement)
            keys = [(row["sender"], row["message_id"]) for row in found]
            named: dict[tuple[str, str], list[tuple[str, str]]] = {key: [] for key in keys}
            for start in range(0, len(keys), _KEYS):
                part = tuple_(mention.c.sender, mention.c.message_id).in_(keys[start : start + _KEYS])
                for row in rows(select(mention).where(part).order_by(mention.c.n)):
                    named[row["sender"], row["message_id"]].append((row["about_sender"], row["about_id"]))
            return tuple(_duty(row, named[row["sender"], row["message_id"]], self._own) for row in found)

        return await self._reader.ask(question)

    async def breaches(self) -> tuple[BreachRecord, ...]:
        rows = await self._reader.rows(select(breach).order_by(breach.c.decide_by, breach.c.message_id))
        return tuple(BreachRecord(**{**row, "state": BreachState(row["state"])}) for row in rows)

    async def closure(self, partner: str, thread: str) -> Closure | None:
        statement = select(closure).where(closure.c.partner == partner, closure.c.thread == thread)
        rows = await self._reader.rows(statement)
        return Closure(**rows[0]) if rows else None

    async def erasure(self, sender: str, message_id: str) -> Erasure | None:
        statement = select(erasure).where(erasure.c.sender == sender, erasure.c.message_id == message_id)
        rows = await self._reader.rows(statement)
        return Erasure(**rows[0]) if rows else None

    async def agreements_of(self, partner: str, thread: str) -> tuple[str, ...]:
        statement = (
            select(message.c.agreement)
            .where(
                message.c.partner == partner,
                message.c.thread == thread,
                message.c.state.not_in((InboundState.REFUSED, State.REJECTED)),
            )
            .group_by(message.c.agreement)
            .order_by(func.min(message.c.created_at))
        )
        return tuple(row["agreement"] for row in await self._reader.rows(statement))


_KEYS: Final = 400  # pairs in one statement


def _may_arrive(own: str) -> Any:
    """A partner asked it, or we did and the message that asks can still arrive."""
    return or_(duty.c.sender != own, message.c.state.not_in(_NEVER_ARRIVED))


def _duty(row: Mapping[str, Any], about: list[tuple[str, str]], own: str) -> Duty:
    state = DutyState(row["state"])
    if state is DutyState.OPEN and row["sender"] == own and row["message_state"] in _NEVER_ARRIVED:
        state = DutyState.LAPSED
    return Duty(
        asked=Asked(
            sender=row["sender"],
            message_id=row["message_id"],
            partner=row["partner"],
            type=row["type"],
            code=row["code"],
            thread=row["thread"],
            about=tuple(about),
            since=row["since"],
            due=row["due"],
        ),
        state=state,
        answered_by=row["answered_by"],
        answer_code=row["answer_code"],
        told_at=row["told_at"],
    )
