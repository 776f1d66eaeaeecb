"""docs/log.md shows what is made here, and what it says of the example can be recomputed by hand."""

from __future__ import annotations

import hashlib
import re

from gateway.tlog.entry import Entry
from tests.support import independent_verifier as second
from tests.vectors.make_log import DOCUMENT, make_examples, with_examples

PAGE = DOCUMENT.read_text(encoding="utf-8")


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```[a-z]*\n(.*?)\n```\n", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_page_shows_every_example_as_it_is_made() -> None:
    """`python -m tests.vectors.make_log` writes them anew."""
    assert with_examples(PAGE) == PAGE
    assert PAGE.count("<!-- example: ") == len(make_examples())


def test_hashes_note_policy_and_opening_of_the_example_hold() -> None:
    entries = example("entries").encode().split(b"\n")
    leaves = [second.leaf(entry) for entry in entries]
    assert [line.split()[-1] for line in example("hashes").split("\n")][:3] == [leaf.hex() for leaf in leaves]
    assert example("hashes").split()[-1] == second.root(leaves).hex()
    log = second.Key.read(example("vkey"), 1)
    policy = second.read_policy(example("policy").encode() + b"\n")
    note = second.read_note(example("note").encode() + b"\n", [log], list(policy.witnesses.values()))
    assert (note.size, note.root, policy.met(note.cosigners)) == (3, second.root(leaves), True)
    assert not policy.met(frozenset())
    assert second.read_policy(example("unwitnessed").encode() + b"\n").met(frozenset())
    assert second._opens(second.canonical(example("opening").encode()), second.canonical(entries[0]))


def test_the_proof_of_the_example_leads_to_the_root() -> None:
    header, extra, index, *hashes = example("proof").split("\n\n")[0].split("\n")
    assert (header, index) == ("c2sp.org/tlog-proof@v1", "index 1")
    left, right = map(second.b64, hashes)
    node = hashlib.sha256(b"\1" + left + second.leaf(second.b64(extra.removeprefix("extra ")))).digest()
    assert hashlib.sha256(b"\1" + node + right).digest().hex() == example("hashes").split()[-1]


def test_the_page_names_every_member_of_an_entry() -> None:
    members = PAGE.partition("## 4. Entries")[2].partition("## 5.")[0]
    assert [name for name in Entry.__struct_fields__ if f"`{name}`" not in members] == []
