"""What the doctor finds of whom we trust, and who trusts us: own keys, partners, agreements. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from contracts.lifecycle import REVIEW_GRACE, REVIEW_WARNING, State
from gateway.condition import AgreementCondition, Condition, PartnerCondition
from gateway.delivery import STALE_AFTER
from gateway.doctor.kinds import DAY, Finding, length, or_ok, told

BUNDLE_SOON: Final = 20 * DAY  # a ceremony is held every 60 to 80 of its 90 days
KEY_SOON: Final = 14 * DAY
PARTNER_SOON: Final = 7 * DAY
REFRESH_LATE: Final = 2 * DAY
AGREEMENT_SOON: Final = timedelta(days=30)


def keys(condition: Condition) -> list[Finding]:
    if condition.bundle_ends is None:
        return [told("bundle.none", "no key bundle is published yet")]
    found = []
    left = condition.bundle_ends - condition.at
    if left <= 0:
        found.append(told("bundle.expired", f"the bundle expired {length(-left)} ago"))
    elif left < BUNDLE_SOON:
        found.append(told("bundle.ends-soon", f"the bundle ends in {length(left)}"))
    for key in condition.keys:
        covered = None if key.covered_until is None else key.covered_until - condition.at
        if covered is None or key.role in condition.missing:
            found.append(told("keys.missing", f"no {key.role} key is in force"))
        elif covered < KEY_SOON:
            found.append(told("keys.end-soon", f"keys of role {key.role} end in {length(covered)}"))
        elif key.role == "message-kem" and not key.waiting:
            found.append(told("keys.last-period", f"no further message-kem key waits; this one ends in {length(covered)}"))  # fmt: skip
    return or_ok(found, "keys", f"keys of every role are in force; the bundle lasts {length(left)} more")


def partners(condition: Condition) -> list[Finding]:
    found = [finding for partner in condition.partners for finding in _partner(partner, condition.at)]
    return or_ok(found, "partners", f"partners: {len(condition.partners)}, all of them verified, their keys fresh")


def _partner(partner: PartnerCondition, at: int) -> Iterator[Finding]:
    if not partner.verified:
        yield told("partner.unverified", f"{partner.org}: nothing is exchanged until its fingerprint is compared")
    if not partner.reachable_by_telephone:
        yield told("partner.duty-number", f"{partner.org}: no duty number that can be rung")
    if partner.bundle_ends <= at:
        yield told("partner.keys-expired", f"{partner.org}: its bundle expired {length(at - partner.bundle_ends)} ago")
        return
    if partner.sealable_until is None:
        yield told("partner.no-key", f"{partner.org}: its bundle has no key to seal to now")
    if partner.bundle_ends - at < PARTNER_SOON:
        yield told("partner.keys-end-soon", f"{partner.org}: its bundle ends in {length(partner.bundle_ends - at)}")
    age = at - partner.fetched_at
    if age > STALE_AFTER.total_seconds():
        yield told("partner.keys-stale", f"{partner.org}: its keys were last asked for {length(age)} ago")
    elif age > REFRESH_LATE:
        yield told("partner.keys-late", f"{partner.org}: its keys were last asked for {length(age)} ago")


def agreements(condition: Condition, today: date) -> list[Finding]:
    found = [finding for agreement in condition.agreements for finding in _agreement(agreement, today)]
    return or_ok(found, "agreements", f"agreements: {len(condition.agreements)}, none of them waiting for anybody")


def _agreement(agreement: AgreementCondition, today: date) -> Iterator[Finding]:
    name = f"{agreement.id} version {agreement.version}"
    if agreement.unsound:
        yield told("agreement.unsound", f"{name}: the events of a party do not form one chain")
    if agreement.state in (State.PROPOSED, State.PART_SIGNED):
        yield told("agreement.waiting", f"{name} is {agreement.state}")
    if agreement.state == State.SUSPENDED:
        yield told("agreement.suspended", f"{name}: {', '.join(agreement.reasons)}")
    if agreement.state not in (State.IN_FORCE, State.SIGNED, State.SUSPENDED):
        return
    if agreement.valid_until - today < AGREEMENT_SOON:
        yield told("agreement.ends-soon", f"{name} ends on {agreement.valid_until}")
    if agreement.review_by < today:
        yield told("agreement.review-overdue", f"{name}: its review was due on {agreement.review_by}; it is suspended after {agreement.review_by + REVIEW_GRACE}")  # fmt: skip
    elif agreement.review_by - today <= REVIEW_WARNING:
        yield told("agreement.review-due", f"{name}: its review is due on {agreement.review_by}")
