"""Strict JSON: reading bytes that others wrote, and writing bytes that others will compare.

Pure. Knows nothing of messages or agreements. Two readers: `read_wire` for bytes that must already be in
wire form (they are re-serialised and compared), `read_loose` for what a person typed (white space allowed,
nothing else). Neither error nor rule ever repeats what was read.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import orjson

from contracts.errors import DocumentError

MAX_DEPTH = 16  # envelope section 2, step 2
MAX_INTEGER = 2**53  # exclusive: beyond it a double loses whole numbers
_SKIP_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))


def read_wire(data: bytes, *, limit: int, depth: int = MAX_DEPTH) -> Any:
    """Return the value of JSON bytes in wire form: compact, no duplicate member, no null, no float, no deep nesting.

    `limit` is in bytes. Raises DocumentError with the rule that failed. Envelope section 2, steps 1 and 2.
    """
    check_size_and_depth(data, limit=limit, depth=depth)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise DocumentError("not JSON in UTF-8") from None
    check_values(value)
    # Duplicate members, white space, needless escapes, "-0": whatever parses must re-encode to the same bytes.
    if orjson.dumps(value) != data:
        raise DocumentError("not in wire form (white space, a duplicate member or a needless escape)")
    return value


def read_loose(data: bytes, *, limit: int, depth: int = MAX_DEPTH) -> Any:
    """Return the value of JSON bytes that a person or another system wrote: as `read_wire`, but white space is allowed
    and `null` is kept, so that the check can name the place where it stands."""
    check_size_and_depth(data, limit=limit, depth=depth)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float, parse_int=_integer
        )
    except (ValueError, RecursionError):
        raise DocumentError("not JSON in UTF-8") from None
    check_values(value, null=True)
    return value


def write_wire(value: Any) -> bytes:
    """Return the wire form: UTF-8, no white space, members in the order given."""
    return orjson.dumps(value)


def canonical(value: Any) -> bytes:
    """Return RFC 8785 canonical JSON of strings, whole numbers, booleans, arrays and objects (no floats)."""
    check_values(value)
    return orjson.dumps(_sorted(value))


def check_size_and_depth(data: bytes, *, limit: int, depth: int) -> None:
    """Refuse bytes above `limit` or nested deeper than `depth` before any parser sees them."""
    if len(data) > limit:
        raise DocumentError(f"larger than {limit} bytes")
    if data[:3] == b"\xef\xbb\xbf":
        raise DocumentError("begins with a byte order mark")
    level = 0
    if b"\\" not in data:
        # Without escapes a bracket is in a string iff an odd number of quotes precede it; dropping pairs keeps that.
        data = data.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    for byte in _SKIP_STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            level += 1
            if level > depth:
                raise DocumentError(f"nested deeper than {depth}")
        else:
            level -= 1


def check_values(value: Any, *, null: bool = False) -> None:
    """Refuse floats, integers of 2^53 and beyond, lone surrogates and (unless `null`) null, anywhere inside."""
    kind = type(value)
    if kind is str:
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise DocumentError("a string has a lone surrogate")
    elif kind is dict:
        for name, member in value.items():
            check_values(name)
            check_values(member, null=null)
    elif kind is list:
        for item in value:
            check_values(item, null=null)
    elif kind is int:
        if not -MAX_INTEGER < value < MAX_INTEGER:
            raise DocumentError("an integer of 2^53 or more")
    elif kind is bool:
        return
    elif value is None:
        if not null:
            raise DocumentError("null occurs")
    else:
        raise DocumentError("a number that is not whole")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DocumentError("a duplicate member")
    return members


def _no_float(_: str) -> NoReturn:
    raise DocumentError("a number that is not whole")


def _integer(text: str) -> int:
    if len(text) > 17 or text == "-0":
        raise DocumentError("an integer of 2^53 or more, or a negative zero")
    return int(text)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value, key=_utf16)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be")  # RFC 8785 section 3.2.3 orders by UTF-16 code units
