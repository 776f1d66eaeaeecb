"""An exported log verified offline, entries per second, beside the bare SHA-256 of the same bytes in the same run."""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.evidence.verify import Brought, verify_export
from gateway.tlog.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from gateway.tlog.entry import AgreementRef, Entry, encode, leaf_hash, nonce_text
from gateway.tlog.merkle import Frontier
from gateway.tlog.policy import PolicyLog, majority_policy
from keys.bundle import Endpoints, UnsignedBundle, issue_bundle
from keys.key import Ed25519Secret, MlDsa65Secret, SigningPair
from keys.listed import DAY, Holder, ListedKey, Role

_ORG, _ORIGIN = "la-207", "safehand.la-207.example/exchange-log/1"
_NOW = 1_800_000_000
_SIGNED_EVERY = 1_000  # entries
_ID = "01938e7c-1111-7abc-8def-0123456789ab"
_DIGEST = "sha256:" + "ab" * 32


def run(console: Console, entries: int) -> None:
    """Write an export of `entries` entries, verify it with and without its file of leaf hashes, and print the rates."""
    with tempfile.TemporaryDirectory(prefix="safehand-bench-") as name:
        folder = Path(name)
        size = _write(folder, entries)
        with_leaves = _rate(folder, entries)
        (folder / "leaves").unlink()
        without = _rate(folder, entries)
        lines = (folder / "entries.jsonl").read_bytes().split(b"\n")[:-1]
        began = time.perf_counter()
        for line in lines:
            hashlib.sha256(line).digest()
        bare = entries / (time.perf_counter() - began)
    table = Table(
        title=f"An export of {entries:,} entries of {size} bytes, a checkpoint every {_SIGNED_EVERY:,}; bare: one thread"
    )
    for column in ("", "entries / s", "bare SHA-256 / s", "ours : bare"):
        table.add_column(column, justify="left" if not column else "right")
    for what, found in (("verified, changes named one by one", with_leaves), ("verified without leaf hashes", without)):
        table.add_row(what, f"{found:,.0f}", f"{bare:,.0f}", f"{found / bare:.2f}")
    console.print(table)


def _rate(folder: Path, entries: int) -> float:
    began = time.perf_counter()
    verdict = verify_export(folder, Brought(roots={}, policy=None, remembered=None, checkpoints={}, receipts=()))
    taken = time.perf_counter() - began
    if verdict.problems:
        raise SystemExit(f"an honest export has {len(verdict.problems)} faults")
    return entries / taken


def _write(folder: Path, count: int) -> int:
    secret = Ed25519Secret.generate()
    key = NoteKey(_ORIGIN, secret.public.raw)
    (folder / "log.vkey").write_text(key.vkey() + "\n")
    (folder / "policy").write_bytes(majority_policy([PolicyLog(key)], []).to_bytes())
    (folder / "bundles").mkdir()
    (folder / "bundles" / f"{_ORG}-1.jws").write_bytes(_bundle(secret))
    (folder / "checkpoints").mkdir()
    tree, size = Frontier(), 0
    with (folder / "entries.jsonl").open("wb") as lines, (folder / "leaves").open("wb") as leaves:
        for number in range(count):
            entry = _entry(number)
            leaf, size = leaf_hash(entry), len(entry)
            lines.write(entry + b"\n")
            leaves.write(leaf)
            tree.append(leaf)
            if tree.size % _SIGNED_EVERY == 0 or tree.size == count:
                signed = sign_checkpoint(Checkpoint(origin=_ORIGIN, size=tree.size, root=tree.root()), key, secret.sign)
                (folder / "checkpoints" / f"{tree.size}.note").write_bytes(signed)
    return size


def _entry(number: int) -> bytes:
    """An entry as a message that is sent has it."""
    return encode(
        Entry(
            v=1,
            kind="submitted",
            at=_NOW * 1_000_000 + number,
            nonce=nonce_text(number.to_bytes(16, "big")),
            org=_ORG,
            origin=_ORIGIN,
            agreement=AgreementRef(id="bench-agreement", version=1, digest=_DIGEST),
            basis=("education-act-1996.s436A",),
            commit={"by": "A" * 43},
            dir="out",
            env=_DIGEST,
            jws=_DIGEST,
            msg=_ID,
            partner="la-850",
            paths=("case.reference", "child.date_of_birth", "child.name.family", "child.name.given"),
            thread=_ID,
            type="cme.transfer",
            urgency="routine",
        )
    )


def _bundle(log: Ed25519Secret) -> bytes:
    roots, following = (SigningPair(Ed25519Secret.generate(), MlDsa65Secret.generate()) for _ in range(2))
    listed = ListedKey(
        role=Role.LOG,
        holder=Holder.GATEWAY,
        public=log.public,
        nbf=_NOW - DAY,
        retire=_NOW + 300 * DAY,
        exp=_NOW + 330 * DAY,
        origin=_ORIGIN,
        name=None,
    )
    request = UnsignedBundle(
        org=_ORG,
        name="Bench Council",
        seq=1,
        prev=None,
        iat=_NOW - DAY,
        exp=_NOW + 60 * DAY,
        suites=("sh1",),
        keys=(listed,),
        revoked=(),
        endpoints=Endpoints(exchange="https://bench.example", witness=None, police=None),
    )
    return issue_bundle(request, roots, following.public.kids)
