"""The condition of a gateway: all that metrics, readiness and `safehand doctor` know of it, gathered once from the ports.

Organisations, agreements, roles, states, codes and times; never a message, a case or a person. It judges nothing: what is
too long or too late is `doctor`'s and `readiness`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from contracts.lifecycle import terms_of
from gateway import governing, quorum, receipt_proofs
from gateway.core.service import BreachState
from gateway.governing import HeldAgreement
from gateway.partners import DIGITS
from gateway.ports import Exchange, Partner, Pile, Standing
from keys.bundle import KeyBundle
from keys.listed import Role
from keys.ring import NEEDED_TO_SERVE
from keys.rotation import covered_until

_OWN_ROLES: Final = (Role.MESSAGE_SIGN, Role.MESSAGE_KEM, Role.HTTP, Role.LOG, Role.AGREEMENT_SIGN)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCondition:
    """One role of our own newest bundle: until when a key of it is active without a gap (seconds; None: none is now), and
    how many keys wait for their turn."""

    role: str
    covered_until: int | None
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerCondition:
    """One partner: when its keys were last asked for, when its bundle ends, until when it can be sealed to."""

    org: str
    verified: bool
    route: str
    reachable_by_telephone: bool
    fetched_at: int
    bundle_ends: int
    sealable_until: int | None
    ahead: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementCondition:
    """One agreement and where it stands; days in London, both included."""

    id: str
    version: int
    parties: tuple[str, str]
    state: str
    reasons: tuple[str, ...]
    unsound: bool
    valid_until: date
    review_by: date


OVERDUE: Final = ("answers-owed", "answers-awaited", "breaches-open", "receipts-unproven")
"""What may not be forgotten: answers to service messages past their day, breaches without a decision, receipts whose entries
should have been proven by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One look at everything; `at` in seconds. `bundle_ends` is None before a first bundle is published, `missing` are the
    roles without which nothing is served. The log's members are those of `ports.Standing`; `checkpoint_root` in hex."""

    at: int
    org: str
    bundle_seq: int | None
    bundle_ends: int | None
    missing: tuple[str, ...]
    keys: tuple[KeyCondition, ...]
    partners: tuple[PartnerCondition, ...]
    agreements: tuple[AgreementCondition, ...]
    piles: tuple[Pile, ...]
    held: Mapping[str, int]
    owed: Mapping[str, int]
    owed_since: int | None
    revision: str
    log_size: int
    log_at: int
    checkpoint_size: int | None
    checkpoint_root: str | None
    signed_at: int | None
    differences: int
    witnesses: int
    overdue: Mapping[str, int]  # of each of `OVERDUE`, how many
    unwitnessed_since: int | None  # when the first checkpoint beyond what a quorum cosigned was signed

    def count(self, direction: str, *states: str) -> int:
        """How many messages are in one of these states."""
        return sum(pile.count for pile in self.piles if pile.direction == direction and pile.state in states)

    def oldest(self, direction: str, *states: str, urgent: bool | None = None) -> int | None:
        """The instant of the oldest message in one of these states, of the urgent or the other ones where that is said."""
        found = [
            pile.oldest
            for pile in self.piles
            if pile.direction == direction and pile.state in states and urgent in (None, pile.urgent)
        ]
        return min(found, default=None)


async def read(exchange: Exchange) -> Condition:
    """Look at everything once. Raises what the store raises where the database does not answer."""
    now = exchange.clock()
    at = int(now.timestamp())
    standing = await exchange.overview.standing(now)
    vouched = await quorum.look(exchange, now)
    own = await exchange.partners.own_bundles()
    newest = own[-1] if own else None
    return Condition(
        at=at,
        org=exchange.own.id,
        bundle_seq=newest.seq if newest else None,
        bundle_ends=newest.exp if newest else None,
        missing=tuple(str(role) for role in (exchange.ring().missing(at) if newest else NEEDED_TO_SERVE)),
        keys=tuple(_key(role, newest, at) for role in _roles(newest)) if newest else (),
        partners=tuple(_partner(partner, standing, at) for partner in await exchange.partners.all()),
        agreements=tuple(_agreement(held) for held in await governing.load_all(exchange, now)),
        piles=standing.piles,
        held=standing.held,
        owed=standing.owed,
        owed_since=standing.owed_since,
        revision=standing.revision,
        log_size=standing.log_size,
        log_at=standing.log_at,
        checkpoint_size=standing.checkpoint[0] if standing.checkpoint else None,
        checkpoint_root=standing.checkpoint[1].hex() if standing.checkpoint else None,
        signed_at=standing.signed_at,
        differences=standing.differences,
        witnesses=vouched.witnesses,
        unwitnessed_since=vouched.since,
        overdue=await _overdue(now, exchange),
    )


async def _overdue(now: datetime, exchange: Exchange) -> Mapping[str, int]:
    own = exchange.own.id
    late = [one for one in await exchange.service.duties(settled=False) if one.overdue(now)]
    breaches = [one for one in await exchange.service.breaches() if one.state is BreachState.OPEN]
    unproven = [await receipt_proofs.overdue(org, now, exchange) for org in await exchange.witnesses.unproven_from()]
    awaited = sum(one.asked.sender == own for one in late)
    return dict(zip(OVERDUE, (len(late) - awaited, awaited, len(breaches), sum(unproven)), strict=True))


def _roles(bundle: KeyBundle) -> tuple[Role, ...]:
    """Those that every gateway has, and what else the bundle lists."""
    return tuple(dict.fromkeys((*_OWN_ROLES, *(key.role for key in bundle.keys))))


def _covered_until(bundle: KeyBundle, role: Role, at: int) -> int | None:
    """Until when keys of a role follow each other without a gap, from `at` on; None where none is active then."""
    until = covered_until(bundle, role, at)
    return until if until > at else None


def _key(role: Role, bundle: KeyBundle, at: int) -> KeyCondition:
    waiting = {key.nbf for key in bundle.keys if key.role is role and key.nbf > at and not bundle.is_revoked(key.kid)}
    return KeyCondition(role=str(role), covered_until=_covered_until(bundle, role, at), waiting=len(waiting))


def _partner(partner: Partner, standing: Standing, at: int) -> PartnerCondition:
    return PartnerCondition(
        org=partner.org,
        verified=bool(partner.verified_by),
        route=partner.route,
        reachable_by_telephone=sum(character.isdigit() for character in partner.duty_number) >= DIGITS,
        fetched_at=partner.fetched_at,
        bundle_ends=partner.newest.exp if partner.bundles else 0,  # none: its rows were refused
        sealable_until=_covered_until(partner.newest, Role.MESSAGE_KEM, at) if partner.bundles else None,
        ahead=standing.ahead.get(partner.org),
    )


def _agreement(held: HeldAgreement) -> AgreementCondition:
    terms = terms_of(held.agreement)
    return AgreementCondition(
        id=held.agreement.id,
        version=held.agreement.version,
        parties=held.parties,
        state=str(held.state.state),
        reasons=tuple(str(reason) for reason in held.state.reasons),
        unsound=bool(held.state.alarms),
        valid_until=terms.valid_until,
        review_by=terms.review_by,
    )
