"""What an operator can ask for, by name: each act takes named arguments and answers a JSON-able value.

Drives one flow or one reading each; the same acts serve the admin socket beside a running server and a command that holds
the home itself. Personal data leaves through `inbox.open` alone.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import orjson

from contracts.check import ProtectedKind
from contracts.document import MAX_INTEGER, read_loose, write_wire
from contracts.errors import DocumentError
from contracts.events import Action
from contracts.names import SERVICE_TYPES, is_message_type
from gateway import (
    agreements,
    circumstances,
    condition,
    delivery,
    destruction,
    duties,
    erasure,
    governing,
    inbound,
    outbound,
    partners,
    protection,
    proving,
    quorum,
    receipt_proofs,
    tokens,
    witnessed,
)
from gateway.arguments import Arguments
from gateway.core.erasure import AtEntry, OfMessage
from gateway.core.errors import SubmissionRefusedError
from gateway.core.message import Submission
from gateway.core.service import BreachState
from gateway.governing import HeldAgreement
from gateway.ports import Exchange
from gateway.summaries import (
    agreement_line,
    breach_line,
    bundle_line,
    duty_line,
    inbound_header,
    key_line,
    moment,
    outbound_header,
    partner_line,
    receipt_summary,
    token_line,
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
    return inbound_header(message) | await _said_of(exchange, message.sender, message.id)


async def inbox_take(exchange: Exchange, given: Arguments) -> Any:
    data = await inbound.take(given.text("id"), exchange, sender=given.maybe("from"), by=given.maybe("by"))
    return {"id": given.text("id"), "receipt": receipt_summary(data)}


async def inbox_open(exchange: Exchange, given: Arguments) -> Any:
    message, inner = await inbound.open_by(
        given.text("id"), given.text("role"), exchange, sender=given.maybe("from"), by=given.maybe("by")
    )
    payload = circumstances.payload_of(inner)
    said = await _said_of(exchange, message.sender, message.id)
    return inbound_header(message) | said | {"facts": payload.facts, "body": payload.body}


async def outbox_list(exchange: Exchange, _: Arguments) -> Any:
    return [outbound_header(message) for message in await exchange.overview.outbox(_LISTED)]


async def message_show(exchange: Exchange, given: Arguments) -> Any:
    message = await exchange.outbox.message(given.text("id"))
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message")
    return outbound_header(message) | await _said_of(exchange, exchange.own.id, message.id)


async def message_resend(exchange: Exchange, given: Arguments) -> Any:
    state = await delivery.resend(given.text("id"), exchange, by=given.maybe("by"))
    return {"id": given.text("id"), "state": state.value}


async def message_cancel(exchange: Exchange, given: Arguments) -> Any:
    state = await delivery.cancel(given.text("id"), exchange, by=given.maybe("by"))
    return {"id": given.text("id"), "state": state.value}


# --- service messages, and what is owed because of them


async def _said_of(exchange: Exchange, sender: str, message_id: str) -> dict[str, Any]:
    """Corrections and whatever else was said of a message: it stands beside it, and changes no byte of it."""
    said = await exchange.service.said_of(sender, message_id)
    return {"said_of_it": [duty_line(one, exchange.own.id, exchange.clock()) for one in said]}


async def service_send(exchange: Exchange, given: Arguments) -> Any:
    """Say something of a message (`about`) or a thread; `body` are the members besides the message itself."""
    message_type, named = given.text("type"), given.text("about")
    if message_type not in SERVICE_TYPES:
        raise SubmissionRefusedError("argument.malformed", "type", "not a service message")
    about = await duties.find(message_type, named, exchange, sender=given.maybe("from"))
    body = dict(given.object("body"))
    if message_type not in ("case.closed", "destruction.receipt"):
        body = {"message": named, **body}
    answer = await duties.say(
        message_type,
        body,
        exchange,
        about=about,
        urgency=given.maybe("urgency") or "routine",
        key=given.maybe("key"),
        by=given.maybe("by"),
    )
    return orjson.loads(answer)


async def service_ack(exchange: Exchange, given: Arguments) -> Any:
    answer = await duties.acknowledge(
        given.text("id"), given.maybe("reason"), exchange, by=given.maybe("by"), sender=given.maybe("from")
    )
    return orjson.loads(answer)


async def service_list(exchange: Exchange, given: Arguments) -> Any:
    held = await exchange.service.duties(settled=given.flag("settled"))
    return [duty_line(one, exchange.own.id, exchange.clock()) for one in held]


async def inbox_destroy(exchange: Exchange, given: Arguments) -> Any:
    answer = await duties.destroy(given.text("id"), exchange, by=given.text("by"), sender=given.maybe("from"))
    return {"id": given.text("id"), "state": "destroyed", "receipt": orjson.loads(answer)["id"]}


async def breach_list(exchange: Exchange, _: Arguments) -> Any:
    return [breach_line(one, exchange.clock()) for one in await exchange.service.breaches()]


async def breach_decide(exchange: Exchange, given: Arguments) -> Any:
    outcome = given.choice("outcome", {one.value: one for one in BreachState if one is not BreachState.OPEN})
    decided = await duties.decide_breach(
        given.text("id"), outcome, exchange, by=given.text("by"), sender=given.maybe("from")
    )
    return {"id": decided.message_id, "about": decided.about_id, "state": outcome.value}


async def _waiting(exchange: Exchange) -> dict[str, Any]:
    """What nobody may forget: how much is owed and awaited, what of it is late, and every breach without a decision."""
    now = exchange.clock()
    open_ = [duty_line(one, exchange.own.id, now) for one in await exchange.service.duties(settled=False)]
    found = [one for one in await exchange.service.breaches() if one.state is BreachState.OPEN]
    return {
        "service": {
            **{name: sum(one["direction"] == name for one in open_) for name in ("owed", "awaited")},
            "overdue": [one for one in open_ if one["overdue"]],
        },
        "breaches": [breach_line(one, now) for one in found],
    }


async def status(exchange: Exchange, _: Arguments) -> Any:
    return {
        "organisation": exchange.own.id,
        "name": exchange.own.name,
        "counts": dict(await exchange.overview.counts()),
        **await _waiting(exchange),
        "agreements": [agreement_line(held) for held in await governing.load_all(exchange, exchange.clock())],
        "log": await _log_standing(exchange),
        "receipts": await _receipts_unproven(exchange),
    }


async def doctor(exchange: Exchange, _: Arguments) -> Any:
    """The condition of this gateway, for `safehand doctor` to judge: organisations, states, codes and times."""
    return msgspec.to_builtins(await condition.read(exchange))


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


async def partner_change(exchange: Exchange, given: Arguments) -> Any:
    partner, people = await partners.change(
        given.organisation("org"),
        given.maybe("name"),
        given.maybe("duty_number"),
        exchange,
        by=given.text("by"),
        alone=given.flag("alone"),
    )
    return partner_line(partner) | {"confirmed": len(people)}


async def partner_retry(exchange: Exchange, given: Arguments) -> Any:
    """What waits for a partner is tried now: somebody knows that its gateway is back."""
    org = given.organisation("org")
    return {"org": org, "tried": await partners.retry(org, exchange)}


async def keys_publish(exchange: Exchange, given: Arguments) -> Any:
    return bundle_line(await partners.publish(given.text("bundle").encode(), exchange, by=given.maybe("by")))


async def keys_destroy(exchange: Exchange, _: Arguments) -> Any:
    return {"destroyed": list(await destruction.destroy_closed(exchange))}


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
    return given.choice("kind", protection.KINDS)


# --- tokens of case systems


async def token_create(exchange: Exchange, given: Arguments) -> Any:
    """The one answer that holds a token's text."""
    made = await tokens.create(
        given.text("name"),
        given.text("role"),
        given.texts("scopes"),
        given.whole("expires_days"),
        exchange,
        by=given.maybe("by"),
    )
    return token_line(made.token, exchange.clock()) | {"token": made.text}


