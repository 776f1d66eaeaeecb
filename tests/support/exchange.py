"""Two gateways in memory, and a wire that joins them: for tests of the flows from end to end.

`Town` is two councils that know each other, with the transfer agreement in force; `Wire` does between them what
`gateway.web` and the peer adapter do, without HTTP. `tests.support.memory` is where they keep things.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar, cast

from adapters.port import DeliveryError, Handover, Parcel
from contracts.document import write_wire
from contracts.events import Action
from contracts.register import vocabulary
from gateway import (
    agreements,
    delivery,
    governing,
    inbound,
    owed,
    partner_keys,
    quorum,
    receipt_proofs,
    receipts,
    repeats,
    statements,
    witnessing,
)
from gateway.config import WitnessSettings
from gateway.core import commands
from gateway.core.commands import LogEntry
from gateway.core.daily import StatementRejectedError
from gateway.core.errors import (
    BusyError,
    ConflictError,
    EnvelopeRejectedError,
    NotYetError,
    ReceiptRejectedError,
)
from gateway.core.ids import new_message_id
from gateway.entries import Journal
from gateway.ports import (
    Exchange,
    Organisation,
    QuorumStanding,
)
from keys.fingerprint import to_text
from keys.ring import KeyRing
from tests.support.client import MemoryArrivals, MemoryEnquiries, MemoryEvents, MemoryTokens
from tests.support.halves import MemoryHalves
from tests.support.keys import NOW, make_endpoints, make_origin, seed
from tests.support.log import MemoryLog, sign
from tests.support.memory import (
    Clock,
    Entropy,
    Memory,
    MemoryAgreements,
    MemoryInbox,
    MemoryOutbox,
    MemoryOverview,
    MemoryPartners,
    MemoryProtection,
)
from tests.support.messages import (
    A,
    B,
    Forger,
    bundle_of,
    insider,
    make_members,
    ring_of,
    signer_of,
    transfer,
    transfer_toml,
)
from tests.support.seeds import MemorySeeds
from tests.support.service import MemoryService
from tests.support.statements import MemoryStatements
from tests.support.webhooks import MemoryCursors
from tests.support.witnesses import MemoryWitnesses

T = TypeVar("T")

# --- the wire


@dataclass
class Wire:
    """What lies between gateways: routes, HTTP statuses, and what a test does to both.

    `before` may change or swallow (DeliveryError) a parcel, `after` the reply: (parcel, reply) -> reply.
    """

    own: str
    gateways: dict[str, Gateway]
    parcels: list[Parcel] = field(default_factory=list)
    fetches: list[str] = field(default_factory=list)
    shown: list[tuple[str, bytes]] = field(default_factory=list)  # to witnesses
    cut: set[str] = field(default_factory=set)  # witnesses that cannot be reached
    before: Callable[[Parcel], Parcel] = lambda parcel: parcel
    after: Callable[[Parcel, Handover], Handover] = lambda parcel, reply: reply

    async def deliver(self, parcel: Parcel) -> Handover:
        self.parcels.append(parcel)
        sent = self.before(parcel)
        return self.after(sent, await self.gateways[sent.partner].take(sent, self.own))

    async def fetch(self, partner: str, url: str, path: str, *, signed: bool) -> Handover:
        self.fetches.append(path)
        if partner not in self.gateways:
            raise DeliveryError("connect")
        return await self.gateways[partner].answer(path, self.own if signed else None)

    async def add_checkpoint(self, prefix: str, data: bytes) -> Handover:
        self.shown.append((prefix, data))
        return await self._witness(prefix).witness(data)

    async def last_checkpoint(self, prefix: str, origin_hash: str) -> Handover:
        note = await witnessing.last_note(origin_hash, self._witness(prefix).exchange)
        return Handover(status=404, body=b"") if note is None else Handover(status=200, body=note)

    def _witness(self, prefix: str) -> Gateway:
        """The gateway at a witness's address, unless the line to it is cut."""
        for org, gateway in self.gateways.items():
            if prefix == f"{make_endpoints(org).exchange}{quorum.PREFIX}" and org not in self.cut:
                return gateway
        raise DeliveryError("no-connection")


