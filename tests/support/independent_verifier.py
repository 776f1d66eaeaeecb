"""A second verifier of exported logs, written from docs/log.md and docs/envelope.md: it imports nothing of the project.

Simple where the project is fast: everything is in memory, roots are recursive, policies are read word by word. It answers
the faults as (index, file); where the page leaves open how many lines of one change are told of, it tells of the first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.support.independent import RefusedError, parse, read_statement, sha256, unb64u

Fault = tuple[int, str]

BUNDLE, RECEIPT = "safehand-keys+jws", "safehand-rcpt+jws"
KINDS = {"checked": "received", "taken": "handed-over", "collected": "collected", "rejected": "refused-inbound"}
FIELD = 2**255 - 19
MEMBERS: Mapping[str, type] = {
    "v": int, "kind": str, "at": int, "nonce": str, "org": str, "origin": str, "agreement": dict, "basis": list,
    "breaches": list, "commit": dict, "conditions": dict, "dir": str, "env": str, "jws": str, "msg": str, "thread": str,
    "outcome": str, "partner": str, "paths": list, "receipt": str, "role": str, "type": str, "urgency": str,
}  # fmt: skip


BAD: tuple[type[Exception], ...] = (
    RefusedError,
    InvalidSignature,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
)


class NoLogError(Exception):
    """There is nothing that could be judged (section 10, check 1)."""


def refuse(good: bool) -> None:
    if not good:
        raise RefusedError("a rule of the page")


# --- section 2


def b64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RefusedError("not base64") from error
    refuse(base64.b64encode(data).decode() == text)
    return data


def canonical(data: bytes) -> Any:
    """Canonical JSON: sorted, compact, without null and floats. Keys here are ASCII, so code units sort like bytes."""
    value = parse(data)
    refuse(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() == data)
    return value


def ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    if len(signature) != 64 or len(public) != 32:
        return False
    r = int.from_bytes(signature[:32], "little") & (2**255 - 1)
    if r >= FIELD or r in SMALL_ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _small_order() -> frozenset[int]:
    """The y of the eight points of small order: 0, 1, -1 and the two of order eight."""
    root = pow(2, (FIELD - 1) // 4, FIELD)  # of -1
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    found = {0, 1, FIELD - 1}
    # 2y^2 = 1 + d y^4 for x^2 = -y^2 (order eight): solve the quadratic in y^2.
    inner = pow((1 - d) % FIELD, (FIELD + 3) // 8, FIELD)
    if inner * inner % FIELD != (1 - d) % FIELD:
        inner = inner * root % FIELD
    for sign in (1, -1):
        square = (1 + sign * inner) * pow(d, -1, FIELD) % FIELD
        y = pow(square, (FIELD + 3) // 8, FIELD)
        if y * y % FIELD != square:
            y = y * root % FIELD
        if y * y % FIELD == square:
            found |= {y, FIELD - y}
    return frozenset(found)


SMALL_ORDER = _small_order()


# --- section 3


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


# --- sections 6 and 7


@dataclass(frozen=True)
class Key:
    """Of a log (kind 1) or a witness (kind 4)."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @classmethod
    def read(cls, vkey: str, kind: int) -> Key:
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = b64(encoded)
        key = cls(name, kind, data[1:])
        refuse(name != "" and len(data) == 33 and data[0] == kind and key.id.hex() == key_id)
        return key


@dataclass(frozen=True)
class Note:
    size: int
    root: bytes
    cosigners: frozenset[Key]
    signers: frozenset[Key]


