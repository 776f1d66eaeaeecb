"""Two councils whose gateways keep things in real databases, with a short history between them: for tests of evidence.

`make_history` is slow enough to be made once a module; tests work on copies of its files. la-207 sends, la-850 receives;
both sign their logs, la-207 has exported its own.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from adapters.port import Handover
from contracts.events import Action
from gateway import entries, inbound, proving
from gateway.core import deciding
from gateway.core.commands import AddBundle, Command, PutPartner, Record
from gateway.ports import Exchange
from gateway.signing import Signing
from gateway.store.export import Exported, export_log
from gateway.store.migrations import upgrade
from gateway.store.opening import OpenStore, StoreKeys, open_store
from gateway.store.signer import LogSigner
from gateway.store.vault import Vault
from gateway.store.verify import LogRules, verify_live
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.entry import row_mac
from gateway.tlog.fsck import Problem
from gateway.tlog.policy import majority_policy
from keys.fingerprint import to_text
from tests.support.exchange import Gateway, Town, Wire
from tests.support.keys import NOW, ed25519, make_origin, seed
from tests.support.memory import Clock, Entropy, Memory
from tests.support.messages import A, B, bundle_of, ring_of, submission
from tests.support.store import good_signature

OWN_LOG = make_origin(A)


def store_keys(org: str) -> StoreKeys:
    return StoreKeys(append=seed(f"{org} append"), store=seed(f"{org} store"), kek=seed(f"{org} kek"))


def log_key(org: str) -> NoteKey:
    return NoteKey(make_origin(org), ed25519(f"{org} log").public.raw)


def log_signer(org: str, database: Path, memory: Path) -> LogSigner:
    append, origin = store_keys(org).append, make_origin(org)
    return LogSigner(database, memory, origin=origin, mac=lambda index, data: row_mac(append, origin, index, data))


@dataclass
class Council(Gateway):
    """A gateway over a real store; its database is at `path`, its signer's memory beside it."""

    path: Path = Path()
    opened: OpenStore | None = None

    def __post_init__(self) -> None:
        self.signing = Signing(lambda: log_signer(self.own, self.path, self.path.with_suffix(".signer")))

    @property
    def exchange(self) -> Exchange:
        assert self.opened is not None
        read = self.opened.read
        return dataclasses.replace(
            super().exchange,
            store=self.opened.store,
            partners=read.partners,
            agreements=read.agreements,
            outbox=read.outbox,
            inbox=read.inbox,
            protection=read.protection,
            overview=read.overview,
            log=read.log,
            witnesses=read.witnesses,
            sign_log=lambda: self.signing.look(self.exchange),
        )

    async def answer(self, path: str, from_org: str | None) -> Handover:
        """What is asked here: an agreement by its digest."""
        digest = path.rpartition("/")[2]
        record = await self.exchange.agreements.get(f"sha256:{digest}")
        return Handover(status=404, body=b"") if record is None else Handover(status=200, body=record.file.canonical)

    async def write(self, command: Command[object]) -> object:
        return await self.exchange.store.write(command)

    async def introduce(self, org: str) -> None:
        """Keep an organisation's bundle; where it is not our own, it is a partner whose fingerprint was compared."""
        bundle, exchange = bundle_of(org), self.exchange
        entry = entries.about_own(
            exchange.journal,
            "key-bundle-accepted",
            self.clock(),
            entries.Circumstance(rows=deciding.of_bundle(org=org, seq=1, jws=bundle.jws)),
        )
        await exchange.store.write(
            AddBundle(org=org, seq=1, jws=bundle.jws, fetched_at=NOW, broadcast_to=(), entry=entry)
        )
        if org == self.own:
            return
        row: dict[str, Any] = {
            "org": org,
            "name": org,
            "root": to_text(bundle.fingerprint),
            "verified_by": ("a first person", "a second person"),
            "route": "peer",
            "duty_number": "02070 000000",
        }
        what = entries.Circumstance(by="A Person", rows=deciding.of_partner(**row))
        entry = entries.about_own(exchange.journal, "partner-verified", self.clock(), what, partner=org)
        await exchange.store.write(PutPartner(**row, fetched_at=NOW, entry=entry))

    async def note(self, count: int = 1) -> None:
        """Entries of no consequence."""
        for _ in range(count):
            what = entries.Circumstance(by="A Searcher")
            entry = entries.about_own(self.exchange.journal, "search", self.clock(), what)
            await self.exchange.store.write(Record(entry=entry))
            self.clock.forward(milliseconds=10)


