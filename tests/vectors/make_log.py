"""Makes the examples of docs/log.md: a log of three entries, small enough to be checked by hand.

`python -m tests.vectors.make_log` writes them anew; a test holds the page to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from contracts.document import canonical
from gateway.tlog.checkpoint import Checkpoint, NoteKey, parse_note, sign_checkpoint
from gateway.tlog.cosignature import CosignerKey, cosign
from gateway.tlog.entry import AgreementRef, Entry, base64url, commitment, encode, leaf_hash, nonce_text
from gateway.tlog.merkle import node_hash, root_of
from gateway.tlog.policy import PolicyLog, PolicyWitness, majority_policy
from gateway.tlog.proof_text import ClaimedProof, with_entry
from tests.support.keys import NOW, ed25519, seed

DOCUMENT = Path(__file__).parents[2] / "docs" / "log.md"
ORIGIN, ORG = "safehand.la-207.example/exchange-log/1", "la-207"
MESSAGE = "019bbd3c-8ac0-7abc-8def-0123456789ab"
SALT = seed("la-207 example salt")
WHO = "A Case Officer"

_EXAMPLE = re.compile(r"(<!-- example: ([a-z-]+) -->\n```[a-z]*\n)(.*?)(\n```\n)", re.DOTALL)


@cache
def entries() -> tuple[bytes, ...]:
    about = {
        "org": ORG,
        "origin": ORIGIN,
        "dir": "out",
        "msg": MESSAGE,
        "partner": "la-850",
        "type": "cme.transfer",
        "env": "sha256:" + seed("envelope").hex(),
        "jws": "sha256:" + seed("inner").hex(),
    }
    agreement = AgreementRef(id="rbkc-hants-cme-transfer", version=1, digest="sha256:" + seed("agreement").hex())
    return (
        encode(
            Entry(
                v=1,
                kind="submitted",
                at=NOW * 1_000_000,
                nonce=nonce_text(seed("nonce 0")[:16]),
                agreement=agreement,
                basis=("education-act-1996.s436A",),
                commit={"by": commitment(SALT, "by", WHO)},
                paths=("child.date_of_birth", "child.name.family"),
                urgency="routine",
                **about,
            )
        ),
        encode(
            Entry(
                v=1,
                kind="delivered",
                at=(NOW + 2) * 1_000_000 + 345_678,
                nonce=nonce_text(seed("nonce 1")[:16]),
                agreement=agreement,
                outcome="checked",
                receipt="sha256:" + seed("receipt").hex(),
                **about,
            )
        ),
        encode(
            Entry(
                v=1,
                kind="export",
                at=(NOW + 60) * 1_000_000,
                nonce=nonce_text(seed("nonce 2")[:16]),
                org=ORG,
                origin=ORIGIN,
                dir="own",
                outcome="entries",
            )
        ),
    )


def make_examples() -> Mapping[str, str]:
    """Return the text of each example by its name in the page."""
    leaves = [leaf_hash(entry) for entry in entries()]
    secret, witness = ed25519(f"{ORG} log"), ed25519("la-850 witness")
    key = NoteKey(ORIGIN, secret.public.raw)
    cosigner = CosignerKey("safehand.la-850.example/witness", witness.public.raw)
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=3, root=root_of(leaves)), key, secret.sign)
    cosigned = note + cosign(parse_note(note).text, cosigner, witness.sign, NOW + 65).line().encode()
    proof = ClaimedProof(index=1, hashes=(leaves[0], leaves[2]), note=parse_note(cosigned))
    policy = majority_policy([PolicyLog(key)], [[PolicyWitness("la-850", cosigner)]])
    left = node_hash(leaves[0], leaves[1])
    hashes = [
        *(f"leaf {number}     {leaf.hex()}" for number, leaf in enumerate(leaves)),
        f"node (0,1)  {left.hex()}",
        f"root of 3   {node_hash(left, leaves[2]).hex()}",
    ]
    opening = {"field": "by", "index": 0, "salt": base64url(SALT), "value": WHO}
    texts = {
        "entries": b"\n".join(entries()).decode(),
        "hashes": "\n".join(hashes),
        "vkey": key.vkey(),
        "note": cosigned.decode(),
        "policy": policy.to_bytes().decode(),
        "unwitnessed": majority_policy([PolicyLog(key)], []).to_bytes().decode(),
        "opening": canonical(opening).decode(),
        "proof": with_entry(proof, entries()[1]).decode(),
    }
    return {name: text.removesuffix("\n") for name, text in texts.items()}


def with_examples(text: str) -> str:
    """Return the page with its examples as they are made here."""
    examples = make_examples()
    return _EXAMPLE.sub(lambda match: match[1] + examples[match[2]] + match[4], text)


if __name__ == "__main__":
    DOCUMENT.write_text(with_examples(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