def read_note(data: bytes, logs: Sequence[Key], witnesses: Sequence[Key]) -> Note:
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise RefusedError("not UTF-8") from error
    refuse(re.search("[\x00-\x09\x0b-\x1f]", whole) is None)
    text, separator, block = whole.rpartition("\n\n")
    refuse(separator != "" and block.endswith("\n"))
    text += "\n"
    known = {(key.name, key.id): key for key in (*logs, *witnesses)}
    signed: set[Key] = set()
    for line in block[:-1].split("\n"):
        refuse(line.startswith("\u2014 "))
        name, _, encoded = line[2:].partition(" ")
        signature = b64(encoded)
        key = known.get((name, signature[:4]))
        refuse(key is not None)
        assert key is not None
        signature = signature[4:]
        message = text.encode()
        if key.kind == 4:
            refuse(len(signature) == 72)
            time = int.from_bytes(signature[:8], "big")
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
            signature = signature[8:]
        refuse(ed25519(key.public, signature, message))
        signed.add(key)
    lines = text.split("\n")
    refuse(len(lines) == 4 and re.fullmatch(r"[1-9][0-9]*", lines[1]) is not None)
    signers = frozenset(key for key in signed if key.kind == 1)
    refuse(len(signers) > 0 and all(key.name == lines[0] for key in signers))
    top = b64(lines[2])
    refuse(len(top) == 32)
    return Note(int(lines[1]), top, frozenset(signed) - signers, signers)


@dataclass
class Policy:
    logs: list[Key] = field(default_factory=list)
    witnesses: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    quorum: str = ""

    def met(self, cosigners: frozenset[Key]) -> bool:
        def counts(name: str) -> bool:
            if name in self.witnesses:
                return self.witnesses[name] in cosigners
            k, members = self.groups[name]
            return sum(map(counts, members)) >= k

        return self.quorum == "none" or counts(self.quorum)


def read_policy(data: bytes) -> Policy:
    """The one form of section 7, and no other."""
    policy = Policy()
    refuse(data.endswith(b"\n") and data.isascii())
    order = []
    for line in data.decode().split("\n")[:-1]:
        what, *words = line.split(" ")
        order.append(what)
        if what == "log" and len(words) == 1:
            policy.logs.append(Key.read(words[0], 1))
        elif what == "witness" and len(words) == 2:
            refuse(words[0] not in policy.witnesses and words[0] not in ("", "none"))
            policy.witnesses[words[0]] = Key.read(words[1], 4)
        elif what == "group" and len(words) >= 3:
            name, k, *members = words
            refuse(
                name not in policy.witnesses
                and name not in policy.groups
                and re.fullmatch("[1-9][0-9]*", k) is not None
            )
            refuse(all(member in policy.witnesses or member in policy.groups for member in members))
            policy.groups[name] = int(k), members
        elif what == "quorum" and len(words) == 1 and not policy.quorum:
            policy.quorum = words[0]
        else:
            raise RefusedError("no line of a policy")
    refuse(order == sorted(order, key=["log", "witness", "group", "quorum"].index) and order[-1] == "quorum")
    if policy.quorum == "none":
        refuse(not policy.witnesses and not policy.groups)
        return policy
    *parts, last = policy.groups
    k, members = policy.groups[last]
    refuse(
        policy.quorum == last == "more-than-half" and k == len(members) // 2 + 1 and len(set(members)) == len(members)
    )
    refuse(all(policy.groups[part][0] == 1 and part in members for part in parts))
    used = [name for _, names in policy.groups.values() for name in names]
    refuse(len(set(used)) == len(used) and set(policy.witnesses) <= set(used))
    return policy


# --- section 9


@dataclass(frozen=True)
class Bundle:
    payload: Mapping[str, Any]
    data: bytes

    def keys(self, role: str) -> list[Mapping[str, Any]]:
        return [key for key in self.payload["keys"] if key["role"] == role]


def public_of(jwk: Mapping[str, str]) -> bytes:
    return unb64u(jwk["x"] if jwk["kty"] == "OKP" else jwk["pub"])


def read_bundle(data: bytes, before: Sequence[Bundle]) -> Bundle:
    payload = parse(unb64u(parse(data)["payload"]))
    signatures = parse(data)["signatures"]
    roots = tuple(public_of(jwk) for jwk in payload["roots"])
    if len(signatures) == 4:  # a root change: the pair before it, then the new one
        old = tuple(public_of(jwk) for jwk in before[-1].payload["roots"])
        refuse([jwk["kid"] for jwk in payload["roots"]] == before[-1].payload["next_roots"])
        for pair, part in ((old, signatures[:2]), (roots, signatures[2:])):
            read_statement(
                json.dumps({"payload": parse(data)["payload"], "signatures": part}, separators=(",", ":")).encode(),
                BUNDLE,
                (pair[0], pair[1]),
            )
    else:
        read_statement(data, BUNDLE, (roots[0], roots[1]))
        if before:
            refuse(payload["roots"] == before[-1].payload["roots"])
    if before and payload["seq"] == before[-1].payload["seq"] + 1:
        refuse(payload["prev"] == sha256(before[-1].data))
    return Bundle(payload, data)