@asynccontextmanager
async def open_councils(folder: Path) -> AsyncIterator[Town]:
    """Two councils over databases in `folder`, made where there are none; the transfer agreement is not signed here."""
    clock, gateways = Clock(), cast("dict[str, Gateway]", {})
    async with AsyncExitStack() as stack:
        councils = []
        for org in (A, B):
            path = folder / f"{org}.sqlite"
            if not path.exists():
                upgrade(path)
            council = Council(
                own=org,
                memory=Memory(org, clock),
                wire=Wire(own=org, gateways=gateways),
                clock=clock,
                entropy=Entropy(f"{org} {folder.name}"),
                ring=ring_of(org),
                path=path,
            )
            council.opened = await stack.enter_async_context(
                open_store(
                    path,
                    own=org,
                    origin=make_origin(org),
                    keys=store_keys(org),
                    alarm=lambda name, _, council=council: council.alarms.append(name),
                    fatal=lambda error: None,
                    floor=0,
                )
            )
            gateways[org] = council
            councils.append(council)
        yield Town(a=councils[0], b=councils[1], clock=clock)


def council(gateway: Gateway) -> Council:
    assert isinstance(gateway, Council)
    return gateway


async def transfer_one(town: Town, key: str) -> str:
    """One child moves: sent, received, taken, opened, and every receipt brought back."""
    sent = await submission(town.a.exchange, key=key, by="A Case Officer")
    await town.a.run()
    await inbound.take(sent["id"], town.b.exchange)
    await inbound.open_by(sent["id"], "duty", town.b.exchange, by="A Duty Officer")
    await town.b.run()
    town.clock.forward(seconds=5)
    return str(sent["id"])


async def make_history(folder: Path) -> None:
    """Two logs of some thirty entries with three checkpoints and more, and la-207's export of its own in `export`."""
    async with open_councils(folder) as town:
        a, b = council(town.a), council(town.b)
        for one, other in ((a, b), (b, a)):
            await one.introduce(one.own)
            await one.introduce(other.own)
        await town.act(a, Action.PROPOSE)
        await town.act(b, Action.SIGN)
        for number in range(3):
            await transfer_one(town, f"transfer {number}")
            await a.exchange.sign_log()
            await b.exchange.sign_log()
            await a.note(3)
            await b.note()
        await export(a, folder / "export")
        await export(b, folder / f"export-{B}")


async def export(from_: Council, out: Path, *, openings: bool = True) -> Exported:
    """As `safehand log export` does."""
    await proving.allow_export(from_.exchange, openings=openings, by="An Auditor")
    return write_export(from_.own, from_.path, out, openings=openings)


def write_export(org: str, database: Path, out: Path, *, openings: bool = True) -> Exported:
    """The files alone: what an administrator who wants no entry about it does."""
    vault = Vault(store_keys(org).kek) if openings else None
    origin = make_origin(org)
    return export_log(database, out, own=org, origin=origin, witnesses=majority_policy((), ()), openings=vault)


def live_problems(org: str, database: Path) -> list[Problem]:
    """What `log verify` finds in the database."""
    append, origin = store_keys(org).append, make_origin(org)
    rules = LogRules(
        origin=origin,
        mac=lambda index, data: row_mac(append, origin, index, data),
        log_keys=lambda _: [log_key(org)],
        verify=good_signature,
        vault=Vault(store_keys(org).kek),
    )
    return list(verify_live(database, rules))


def copy_history(history: Path, to: Path) -> Path:
    """A copy that a test may change: databases without what lies beside them while they are open, exports, memories."""
    shutil.copytree(history, to, dirs_exist_ok=True)
    return to
