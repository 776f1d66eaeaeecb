"""Check, seal and open in one process and one thread, each beside the primitives it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from contracts import library, register
from contracts.agreement import read_agreement
from contracts.check import check
from contracts.compiled import compile_agreement
from gateway.core.envelope import prove, read_envelope, seal, unlock
from gateway.core.message import AgreementRef, Draft, Party
from keys.key import Ed25519Secret, MlDsa65Secret, SigningPair, XWingSecret
from keys.suite import RECIPIENT_INFO

_ZERO = "sha256:" + "0" * 64
_ID = "01938e7c-1111-7abc-8def-0123456789ab"


def rate(step: Callable[[], object], seconds: float) -> float:
    """Return how often a second `step` runs."""
    step()
    count, until = 0, time.perf_counter() + seconds
    began = time.perf_counter()
    while time.perf_counter() < until:
        step()
        count += 1
    return count / (time.perf_counter() - began)


def run(console: Console, seconds: float) -> None:
    """Measure and print."""
    vocabulary = register.vocabulary()
    compiled = compile_agreement(
        read_agreement(library.template_bytes("la-la-cme-transfer.toml"), file="transfer"), vocabulary
    )
    wire = orjson.dumps(_record())

    def checked() -> Any:
        return check(
            wire,
            compiled=compiled,
            type="cme.transfer",
            sender="a",
            facts={"urgency": "routine"},
            on=date(2026, 12, 1),
            requested=None,
            protected=frozenset(),
            sending=True,
        )

    pair, kem = SigningPair(Ed25519Secret.generate(), MlDsa65Secret.generate()), XWingSecret.generate()
    draft = Draft(
        id=_ID,
        type="cme.transfer",
        checked=checked(),
        sender=Party(org="la-207"),
        bundle=_ZERO,
        recipient=Party(org="la-850"),
        sealing_keys=(kem.public,),
        issued_at=1,
        expires_at=2,
        agreement=AgreementRef(id="bench-agreement", version=1, digest=_ZERO, heads=(_ZERO, _ZERO)),
        thread=None,
        replaces=None,
    )
    cek, iv, salt = bytes(32), bytes(12), bytes(16)
    sealed = seal(draft, pair, cek=cek, iv=iv, salt=salt)

    def opened() -> object:
        claimed = unlock(read_envelope(sealed.envelope), lambda kid: kem if kid == kem.public.kid else None)
        return prove(claimed, pair.public, http_org="la-207", own="la-850", idempotency_key=_ID)

    inner = sealed.inner
    signatures = pair.ed.sign(inner), pair.ml.sign(inner)
    ek, encrypted_key = kem.public.wrap(cek, RECIPIENT_INFO)
    box = AESGCM(cek)
    closed = box.encrypt(iv, inner, b"")

    def bare_seal() -> None:
        pair.ed.sign(inner)
        pair.ml.sign(inner)
        kem.public.wrap(cek, RECIPIENT_INFO)
        box.encrypt(iv, inner, b"")

    def bare_open() -> None:
        kem.unwrap(ek, encrypted_key, RECIPIENT_INFO)
        box.decrypt(iv, closed, b"")
        pair.ed.public.verify(signatures[0], inner)
        pair.ml.public.verify(signatures[1], inner)

    table = Table(title=f"One process, one thread; a record of {len(wire)} bytes, {len(sealed.envelope)} on the wire")
    for name in ("", "ours / s", "bare primitives / s", "ours : bare"):
        table.add_column(name, justify="left" if not name else "right")
    for name, ours, bare in (
        ("check (bytes in, verdict out) : orjson parse", checked, lambda: orjson.loads(wire)),
        ("seal : sign twice, wrap, encrypt", lambda: seal(draft, pair, cek=cek, iv=iv, salt=salt), bare_seal),
        ("open : unwrap, decrypt, verify twice", opened, bare_open),
    ):
        fast, floor = rate(ours, seconds), rate(bare, seconds)
        table.add_row(name, f"{fast:,.0f}", f"{floor:,.0f}", f"{fast / floor:.2f}")
    console.print(table)


def _record() -> dict[str, Any]:
    """A full transfer of an invented child: about sixty fields."""
    contact = {
        "relationship": "mother",
        "title": "Ms",
        "name": {"family": "Exampleton", "given": "Alex"},
        "telephone": "01632 960001",
        "email": "alex@example.org",
        "lives_with_child": True,
        "address": {"lines": ["1 Example Street"], "postcode": "ZZ99 3VZ"},
    }
    return {
        "case": {
            "reference": "KC/2026/0001",
            "reason": "moved-out-of-area",
            "status": "open",
            "opened_on": "2026-11-02",
        },
        "child": {
            "name": {"family": "Exampleton", "given": "Robin", "middle": "Lee", "preferred_family": "Exampleton"},
            "date_of_birth": "2014-03-12",
            "sex": "F",
            "year_group": "7",
            "address": {"lines": ["1 Example Street", "Exampleton"], "town": "Exampleton", "postcode": "ZZ99 3VZ"},
            "previous_addresses": [{"lines": ["2 Sample Road"], "postcode": "ZZ99 3WZ"}],
            "looked_after": False,
        },
        "contacts": [contact, contact | {"relationship": "father"}, contact | {"relationship": "guardian"}],
        "school": {
            "urn": "999001",
            "name": "Example School",
            "start_date": "2021-09-06",
            "last_attended": "2026-10-20",
        },
        "previous_schools": [{"urn": f"99900{n}", "name": f"Example School {n}"} for n in (2, 3, 4)],
        "destination": {"provision": "state-school", "school_name": "Sample School"},
        "send": {"provision": "K"},
        "safeguarding": {"concern_level": "none-known", "plan_in_place": False},
    }