@dataclass
class Gateway:
    """One organisation's gateway in memory."""

    own: str
    memory: Memory
    wire: Wire
    clock: Clock
    entropy: Entropy
    ring: KeyRing
    alarms: list[str] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    standing: dict[str, QuorumStanding] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    witness_settings: WitnessSettings = field(default_factory=WitnessSettings)

    @property
    def exchange(self) -> Exchange:
        return Exchange(
            own=Organisation(id=self.own, name=self.own, url=make_endpoints(self.own).exchange),
            vocabulary=vocabulary(),
            ring=lambda: self.ring,
            store=self.memory,
            partners=MemoryPartners(self.memory),
            agreements=MemoryAgreements(self.memory),
            outbox=MemoryOutbox(self.memory),
            inbox=MemoryInbox(self.memory),
            protection=MemoryProtection(self.memory),
            overview=MemoryOverview(self.memory),
            seeds=MemorySeeds(self),
            statements=MemoryStatements(self.memory),
            log=MemoryLog(self.memory),
            witnesses=MemoryWitnesses(self.memory),
            service=MemoryService(self.memory),
            bank_holidays=lambda year: frozenset({date(year, 12, 25)}),
            events=MemoryEvents(self.memory),
            webhooks=MemoryCursors(self.memory),
            arrivals=MemoryArrivals(self.memory),
            enquiries=MemoryEnquiries(self.memory),
            tokens=MemoryTokens(self.memory),
            halves=MemoryHalves(self.memory),
            peer=self.wire,
            witness_line=self.wire,
            witness_settings=self.witness_settings,
            clock=self.clock,
            entropy=self.entropy,
            tags=lambda body: tags(self.own, body),
            lane_key=lambda thread, urgent: hashlib.sha256(f"{thread} {urgent}".encode()).digest(),
            in_thread=_at_once,
            journal=Journal(org=self.own, origin=make_origin(self.own), entropy=self.entropy),
            asked=self.asked,
            standing=self.standing,
            told=self.told,
            wake=lambda: None,
            sign_log=lambda: sign(self.memory, self.ring),
            alarm=lambda name, _: self.alarms.append(name),
        )

    def kinds(self) -> list[str]:
        """The kinds of the entries in this gateway's log, in order."""
        return [entry.kind for entry in self.memory.log]

    async def checkpoint(self) -> None:
        """What the signer does: say how long the log is now, under some root."""
        size = len(self.memory.log)
        root = hashlib.sha256(b"".join(entry.leaf for entry in self.memory.log)).digest()
        await self.memory.write(commands.PutCheckpoint(size=size, root=root, note="a note", signed_at=NOW))

    async def run(self, rounds: int = 1) -> None:
        """What the worker does: hand over everything that is due, and everything owed."""
        for _ in range(rounds):
            for candidate in await self.exchange.outbox.due(self.clock(), 100):
                await delivery.hand_over(candidate, self.exchange)
            for item in await self.exchange.outbox.owed(self.clock(), 100):
                await owed.send(item, self.exchange)

    async def take(self, parcel: Parcel, from_org: str) -> Handover:
        """What the routes for partners answer; the HTTP signature was `from_org`'s."""
        try:
            match parcel.kind:
                case "messages":
                    return Handover(status=200, body=await self.accept(parcel.data, from_org, parcel.idempotency_key))
                case "receipts":
                    await repeats.check_receipt(parcel.data, parcel.idempotency_key, from_org, self.exchange)
                    await receipts.take(parcel.data, from_org, self.exchange)
                case "events":
                    await repeats.check_event(parcel.data, parcel.idempotency_key, self.exchange)
                    await partner_keys.keep_event(parcel.data, from_org=from_org, exchange=self.exchange)
                case "statements":
                    await statements.take(parcel.data, parcel.idempotency_key, from_org, self.exchange)
                case "bundles":
                    partner = await self.exchange.partners.get(from_org)
                    assert partner is not None
                    await partner_keys.keep_bundles(partner, (parcel.data,), self.clock(), self.exchange)
                case _:
                    return Handover(status=404, body=b"")
            return Handover(status=204, body=b"")
        except (EnvelopeRejectedError, ReceiptRejectedError, governing.EventRejectedError, StatementRejectedError):
            return Handover(status=400, body=b"")
        except ConflictError:
            return Handover(status=409, body=b"")
        except (NotYetError, BusyError):
            return Handover(status=503, body=b"", retry_after=30)

    async def witness(self, data: bytes) -> Handover:
        """What the witness route answers, to anybody."""
        answer = await witnessing.add_checkpoint(data, self.exchange)
        return Handover(status=answer.status, body=answer.body, media=answer.media)

    async def accept(self, envelope: bytes, http_org: str, idempotency_key: str) -> bytes:
        """`inbound.accept`: bytes that `http_org` brought under an id; the receipt, or the flow's error."""
        arrival = inbound.Arrival(data=envelope, http_org=http_org, idempotency_key=idempotency_key)
        return await inbound.accept(arrival, self.exchange)

    async def answer(self, path: str, from_org: str | None) -> Handover:
        """What the GET routes for partners answer."""
        route, _, query = path.removeprefix("/exchange/v1/").partition("?")
        asked = dict(part.split("=") for part in query.split("&")) if query else {}
        match route.split("/"):
            case ["bundles"]:
                own = self.memory.history(self.own)
                return _listed(bundle.jws for bundle in own if bundle.seq > int(asked["after"]))
            case ["events"]:
                digest, org, after_n = f"sha256:{asked['agreement']}", asked["org"], int(asked["after"])
                if digest not in self.memory.files:
                    return Handover(status=404, body=b"")
                chain = [e for e in self.memory.events if (e.digest, e.org) == (digest, org) and e.n > after_n]
                return _listed(event.jws for event in chain)
            case ["log", "proof"] if from_org is not None:
                try:
                    proof = await receipt_proofs.proof_for(from_org, bytes.fromhex(asked["leaf"]), self.exchange)
                except NotYetError:
                    return Handover(status=503, body=b"", retry_after=5)
                return Handover(status=404, body=b"") if proof is None else Handover(status=200, body=proof)
            case ["agreements", digest]:
                file = self.memory.files.get(f"sha256:{digest}")
                return Handover(status=404, body=b"") if file is None else Handover(status=200, body=file.canonical)
            case _:
                return Handover(status=404, body=b"")

    def know(self, org: str, *, verified: bool = True) -> None:
        """Hold another organisation as a partner, its newest bundle accepted, its fingerprint compared or not."""
        bundle = bundle_of(org)
        entry = LogEntry(kind="partner-added", at_us=0, data=b"{}", leaf=hashlib.sha256(b"{}").digest())
        self.memory.bundles[org] = [bundle.jws]
        self.memory.partner_rows[org] = commands.PutPartner(
            org=org,
            name=org,
            root=to_text(bundle.fingerprint),
            verified_by=("a first person", "a second person") if verified else (),
            route="peer",
            duty_number="02070 000000",
            fetched_at=NOW,
            entry=entry,
        )
        self.memory.fetched_at[org] = NOW


