"""Values of an invented child that must stand nowhere but in a body that a person opened, and a search for all of them.

`leaks` finds them in any bytes: as they are, in capitals or small letters, quoted for a URL, escaped for JSON, in hex, in
UTF-16, and inside base64 of either alphabet at any of its three alignments. A test that plants one of each proves it.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

FAMILY = "Zebulonia-Quark"
GIVEN = "Ottolinde"
CITY = "Marzipanstow"
LINE = "9 Marzipan Rise"
POSTCODE = "ZZ98 7QX"
BORN = "2013-02-17"
UPN = "Q207299981357"
CASE = "ZQX/2026/77813"
TELEPHONE = "01632 960778"
ADULT = "Peregrina Vantongeren"
STAFF = "Wilhelmina Oxbloodstone"
REMARK = "a wholly invented remark about marmalade"

CHILD = (
    FAMILY,
    "Zebulonia",
    GIVEN,
    CITY,
    LINE,
    POSTCODE,
    POSTCODE.replace(" ", ""),
    BORN,
    UPN,
    CASE,
    ADULT,
    "Vantongeren",
)
CANARIES = (*CHILD, TELEPHONE, STAFF, "Oxbloodstone", REMARK, "marmalade")
"""Every value, and parts of some by which a person would still be known."""


def by_chance(canary: str) -> float:
    """Return how likely random base64 holds the canary at one place, whatever the case of its letters.

    Databases and logs hold megabytes of signatures: a canary of four letters stands in one run of a hundred for no reason.
    """
    likely = 1.0
    for character in canary:
        likely *= 2 / 64 if character.isalpha() else 1 / 64 if character.isdigit() or character in "+/-_" else 0
    return likely


def leaks(data: bytes) -> set[str]:
    """Return every canary that stands in the bytes, in whatever form."""
    lowered = data.lower()
    return {
        canary for canary, folded, exact in _FORMS if any(f in lowered for f in folded) or any(e in data for e in exact)
    }


def _folded(canary: str) -> tuple[bytes, ...]:
    text = canary.lower()
    forms = {
        text.encode(),
        quote(text, safe="").lower().encode(),
        text.replace(" ", "+").encode(),
        json.dumps(text)[1:-1].replace("/", "\\/").encode(),
        text.encode("utf-16-le"),
        text.encode().hex().encode(),
        canary.encode().hex().encode(),
    }
    return tuple(forms)


def _exact(canary: str) -> tuple[bytes, ...]:
    """Base64 keeps three bytes in four characters: what is sure at each alignment, the edges taken off."""
    found: set[bytes] = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + canary.encode()).rstrip(b"=")
        sure = encoded[(before * 8 + 5) // 6 : (before + len(canary.encode())) * 8 // 6]
        found |= {sure, sure.translate(bytes.maketrans(b"+/", b"-_"))}
    return tuple(found)


_FORMS = tuple((canary, _folded(canary), _exact(canary)) for canary in CANARIES)


def identity() -> dict[str, object]:
    """Who the child is."""
    return {"name": {"family": FAMILY, "given": GIVEN}, "date_of_birth": BORN}


def transfer() -> dict[str, object]:
    """A transfer that the worked agreement allows."""
    return {
        "case": {"reference": CASE, "reason": "moved-out-of-area", "status": "open"},
        "child": identity() | {"address": {"lines": [LINE], "postcode": POSTCODE}},
        "school": {"name": f"{CITY} Primary School"},
    }


def enquiry() -> dict[str, object]:
    """Is this child known to you?"""
    return {"case": {"reference": CASE, "reply_by": "2027-01-15"}, "child": identity()}


def transfer_file(plain: str) -> str:
    """A Common Transfer File of the demonstration, of this child instead."""
    values = {
        "Surname": FAMILY,
        "Forename": GIVEN,
        "DOB": BORN,
        "UPN": UPN,
        "PreferredSurname": "Zebulonia",
        "Town": CITY,
        "PostCode": POSTCODE,
    }
    for element, value in values.items():
        plain = re.sub(rf"(<{element}>)[^<]*(</{element}>)", rf"\g<1>{value}\g<2>", plain)
    return plain
