"""The shared vocabulary: every field that any agreement can name, with its type and its flags.

Pure. It says what a path means and holds, never who may see it. An agreement pins one vocabulary by digest, so that a
later one cannot change what was signed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from contracts.document import canonical
from contracts.field_types import FieldType, FieldTypeError, field_type, is_date
from contracts.names import Digest, FieldPath, is_field_path, is_local_name
from contracts.strict import Table, fault, join, parse_toml

_LAW = re.compile(r"ordinary|criminal|special:[a-z-]+")
_CODE = re.compile(r"[A-Za-z0-9()-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """One leaf of the vocabulary. `locates`: leads to where the child is; `past`: ties the child to a former identity;
    `free`: free text; `gate`: the law that restricts it; `until`: the last day it may be used; `sensitivity` 1 to 4."""

    path: FieldPath
    type: FieldType
    law: str
    category: str
    sensitivity: int
    ctf: str
    notice: str
    reveals: tuple[str, ...]
    free: bool
    locates: bool
    past: bool
    gate: str | None
    until: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """An object of the vocabulary: member name -> what stands there."""

    members: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of objects of the vocabulary; `path` is its own generic path without the brackets (`contacts`)."""

    path: str
    item: Group


Node: TypeAlias = Field | Group | ListOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A vocabulary as read: `id` such as `cme-fields/2026.1`; `tree` is the same fields by member name."""

    id: str
    digest: Digest
    codes: Mapping[str, frozenset[str]]
    fields: Mapping[str, Field]
    tree: Group

    def lists(self) -> frozenset[str]:
        """Return the paths of all lists of objects, as `max_items` names them."""
        return frozenset(path[: end.start()] for path in self.fields for end in re.finditer(r"\[\]", path))

    def containers(self) -> frozenset[str]:
        """Return the generic paths of all objects and lists (with and without brackets), as `never` names them."""
        found = set()
        for path in self.fields:
            names = path.split(".")
            for count in range(1, len(names)):
                prefix = ".".join(names[:count])
                found |= {prefix, prefix.removesuffix("[]")}
        return frozenset(found)


def read_vocabulary(data: bytes, *, file: str) -> Vocabulary:
    """Return the vocabulary of a `fields.toml`. Raises FileError naming file, key and rule."""
    document = parse_toml(data, file=file)
    top = Table(document, file=file)
    name, version = top.text("vocabulary"), top.text("version")
    codes = _read_codes(top.table("codes"))
    fields = {path: _read_field(path, table, codes) for path, table in top.members("fields").items()}
    top.done()
    if not fields:
        raise fault(file, "fields", "missing")
    return Vocabulary(
        id=f"{name}/{version}",
        digest=Digest("sha256:" + hashlib.sha256(canonical(document)).hexdigest()),
        codes=MappingProxyType(codes),
        fields=MappingProxyType(fields),
        tree=_tree(fields, file),
    )


def present_fields(tree: Group, body: Any) -> set[Field]:
    """Return the vocabulary leaves that are present in a body, whatever their values.

    Presence counts: a leaf that holds null is present. A container of the wrong JSON type has no leaves. Recursion
    follows the vocabulary, so a hostile body cannot deepen it.
    """
    found: set[Field] = set()
    if type(body) is dict:
        _collect(tree.members, body, found)
    return found


def _collect(members: Mapping[str, Node], value: dict[str, Any], found: set[Field]) -> None:
    for name, member in value.items():
        node = members.get(name)
        if type(node) is Field:
            found.add(node)
        elif type(node) is Group:
            if type(member) is dict:
                _collect(node.members, member, found)
        elif type(node) is ListOf and type(member) is list:
            for item in member:
                if type(item) is dict:
                    _collect(node.item.members, item, found)


def _read_codes(table: Table) -> dict[str, frozenset[str]]:
    codes = {}
    for name in table.names():
        values = table.some_texts(name) or ()
        if not is_local_name(name) or not all(_CODE.fullmatch(value) for value in values):
            raise table.fault(name, "must be a list of codes (letters, digits, brackets and hyphens)")
        codes[name] = frozenset(values)
    return codes


def _read_field(path: str, table: Table, codes: Mapping[str, frozenset[str]]) -> Field:
    if not is_field_path(path) or path.endswith("[]"):
        raise fault(table.file, table.key, "not a field path")
    try:
        kind = field_type(table.text("type"), codes)
    except FieldTypeError:
        raise table.fault("type", "not a known field type or code set") from None
    field = Field(
        path=FieldPath(path),
        type=kind,
        law=table.text("law"),
        category=table.text("cat"),
        sensitivity=table.whole("sens", least=1),
        ctf=table.text("ctf"),
        notice=table.text("notice"),
        reveals=table.texts("reveals"),
        free=table.flag("free"),
        locates=table.flag("locates"),
        past=table.flag("past"),
        gate=table.optional_text("gate"),
        until=table.optional_text("until"),
    )
    table.done()
    if _LAW.fullmatch(field.law) is None:
        raise table.fault("law", "must be ordinary, criminal or special:<kind>")
    if field.sensitivity > 4:
        raise table.fault("sens", "must be 1 to 4")
    if field.until is not None and not is_date(field.until):
        raise table.fault("until", "must be a day")
    return field


def _tree(fields: Mapping[str, Field], file: str) -> Group:
    return _group({tuple(path.split(".")): field for path, field in fields.items()}, "", file)


def _group(fields: Mapping[tuple[str, ...], Field], prefix: str, file: str) -> Group:
    members: dict[str, Node] = {}
    for segment in dict.fromkeys(names[0] for names in fields):
        name = segment.removesuffix("[]")
        path = f"{prefix}.{segment}" if prefix else segment
        below = {names[1:]: field for names, field in fields.items() if names[0] == segment}
        if name in members or (() in below and len(below) > 1):
            raise fault(file, join("fields", path), "stands for two different kinds of value")
        if () in below:
            members[name] = below[()]
        else:
            group = _group(below, path, file)
            members[name] = ListOf(path.removesuffix("[]"), group) if segment.endswith("[]") else group
    return Group(MappingProxyType(members))


def iter_segments(path: str) -> Iterator[tuple[str, bool]]:
    """Yield (member name, is a list of objects) for each step of a generic path."""
    for segment in path.split("."):
        yield segment.removesuffix("[]"), segment.endswith("[]")
