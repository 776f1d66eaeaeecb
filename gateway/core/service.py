"""What follows from a service message: who owes an answer until when, what is destroyed, which breach opens.

Pure: decisions, and the typed effects and commands that carry them out. An effect travels with the message that causes it,
in `Submit` or `Receive`, and is carried out in the same transaction. A *duty* is one service message seen as something
asked: *owed* where a partner asked it of us, *awaited* where we asked it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from contracts import service
from contracts.facts import civil_date
from gateway.core import working_days
from gateway.core.commands import Command, Effect, LogEntry
from gateway.core.lifecycle import InboundState

ANSWER_WITHIN: Final[Mapping[str, int]] = MappingProxyType(
    {
        service.WITHDRAWAL: 2,
        service.QUESTION: 3,
        service.CORRECTION: 5,
        service.RIGHTS: 5,
        service.CLOSED: 5,
        service.BREACH: 1,
        service.DESTROYED: 5,
    }
)
"""Working days in which each type is answered, where neither its urgency nor the agreement's clock says otherwise.
An acknowledgement is owed no answer."""

PRIORITY_WITHIN: Final = 1  # working day (flows section 8)
AT_ONCE: Final = timedelta(hours=1)  # under an immediate risk, whatever the day
DECIDE_WITHIN: Final = timedelta(hours=72)  # UK GDPR Article 33(1)
REMIND_EVERY: Final = timedelta(hours=24)  # what is overdue alarms again

BREACH_REASONS: Final = frozenset(
    {"wrong-recipient", "wrong-child"}
)  # of a withdrawal: somebody saw what was not theirs
KEYS_DESTROYED: Final = "keys-destroyed"  # how this gateway destroys
ERASE: Final = "erase"  # the right whose notice a destruction receipt answers too


class DutyState(StrEnum):
    """Where a duty stands. `lapsed` is read, never written: we asked, and the message that asked never arrived."""

    OPEN = "open"
    DONE = "done"
    DECLINED = "declined"
    LAPSED = "lapsed"


class BreachState(StrEnum):
    """What was decided of a breach: whether the Commissioner is told."""

    OPEN = "open"
    REPORTED = "reported"
    NOT_REPORTABLE = "not-reportable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One service message as something asked: by whom, of what (`about`: sender and id of each message it names), and until
    when (`due`). `code` is its reason, right, status or kind. Times in seconds."""

    sender: str
    message_id: str
    partner: str
    type: str
    code: str | None
    thread: str
    about: tuple[tuple[str, str], ...]
    since: int
    due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """A duty as held: what was asked, where it stands, the id and code of the answer, when an alarm was last raised."""

    asked: Asked
    state: DutyState
    answered_by: str | None
    answer_code: str | None
    told_at: int | None

    def overdue(self, now: datetime) -> bool:
        return self.state is DutyState.OPEN and self.asked.due <= now.timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class BreachRecord:
    """A breach as held: the service message that opened it, the message it is about, and the time to decide by (seconds)."""

    sender: str
    message_id: str
    partner: str
    about_sender: str
    about_id: str
    code: str
    opened_at: int
    decide_by: int
    state: BreachState
    told_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """That a thread is closed: since which day, with which status, said by whom and when (seconds)."""

    partner: str
    thread: str
    on: str
    status: str
    said_by: str
    said_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """That the content of a partner's message was destroyed here, when (seconds) and how."""

    sender: str
    message_id: str
    at: int
    how: str


# --- decisions


def answer_due(
    type: str,  # noqa: A002 - the wire's own word
    *,
    urgency: str,
    asked_at: datetime,
    by: date | None,
    agreed: int | None,
    holidays: Set[date],
) -> datetime | None:
    """Return the instant by which an answer is due, None for a type that is owed none.

    `agreed` are the working days of the agreement's own clock for this type, `by` the day that a notice names itself. What
    is withdrawn is destroyed within two working days whatever was agreed; urgency only shortens.
    """
    default = ANSWER_WITHIN.get(type)
    if default is None:
        return None
    if urgency == "immediate_risk":
        return asked_at + AT_ONCE
    days = default if agreed is None or type == service.WITHDRAWAL else agreed
    if urgency == "priority":
        days = min(days, PRIORITY_WITHIN)
    day = working_days.after(civil_date(asked_at), days, holidays)
    return working_days.end_of(day if by is None or urgency == "priority" else by)


