"""Partners: who they are, by which root keys, and who compared the fingerprint with them by telephone.

Address -> bundles fetched -> first trust -> unverified partner; words heard -> compared, by two people -> verified. Nothing
is sealed to an unverified partner and nothing is accepted from one (envelope section 5). Of a verified one the name shown and
the duty number can change, by two people too (decision 0018).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.port import DeliveryError
from gateway import entries, partner_keys, two_people
from gateway.core import commands, deciding
from gateway.core.errors import NotYetError, SubmissionRefusedError
from gateway.core.retrying import TryNow
from gateway.ports import Exchange, Partner
from keys.bundle import KeyBundle, accept_bundle, first_trust
from keys.errors import BundleError
from keys.fingerprint import to_text, words_match

DIGITS: Final = 7  # of a telephone number that can be rung from elsewhere
_NAME_LIMIT: Final = 200  # code points, as in a key bundle
_NUMBER_LIMIT: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """How an organisation is made known: fetched from `url`, or by its `bundles` as they came another way; one of the two."""

    org: str
    url: str | None
    bundles: tuple[bytes, ...]
    name: str | None
    duty_number: str


async def add(introduced: Introduction, exchange: Exchange, *, by: str | None) -> Partner:
    """Take the organisation's bundles on first trust and keep it, unverified. Raises SubmissionRefusedError."""
    org = introduced.org
    now = exchange.clock()
    _check_shown(introduced.name, introduced.duty_number)
    if org == exchange.own.id:
        raise SubmissionRefusedError("partner.self", "org", "this is our own organisation")
    known = await exchange.partners.get(org)
    if known is not None and known.verified_by:
        raise SubmissionRefusedError("partner.known", "org", "this partner is held and verified already")
    if (introduced.url is None) is not bool(introduced.bundles):
        raise SubmissionRefusedError("partner.url", "url", "either an address to fetch from, or bundles")
    offered = introduced.bundles or await _fetched(org, introduced.url or "", exchange)
    bundles = await _first_trust(org, offered, now, exchange)
    if introduced.url is not None and bundles[-1].endpoints.exchange != introduced.url:
        raise SubmissionRefusedError("partner.url", "url", "its bundle names another exchange endpoint")
    if known is not None and [bundle.jws for bundle in known.bundles] != [bundle.jws for bundle in bundles]:
        raise SubmissionRefusedError("partner.known", "bundle", "other bundles are held of this organisation")
    fetched_at = int(now.timestamp())
    for bundle in bundles:
        await exchange.store.write(_keep(bundle, fetched_at, now, exchange))
    newest = bundles[-1]
    row = _Row(
        org=org,
        name=introduced.name or newest.name,
        root=to_text(newest.fingerprint),
        verified_by=(),
        duty_number=introduced.duty_number,
    )
    await _put(row, fetched_at, _Told(kind="partner-added", outcome="unverified", by=by), now, exchange)
    return await get(org, exchange)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A partner as its row is to say."""

    org: str
    name: str
    root: str
    verified_by: tuple[str, ...]
    duty_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the log is told of a change of a partner's row."""

    kind: str
    outcome: str
    by: str | None


async def _put(row: _Row, fetched_at: int, told: _Told, now: datetime, exchange: Exchange) -> None:
    rows = deciding.of_partner(
        org=row.org,
        name=row.name,
        root=row.root,
        verified_by=row.verified_by,
        route="peer",
        duty_number=row.duty_number,
    )
    what = entries.Circumstance(outcome=told.outcome, by=told.by, rows=rows)
    await exchange.store.write(
        commands.PutPartner(
            org=row.org,
            name=row.name,
            root=row.root,
            verified_by=row.verified_by,
            route="peer",
            duty_number=row.duty_number,
            fetched_at=fetched_at,
            entry=entries.about_own(exchange.journal, told.kind, now, what, partner=row.org),
        )
    )


async def _fetched(org: str, url: str, exchange: Exchange) -> tuple[bytes, ...]:
    try:
        reply = await exchange.peer.fetch(org, url, "/exchange/v1/bundles?after=0", signed=False)
        if reply.status == 200:
            return partner_keys.read_list(reply.body)
        cause = str(reply.status)
    except DeliveryError as error:
        cause = error.code
    except NotYetError as error:
        cause = error.cause
    raise SubmissionRefusedError("partner.unreachable", "url", f"its bundles cannot be fetched: {cause}")


async def _first_trust(
    org: str, offered: tuple[bytes, ...], now: datetime, exchange: Exchange
) -> tuple[KeyBundle, ...]:
    try:
        return first_trust(
            offered,
            org=org,
            foreign=await partner_keys.foreign_marks(exchange, org),
            now=int(now.timestamp()),
            fingerprint=None,
        )
    except BundleError as error:
        raise SubmissionRefusedError("partner.bundle", "bundle", f"its bundle is refused: {error}") from None