def _listed(published: Iterable[bytes]) -> Handover:
    return Handover(status=200, body=b"[" + b",".join(published) + b"]")


async def _at_once(work: Callable[[], T]) -> T:
    return work()


def tags(label: str, body: Mapping[str, Any]) -> frozenset[bytes]:
    """Keyed tags of the child's UPN, and of its name and date of birth together."""
    child = body.get("child", {})
    name = child.get("name", {})
    known = {"upn": [child.get("upn")], "name": [name.get("family"), name.get("given"), child.get("date_of_birth")]}
    whole = [[kind, *parts] for kind, parts in known.items() if all(isinstance(part, str) for part in parts)]
    return frozenset(hmac.digest(seed(label), write_wire(parts), "sha256") for parts in whole)


def make_gateway(own: str, gateways: dict[str, Gateway], clock: Clock) -> Gateway:
    """A gateway that knows nobody, joined to `gateways`."""
    memory = Memory(own, clock)
    memory.bundles[own] = [bundle_of(own).jws]
    gateway = Gateway(
        own=own,
        memory=memory,
        wire=Wire(own=own, gateways=gateways),
        clock=clock,
        entropy=Entropy(own),
        ring=ring_of(own),
    )
    gateways[own] = gateway
    return gateway


@dataclass
class Town:
    """Two gateways that know each other, party a and party b of one transfer agreement."""

    a: Gateway
    b: Gateway
    clock: Clock

    @property
    def digest(self) -> str:
        return transfer(self.a.own, self.b.own)[0].digest

    async def act(self, gateway: Gateway, action: Action, *, push: bool = True) -> None:
        """Our own event on the agreement, signed with the agreement keys, then pushed to the other side."""
        exchange, now = gateway.exchange, self.clock()
        agreement, _ = transfer(self.a.own, self.b.own)
        held = await governing.load(exchange, agreement.digest, now)
        act = agreements.first_act(agreement, "dpo")
        if held is not None:
            act = agreements.prepare(held, gateway.own, action, "dpo")
        at = int(now.timestamp())
        signer = agreements.Signer(
            org=gateway.own, bundle=gateway.ring.bundle.digest, pair=gateway.ring.agreement(at).pair
        )
        jws = agreements.write_event(act, signer, event_id=new_message_id(now, gateway.entropy), at=at)
        if held is None:
            await agreements.propose(transfer_toml(self.a.own, self.b.own), jws, exchange, by="A Person")
        else:
            await agreements.record(jws, exchange, by="A Person")
        if push:
            await gateway.run()

    async def sign_agreement(self) -> None:
        await self.act(self.a, Action.PROPOSE)
        await self.act(self.b, Action.SIGN)


async def make_message(town: Town, forger: Forger | None = None, **changes: Any) -> bytes:
    """An envelope from party a to party b, made outside any gateway; `changes` to the members of P as in `make_members`."""
    held = await governing.load(town.b.exchange, town.digest, town.clock())
    assert held is not None
    a = town.a.own
    honest: dict[str, Any] = {
        "from__org": a,
        "from__sig": list(signer_of(a).kids),
        "from__bundle": bundle_of(a).digest,
        "agreement__digest": town.digest,
        "agreement__heads": list(held.state.heads),
    }
    return (forger or insider(a)).envelope(make_members(**{**honest, **changes}))


def make_town(a: str = A, b: str = B) -> Town:
    """Two councils that have compared fingerprints; nothing is signed yet."""
    clock, gateways = Clock(), cast("dict[str, Gateway]", {})
    town = Town(a=make_gateway(a, gateways, clock), b=make_gateway(b, gateways, clock), clock=clock)
    town.a.know(b)
    town.b.know(a)
    return town


async def make_town_in_force(a: str = A, b: str = B) -> Town:
    """Two councils with the transfer agreement in force."""
    town = make_town(a, b)
    await town.sign_agreement()
    for gateway in (town.a, town.b):
        gateway.wire.parcels.clear()
        gateway.wire.fetches.clear()
    return town