def destroyed_at_once(state: InboundState, *, released: bool) -> bool:
    """Whether a withdrawal destroys the message by itself: nobody here has seen it, and no case system has it, be it that it
    said so (`state`) or that its content was given to one (`released`). With a message go its corrections, which repeat what
    it said: it must hold of each of them, else all of it waits for a person."""
    return state is InboundState.RECEIVED and not released


def breach_opens(type: str, code: str | None) -> bool:  # noqa: A002 - the wire's own word
    """Whether a service message opens a breach, on both sides."""
    return type == service.BREACH or (type == service.WITHDRAWAL and code in BREACH_REASONS)


def decide_by(opened_at: datetime) -> datetime:
    """Return when the decision about a breach is due: an instant, for this clock knows no weekends."""
    return opened_at + DECIDE_WITHIN


def answered_by_destruction(type: str, code: str | None) -> bool:  # noqa: A002 - the wire's own word
    """Whether a destruction receipt answers a duty of this type about the same message."""
    return type == service.WITHDRAWAL or (type == service.RIGHTS and code == ERASE)


def reminder_due(told_at: int | None, now: datetime) -> bool:
    """Whether an alarm about something overdue is to be raised (again)."""
    return told_at is None or told_at <= (now - REMIND_EVERY).timestamp()


# --- effects: carried out in the transaction of the message that causes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Effect):
    """Keep what a service message asks; the duty is open."""

    asked: Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Effect):
    """An acknowledgement (`answer_id`) of the service message (`sender`, `message_id`): its duty is done, or declined with
    a `code`. A declined one may be done later; what is done stays done."""

    sender: str
    message_id: str
    answer_id: str
    declined: bool
    code: str | None
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDestroyed(Effect):
    """A destruction receipt (`answer_id`) for messages of `sender`: every open duty that destruction answers and that names
    one of them is done, where `sender` asked it."""

    sender: str
    messages: tuple[str, ...]
    answer_id: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw(Effect):
    """A partner withdraws its message: where nobody opened or took it, and no case system was given its content, it is
    destroyed now and `withdrawn` is logged."""

    sender: str
    message_id: str
    erased: LogEntry
    at: int

    def touches(self) -> frozenset[str]:
        return frozenset({f"inbox:{self.sender}:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreach(Effect):
    """Open a breach and log it; its clock runs."""

    sender: str
    message_id: str
    partner: str
    about_sender: str
    about_id: str
    code: str
    opened_at: int
    decide_by: int
    entry: LogEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseThread(Effect):
    """Keep from when on the thread counts as closed: what was said last stands."""

    closure: Closure


# --- commands: a person's acts, and the clock's


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy(Command[bool]):
    """Destroy the content of a partner's message and of every correction of it: keys and ciphertext go, the row, the receipts
    and the log stay. False, changing nothing, where it is destroyed already. Raises IllegalTransitionError where there is
    no such message, or it was refused."""

    sender: str
    message_id: str
    how: str
    entry: LogEntry
    at: int

    def touches(self) -> frozenset[str]:
        return frozenset({f"inbox:{self.sender}:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideBreach(Command[bool]):
    """A person's decision on a breach, logged. False, changing nothing, where there is none that is open."""

    sender: str
    message_id: str
    outcome: BreachState
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"breach:{self.sender}:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminded(Command[None]):
    """That alarms were raised, just now, for these overdue duties and breaches (sender, id of the service message)."""

    duties: tuple[tuple[str, str], ...]
    breaches: tuple[tuple[str, str], ...]
    at: int