async def verify(org: str, words: str, exchange: Exchange, *, by: str, alone: bool) -> tuple[Partner, tuple[str, ...]]:
    """Compare the words heard on the telephone; verified once two named people did (`alone`: one, which is logged).

    Returns the partner and who has confirmed so far. Raises SubmissionRefusedError where the words differ.
    """
    now = exchange.clock()
    partner = await get(org, exchange)
    if not words_match(words, partner.newest.fingerprint):
        raise SubmissionRefusedError(
            "partner.fingerprint", "words", "these are not the words of this partner's root keys"
        )
    people = await two_people.confirm(("partner-verify", org, partner.root), by, exchange, now=now, alone=alone)
    if len(people) < 2 and not alone:
        return partner, people
    outcome = "verified.single-person" if len(people) < 2 else "verified"
    row = _Row(org=org, name=partner.name, root=partner.root, verified_by=people, duty_number=partner.duty_number)
    told = _Told(kind="partner-verified", outcome=outcome, by=", ".join(people))
    await _put(row, partner.fetched_at, told, now, exchange)
    exchange.wake()
    return await get(org, exchange), people


async def change(
    org: str, name: str | None, duty_number: str | None, exchange: Exchange, *, by: str, alone: bool
) -> tuple[Partner, tuple[str, ...]]:
    """Give a partner another name to show, or another duty number: of a verified one once two people stated the same.

    Returns the partner and who has stated it so far. Raises SubmissionRefusedError.
    """
    now = exchange.clock()
    partner = await get(org, exchange)
    _check_shown(name, duty_number)
    shown = (name or partner.name, duty_number or partner.duty_number)
    if shown == (partner.name, partner.duty_number):
        raise SubmissionRefusedError("partner.unchanged", "org", "nothing is named that differs from what is held")
    # What is changed is part of the act: half of a change from another number is no half of this one.
    act = ("partner-change", org, partner.name, partner.duty_number, *shown)
    people = await two_people.confirm(act, by, exchange, now=now, alone=alone or not partner.verified_by)
    if partner.verified_by and len(people) < 2 and not alone:
        return partner, people
    outcome = "changed.single-person" if partner.verified_by and len(people) < 2 else "changed"
    row = _Row(org=org, name=shown[0], root=partner.root, verified_by=partner.verified_by, duty_number=shown[1])
    told = _Told(kind="partner-changed", outcome=outcome, by=", ".join(people))
    await _put(row, partner.fetched_at, told, now, exchange)
    return await get(org, exchange), people


def _check_shown(name: str | None, duty_number: str | None) -> None:
    """What people will read, and ring in the night: one printable line each."""
    if name is not None and not (len(name) <= _NAME_LIMIT and name.isprintable() and name.strip()):
        raise SubmissionRefusedError("partner.name", "name", f"at most {_NAME_LIMIT} printable characters")
    if duty_number is not None and not (
        len(duty_number) <= _NUMBER_LIMIT
        and duty_number.isprintable()
        and sum(character.isdigit() for character in duty_number) >= DIGITS
    ):
        rule = f"at least {DIGITS} digits, and at most {_NUMBER_LIMIT} printable characters"
        raise SubmissionRefusedError("partner.duty-number", "duty_number", rule)


async def get(org: str, exchange: Exchange) -> Partner:
    """Return a partner that is held; raises SubmissionRefusedError."""
    partner = await exchange.partners.get(org)
    if partner is None:
        raise SubmissionRefusedError("partner.unknown", "org", "no such partner")
    return partner


async def publish(jws: bytes, exchange: Exchange, *, by: str | None) -> KeyBundle:
    """Our own new bundle, signed by the root -> accepted by the same rules as a partner's -> stored, logged, broadcast."""
    now = exchange.clock()
    try:
        bundle = accept_bundle(
            jws,
            org=exchange.own.id,
            history=await exchange.partners.own_bundles(),
            foreign=await partner_keys.foreign_marks(exchange, exchange.own.id),
            now=int(now.timestamp()),
        )
    except BundleError as error:
        raise SubmissionRefusedError(error.code, "bundle", error.rule) from None
    known = tuple(partner.org for partner in await exchange.partners.all() if partner.verified_by)
    await exchange.store.write(_keep(bundle, int(now.timestamp()), now, exchange, broadcast_to=known, by=by))
    exchange.wake()
    return bundle


async def retry(org: str, exchange: Exchange) -> int:
    """What waits for a partner's gateway -> due now -> tried; how many there are. Raises SubmissionRefusedError."""
    if await exchange.partners.get(org) is None:
        raise SubmissionRefusedError("partner.unknown", "org", "no such partner")
    tried = await exchange.store.write(TryNow(partner=org, now=exchange.clock()))
    exchange.wake()
    return tried


def _keep(
    bundle: KeyBundle,
    fetched_at: int,
    now: datetime,
    exchange: Exchange,
    *,
    broadcast_to: tuple[str, ...] = (),
    by: str | None = None,
) -> commands.AddBundle:
    own = bundle.org == exchange.own.id
    what = entries.Circumstance(
        outcome="published" if own else "accepted",
        receipt=bundle.digest,
        by=by,
        rows=deciding.of_bundle(org=bundle.org, seq=bundle.seq, jws=bundle.jws),
    )
    kind = "key-bundle-published" if own else "key-bundle-accepted"
    return commands.AddBundle(
        org=bundle.org,
        seq=bundle.seq,
        jws=bundle.jws,
        fetched_at=fetched_at,
        entry=entries.about_own(exchange.journal, kind, now, what, partner=None if own else bundle.org),
        broadcast_to=broadcast_to,
    )
