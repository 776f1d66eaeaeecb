"""What the demonstration sends: bodies of an invented child, as a case system or an officer would write them."""

from __future__ import annotations

from importlib import resources
from typing import Any

import orjson

FAMILY = "Fennimore-Adeyemisola"  # of the child in child.xml


def transfer_file() -> str:
    """The Common Transfer File of the invented child."""
    return resources.files(__package__).joinpath("child.xml").read_text(encoding="utf-8")


def transfer_case() -> str:
    """What the file does not say: the case."""
    return orjson.dumps({"case": _case()}).decode()


def transfer() -> dict[str, Any]:
    """A transfer that the agreement allows."""
    return {
        "case": _case(),
        "child": {
            "name": {"family": FAMILY, "given": "Robinetta"},
            "date_of_birth": "2014-03-12",
            "address": {"lines": ["1 Example Street"], "postcode": "ZZ99 3VZ"},
        },
        "school": {"name": "Example Primary School"},
    }


def identity(body: dict[str, Any]) -> dict[str, Any]:
    """Of a body's child only what tells who it is."""
    return {name: body["child"][name] for name in ("name", "date_of_birth")}


def urgent_part() -> dict[str, Any]:
    """What may travel under an immediate risk only."""
    return {
        "safeguarding": {"concern_level": "immediate-risk", "summary": "An invented account of an invented risk."},
        "services": [{"service": "social-care", "open": True}],
    }


def answer() -> dict[str, Any]:
    """Accepted: responsibility passes."""
    return {
        "case": {"reference": "KC/2026/0001", "answer": "accepted", "other_la_reference": "H-77", "status": "located"}
    }


def enquiry(number: int = 0) -> dict[str, Any]:
    """Is this child known to you? Each number is another invented child."""
    return {
        "case": {"reference": f"ENQ/{number:04}", "reply_by": "2027-01-15"},
        "child": {
            "name": {"family": FAMILY, "given": f"Sibling{'abcdefghijklmnopqrstuvwxyz'[number % 26]}"},
            "date_of_birth": "2015-06-01",
        },
    }


def enquiry_answer() -> dict[str, Any]:
    """On roll, and since when; never an address."""
    return {"case": {"reference": "ENQ/0000", "enquiry_answer": "not-known"}}


def _case() -> dict[str, Any]:
    return {"reference": "KC/2026/0001", "reason": "moved-out-of-area", "status": "open"}