@dataclass
class Verifier:
    folder: Path
    brought_receipts: Path | None = None
    remembered: tuple[int, bytes] | None = None
    faults: list[Fault] = field(default_factory=list)

    def fault(self, index: int, file: str) -> None:
        self.faults.append((index, file))

    def files(self, under: str) -> list[Path]:
        folder = self.folder / under
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def run(self) -> list[Fault]:
        # 1
        try:
            lines = (self.folder / "log.vkey").read_bytes().decode().split("\n")
            refuse(lines.pop() == "" and len(lines) > 0)
            self.logs = [Key.read(line, 1) for line in lines]
        except (*BAD, OSError) as error:
            raise NoLogError from error
        self.origin = self.logs[0].name
        # 2, 3
        self.bundles = self.read_bundles()
        self.owner = self.find_owner()
        # 4
        policy = Policy(quorum="none")
        try:
            policy = read_policy((self.folder / "policy").read_bytes())
            refuse(policy.logs == self.logs)
        except (*BAD, OSError):
            self.fault(-1, "policy")
        # 5
        notes = self.read_notes(policy)
        # 6 to 8
        self.entries = self.check_entries(notes)
        self.check_receipts()
        self.check_openings(max((note.size for note in notes), default=0))
        # 9
        self.check_times(notes)
        # 10
        if policy.quorum != "none" and not any(policy.met(note.cosigners) for note in notes):
            self.fault(max((note.size for note in notes), default=0), "policy")
        return self.faults

    def read_bundles(self) -> dict[str, list[Bundle]]:
        found: dict[str, list[Bundle]] = {}
        by_org: dict[str, list[tuple[int, Path]]] = {}
        for path in self.files("bundles"):
            match = re.fullmatch(r"([a-z0-9-]+)-([0-9]+)\.jws", path.name)
            if match is None:
                self.fault(-1, f"bundles/{path.name}")
            else:
                by_org.setdefault(match[1], []).append((int(match[2]), path))
        owners: dict[str, str] = {}
        for org, listed in by_org.items():
            for seq, path in sorted(listed):
                try:
                    bundle = read_bundle(path.read_bytes(), found.get(org, []))
                    refuse((bundle.payload["org"], bundle.payload["seq"]) == (org, seq))
                    for key in bundle.payload["keys"]:
                        refuse(owners.setdefault(key["jwk"]["kid"], org) == org)
                except BAD:
                    self.fault(-1, f"bundles/{path.name}")
                    break
                found.setdefault(org, []).append(bundle)
        return found

    def listed(self, key: Key) -> tuple[str, Mapping[str, Any]] | None:
        for org, history in self.bundles.items():
            for bundle in reversed(history):
                for entry in bundle.keys("log"):
                    if public_of(entry["jwk"]) == key.public and entry["origin"] == key.name:
                        return org, entry
        return None

    def find_owner(self) -> str:
        owners = []
        for key in self.logs:
            found = self.listed(key)
            if found is None or key.name != self.origin:
                self.fault(-1, "log.vkey")
            else:
                owners.append(found[0])
        if len(set(owners)) > 1:
            self.fault(-1, "log.vkey")
        return owners[0] if owners else ""

    def read_notes(self, policy: Policy) -> list[Note]:
        named = [
            Key(entry["name"], 4, public_of(entry["jwk"]))
            for history in self.bundles.values()
            for bundle in history
            for entry in bundle.keys("witness")
        ]
        notes = []
        for path in self.files("checkpoints"):
            match = re.fullmatch(r"([1-9][0-9]*)\.note", path.name)
            try:
                refuse(match is not None)
                note = read_note(path.read_bytes(), self.logs, [*named, *policy.witnesses.values()])
                refuse(match is not None and note.size == int(match[1]))
                notes.append(note)
            except BAD:
                self.fault(int(match[1]) if match else -1, f"checkpoints/{path.name}")
        if not notes:
            self.fault(-1, "checkpoints")
        return sorted(notes, key=lambda note: note.size)

    def check_entries(self, notes: list[Note]) -> list[Mapping[str, Any] | None]:
        *lines, rest = (self.folder / "entries.jsonl").read_bytes().split(b"\n")
        if rest:
            lines.append(rest)
            self.fault(len(lines) - 1, "entries.jsonl")
        size = notes[-1].size if notes else 0
        computed = list(map(leaf, lines))
        stored = self.read_leaves(size)
        heads = [(note.size, note.root, f"checkpoints/{note.size}.note") for note in notes]
        if self.remembered is not None:
            heads.append((*self.remembered, "remembered head"))
        since, doubtful = 0, len(computed)
        for at, top, file in sorted(heads):
            if at <= len(computed) and root(computed[:at]) == top:
                since = max(since, at)
                continue
            if stored is not None and at <= len(stored) and root(stored[:at]) == top:
                continue  # proven: what differs is found below
            self.fault(at, file)
            self.fault(since, "entries.jsonl")
        if stored is not None:
            proven = root(stored) == notes[-1].root
            for index in range(max(len(stored), len(computed))):
                if computed[index : index + 1] != stored[index : index + 1]:
                    good_entries = len(computed) >= size and root(computed[:size]) == notes[-1].root
                    self.fault(index, "leaves" if good_entries and index < size else "entries.jsonl")
                    doubtful = min(doubtful, index) if proven and not good_entries else doubtful
                    break
        elif len(computed) > size:
            self.fault(size, "entries.jsonl")
        self.names = {key["origin"] for one in self.bundles.get(self.owner, []) for key in one.keys("log")} | {
            self.origin
        }
        return [self.check_entry(i, line) if i < doubtful else None for i, line in enumerate(lines)]

    def read_leaves(self, size: int) -> list[bytes] | None:
        path = self.folder / "leaves"
        if not path.exists():
            return None
        data = path.read_bytes()
        if len(data) != 32 * size:
            self.fault(size, "leaves")
            return None
        return [data[start : start + 32] for start in range(0, len(data), 32)]

    def check_entry(self, index: int, line: bytes) -> Mapping[str, Any] | None:
        try:
            refuse(len(line) <= 32 * 1024 and line.isascii())
            entry: Mapping[str, Any] = canonical(line)
            refuse({"v", "kind", "at", "nonce"} <= set(entry) <= set(MEMBERS) and entry["v"] == 1)
            refuse(all(type(value) is MEMBERS[name] for name, value in entry.items()))
            refuse(entry.get("origin", self.origin) in self.names and entry.get("org", self.owner) == self.owner)
            if entry.get("origin") == self.origin:
                self.names = {self.origin}  # from here on
        except BAD:
            self.fault(index, "entries.jsonl")
            return None
        return entry

    # --- receipts

    def check_receipts(self) -> None:
        kept = sorted(self.brought_receipts.glob("*.jws")) if self.brought_receipts else []
        for path in [*self.files("receipts"), *kept]:
            own = path.parent == self.folder / "receipts"
            name = f"receipts/{path.name}" if own else path.name
            data = path.read_bytes()
            try:
                refuse(not own or path.name == f"{hashlib.sha256(data).hexdigest()}.jws")
                payload = parse(unb64u(parse(data)["payload"]))
                if not own and payload["from"] != self.owner:
                    continue
                for index in self.check_receipt(data, payload):
                    self.fault(index, name)
            except BAD:
                self.fault(-1, name)

    def check_receipt(self, data: bytes, payload: Mapping[str, Any]) -> Iterator[int]:
        refuse((payload["from"] == self.owner) != (payload["to"] == self.owner))
        history = self.bundles.get(payload["from"], [])
        pairs = [pair for bundle in reversed(history) if (pair := _pair(bundle, payload["sig"])) is not None]
        refuse(len(pairs) > 0)
        pair = pairs[0]
        read_statement(data, RECEIPT, (public_of(pair[0]["jwk"]), public_of(pair[1]["jwk"])))
        refuse(pair[0]["nbf"] <= payload["at"] < pair[0]["exp"])
        inner = unb64u(payload["log"]["entry"])
        entry = canonical(inner)
        same = all(entry.get(name) == payload[name] for name in ("msg", "env", "jws"))
        refuse(same and entry["kind"] == KINDS[payload["event"]] and entry.get("org") in (None, payload["from"]))
        origins = {key["origin"] for bundle in history for key in bundle.keys("log")}
        refuse(payload["log"]["origin"] in origins and entry.get("origin") in (None, payload["log"]["origin"]))
        revoked = [one["from"] for one in history[-1].payload["revoked"] if one["kid"] in payload["sig"]]
        if payload["from"] == self.owner:
            if payload["log"]["origin"] != self.origin:
                return
            lines = (self.folder / "entries.jsonl").read_bytes().split(b"\n")
            if inner not in lines:
                yield -1
            elif any(since <= max(payload["at"], entry["at"] // 10**6) for since in revoked):
                yield lines.index(inner)
            return
        for index, mine in enumerate(self.entries):
            if mine is not None and mine.get("receipt") == sha256(data):
                told = tuple(mine.get(name) for name in ("msg", "env", "jws", "partner"))
                late = any(since <= max(payload["at"], mine["at"] // 10**6) for since in revoked)
                if late or told != (payload["msg"], payload["env"], payload["jws"], payload["from"]):
                    yield index

    # --- openings, times

    def check_openings(self, size: int) -> None:
        path = self.folder / "openings.jsonl"
        if not path.exists():
            return
        *lines, rest = path.read_bytes().split(b"\n")
        if rest:
            self.fault(-1, "openings.jsonl")
        before = (-1, "")
        for line in lines:
            try:
                opening = canonical(line)
                refuse(set(opening) == {"field", "index", "salt", "value"} and type(opening["index"]) is int)
                here = (opening["index"], opening["field"])
                refuse(here > before and isinstance(opening["value"], str))
            except BAD:
                self.fault(-1, "openings.jsonl")
                continue
            before = here
            if not 0 <= opening["index"] < max(size, len(self.entries)):
                self.fault(opening["index"], "openings.jsonl")
                continue
            entry = self.entries[opening["index"]] if opening["index"] < len(self.entries) else None
            if entry is not None and not _opens(opening, entry):
                self.fault(opening["index"], "openings.jsonl")

    def check_times(self, notes: list[Note]) -> None:
        for note in notes:
            last = self.entries[note.size - 1] if note.size <= len(self.entries) else None
            for key in note.signers:
                found = self.listed(key)
                if last is None or found is None:
                    continue
                at = last["at"] // 10**6
                newest = self.bundles[self.owner][-1].payload["revoked"] if self.owner else []
                revoked = any(one["kid"] == found[1]["jwk"]["kid"] and one["from"] <= at for one in newest)
                if at >= found[1]["exp"] or (note is notes[-1] and revoked):
                    self.fault(note.size, f"checkpoints/{note.size}.note")


def _pair(bundle: Bundle, kids: Sequence[str]) -> list[Mapping[str, Any]] | None:
    found = [key for key in bundle.keys("message-sign") if key["jwk"]["kid"] in kids]
    return found if [key["jwk"]["kid"] for key in found] == list(kids) else None


def _opens(opening: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    try:
        salt = unb64u(opening["salt"], 32)
        name = opening["field"]
        value = json.dumps(opening["value"], ensure_ascii=False).encode()
        made = hmac.digest(salt, name.encode() + b"\0" + value, "sha256")
        return unb64u(entry["commit"][name], 32) == made
    except BAD:
        return False


def verify(folder: Path, *, receipts: Path | None = None, remembered: tuple[int, bytes] | None = None) -> list[Fault]:
    """The faults of an export. Raises NoLogError."""
    return Verifier(folder, receipts, remembered).run()
