"""What case systems submit: a refusal told with its agreement, and enquiries to several councils, of which there is a limit.

Drives `outbound.accept`, once for each message. "Is this child known to you?" goes to five councils at most about one child
within thirty days, unless somebody with the standing of an approver asks: the councils asked before are found by the
child's keyed tags, so that splitting a request changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from contracts.breach import ContractBreachError
from contracts.document import read_loose
from contracts.errors import DocumentError
from contracts.names import is_organisation
from gateway import entries, governing, outbound
from gateway.core.commands import LogEntry, Record
from gateway.core.errors import SafehandError, SubmissionRefusedError
from gateway.core.message import Submission
from gateway.core.payload import PAYLOAD_LIMIT
from gateway.governing import GovernedBreachError
from gateway.ports import Exchange
from gateway.tlog.entry import AgreementRef

ENQUIRY: Final = "cme.enquiry"
APPROVER: Final = "approver"
MOST: Final = 5  # flows section 1.5
RECENT: Final = timedelta(days=30)


class NeedsApproverError(SafehandError):
    """More councils would be asked about one child than an officer may ask."""

    code = "enquiry.needs-approver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enquiry:
    """One question to several councils; `role` is the staff role that asks. `key` is the client's for all of it."""

    partners: tuple[str, ...]
    facts: Mapping[str, str | bool]
    body: bytes = field(repr=False)
    client: str
    key: str
    role: str
    by: str | None


async def submit(submission: Submission, role: str, exchange: Exchange) -> bytes:
    """`outbound.accept`, behind the limit where the message is an enquiry. Raises GovernedBreachError besides."""
    if submission.type == ENQUIRY:
        await check_reach(submission.body, (submission.partner,), role, exchange, by=submission.by)
    return await _accept(submission, exchange)


async def ask(enquiry: Enquiry, exchange: Exchange) -> tuple[tuple[str, bytes | Exception], ...]:
    """Limit -> one submission for each council; return what became of each, its answer or its refusal.

    Raises NeedsApproverError before anything is sent; what is no refusal of one submission ends all of it. Of a request that
    was interrupted, what was sent then is answered as it was, and the limit is for the rest alone.
    """
    keys = {partner: f"{enquiry.key} {partner}" for partner in enquiry.partners}
    sent = [one for one, key in keys.items() if await exchange.outbox.response(enquiry.client, key) is not None]
    beyond: NeedsApproverError | None = None
    try:
        rest = tuple(one for one in enquiry.partners if one not in sent)
        await check_reach(enquiry.body, rest, enquiry.role, exchange, by=enquiry.by)
    except NeedsApproverError as refusal:
        if not sent:
            raise
        beyond = refusal
    results: list[tuple[str, bytes | Exception]] = []
    template = Submission(
        partner="",
        type=ENQUIRY,
        body=enquiry.body,
        facts=enquiry.facts,
        client=enquiry.client,
        key=enquiry.key,
        on_behalf_of=None,
        partner_for=None,
        agreement=None,
        thread=None,
        replaces=None,
        by=enquiry.by,
    )
    for partner, key in keys.items():  # a key of its own for each, so that a repeat sends nothing twice
        if beyond is not None and partner not in sent:
            results.append((partner, beyond))
            continue
        one = replace(template, partner=partner, key=key)
        try:
            results.append((partner, await _accept(one, exchange)))
        except (ContractBreachError, SubmissionRefusedError) as refusal:
            results.append((partner, refusal))
    return tuple(results)


async def check_reach(body: bytes, partners: tuple[str, ...], role: str, exchange: Exchange, *, by: str | None) -> None:
    """Raise NeedsApproverError where these councils and those asked lately are more than five, and no approver asks.

    The refusal tells that this child was asked about, so it is logged with the child's tags, as a search would be. Councils
    that are no partners do not count, for they cannot be asked: whoever invents some learns nothing.
    """
    if role == APPROVER:
        return
    now, tags = exchange.clock(), exchange.tags(_read(body))
    before = await exchange.enquiries.asked(tags, now - RECENT)
    known = {org for org in partners if is_organisation(org) and await exchange.partners.get(org) is not None}
    if not known <= before and len(before | known) > MOST:
        await exchange.store.write(Record(entry=_beyond(known, tags, now, by, exchange)))
        raise NeedsApproverError(f"more than {MOST} councils asked about one child within {RECENT.days} days")


def _beyond(known: Set[str], tags: frozenset[bytes], now: datetime, by: str | None, exchange: Exchange) -> LogEntry:
    about = entries.About(
        dir="out",
        msg=None,
        partner=next(iter(known)) if len(known) == 1 else None,
        type=ENQUIRY,
        agreement=None,
        env=None,
        jws=None,
        thread=None,
        urgency=None,
    )
    what = entries.Circumstance(breaches=entries.codes([NeedsApproverError.code]), by=by, outcome="refused", tags=tags)
    return entries.about_message(exchange.journal, "refused", now, about, what)


async def _accept(submission: Submission, exchange: Exchange) -> bytes:
    """`outbound.accept`; of a refusal the client is told under which agreement, where there is one in force."""
    try:
        return await outbound.accept(submission, exchange)
    except ContractBreachError as refusal:
        named = await _governed_by(submission, exchange)
        if named is None:
            raise
        raise GovernedBreachError(refusal.breaches, named) from None


async def _governed_by(submission: Submission, exchange: Exchange) -> AgreementRef | None:
    try:
        held = await governing.governing(
            exchange, submission.partner, submission.type, exchange.clock(), wanted=submission.agreement
        )
    except ContractBreachError:
        return None
    return held.named


def _read(data: bytes) -> dict[str, Any]:
    """The body, for its tags; what is wrong with it the submission will say."""
    try:
        body = read_loose(data, limit=PAYLOAD_LIMIT)
    except DocumentError:
        return {}
    return body if isinstance(body, dict) else {}
