"""Daily statements: each pair of partners tells each other what was sent and received, and differences are told to people.

Own log -> signed statement -> queued and logged; partner's statement -> verified -> kept, logged and compared. It is how a
lost message, one written with stolen keys, or a log put back to an old state comes to light without a checksum in common.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import UNSET

from gateway import entries, partner_keys
from gateway.core import daily
from gateway.core.daily import Difference, KeptStatement
from gateway.core.envelope import digest
from gateway.core.errors import ConflictError, NotYetError
from gateway.core.ids import new_message_id
from gateway.core.message import CLOCK_SKEW
from gateway.ports import Exchange, Partner
from keys.errors import KeysError
from keys.statement import verify_statement
from keys.suite import STATEMENT_TYPE

EVERY: Final = timedelta(days=1)
ABSENCE: Final = timedelta(hours=6)  # the longest wait between two attempts of a partner to reach us
_PROOF: Final = 2  # statements under one number are kept whole: they prove the lie, and of a third the digest is enough
_MOST_ROUNDS: Final = 40  # of a hundred differences of a kind: more than one statement can claim
PATIENCE: Final = timedelta(hours=48)  # envelope section 1: unanswered or different after so long, a person is told


async def state_all(exchange: Exchange) -> None:
    """What the clock does, as often as it likes: state what is due to every verified partner, and miss what is not there."""
    now = exchange.clock()
    for partner in await exchange.partners.all():
        if partner.verified_by and partner.route == "peer":
            await _look_for_silence(partner, now, exchange)
            await _state(partner, now, exchange)


async def _state(partner: Partner, now: datetime, exchange: Exchange) -> None:
    """Once a day, and then as often as it takes to say everything."""
    last = await exchange.statements.last("out", partner.org)
    if last is not None and now.timestamp() - last.to < EVERY.total_seconds():
        return
    while await _state_once(partner, now, exchange):
        continue


async def _state_once(partner: Partner, now: datetime, exchange: Exchange) -> bool:
    """Own log -> statement -> signed -> queued and logged; whether there is more to say."""
    last = await exchange.statements.last("out", partner.org)
    same_log = last is not None and last.head.origin == exchange.journal.origin
    window = await exchange.statements.window(partner.org, last.head.size if last is not None and same_log else 0)
    if window is None:
        return False  # the log has not grown, or no checkpoint is signed: a later look says it
    at, ring = int(now.timestamp()), exchange.ring()
    pair = ring.signing(at).pair
    payload = daily.StatementPayload(
        v=1,
        id=new_message_id(now, exchange.entropy),
        org=exchange.own.id,
        sig=pair.kids,
        bundle=ring.bundle.digest,
        partner=partner.org,
        n=last.n + 1 if last else 1,
        prev=last.digest if last else UNSET,
        from_=last.to if last else 0,
        to=at,
        sent=window.sent,
        received=window.received,
        rejected=window.rejected,
        head=window.head,
    )
    data = await exchange.in_thread(lambda: daily.sign_daily(payload, pair))
    await _keep("out", partner.org, payload, data, now, exchange)
    exchange.wake()
    return window.more


async def _keep(
    dir_: Literal["in", "out"],
    partner: str,
    payload: daily.StatementPayload,
    data: bytes,
    now: datetime,
    exchange: Exchange,
    *,
    whole: bool = True,
) -> None:
    kind, outcome = ("statement-sent", "queued") if dir_ == "out" else ("statement-received", "received")
    what = entries.Circumstance(outcome=outcome, receipt=digest(data))
    await exchange.store.write(
        daily.KeepStatement(
            dir=dir_,
            partner=partner,
            payload=payload,
            digest=digest(data),
            data=data if whole else b"",
            entry=entries.about_own(exchange.journal, kind, now, what, partner=partner),
            now=now,
        )
    )


async def _look_for_silence(partner: Partner, now: datetime, exchange: Exchange) -> None:
    """A partner that was told and says nothing for two days after its day is over; judged by whoever was there meanwhile."""
    at = now.timestamp()
    first = await exchange.statements.numbered("out", partner.org, 1)
    told = await exchange.statements.last("out", partner.org)
    if not first or told is None or at - told.to > (EVERY + ABSENCE).total_seconds():
        return  # we were away ourselves: what the partner said meanwhile is still on its way
    heard = await exchange.statements.heard_until(partner.org)
    since = first[-1].to if heard is None else heard
    if at - since >= (EVERY + PATIENCE).total_seconds():
        await _note(partner.org, Difference.UNANSWERED, str(since), now, exchange)


async def take(data: bytes, idempotency_key: str, http_org: str, exchange: Exchange) -> None:
    """Statement -> signatures and place verified -> kept and logged -> compared; a repeat changes nothing.

    One that does not follow is kept all the same, told and logged: a partner that came back from a backup numbers anew, and
    what it says must still be heard. Raises StatementRejectedError, ConflictError (its id was used for other bytes),
    NotYetError (one before it is missing, or the partner stated a great deal today).
    """
    now = exchange.clock()
    claimed = daily.read_daily(data)
    payload = claimed.payload
    if payload.id != idempotency_key:
        raise daily.StatementRejectedError("named by another id than it has")
    if (payload.org, payload.partner) != (http_org, exchange.own.id):
        raise daily.StatementRejectedError("of or to another organisation")
    partner = await _verify(claimed, now, exchange)
    beside = await exchange.statements.numbered("in", partner.org, payload.n)
    if any(one.digest == digest(data) for one in beside):
        return
    if any(daily.read_daily(one.data).payload.id == payload.id for one in beside if one.data):
        raise ConflictError("this statement's id was used for other bytes")
    follows = not beside and _follows(payload, await exchange.statements.last("in", partner.org), now)
    await _keep("in", partner.org, payload, data, now, exchange, whole=len(beside) < _PROOF)
    if not follows:
        await _note(partner.org, Difference.FORKED, str(payload.n), now, exchange)
    await compare(partner.org, payload.to, now, exchange)


async def compare(partner: str, stated_until: int, now: datetime, exchange: Exchange) -> None:
    """Everything the partner ever stated against the own log; each difference is logged once, and a person told of each kind.

    What is noted is not found again, so that a hundred false claims hide nothing: it goes on until nothing new is found, or
    after as much as one statement can claim; the next statement finds what is left.

    What the partner says of us counts at once; what it leaves out counts once it is two days old and its day is over.
    """
    before = min(now - PATIENCE, datetime.fromtimestamp(stated_until, tz=now.tzinfo))
    told: Counter[Difference] = Counter()
    for _ in range(_MOST_ROUNDS):
        found = await exchange.statements.differences(partner, before)
        new = [difference for difference, of in found if await _noted(partner, difference, of, now, exchange)]
        if not new:
            break
        told.update(new)
    for difference, count in told.items():
        _tell(partner, difference, count, exchange)


def _tell(partner: str, difference: Difference, count: int, exchange: Exchange) -> None:
    exchange.alarm("statement-differs", {"partner": partner, "cause": difference.value, "count": str(count)})


async def _note(partner: str, difference: Difference, subject: str, now: datetime, exchange: Exchange) -> None:
    if await _noted(partner, difference, subject, now, exchange):
        _tell(partner, difference, 1, exchange)


async def _noted(partner: str, difference: Difference, subject: str, now: datetime, exchange: Exchange) -> bool:
    """Log a difference; False where it is logged already."""
    what = entries.Circumstance(outcome=difference.value)
    if difference in (Difference.UNANSWERED, Difference.FORKED):
        entry = entries.about_own(exchange.journal, "statement-differs", now, what, partner=partner)
    else:
        about = entries.About(
            dir="in" if difference in (Difference.CLAIMED_SENT, Difference.NOT_SENT) else "out",
            msg=subject,
            partner=partner,
            type=None,
            agreement=None,
            env=None,
            jws=None,
            thread=None,
            urgency=None,
        )
        entry = entries.about_message(exchange.journal, "statement-differs", now, about, what)
    note = daily.NoteDifference(partner=partner, difference=difference, subject=subject, entry=entry)
    return await exchange.store.write(note)


async def _verify(claimed: daily.ClaimedDaily, now: datetime, exchange: Exchange) -> Partner:
    """The partner that signed it, with keys valid at `to` (envelope section 10)."""
    payload = claimed.payload
    if payload.to > int(now.timestamp()) + CLOCK_SKEW:
        raise daily.StatementRejectedError("from the future")
    partner = await exchange.partners.get(payload.org)
    if partner is None or not partner.verified_by:
        raise daily.StatementRejectedError("of no verified partner")
    if partner.newest.message_sign_pair_for(payload.sig) is None:
        partner = await partner_keys.refresh(partner, now, exchange)
    listed = partner.newest.message_sign_pair_for(payload.sig)
    if listed is None or not partner.newest.trusts(listed, payload.to):
        raise daily.StatementRejectedError("its signing keys are not the partner's, or revoked, or outside their time")
    if not any(bundle.has_log(payload.head.origin) for bundle in partner.bundles):
        raise daily.StatementRejectedError("of no log of the partner")
    try:
        await exchange.in_thread(lambda: verify_statement(claimed.statement, STATEMENT_TYPE, listed.public.publics))
    except KeysError as error:
        raise daily.StatementRejectedError(error.rule) from None
    return partner


def _follows(payload: daily.StatementPayload, last: KeptStatement | None, now: datetime) -> bool:
    """Whether it continues the last one held. A gap is waited for; after two days it is one that does not follow."""
    n = last.n if last is not None else 0
    if payload.n > n + 1 and now.timestamp() - payload.to < PATIENCE.total_seconds():
        raise NotYetError("a statement before it is missing")
    if payload.n != n + 1:
        return False
    if last is None:
        return True
    head = payload.head
    same_log = head.origin == last.head.origin
    went_back = same_log and head.size < last.head.size
    two_roots = same_log and head.size == last.head.size and head.root != last.head.root
    return payload.prev == last.digest and payload.from_ == last.to and not went_back and not two_roots
