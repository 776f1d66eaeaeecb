"""What service messages have asked, in memory: the effects and commands of `core.service`, and the port `Service`.

The part of `tests.support.memory` that is about them; `tests.conformance.test_service_store` holds it and the store to the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contracts.service import CORRECTION
from gateway.core import service
from gateway.core.commands import Command, Effect
from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import InboundEvent, InboundState, State, after_inbound
from gateway.core.service import BreachRecord, BreachState, Closure, Duty, DutyState, Erasure

if TYPE_CHECKING:
    from tests.support.memory import Memory

GONE = (InboundState.WITHDRAWN, InboundState.DESTROYED)
NEVER_ARRIVED = (State.REJECTED, State.EXPIRED, State.CANCELLED)
Key = tuple[str, str]


@dataclass
class Ledger:
    """The tables of service messages."""

    duties: dict[Key, Duty] = field(default_factory=dict)
    breaches: dict[Key, BreachRecord] = field(default_factory=dict)
    closures: dict[Key, Closure] = field(default_factory=dict)
    erasures: dict[Key, Erasure] = field(default_factory=dict)


def apply(memory: Memory, effects: Iterable[Effect]) -> None:
    for effect in effects:
        _EFFECTS[type(effect)](memory, effect)


def _ask(memory: Memory, effect: service.Ask) -> None:
    asked = effect.asked
    memory.ledger.duties[asked.sender, asked.message_id] = Duty(
        asked=asked, state=DutyState.OPEN, answered_by=None, answer_code=None, told_at=None
    )


def _settle(memory: Memory, key: Key, state: DutyState, by: str, code: str | None) -> None:
    duty = memory.ledger.duties.get(key)
    if duty is not None and duty.state is not DutyState.DONE:
        memory.ledger.duties[key] = dataclasses.replace(duty, state=state, answered_by=by, answer_code=code)


def _answer(memory: Memory, effect: service.Answer) -> None:
    state = DutyState.DECLINED if effect.declined else DutyState.DONE
    _settle(memory, (effect.sender, effect.message_id), state, effect.answer_id, effect.code)


def _answer_destroyed(memory: Memory, effect: service.AnswerDestroyed) -> None:
    about = {(effect.sender, message_id) for message_id in effect.messages}
    for key, duty in list(memory.ledger.duties.items()):
        asked = duty.asked
        fits = asked.sender == effect.sender and service.answered_by_destruction(asked.type, asked.code)
        if fits and about & set(asked.about):
            _settle(memory, key, DutyState.DONE, effect.answer_id, None)


def _withdraw(memory: Memory, effect: service.Withdraw) -> None:
    key = (effect.sender, effect.message_id)
    if key in memory.arrived and all(_unseen(memory, part) for part in (key, *_corrections(memory, key))):
        _erase(memory, (effect.sender, effect.message_id), InboundEvent.WITHDRAW, effect.at, service.KEYS_DESTROYED)
        memory._append(effect.erased)


def _open_breach(memory: Memory, effect: service.OpenBreach) -> None:
    said = {f.name: getattr(effect, f.name) for f in dataclasses.fields(effect) if f.name != "entry"}
    memory.ledger.breaches[effect.sender, effect.message_id] = BreachRecord(
        **said, state=BreachState.OPEN, told_at=None
    )
    memory._append(effect.entry)


def _close_thread(memory: Memory, effect: service.CloseThread) -> None:
    memory.ledger.closures[effect.closure.partner, effect.closure.thread] = effect.closure


def _destroy(memory: Memory, command: service.Destroy) -> bool:
    held = memory.arrived.get((command.sender, command.message_id))
    if held is None:
        raise IllegalTransitionError("no such message")
    if held.state in GONE:
        return False
    _erase(memory, (command.sender, command.message_id), InboundEvent.DESTROY, command.at, command.how)
    memory._append(command.entry)
    return True


def _erase(memory: Memory, key: Key, event: InboundEvent, at: int, how: str) -> None:
    corrections = _corrections(memory, key)
    _erase_one(memory, key, event, at, how)
    for correction in corrections:
        _erase_one(memory, correction, InboundEvent.DESTROY, at, how)


def _corrections(memory: Memory, key: Key) -> list[Key]:
    return [
        other
        for other, duty in memory.ledger.duties.items()
        if duty.asked.type == CORRECTION and duty.asked.sender == key[0] and key in duty.asked.about
        if memory.arrived[other].state not in GONE
    ]


def _unseen(memory: Memory, key: Key) -> bool:
    given = ("released", key[1], "in", key[0])
    released = any((one.kind, one.message_id, one.dir, one.partner) == given for one in memory.log)
    return service.destroyed_at_once(memory.arrived[key].state, released=released)


def _erase_one(memory: Memory, key: Key, event: InboundEvent, at: int, how: str) -> None:
    held = memory.arrived[key]
    held.state, held.inner = after_inbound(held.state, event), None
    memory.ledger.erasures[key] = Erasure(sender=key[0], message_id=key[1], at=at, how=how)


def _decide_breach(memory: Memory, command: service.DecideBreach) -> bool:
    key = (command.sender, command.message_id)
    held = memory.ledger.breaches.get(key)
    if held is None or held.state is not BreachState.OPEN:
        return False
    memory.ledger.breaches[key] = dataclasses.replace(held, state=command.outcome)
    memory._append(command.entry)
    return True


def _reminded(memory: Memory, command: service.Reminded) -> None:
    for key in command.duties:
        memory.ledger.duties[key] = dataclasses.replace(memory.ledger.duties[key], told_at=command.at)
    for key in command.breaches:
        memory.ledger.breaches[key] = dataclasses.replace(memory.ledger.breaches[key], told_at=command.at)


_EFFECTS: Mapping[type[Effect], Callable[[Memory, Any], None]] = {
    service.Ask: _ask,
    service.Answer: _answer,
    service.AnswerDestroyed: _answer_destroyed,
    service.Withdraw: _withdraw,
    service.OpenBreach: _open_breach,
    service.CloseThread: _close_thread,
}
HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    service.Destroy: _destroy,
    service.DecideBreach: _decide_breach,
    service.Reminded: _reminded,
}


@dataclass(frozen=True)
class MemoryService:
    memory: Memory

    async def duties(self, *, settled: bool) -> tuple[Duty, ...]:
        found = [self._as_read(duty) for duty in self.memory.ledger.duties.values()]
        wanted = [duty for duty in found if settled or duty.state is DutyState.OPEN]
        return tuple(sorted(wanted, key=lambda duty: (duty.asked.due, duty.asked.message_id)))

    async def said_of(self, sender: str, message_id: str) -> tuple[Duty, ...]:
        found = [duty for duty in self.memory.ledger.duties.values() if (sender, message_id) in duty.asked.about]
        return tuple(map(self._as_read, sorted(found, key=lambda duty: (duty.asked.since, duty.asked.message_id))))

    def _as_read(self, duty: Duty) -> Duty:
        ours = duty.asked.sender == self.memory.own
        if ours and duty.state is DutyState.OPEN and self.memory.sent[duty.asked.message_id].state in NEVER_ARRIVED:
            return dataclasses.replace(duty, state=DutyState.LAPSED)
        return duty

    async def breaches(self) -> tuple[BreachRecord, ...]:
        return tuple(sorted(self.memory.ledger.breaches.values(), key=lambda one: (one.decide_by, one.message_id)))

    async def closure(self, partner: str, thread: str) -> Closure | None:
        return self.memory.ledger.closures.get((partner, thread))

    async def erasure(self, sender: str, message_id: str) -> Erasure | None:
        return self.memory.ledger.erasures.get((sender, message_id))

    async def agreements_of(self, partner: str, thread: str) -> tuple[str, ...]:
        sent = [
            (one.row.created_at, one.row.agreement)
            for one in self.memory.sent.values()
            if (one.row.partner, one.row.thread) == (partner, thread) and one.state is not State.REJECTED
        ]
        came = [
            (one.row.created_at, one.row.agreement)
            for one in self.memory.arrived.values()
            if (one.row.sender, one.row.thread) == (partner, thread) and one.state is not InboundState.REFUSED
        ]
        return tuple(dict.fromkeys(agreement for _, agreement in sorted(sent + came)))
