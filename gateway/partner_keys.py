"""What this gateway fetches from a partner when it must know more: key bundles and agreement events.

Shared by the lines of the story. What is fetched is a claim until `keys.bundle` or `governing` has verified it; each
accepted bundle and event is stored and logged before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adapters.port import DeliveryError
from contracts.agreement import Agreement
from contracts.document import read_wire, write_wire
from contracts.errors import ContractError, DocumentError
from contracts.events import EventPayload
from contracts.lifecycle import terms_of
from gateway import entries, governing
from gateway.core import commands, deciding
from gateway.core.envelope import digest
from gateway.core.errors import NotYetError
from gateway.governing import EventRejectedError, HeldAgreement
from gateway.ports import Exchange, Partner
from gateway.tlog.entry import AgreementRef
from keys.bundle import KeyBundle, accept_bundles
from keys.errors import BundleError

REFRESH_AT_MOST = 60  # seconds between two fetches of one partner's bundles (envelope section 2, step 10)
_LIST_LIMIT = 4 * 1024 * 1024
# Faults that need no root key to make: posting a bundle is unsigned, so nobody may ring the bell with these.
_FROM_ANYBODY = frozenset({"bundle.malformed", "bundle.org", "bundle.signature", "bundle.roots"})


async def foreign_marks(exchange: Exchange, org: str) -> frozenset[Any]:
    """Return every key that another organisation than `org` ever listed: none of them may appear in a bundle of `org`."""
    others = [partner.bundles for partner in await exchange.partners.all() if partner.org != org]
    if org != exchange.own.id:
        others.append(await exchange.partners.own_bundles())
    return frozenset(mark for bundles in others for bundle in bundles for mark in bundle.marks)


async def refresh(partner: Partner, now: datetime, exchange: Exchange) -> Partner:
    """Fetch, verify and keep the partner's newer bundles, at most once a minute; return the partner as then held.

    Raises NotYetError where they cannot be had.
    """
    if int(now.timestamp()) - max(partner.fetched_at, exchange.asked.get(partner.org, 0)) < REFRESH_AT_MOST:
        return partner
    return await fetch_newer(partner, now, exchange)


async def fetch_newer(partner: Partner, now: datetime, exchange: Exchange) -> Partner:
    """As `refresh`, however short a time ago the partner was asked: for whoever must know that it answered now."""
    exchange.asked[partner.org] = int(now.timestamp())  # whatever comes of it: anybody can name a key not known here
    try:
        reply = await exchange.peer.fetch(
            partner.org, partner.url, f"/exchange/v1/bundles?after={partner.newest.seq}", signed=False
        )
    except DeliveryError as error:
        raise NotYetError(f"the partner's bundles cannot be fetched: {error.code}") from None
    if reply.status != 200:
        raise NotYetError(f"the partner's bundles cannot be fetched: answered {reply.status}")
    return await keep_bundles(partner, read_list(reply.body), now, exchange)


async def keep_bundles(partner: Partner, fetched: tuple[bytes, ...], now: datetime, exchange: Exchange) -> Partner:
    """Verify bundles against what is held of this partner and keep the new ones; alarms and keeps none where one is refused."""
    try:
        accepted = accept_bundles(
            fetched,
            org=partner.org,
            history=partner.bundles,
            foreign=await foreign_marks(exchange, partner.org),
            now=int(now.timestamp()),
        )
    except BundleError as error:
        if error.code not in _FROM_ANYBODY:
            exchange.alarm("bundle-refused", {"partner": partner.org, "code": error.code})
        raise NotYetError("the partner's bundle was refused") from None
    # Where nothing is new the newest is written once more: the store notes when this partner was last asked.
    for bundle in accepted[len(partner.bundles) :] or accepted[-1:]:
        rows = deciding.of_bundle(org=partner.org, seq=bundle.seq, jws=bundle.jws)
        what = entries.Circumstance(outcome="accepted", receipt=bundle.digest, rows=rows)
        await exchange.store.write(
            commands.AddBundle(
                org=partner.org,
                seq=bundle.seq,
                jws=bundle.jws,
                fetched_at=int(now.timestamp()),
                entry=entries.about_own(exchange.journal, "key-bundle-accepted", now, what, partner=partner.org),
            )
        )
    refreshed = await exchange.partners.get(partner.org)
    return refreshed or partner


def read_list(data: bytes) -> tuple[bytes, ...]:
    """Return the published bytes of each JWS in a JSON array of them; they are in wire form, so re-serialising gives them back."""
    try:
        listed = read_wire(data, limit=_LIST_LIMIT)
    except DocumentError:
        raise NotYetError("the partner's list is not strict JSON") from None
    if not isinstance(listed, list):
        raise NotYetError("the partner's answer is not a list")
    return tuple(write_wire(item) for item in listed)


async def pull_events(org: str, agreement: str, held: HeldAgreement | None, exchange: Exchange) -> None:
    """Fetch both parties' events on an agreement from the partner, from where our chains end, and keep what verifies.

    Raises NotYetError where they cannot be had.
    """
    partner = await exchange.partners.get(org)
    if partner is None:
        raise NotYetError("no such partner")
    lengths = _lengths(held)
    for party in (org, exchange.own.id):
        path = f"/exchange/v1/events?agreement={agreement.removeprefix('sha256:')}&org={party}&after={lengths.get(party, 0)}"
        try:
            reply = await exchange.peer.fetch(partner.org, partner.url, path, signed=True)
        except DeliveryError as error:
            raise NotYetError(f"events cannot be fetched: {error.code}") from None
        if reply.status == 404:
            return  # the partner does not hold this agreement: the caller says so
        if reply.status != 200:
            raise NotYetError("events cannot be fetched")
        for jws in read_list(reply.body):
            try:
                await keep_event(jws, from_org=org, exchange=exchange)
            except (
                EventRejectedError
            ):  # not what is wrong with it: that may quote the partner's file, and this is logged
                raise NotYetError("an event that was fetched is refused") from None


def _lengths(held: HeldAgreement | None) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for event in held.events if held else ():
        lengths[event.payload.org] = max(lengths.get(event.payload.org, 0), event.payload.n)
    return lengths


async def keep_event(jws: bytes, *, from_org: str, exchange: Exchange) -> bool:
    """Event -> claimed -> agreement file (fetched where it is new) -> signatures -> stored and logged; False if held already.

    Raises EventRejectedError (nothing is kept), NotYetError where the agreement file cannot be fetched now.
    """
    now = exchange.clock()
    sender = await exchange.partners.get(from_org)
    if sender is None or not sender.verified_by:
        raise EventRejectedError("brought by no verified partner")
    claimed = governing.claimed_event(jws)
    record = await exchange.agreements.get(claimed.agreement.digest)
    file = None if record else await _fetch_file(claimed.agreement.digest, from_org, exchange)
    canonical = record.file.canonical if record else file.canonical if file else b""
    agreement, _ = governing.compiled_from(canonical, exchange.vocabulary)
    if (agreement.id, agreement.version) != (claimed.agreement.id, claimed.agreement.version):
        raise EventRejectedError("it names another id or version than the agreement has")
    parties: dict[str, str | None] = {agreement.parties[side].id: agreement.parties[side].root for side in ("a", "b")}
    if exchange.own.id not in parties or claimed.org not in parties or from_org not in parties:
        raise EventRejectedError("its organisation is no party to the agreement, or we are none")
    row = commands.EventRow(
        digest=claimed.agreement.digest,
        org=claimed.org,
        n=claimed.n,
        hash=digest(jws),
        jws=jws,
        received_at=int(now.timestamp()),
    )
    governing.accept_event(row, await _bundles_with(claimed, sender, now, exchange))
    await _check_roots(parties, exchange)
    _check_holdable(agreement)
    own_word = record is not None and any(one.org == exchange.own.id for one in record.events)
    said = {"id": agreement.id, "version": agreement.version} if own_word else governing.UNSAID
    named = AgreementRef(digest=row.digest, **said)
    what = entries.Circumstance(outcome="received", receipt=row.hash, rows=deciding.of_event(file, row))
    stored = await exchange.store.write(
        commands.RecordEvent(
            file=file,
            event=row,
            entry=entries.about_own(
                exchange.journal, f"agreement-{claimed.action.value}", now, what, partner=from_org, agreement=named
            ),
            own_head=None,
            push_to=None,
            now=now,
        )
    )
    if stored:
        await _tell_of_faults(row.digest, now, exchange)
    exchange.wake()
    return stored


async def _bundles_with(
    claimed: EventPayload, sender: Partner, now: datetime, exchange: Exchange
) -> tuple[KeyBundle, ...]:
    """The bundles of an event's organisation; where its keys are in none, the sender's newer ones are fetched."""
    bundles = await governing.bundles_of(exchange, claimed.org)
    if claimed.org == sender.org and governing.signing_pair(bundles, claimed.sig) is None:
        return (await refresh(sender, now, exchange)).bundles
    return bundles


async def _tell_of_faults(digest_: str, now: datetime, exchange: Exchange) -> None:
    """A fork, a gap or a broken link keeps the agreement out of force: a person must look."""
    held = await governing.load(exchange, digest_, now)
    for alarm in held.state.alarms if held else ():
        exchange.alarm("agreement-chain", {"agreement": digest_, "org": alarm.org, "cause": alarm.fault.value})


def _check_holdable(agreement: Agreement) -> None:
    """An agreement without its days would be held and never be read again."""
    try:
        terms_of(agreement)
    except ContractError as error:
        raise EventRejectedError(str(error)) from None


async def _check_roots(parties: Mapping[str, str | None], exchange: Exchange) -> None:
    """The `root` of each party is satisfied by an unbroken chain of bundles from it (envelope section 5)."""
    for org, root in parties.items():
        bundles = await governing.bundles_of(exchange, org)
        if root not in {f"sha256:{bundle.fingerprint.hex()}" for bundle in bundles}:
            raise EventRejectedError("the root named in the agreement is not the organisation's")


async def _fetch_file(agreement: str, from_org: str, exchange: Exchange) -> commands.AgreementFile:
    """For an unknown digest: fetch the canonical bytes from the party that signed, recompute the digest, compile."""
    partner = await exchange.partners.get(from_org)
    if partner is None:
        raise NotYetError("no such partner")
    path = f"/exchange/v1/agreements/{agreement.removeprefix('sha256:')}"
    try:
        reply = await exchange.peer.fetch(partner.org, partner.url, path, signed=True)
    except DeliveryError as error:
        raise NotYetError(f"the agreement cannot be fetched: {error.code}") from None
    if reply.status != 200:
        raise NotYetError("the agreement cannot be fetched")
    if digest(reply.body) != agreement:
        raise EventRejectedError("the agreement's bytes have another digest")
    try:
        read, _ = governing.compiled_from(reply.body, exchange.vocabulary)
    except ContractError as error:
        raise EventRejectedError(f"the agreement does not compile: {error}") from None
    return commands.AgreementFile(digest=agreement, id=read.id, version=read.version, toml=None, canonical=reply.body)
