"""What an operator can ask for, by name: each act takes named arguments and answers a JSON-able value.

Drives one flow or one reading each; the same acts serve the admin socket beside a running server and a command that holds
the home itself. Personal data leaves through `inbox.open` alone.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from contracts.check import ProtectedKind
from contracts.document import read_loose, write_wire
from contracts.errors import DocumentError
from contracts.events import Action
from contracts.names import is_message_type
from gateway import (
    agreements,
    circumstances,
    delivery,
    governing,
    inbound,
    outbound,
    partners,
    protection,
    proving,
    quorum,
    receipt_proofs,
)
from gateway.arguments import Arguments
from gateway.core.errors import SubmissionRefusedError
from gateway.core.message import Submission
from gateway.governing import HeldAgreement
from gateway.ports import Exchange
from gateway.summaries import (
    agreement_line,
    bundle_line,
    inbound_header,
    key_line,
    moment,
    outbound_header,
    partner_line,
    receipt_summary,
)
from keys.fingerprint import to_text, to_words

_LISTED = 1000  # rows of a list for people
_BODY_LIMIT = 256 * 1024
_URGENT = {"suspend": Action.SUSPEND, "terminate": Action.TERMINATE}


Act = Callable[[Exchange, Arguments], Awaitable[Any]]


# --- messages


async def send(exchange: Exchange, given: Arguments) -> Any:
    message_type = given.text("type")
    if not is_message_type(message_type):
        raise SubmissionRefusedError("argument.malformed", "type", "not a message type")
    answer = await outbound.accept(
        Submission(
            partner=given.organisation("partner"),
            type=message_type,
            body=given.text("body").encode(),
            facts=dict(given.object("facts")),
            client="operator",
            key=given.maybe("key") or exchange.entropy(16).hex(),
            on_behalf_of=given.maybe("on_behalf_of"),
            partner_for=given.maybe("partner_for"),
            agreement=given.maybe("agreement"),
            thread=given.maybe("thread"),
            replaces=given.maybe("replaces"),
            by=given.maybe("by"),
        ),
        exchange,
    )
    return orjson.loads(answer)


async def inbox_list(exchange: Exchange, _: Arguments) -> Any:
    return [inbound_header(message) for message in await exchange.overview.inbox(_LISTED)]


async def inbox_show(exchange: Exchange, given: Arguments) -> Any:
    message = await exchange.inbox.message(given.text("id"), given.maybe("from"))
    if message is None:
        raise SubmissionRefusedError(
            "message.unknown", "id", "no such message, or two partners' (name one with --from)"
        )
    return inbound_header(message)


async def inbox_take(exchange: Exchange, given: Arguments) -> Any:
    data = await inbound.take(given.text("id"), exchange, sender=given.maybe("from"), by=given.maybe("by"))
    return {"id": given.text("id"), "receipt": receipt_summary(data)}


async def inbox_open(exchange: Exchange, given: Arguments) -> Any:
    message, inner = await inbound.open_by(
        given.text("id"), given.text("role"), exchange, sender=given.maybe("from"), by=given.maybe("by")
    )
    payload = circumstances.payload_of(inner)
    return inbound_header(message) | {"facts": payload.facts, "body": payload.body}


async def outbox_list(exchange: Exchange, _: Arguments) -> Any:
    return [outbound_header(message) for message in await exchange.overview.outbox(_LISTED)]


async def message_show(exchange: Exchange, given: Arguments) -> Any:
    message = await exchange.outbox.message(given.text("id"))
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message")
    return outbound_header(message)


async def message_resend(exchange: Exchange, given: Arguments) -> Any:
    state = await delivery.resend(given.text("id"), exchange, by=given.maybe("by"))
    return {"id": given.text("id"), "state": state.value}


async def message_cancel(exchange: Exchange, given: Arguments) -> Any:
    state = await delivery.cancel(given.text("id"), exchange, by=given.maybe("by"))
    return {"id": given.text("id"), "state": state.value}


async def status(exchange: Exchange, _: Arguments) -> Any:
    return {
        "organisation": exchange.own.id,
        "name": exchange.own.name,
        "counts": dict(await exchange.overview.counts()),
        "agreements": [agreement_line(held) for held in await governing.load_all(exchange, exchange.clock())],
        "log": await _log_standing(exchange),
        "receipts": await _receipts_unproven(exchange),
    }


async def _log_standing(exchange: Exchange) -> Any:
    """How far witnesses vouch for our log, and what each of them cosigned last."""
    now = exchange.clock()
    found = await quorum.look(exchange, now)
    asked = await quorum.witnesses(exchange, now)
    return {
        "origin": exchange.journal.origin,
        "witnesses": [
            {"id": one.id, "cosigned": await exchange.witnesses.last_cosigned(one.vkeys), "address": one.prefix}
            for one in asked
        ],
        "quorum": found.needed,
        "witnessed": found.size,
        "unwitnessed_since": None if found.since is None else moment(found.since),
    }


async def _receipts_unproven(exchange: Exchange) -> Any:
    """Partners who gave receipts whose entries are not proven; how many of those are overdue."""
    now = exchange.clock()
    return [
        {"partner": org, "overdue": await receipt_proofs.overdue(org, now, exchange)}
        for org in await exchange.witnesses.unproven_from()
    ]


# --- partners and keys


async def partner_add(exchange: Exchange, given: Arguments) -> Any:
    bundle = given.maybe("bundle")
    introduced = partners.Introduction(
        org=given.organisation("org"),
        url=given.maybe("url"),
        bundles=() if bundle is None else (bundle.encode(),),
        name=given.maybe("name"),
        duty_number=given.text("duty_number"),
    )
    return partner_line(await partners.add(introduced, exchange, by=given.maybe("by")))


async def partner_list(exchange: Exchange, _: Arguments) -> Any:
    return [partner_line(partner) for partner in await exchange.partners.all()]


async def partner_fingerprint(exchange: Exchange, given: Arguments) -> Any:
    """Our own fingerprint where no organisation is named: what is read out to a partner."""
    org = given.maybe("org")
    bundles = await governing.bundles_of(exchange, org or exchange.own.id)
    if not bundles:
        raise SubmissionRefusedError("partner.unknown", "org", "no such partner, or nothing published yet")
    value = bundles[-1].fingerprint
    return {"org": org or exchange.own.id, "hex": to_text(value), "words": " ".join(to_words(value))}


async def partner_verify(exchange: Exchange, given: Arguments) -> Any:
    partner, people = await partners.verify(
        given.organisation("org"), given.text("words"), exchange, by=given.text("by"), alone=given.flag("alone")
    )
    return partner_line(partner) | {"confirmed": len(people)}


async def keys_publish(exchange: Exchange, given: Arguments) -> Any:
    return bundle_line(await partners.publish(given.text("bundle").encode(), exchange, by=given.maybe("by")))


async def keys_bundles(exchange: Exchange, _: Arguments) -> Any:
    return [bundle.jws.decode() for bundle in await exchange.partners.own_bundles()]


async def keys_list(exchange: Exchange, _: Arguments) -> Any:
    bundles = await exchange.partners.own_bundles()
    now = int(exchange.clock().timestamp())
    return [key_line(key, bundles[-1], now) for key in bundles[-1].keys] if bundles else []


# --- agreements


async def agreement_propose(exchange: Exchange, given: Arguments) -> Any:
    held = await agreements.propose(
        given.text("toml").encode(), given.text("event").encode(), exchange, by=given.maybe("by")
    )
    return agreement_line(held)


async def agreement_record(exchange: Exchange, given: Arguments) -> Any:
    return agreement_line(await agreements.record(given.text("event").encode(), exchange, by=given.maybe("by")))


async def agreement_urgent(exchange: Exchange, given: Arguments) -> Any:
    held = await agreements.act_with_message_keys(
        (await find_agreement(exchange, given.text("agreement"))).digest,
        given.choice("action", _URGENT),
        given.text("role"),
        exchange,
        by=given.maybe("by"),
    )
    return agreement_line(held)


async def agreement_list(exchange: Exchange, _: Arguments) -> Any:
    return [agreement_line(held) for held in await governing.load_all(exchange, exchange.clock())]


async def agreement_show(exchange: Exchange, given: Arguments) -> Any:
    held = await find_agreement(exchange, given.text("agreement"))
    return agreement_line(held) | {
        "content": orjson.loads(held.agreement.canonical),
        "events": [
            {
                "org": event.payload.org,
                "n": event.payload.n,
                "action": event.payload.action.value,
                "at": moment(event.payload.at),
                "role": event.payload.actor_role,
                "digest": event.digest,
            }
            for event in held.events
        ],
    }


async def agreement_fields(exchange: Exchange, given: Arguments) -> Any:
    """Every path that some grant of this message lists, whatever its conditions: what a form or a file may fill."""
    held = await governing.governing(
        exchange,
        given.organisation("partner"),
        given.text("type"),
        exchange.clock(),
        wanted=given.maybe("agreement"),
    )
    message = held.compiled.message(given.text("type"), held.side(exchange.own.id))
    grants = message.grants if message else ()
    return sorted({field.path for grant in grants for field in grant.fields})


async def agreement_context(exchange: Exchange, given: Arguments) -> Any:
    """What a command needs to write our next event in its own process: the file, every event, every bundle."""
    held = await find_agreement(exchange, given.text("agreement"))
    record = await exchange.agreements.get(held.digest)
    rows = record.events if record else ()
    bundles = {org: await governing.bundles_of(exchange, org) for org in held.parties}
    return {
        "digest": held.digest,
        "canonical": base64.b64encode(held.agreement.canonical).decode(),
        "events": [{"org": r.org, "n": r.n, "jws": r.jws.decode(), "received_at": r.received_at} for r in rows],
        "bundles": {org: [bundle.jws.decode() for bundle in listed] for org, listed in bundles.items()},
    }


async def find_agreement(exchange: Exchange, named: str) -> HeldAgreement:
    """The agreement of a digest, of the beginning of one (8 digits at least), or of an id where only one version is held."""
    everything = await governing.load_all(exchange, exchange.clock())
    start = named if named.startswith("sha256:") else f"sha256:{named}"
    found = [h for h in everything if h.agreement.id == named or (len(start) >= 15 and h.digest.startswith(start))]
    if len(found) != 1:
        rule = "no such agreement" if not found else "several agreements: name the digest"
        raise SubmissionRefusedError("agreement.none", "agreement", rule)
    return found[0]


# --- protection


async def protect_add(exchange: Exchange, given: Arguments) -> Any:
    changed = await protection.add(_child(given), _kinds(given), exchange, by=given.text("by"))
    return {"listed": changed}


async def protect_remove(exchange: Exchange, given: Arguments) -> Any:
    removed, people = await protection.remove(
        _child(given), _kinds(given), exchange, by=given.text("by"), alone=given.flag("alone")
    )
    return {"removed": removed, "confirmed": len(people)}


async def protect_list(exchange: Exchange, _: Arguments) -> Any:
    return dict(await exchange.overview.protected())


def _child(given: Arguments) -> Mapping[str, Any]:
    try:
        value = read_loose(given.text("child").encode(), limit=_BODY_LIMIT)
    except DocumentError as error:
        raise SubmissionRefusedError("argument.malformed", "child", error.rule) from None
    if not isinstance(value, dict) or not isinstance(value.get("child"), dict):
        raise SubmissionRefusedError("argument.malformed", "child", 'an object {"child": {..}} was expected')
    return value


def _kinds(given: Arguments) -> frozenset[ProtectedKind]:
    match given.text("kind"):
        case "location":
            return frozenset({"location"})
        case "identity":
            return frozenset({"location", "identity"})  # who the child was leads to where the child is
        case _:
            raise SubmissionRefusedError("argument.malformed", "kind", "location or identity")


# --- the exchange log


async def log_export(exchange: Exchange, given: Arguments) -> Any:
    """The leave to export: the command that asked writes the files."""
    allowed = await proving.allow_export(exchange, openings=given.flag("openings"), by=given.maybe("by"))
    return {"size": allowed.size, "policy": allowed.policy.to_bytes().decode()}


async def log_prove(exchange: Exchange, given: Arguments) -> Any:
    """The proof of one entry, named by its index, its leaf hash, or the message it is about."""
    await exchange.sign_log()
    proven = await proving.prove(await _entry_asked_for(exchange, given), exchange)
    return {
        "index": proven.entry.index,
        "size": proven.checkpoint.size,
        "leaf": proven.entry.leaf.hex(),
        "proof": (await proving.text_of(proven, exchange)).decode(),
    }


async def _entry_asked_for(exchange: Exchange, given: Arguments) -> int:
    if (message := given.maybe("message")) is not None:
        return await proving.index_of_message(message, exchange, kind=given.maybe("kind"))
    if (leaf := given.maybe("leaf")) is not None:
        return await proving.index_of_leaf(leaf, exchange)
    return proving.index_of(given.text("index"))


READING: Mapping[str, Act] = {
    "agreement.context": agreement_context,
    "agreement.fields": agreement_fields,
    "agreement.list": agreement_list,
    "agreement.show": agreement_show,
    "inbox.list": inbox_list,
    "inbox.show": inbox_show,
    "keys.bundles": keys_bundles,
    "keys.list": keys_list,
    "message.show": message_show,
    "outbox.list": outbox_list,
    "partner.fingerprint": partner_fingerprint,
    "partner.list": partner_list,
    "protect.list": protect_list,
    "status": status,
}
WRITING: Mapping[str, Act] = {
    "agreement.propose": agreement_propose,
    "agreement.record": agreement_record,
    "agreement.urgent": agreement_urgent,
    "inbox.open": inbox_open,
    "inbox.take": inbox_take,
    "keys.publish": keys_publish,
    "log.export": log_export,
    "log.prove": log_prove,
    "message.cancel": message_cancel,
    "message.resend": message_resend,
    "partner.add": partner_add,
    "partner.verify": partner_verify,
    "protect.add": protect_add,
    "protect.remove": protect_remove,
    "send": send,
}


async def perform(name: str, arguments: Mapping[str, Any], exchange: Exchange) -> bytes:
    """Carry out one act and return its answer as JSON bytes; raises SubmissionRefusedError for an unknown name."""
    act = READING.get(name) or WRITING.get(name)
    if act is None:
        raise SubmissionRefusedError("act.unknown", "act", "no such act")
    return write_wire(await act(exchange, Arguments(arguments)))
