"""The outbox and the inbox against a model in memory, over random walks; and mutants, which the same walks must catch."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, text

from gateway.core.commands import (
    Acknowledge,
    Command,
    Hold,
    Lease,
    Move,
    Receive,
    Received,
    Reception,
    ReleaseLeases,
    Submit,
    TakeReceipt,
)
from gateway.core.errors import IdempotencyConflictError, IllegalTransitionError
from gateway.core.lifecycle import TRANSITIONS, Event, InboundState, ReceiptEvent, State, after, after_receipt
from gateway.core.retry import DeadLetter, Expire, HoldLane, Next, RetryAt
from gateway.ports import Candidate
from gateway.store import handlers, inbox, lanes, outbox, schema
from gateway.store.transaction import Transaction
from tests.support.store import (
    Lab,
    at,
    entries_for,
    make_acknowledge,
    make_claim,
    make_complete,
    make_entry,
    make_fail,
    make_receipt_in,
    make_receive,
    make_submit,
    message_id,
    open_lab,
    problems,
    rows,
)

OPEN = {State.QUEUED, State.SENDING, State.HELD, State.DEAD}
MOVES = [Event.RELEASE, Event.EXPIRE, Event.CANCEL, Event.RESEND]
ACTS = [ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED]
LANES = [("la-902", b"1"), ("la-902", b"2"), ("la-903", b"1")]


@dataclass(slots=True)
class Sent:
    """What the model knows of one own message; times in seconds."""

    submit: Submit
    lane: tuple[str, bytes]
    state: State = State.QUEUED
    run_at: float | None = 0
    token: bytes | None = None
    until: float = 0
    kinds: list[str] = field(default_factory=lambda: ["submitted"])
    receipts: set[ReceiptEvent] = field(default_factory=set)
    held_for: str | None = None

    def due(self, now: float) -> bool:
        if self.state is State.SENDING:
            return self.until <= now
        return self.state in (State.QUEUED, State.HELD) and self.run_at is not None and self.run_at <= now


class Walk(RuleBasedStateMachine):
    """Random commands to a store and to the model; every answer, and every state after it, must be the same."""

    template: Path
    sent = Bundle("sent")
    leases = Bundle("leases")
    arrived = Bundle("arrived")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "gateway.sqlite"
        shutil.copyfile(self.template, self.path)
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.lab: Lab = self.runner.run(self.stack.enter_async_context(open_lab(self.path)))
        self.now = 0.0
        self.order: list[Sent] = []
        self.received: dict[str, tuple[bytes, bytes, InboundState]] = {}
        self.given: dict[tuple[str, ReceiptEvent], bytes] = {}

    def write(self, command: Command[Any]) -> Any:
        return self.runner.run(self.lab.open.store.write(command))

    # --- own messages

    @rule(target=sent, lane=st.sampled_from(LANES))
    def submit(self, lane: tuple[str, bytes]) -> Sent:
        command = make_submit(partner=lane[0], lane=lane[1], when=at(self.now))
        assert self.write(command).repeated is False
        self.order.append(Sent(submit=command, lane=lane, run_at=self.now))
        return self.order[-1]

    @rule(one=sent, same=st.booleans())
    def submit_again(self, one: Sent, same: bool) -> None:
        again = make_submit(key=one.submit.idempotency.key, request=b"request" if same else b"other")
        if same:
            assert self.write(again).response == one.submit.idempotency.response
        else:
            with pytest.raises(IdempotencyConflictError):
                self.write(again)

    @rule(target=leases, length=st.sampled_from([30, 300]))
    def claim(self, length: float) -> Any:
        """Claim the first that is due, if any is."""
        for candidate in self.runner.run(self.lab.open.read.outbox.due(at(self.now), 1)):
            one = next(one for one in self.order if one.submit.message.id == candidate.message_id)
            lease = self.write(make_claim(candidate, now=at(self.now), lease=length))
            assert lease is not None
            one.state, one.token, one.until, one.held_for = State.SENDING, lease.token, self.now + length, None
            return one, lease
        return multiple()

    @rule(one=sent)
    def claim_out_of_turn(self, one: Sent) -> None:
        """Claim a message whose turn it is not, and get nothing."""
        if self.heads().get(one.lane) is one and one.due(self.now):
            return
        ((number,),) = rows(self.path, "SELECT id FROM delivery WHERE message_id = :id", id=one.submit.message.id)
        candidate = Candidate(
            delivery=number,
            message_id=one.submit.message.id,
            partner=one.lane[0],
            state=State.QUEUED,
            attempts=0,
            first_attempt_at=None,
            last_statuses=(),
        )
        assert self.write(make_claim(candidate, now=at(self.now))) is None

    @rule(taken=leases, event=st.sampled_from([ReceiptEvent.CHECKED, ReceiptEvent.REJECTED]))
    def complete(self, taken: tuple[Sent, Lease], event: ReceiptEvent) -> None:
        one, lease = taken
        current = one.token == lease.token
        assert self.write(make_complete(lease, one.submit.message.id, event, now=at(self.now))) is current
        if current:
            self.enter_receipt(one, event)

    @rule(
        taken=leases,
        what=st.sampled_from([RetryAt(at=at(0)), HoldLane(status=404), DeadLetter(), Expire()]),
        wait=st.sampled_from([0, 60]),
    )
    def fail(self, taken: tuple[Sent, Lease], what: Next, wait: float) -> None:
        one, lease = taken
        if isinstance(what, RetryAt):
            what = RetryAt(at=at(self.now + wait))
        current = one.token == lease.token
        assert self.write(make_fail(lease, one.submit.message.id, what, now=at(self.now))) is current
        if not current:
            return
        one.token, one.run_at = None, None
        match what:
            case RetryAt():
                one.state, one.run_at = State.QUEUED, self.now + wait
            case HoldLane():
                one.state, one.held_for = State.HELD, outbox.LANE_HELD
            case DeadLetter():
                one.state = State.DEAD
            case Expire():
                one.state = State.EXPIRED

    @rule(taken=leases)
    def release(self, taken: tuple[Sent, Lease]) -> None:
        one, lease = taken
        current = one.token == lease.token
        command = ReleaseLeases(tokens=frozenset({lease.token}), now=at(self.now))
        assert self.write(command) == int(current)
        if current:
            one.state, one.token, one.run_at = State.QUEUED, None, self.now

    @rule(one=sent, code=st.sampled_from(["agreement.suspended", "field.protected"]), wait=st.sampled_from([0, 60]))
    def hold(self, one: Sent, code: str, wait: float) -> None:
        own = one.submit.message.id
        entry = make_entry("held", when=at(self.now), msg=own)
        command = Hold(message_id=own, codes=(code,), entry=entry, look_again=at(self.now + wait))
        leased = one.state is State.SENDING and one.until > self.now
        possible = one.state is State.HELD or (Event.HOLD in TRANSITIONS[one.state] and not leased)
        logged = possible and one.held_for != code
        assert self.write(command) is logged
        if possible:
            one.state, one.held_for, one.run_at, one.token = State.HELD, code, self.now + wait, None
        if logged:
            one.kinds.append("held")

    @rule(one=sent, event=st.sampled_from(MOVES))
    def move(self, one: Sent, event: Event) -> None:
        own = one.submit.message.id
        command = Move(message_id=own, event=event, entry=make_entry(f"did-{event}", msg=own), now=at(self.now))
        rested = State.QUEUED if one.state is State.SENDING and one.until <= self.now else one.state
        try:
            wanted = after(rested, event)
        except IllegalTransitionError:
            with pytest.raises(IllegalTransitionError):
                self.write(command)
            return
        assert self.write(command) is wanted
        one.state, one.held_for, one.token = wanted, None, None
        one.run_at = self.now if wanted is State.QUEUED else None
        one.kinds.append(f"did-{event}")

    @rule(one=sent, event=st.sampled_from(list(ReceiptEvent)))
    def take_receipt(self, one: Sent, event: ReceiptEvent) -> None:
        own = one.submit.message.id
        command = TakeReceipt(receipt=make_receipt_in(own, event), entries=entries_for(own), now=at(self.now))
        new = event not in one.receipts
        assert self.write(command) is new
        if new:
            self.enter_receipt(one, event)

    def enter_receipt(self, one: Sent, event: ReceiptEvent) -> None:
        one.receipts.add(event)
        for state in after_receipt(one.state, event):
            one.state, one.token, one.run_at, one.held_for = state, None, None, None
            one.kinds.append(str(state))

    @rule(seconds=st.sampled_from([10, 61]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # --- partners' messages

    @rule(target=arrived, refused=st.booleans())
    def receive(self, refused: bool) -> str:
        command = make_receive(refused=refused)
        answer = self.write(command)
        assert (answer.reception, answer.receipt) == (Reception.NEW, command.receipt)
        state = InboundState.REFUSED if refused else InboundState.RECEIVED
        self.received[command.message.id] = (b"sealed bytes", command.receipt, state)
        return command.message.id

    @rule(own=arrived, same=st.booleans())
    def receive_again(self, own: str, same: bool) -> None:
        answer = self.write(make_receive(id=own, data=b"sealed bytes" if same else b"other bytes"))
        assert answer.reception is (Reception.DUPLICATE if same else Reception.CONFLICT)
        assert answer.receipt == (self.received[own][1] if same else b"")

    @rule(own=arrived, event=st.sampled_from(ACTS))
    def acknowledge(self, own: str, event: ReceiptEvent) -> None:
        data, receipt, state = self.received[own]
        command = make_acknowledge(own, event)
        if state is InboundState.REFUSED:
            with pytest.raises(IllegalTransitionError):
                self.write(command)
            return
        first = self.given.setdefault((own, event), command.receipt)
        assert self.write(command) == first
        if event is ReceiptEvent.COLLECTED or state is InboundState.RECEIVED:
            self.received[own] = (data, receipt, InboundState(event))

    # --- what must hold after every command

    def heads(self) -> dict[tuple[str, bytes], Sent]:
        """The first open message of every lane."""
        heads: dict[tuple[str, bytes], Sent] = {}
        for one in self.order:
            if one.state in OPEN:
                heads.setdefault(one.lane, one)
        return heads

    @invariant()
    def what_is_due_is_what_the_model_says(self) -> None:
        found = self.runner.run(self.lab.open.read.outbox.due(at(self.now), 100))
        wanted = {one.submit.message.id for one in self.heads().values() if one.due(self.now)}
        assert {candidate.message_id for candidate in found} == wanted

    @invariant()
    def every_state_is_what_the_model_says(self) -> None:
        held = dict(rows(self.path, "SELECT id, state FROM message"))
        wanted = {one.submit.message.id: str(one.state) for one in self.order}
        assert held == wanted | {own: str(state) for own, (_, _, state) in self.received.items()}
        lined_up = rows(
            self.path,
            "SELECT count(*) FROM delivery JOIN message ON message.id = message_id WHERE delivery.state != "
            "CASE message.state WHEN 'queued' THEN 'ready' WHEN 'held' THEN 'ready' WHEN 'sending' THEN 'leased' "
            "WHEN 'dead' THEN 'dead' WHEN 'expired' THEN 'cancelled' WHEN 'cancelled' THEN 'cancelled' ELSE 'done' END",
        )
        assert lined_up == [(0,)]

    def teardown(self) -> None:
        try:
            for one in self.order:
                statement = "SELECT kind FROM log_entry WHERE message_id = :id ORDER BY idx"
                kinds = [kind for (kind,) in rows(self.path, statement, id=one.submit.message.id)]
                assert kinds == one.kinds
            assert rows(self.path, "SELECT count(*) FROM handoff") == [
                (sum(state is not InboundState.REFUSED for _, _, state in self.received.values()),)
            ]
            found = {column for _, column in problems(self.path)}
            assert found <= {"inbox.receipt", "outgoing.bytes"}  # receipts here are no real ones
            assert self.lab.alarms.raised == []
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
WALKS = settings(max_examples=10, stateful_step_count=40, deadline=None, suppress_health_check=QUIET)
STROLLS, STEPS = 3, 120
OFTEN = (4, 4, 1, 1, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1)  # of the acts of a stroll: submit, claim and fail most of all


def test_random_walks_agree_with_the_model(template: Path) -> None:
    run_state_machine_as_test(type("WalkHere", (Walk,), {"template": template}), settings=WALKS)


def stroll(template: Path, number: int) -> None:
    """Walk further than Hypothesis does, so that lanes fill and attempts end; the same number takes the same walk."""
    pick = random.Random(number)  # noqa: S311 - a walk
    walk = type("WalkHere", (Walk,), {"template": template})()
    walk.open()
    sent: list[Sent] = []
    taken: list[tuple[Sent, Lease]] = []
    arrived: list[str] = []
    nexts: list[Next] = [RetryAt(at=at(0)), HoldLane(status=404), DeadLetter(), Expire()]
    acts: list[tuple[list[Any] | None, Callable[[], object]]] = [
        (None, lambda: sent.append(walk.submit(pick.choice(LANES)))),
        (None, lambda: taken.extend([lease] if isinstance(lease := walk.claim(pick.choice([30, 300])), tuple) else [])),
        (None, lambda: walk.wait(pick.choice([10, 61]))),
        (None, lambda: arrived.append(walk.receive(pick.random() < 0.3))),
        (sent, lambda: walk.submit_again(pick.choice(sent), pick.random() < 0.5)),
        (sent, lambda: walk.claim_out_of_turn(pick.choice(sent))),
        (sent, lambda: walk.hold(pick.choice(sent), pick.choice(["one.code", "other.code"]), pick.choice([0, 60]))),
        (sent, lambda: walk.move(pick.choice(sent), pick.choice(MOVES))),
        (sent, lambda: walk.take_receipt(pick.choice(sent), pick.choice(list(ReceiptEvent)))),
        (taken, lambda: walk.complete(pick.choice(taken[-3:]), ReceiptEvent.CHECKED)),
        (taken, lambda: walk.fail(pick.choice(taken[-3:]), pick.choice(nexts), pick.choice([0, 60]))),
        (taken, lambda: walk.release(pick.choice(taken[-3:]))),
        (arrived, lambda: walk.receive_again(pick.choice(arrived), pick.random() < 0.5)),
        (arrived, lambda: walk.acknowledge(pick.choice(arrived), pick.choice(ACTS))),
    ]
    try:
        for _ in range(STEPS):
            (needs, act), *_ = pick.choices(acts, OFTEN)
            if needs is None or needs:
                act()
                walk.what_is_due_is_what_the_model_says()
                walk.every_state_is_what_the_model_says()
    finally:
        walk.teardown()


@pytest.mark.parametrize("number", range(STROLLS))
def test_long_walks_agree_with_the_model(template: Path, number: int) -> None:
    stroll(template, number)


def stroll_until_caught(template: Path) -> None:
    for number in range(20):
        stroll(template, number)


Patch = Callable[[pytest.MonkeyPatch], None]


def takes_any_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbox, "_leased", lambda tx, own, _lease: lanes.current(tx, own))


def lets_a_lane_pass_its_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanes, "_FIRST_OPEN", lanes._FIRST.where(text("delivery.state IN ('ready', 'leased')")))


def forgets_a_lease_that_ended(patch: pytest.MonkeyPatch) -> None:
    honest = lanes._lane_of
    patch.setattr(lanes, "_lane_of", lambda head: honest(head) | ({"run_at": None} if leased(head) else {}))


def leased(head: Any) -> bool:
    return head is not None and head.state == State.SENDING


def submits_every_repeat(patch: pytest.MonkeyPatch) -> None:
    def anew(tx: Transaction, submit: Submit) -> object:
        fresh = replace(submit.idempotency, key=message_id(), response=b"another answer")
        return outbox.submit(tx, replace(submit, idempotency=fresh))

    patch.setitem(handlers._HANDLERS, Submit, anew)


def receives_every_repeat(patch: pytest.MonkeyPatch) -> None:
    def anew(tx: Transaction, receive: Receive) -> Received:
        for table in (schema.inbox, schema.handoff):
            tx.change(delete(table).where(table.c.message_id == receive.message.id))
        tx.change(delete(schema.message).where(schema.message.c.id == receive.message.id))
        return inbox.receive(tx, receive)

    patch.setitem(handlers._HANDLERS, Receive, anew)


def answers_with_the_new_receipt(patch: pytest.MonkeyPatch) -> None:
    def anew(tx: Transaction, acknowledge: Acknowledge) -> bytes:
        inbox.acknowledge(tx, acknowledge)
        return acknowledge.receipt

    patch.setitem(handlers._HANDLERS, Acknowledge, anew)


@pytest.mark.parametrize(
    "mutant",
    [
        takes_any_lease,
        lets_a_lane_pass_its_dead,
        forgets_a_lease_that_ended,
        submits_every_repeat,
        receives_every_repeat,
        answers_with_the_new_receipt,
    ],
)
def test_the_walks_catch_a_store_that(template: Path, monkeypatch: pytest.MonkeyPatch, mutant: Patch) -> None:
    """A test of the test: a walk that cannot fail proves nothing."""
    mutant(monkeypatch)
    with pytest.raises((AssertionError, IllegalTransitionError, pytest.fail.Exception)):
        stroll_until_caught(template)
