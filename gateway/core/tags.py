"""Keyed tags: how a child's exchanges and the protection list are found without keeping what identifies the child.

Pure. Tag = HMAC-SHA-256(index key, kind || 00 || value), architecture section 5. Without the index key a tag says nothing,
and nobody can try names against a stolen database. Tags that only suggest a match (sound, postcode, adults) are not made here.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

SUBJECTS: Final = "subjects"  # the field of the commitment in an entry whose child is found by tags
_SEPARATOR = b"\x00"


def child_tags(body: Mapping[str, Any], index_key: bytes) -> frozenset[bytes]:
    """Return the tags of the child in a body: UPN, former UPN, NHS number, and every pairing of names with the date of birth.

    From a child listed for `identity` the caller leaves the `past` fields out before (no tag may tie it to who it was).
    """
    child = _object(body.get("child"))
    return frozenset(_tag(index_key, kind, *values) for kind, *values in _identifiers(child))


def lane_tag(index_key: bytes, thread: str, *, urgent: bool) -> bytes:
    """Return the lane key of a thread by its first message id; what is urgent has a lane of its own and overtakes."""
    return _tag(index_key, "lane-urgent" if urgent else "lane", thread)


def text_of(tags: Iterable[bytes]) -> str:
    """What an entry's `subjects` binds: the digest of its tags, each once, ascending, joined; every tag has 32 bytes."""
    return f"sha256:{hashlib.sha256(b''.join(sorted(set(tags)))).hexdigest()}"


def _tag(index_key: bytes, kind: str, *values: str) -> bytes:
    text = _SEPARATOR.join([kind.encode(), *(value.encode() for value in values)])
    return hmac.digest(index_key, text, "sha256")


def _identifiers(child: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, member in (("upn", "upn"), ("upn-former", "former_upn"), ("nhs", "nhs_number")):
        value = child.get(member)
        if isinstance(value, str) and value:
            yield kind, "".join(value.split()).upper()
    born = child.get("date_of_birth")
    if not isinstance(born, str) or not born:
        return
    name = _object(child.get("name"))
    others = child.get("other_names")
    named = [_object(other) for other in others] if isinstance(others, list) else []
    families = _texts(name, "family", "preferred_family", "former_family")
    givens = _texts(name, "given", "preferred_given")
    pairs = {(family, given) for family in families for given in givens}
    pairs |= {
        (f, g) for other in named for f in _texts(other, "family") or families for g in _texts(other, "given") or givens
    }
    for family, given in sorted(pairs):
        if family and given:
            yield "name-dob", family, given, born


def _texts(members: Mapping[str, Any], *names: str) -> list[str]:
    return [_normal(members[name]) for name in names if isinstance(members.get(name), str)]


def _normal(text: str) -> str:
    """NFKD, letters only, casefold: so that O'Brien, OBrien and o brien are one."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if c.isalpha()).casefold()


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