async def token_list(exchange: Exchange, _: Arguments) -> Any:
    return [token_line(token, exchange.clock()) for token in await exchange.tokens.all()]


async def token_revoke(exchange: Exchange, given: Arguments) -> Any:
    await tokens.revoke(given.text("id"), exchange, by=given.maybe("by"))
    return {"id": given.text("id"), "state": "revoked"}


# --- the exchange log


async def log_erase(exchange: Exchange, given: Arguments) -> Any:
    index, message = given.maybe("index"), given.maybe("message")
    if (index is None) is (message is None) or not (message or (index or "").isdecimal()):
        raise SubmissionRefusedError("argument.malformed", "index", "either the number of an entry or a message")
    what = OfMessage(message_id=message) if message else AtEntry(index=min(int(index or ""), MAX_INTEGER - 1))
    return {"entries": await erasure.erase(what, given.text("reason"), exchange, by=given.text("by"))}


async def log_cosign(exchange: Exchange, _: Arguments) -> Any:
    """The log as it stands, signed and shown to every witness now; how far they vouch for it then."""
    await exchange.sign_log()
    await witnessed.Rounds(exchange).round()
    return await _log_standing(exchange) | {"size": (await exchange.overview.counts())["log.size"]}


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
    "breach.list": breach_list,
    "doctor": doctor,
    "inbox.list": inbox_list,
    "inbox.show": inbox_show,
    "keys.bundles": keys_bundles,
    "keys.list": keys_list,
    "message.show": message_show,
    "outbox.list": outbox_list,
    "partner.fingerprint": partner_fingerprint,
    "partner.list": partner_list,
    "protect.list": protect_list,
    "service.list": service_list,
    "status": status,
    "token.list": token_list,
}
WRITING: Mapping[str, Act] = {
    "agreement.propose": agreement_propose,
    "agreement.record": agreement_record,
    "agreement.urgent": agreement_urgent,
    "breach.decide": breach_decide,
    "inbox.destroy": inbox_destroy,
    "inbox.open": inbox_open,
    "inbox.take": inbox_take,
    "keys.destroy": keys_destroy,
    "log.erase": log_erase,
    "keys.publish": keys_publish,
    "log.cosign": log_cosign,
    "log.export": log_export,
    "log.prove": log_prove,
    "message.cancel": message_cancel,
    "message.resend": message_resend,
    "partner.add": partner_add,
    "partner.change": partner_change,
    "partner.retry": partner_retry,
    "partner.verify": partner_verify,
    "protect.add": protect_add,
    "protect.remove": protect_remove,
    "send": send,
    "service.ack": service_ack,
    "service.send": service_send,
    "token.create": token_create,
    "token.revoke": token_revoke,
}


async def perform(name: str, arguments: Mapping[str, Any], exchange: Exchange) -> bytes:
    """Carry out one act and return its answer as JSON bytes; raises SubmissionRefusedError for an unknown name."""
    act = READING.get(name) or WRITING.get(name)
    if act is None:
        raise SubmissionRefusedError("act.unknown", "act", "no such act")
    return write_wire(await act(exchange, Arguments(arguments)))
