"""What the exchange log says of one message: its own entries, found by the index on their message, each with its mac.

The columns of a message's row are copies, and whoever may write to the database may change them. What was cancelled,
withdrawn or destroyed, and under which name a message came, is decided here by entries. An entry that was deleted is not
missed here: `log verify` finds that.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import Select, select

from contracts.service import CORRECTION
from gateway.core.errors import RowTamperedError
from gateway.core.happened import LED_TO
from gateway.core.lifecycle import InboundState, State
from gateway.store.cells import as_blob, as_number
from gateway.store.schema import log_entry, mention
from gateway.tlog.entry import Entry, parse_shape
from gateway.tlog.errors import EntryError

Mac = Callable[[int, bytes], bytes]
Rows = Callable[[Select[Any]], Sequence[Mapping[str, Any]]]

GONE: Final = (InboundState.WITHDRAWN, InboundState.DESTROYED)
MAY_GO: Final = (State.QUEUED, State.HELD)  # as the log tells it: a lease and a release leave no entry
_GOES_ON: Final = (None, State.QUEUED, State.HELD, State.DEAD)
_PROVEN: Final = (State.DELIVERED, State.TAKEN, State.COLLECTED, State.REJECTED)
_OVER: Final = (InboundState.REFUSED, *GONE)
ARRIVED: Final = ("received", "refused-inbound")
ENDED: Final = ("withdrawn", "destroyed")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLog:
    """Reads the entries of one message at a time, and believes those whose mac holds."""

    mac: Mac = field(repr=False)

    def outbound(self, found: Iterable[Any]) -> State | None:
        """The state that the entries of an own message (rows of `of_message`) tell; None where it was never submitted.

        Raises RowTamperedError where an entry is not what was written.
        """
        return outbound_state(entry for _, entry in self._entries(found))

    def inbound(self, rows: Rows, sender: str, message_id: str) -> Arrived:
        """What the log says of a partner's message. Raises RowTamperedError."""
        told = self._of(rows, sender, message_id, tuple(LED_TO["in"]))
        at, came = next(((at, entry) for at, entry in told if entry.kind in ARRIVED), (-1, None))
        ended = next((entry for _, entry in told if entry.kind in ENDED), None)
        if came is not None and ended is None and came.type == CORRECTION:
            ended = self._with_its_original(rows, sender, message_id, at)
        return Arrived(entry=came, ended=ended, state=inbound_state((entry for _, entry in told), sender))

    def _with_its_original(self, rows: Rows, sender: str, message_id: str, after: int) -> Entry | None:
        """A correction repeats what its original said, and went with it: the entry is about the original alone."""
        named = select(mention.c.about_id).where(mention.c.sender == sender, mention.c.message_id == message_id)
        for row in rows(named):
            for at, entry in self._of(rows, sender, row["about_id"], ENDED):
                if at > after:
                    return entry
        return None

    def _of(self, rows: Rows, sender: str, message_id: str, kinds: Sequence[str]) -> list[tuple[int, Entry]]:
        found = rows(of_message(message_id).where(log_entry.c.kind.in_(kinds)))
        told = self._entries(map(_Row, found))
        return [(at, entry) for at, entry in told if (entry.dir, entry.partner) == ("in", sender)]

    def _entries(self, found: Iterable[Any]) -> list[tuple[int, Entry]]:
        entries = []
        for row in found:
            data = as_blob(row.entry)
            if not hmac.compare_digest(self.mac(as_number(row.idx), data), as_blob(row.mac)):
                raise RowTamperedError("log_entry")
            try:
                entries.append((as_number(row.idx), parse_shape(data)))
            except EntryError:
                raise RowTamperedError("log_entry") from None
        return entries


class _Row:
    """A row of a reader, which answers mappings, read as the writer's are."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.idx, self.entry, self.mac = row["idx"], row["entry"], row["mac"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A partner's message as the log tells it: the entry of its arrival, the one that says its content is gone (of a
    correction, its original's), and the state that its own lead to."""

    entry: Entry | None
    ended: Entry | None
    state: InboundState | None

    @property
    def gone(self) -> InboundState | None:
        """How its content went; None where it is here."""
        return None if self.ended is None else InboundState(LED_TO["in"][self.ended.kind])

    def is_of(self, row: Mapping[str, Any]) -> bool:
        """Whether the row of the message says what the entry says."""
        return self.entry is not None and not differing(row, self.entry)


def outbound_state(entries: Iterable[Entry]) -> State | None:
    """The state that the entries of an own message lead to, in their order. What was ended is not begun again, whatever is
    said of it later: a receipt alone leads on."""
    state = None
    for entry in entries:
        if entry.dir != "out" or entry.kind not in LED_TO["out"]:
            continue
        after = State(LED_TO["out"][entry.kind])
        if (state is None) == (entry.kind == "submitted") and (state in _GOES_ON or after in _PROVEN):
            state = after
    return state


def inbound_state(entries: Iterable[Entry], sender: str) -> InboundState | None:
    """The state that the entries of a partner's message lead to, in their order."""
    state = None
    for entry in entries:
        if (entry.dir, entry.partner) != ("in", sender) or entry.kind not in LED_TO["in"]:
            continue
        after = InboundState(LED_TO["in"][entry.kind])
        if (state is None) != (entry.kind in ARRIVED):
            continue
        opened = (state, after) == (InboundState.COLLECTED, InboundState.TAKEN)  # opened first, taken later
        if state not in _OVER and not opened:
            state = after
    return state


def of_message(message_id: str) -> Select[Any]:
    """The entries of one message, in the order of the log."""
    return (
        select(log_entry.c.idx, log_entry.c.entry, log_entry.c.mac)
        .where(log_entry.c.message_id == message_id)
        .order_by(log_entry.c.idx)
    )


def differing(row: Mapping[str, Any], entry: Entry) -> tuple[str, ...]:
    """The columns of a message's row that are not what the entry of its arrival or its submission says."""
    said = {
        "partner": entry.partner,
        "type": entry.type,
        "agreement": UNSET if entry.agreement is UNSET else entry.agreement.digest,
        "env": entry.env,
        "jws": entry.jws,
        "thread": entry.msg
        if entry.thread is UNSET
        else entry.thread,  # an entry names the thread where it is another's
        "urgency": entry.urgency,
    }
    return tuple(name for name, value in said.items() if value is not UNSET and row[name] != value)
