"""Every finding of `safehand doctor` is found where it should be, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from contracts.strict import Problem
from gateway.condition import OVERDUE, AgreementCondition, Condition, KeyCondition, PartnerCondition
from gateway.doctor import KINDS, Facts, Keystore, Listener, Memory, Start, Tls, Watched, examine
from gateway.ports import Pile

NOW = 1_790_000_000
TODAY = date(2026, 9, 21)
MINUTE, HOUR, DAY = 60, 3_600, 86_400
ROOT = "ab" * 32
MIB = 2**20


def make_partner(**changes: Any) -> PartnerCondition:
    sound = PartnerCondition(
        org="la-850",
        verified=True,
        route="peer",
        reachable_by_telephone=True,
        fetched_at=NOW - HOUR,
        bundle_ends=NOW + 60 * DAY,
        sealable_until=NOW + 60 * DAY,
        ahead=0,
    )
    return replace(sound, **changes)


def make_agreement(**changes: Any) -> AgreementCondition:
    sound = AgreementCondition(
        id="a-agreement",
        version=1,
        parties=("la-207", "la-850"),
        state="in-force",
        reasons=(),
        unsound=False,
        valid_until=TODAY + timedelta(days=700),
        review_by=TODAY + timedelta(days=350),
    )
    return replace(sound, **changes)


def make_keys(**changes: Any) -> tuple[KeyCondition, ...]:
    roles = ("message-sign", "message-kem", "http", "log", "agreement-sign")
    return tuple(
        KeyCondition(**{"role": role, "covered_until": NOW + 90 * DAY, "waiting": 2, **changes.get(role, {})})
        for role in roles
    )


def make_condition(**changes: Any) -> Condition:
    sound = Condition(
        at=NOW,
        org="la-207",
        bundle_seq=1,
        bundle_ends=NOW + 80 * DAY,
        missing=(),
        keys=make_keys(),
        partners=(make_partner(),),
        agreements=(make_agreement(),),
        piles=(),
        held={},
        owed={},
        owed_since=None,
        revision="head",
        log_size=100,
        log_at=NOW - 5,
        checkpoint_size=100,
        checkpoint_root=ROOT,
        signed_at=NOW - 3,
        differences=0,
        witnesses=3,
        unwitnessed_since=None,
        overdue=dict.fromkeys(OVERDUE, 0),
    )
    return replace(sound, **changes)


def make_facts(**changes: Any) -> Facts:
    sound = Facts(
        at=NOW,
        today=TODAY,
        python="3.13.1",
        sqlite="3.53.4",
        sqlite_sound=True,
        keystores=(Keystore(name="gateway", rule=None), Keystore(name="index", rule=None)),
        tls=Tls(begins=NOW - DAY, ends=NOW + 90 * DAY, key_fits=True, names_host=True),
        listeners=(Listener(key="listen", host="10.0.0.1", port=8443, state="ours"),),
        server="running",
        watched=Watched(ready=True, late=(), failing=(), alarms={}),
        condition=make_condition(),
        memory=Memory(size=100, root=ROOT),
        free=2**40,
        floor=64 * MIB,
    )
    return replace(sound, **changes)


def pile(state: str, age: int, *, direction: str = "out", urgent: bool = False, recent: int = 0) -> dict[str, Any]:
    one = Pile(
        direction="in" if direction == "in" else "out",
        partner="la-850",
        state=state,
        urgent=urgent,
        count=1,
        recent=recent,
        oldest=NOW - age,
    )
    return condition(piles=(one,))


def condition(**changes: Any) -> dict[str, Any]:
    return {"condition": make_condition(**changes)}


def partner(**changes: Any) -> dict[str, Any]:
    return condition(partners=(make_partner(**changes),))


def agreement(**changes: Any) -> dict[str, Any]:
    return condition(agreements=(make_agreement(**changes),))


def tls(**changes: Any) -> dict[str, Any]:
    return {"tls": replace(make_facts().tls or Tls(), **changes)}


def listener(**changes: Any) -> dict[str, Any]:
    return {"listeners": (Listener(**{"key": "listen", "host": "10.0.0.1", "port": 1, "state": "ours", **changes}),)}


CASES: dict[str, dict[str, Any]] = {
    "sqlite.wal-reset": {"sqlite": "3.40.1", "sqlite_sound": False},
    "home.absent": {"found": False, "tls": None, "listeners": (), "keystores": (), "condition": None, "memory": None},
    "home.too-deep": {"too_deep": True},
    "home.open": {"open_to_others": ("secrets/gateway.pass",)},
    "home.foreign": {"foreign": ("data/safehand.db",)},
    "home.incomplete": {"missing_files": ("secrets/index.pass",)},
    "home.root-keystore": {"roots": ("root.keystore",)},
    "config.wrong": {"config": (Problem(key="listen", rule="missing"),)},
    "keystore.closed": {"keystores": (Keystore(name="index", rule="the passphrase does not open it"),)},
    "database.absent": {"database": "absent", "condition": None},
    "database.revision": {"database": "revision", "condition": None},
    "database.unreadable": {"database": "unreadable", "condition": None},
    "tls.unreadable": tls(rule="secrets/tls.crt: cannot be read"),
    "tls.key": tls(key_fits=False),
    "tls.host": tls(names_host=False),
    "tls.not-yet": tls(begins=NOW + HOUR),
    "tls.expired": tls(ends=NOW),
    "tls.ends-soon": tls(ends=NOW + 13 * DAY),
    "listen.taken": listener(state="taken"),
    "listen.not-here": listener(state="not-here"),
    "metrics.open": listener(key="metrics.listen"),
    "metrics.silent": {"watched": None},
    "server.silent": {"server": "silent"},
    "server.not-ready": {"watched": Watched(ready=False, late=(), failing=("log.unverified",), alarms={})},
    "bundle.none": condition(bundle_ends=None, bundle_seq=None, keys=()),
    "bundle.expired": condition(bundle_ends=NOW),
    "bundle.ends-soon": condition(bundle_ends=NOW + 19 * DAY),
    "keys.missing": condition(missing=("http",)),
    "keys.end-soon": condition(keys=make_keys(http={"covered_until": NOW + 13 * DAY})),
    "keys.last-period": condition(keys=make_keys(**{"message-kem": {"waiting": 0}})),
    "partner.unverified": partner(verified=False),
    "partner.keys-expired": partner(bundle_ends=NOW),
    "partner.keys-end-soon": partner(bundle_ends=NOW + 6 * DAY),
    "partner.keys-stale": partner(fetched_at=NOW - 73 * HOUR),
    "partner.keys-late": partner(fetched_at=NOW - 49 * HOUR),
    "partner.no-key": partner(sealable_until=None),
    "partner.duty-number": partner(reachable_by_telephone=False),
    "agreement.unsound": agreement(unsound=True),
    "agreement.waiting": agreement(state="proposed"),
    "agreement.suspended": agreement(state="suspended", reasons=("suspended-by-a-party",)),
    "agreement.ends-soon": agreement(valid_until=TODAY + timedelta(days=29)),
    "agreement.review-due": agreement(review_by=TODAY + timedelta(days=30)),
    "agreement.review-overdue": agreement(review_by=TODAY - timedelta(days=1)),
    "log.memory-unreadable": {"memory": Memory(rule="the signer's memory is unreadable")},
    "log.memory-absent": {"memory": Memory()},
    "log.went-back": {"memory": Memory(size=101, root=ROOT)},
    "log.differs": {"memory": Memory(size=100, root="cd" * 32)},
    "log.unsigned": condition(log_size=101, log_at=NOW - HOUR),
    "statements.differ": condition(differences=1),
    "rows.tampered": {"alarms": {"row-tampered": 1}},
    "alarms.raised": {"watched": Watched(ready=True, late=(), failing=(), alarms={"message-expired": 2})},
    "waiting.urgent": pile("queued", 16 * MINUTE, urgent=True),
    "waiting.stuck": pile("queued", 25 * HOUR),
    "waiting.queued": pile("sending", 61 * MINUTE),
    "waiting.lane": condition(held={"lane.held": 2}),
    "waiting.held": condition(held={"agreement.not-in-force": 1}),
    "waiting.dead": pile("dead", HOUR),
    "waiting.owed-dead": condition(owed={"dead": 1}),
    "waiting.owed": condition(owed={"ready": 1}, owed_since=NOW - 25 * HOUR),
    "waiting.unopened-urgent": pile("received", 61 * MINUTE, direction="in", urgent=True),
    "waiting.unopened": pile("received", 4 * DAY, direction="in"),
    "waiting.unacknowledged": pile("delivered", 6 * DAY),
    "waiting.returned": pile("rejected", DAY, recent=1),
    "waiting.expired": pile("expired", 40 * DAY, recent=1),
    "clock.behind-log": condition(log_at=NOW + 301),
    "clock.partners": partner(ahead=-61),
    "space.full": {"free": 63 * MIB},
    "space.low": {"free": 255 * MIB},
    "answers.owed": condition(overdue={"answers-owed": 1}),
    "answers.awaited": condition(overdue={"answers-awaited": 1}),
    "breaches.open": condition(overdue={"breaches-open": 1}),
    "receipts.unproven": condition(overdue={"receipts-unproven": 1}),
    "home.restored": {"restored": True},
    "witness.none": condition(witnesses=0),
    "witness.no-quorum": condition(unwitnessed_since=NOW - 61 * MINUTE),
    "condition.unread": {"condition": None, "unread": "row.tampered"},
    "home.unwritable": {"unwritable": ("data",)},
    "home.file": {"unusable": ("data/restored: is not what a restore writes",)},
    "keys.other-epoch": {"start": Start(other_epoch=True)},
    "log.other-name": {"start": Start(log_name="safehand.b.example/exchange-log/1")},
    "log.unreadable": {"start": Start(entries=("entry 5: the mac of the entry does not hold",))},
    "log.altered": {"watched": Watched(ready=True, late=(), failing=(), alarms={"log-altered": 2})},
    "log.behind-witness": {"start": Start(behind=("la-850", 101))},
    "triggers.not-ours": {"start": Start(triggers=("log_entry_no_update: the trigger is gone",))},
    "witness.unreachable": {"start": Start(unreachable=("la-850",))},
}


def found(**changes: Any) -> list[str]:
    return [finding.code for finding in examine(make_facts(**changes)) if finding.level != "ok"]


def test_a_sound_gateway_has_nothing_to_mend() -> None:
    lines = examine(make_facts())
    assert {line.level for line in lines} == {"ok"}
    assert {line.mend for line in lines} == {""}


@pytest.mark.parametrize("code", CASES)
def test_each_fault_is_found_alone_with_its_level_and_mend(code: str) -> None:
    assert found(**CASES[code]) == [code]
    (line,) = (line for line in examine(make_facts(**CASES[code])) if line.code == code)
    assert (line.level, line.mend) == (KINDS[code].level, KINDS[code].mend)
    assert line.words


@pytest.mark.parametrize(
    ("alarm", "code"), [("row-not-as-logged", "rows.tampered"), ("trigger-not-ours", "triggers.not-ours")]
)
def test_what_a_running_gateway_found_in_its_database_is_wrong(alarm: str, code: str) -> None:
    assert found(watched=Watched(ready=True, late=(), failing=(), alarms={alarm: 1})) == [code]


def test_a_row_found_by_the_comparison_is_told_once() -> None:
    start = Start(rows=("bundle: row.mac: la-207 1",))
    assert found(start=start, alarms={"row-tampered": 1}) == ["rows.tampered"]


def test_every_finding_has_its_test() -> None:
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize(
    "sound",
    [
        tls(ends=NOW + 15 * DAY),
        condition(bundle_ends=NOW + 21 * DAY),
        partner(fetched_at=NOW - 47 * HOUR),
        partner(ahead=60),
        agreement(state="terminated", valid_until=TODAY - timedelta(days=9), review_by=TODAY - timedelta(days=9)),
        pile("queued", 59 * MINUTE),
        pile("queued", 14 * MINUTE, urgent=True),
        pile("received", 2 * DAY, direction="in"),
        pile("taken", 400 * DAY),
        pile("collected", 400 * DAY, direction="in"),
        pile("rejected", 40 * DAY),
        condition(log_size=0, log_at=0, checkpoint_size=None, checkpoint_root=None, signed_at=None)
        | {"memory": Memory()},
        condition(log_size=101, log_at=NOW - MINUTE),
        {"memory": Memory(size=99, root="cd" * 32)},
        {"server": "stopped", "watched": None},
        listener(key="metrics.listen", host="127.0.0.1"),
        listener(key="metrics.listen", host="::1"),
    ],
)
def test_what_is_in_order_or_in_time_is_no_finding(sound: dict[str, Any]) -> None:
    assert found(**sound) == []


def test_a_look_at_nothing_but_the_program_comes_to_an_end() -> None:
    bare = Facts(at=NOW, today=TODAY, python="3.13.1", sqlite="3.53.4", sqlite_sound=True, found=False)
    assert [line.code for line in examine(bare)] == ["program", "home.absent", "server"]
