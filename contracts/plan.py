"""What may travel while certain grants are TRUE: the grants of one message merged into a tree, and a fast yes or no.

Pure. A plan belongs to one message type, direction and set of TRUE grants. `present_in` answers without making a path
string; the explaining walk in `contracts.walk` gives the same verdict with reasons (property-tested to be the same).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from contracts.field_types import Acceptor
from contracts.terms import Need
from contracts.vocabulary import Field, Group, ListOf, Node

_STRENGTH: Final[Mapping[Need, int]] = {"optional": 0, "expected": 1, "required": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledGrant:
    """One grant with its fields looked up; `only` holds, for some of its paths, the codes it is narrowed to."""

    when: tuple[str, ...]
    need: Need
    basis: str
    fields: tuple[Field, ...]
    only: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaf:
    """A granted field. `only` is None where no limit applies; `bases` are those of every TRUE grant that lists it."""

    field: Field
    need: Need
    only: frozenset[str] | None
    bases: frozenset[str]

    def acceptor(self) -> Acceptor:
        """Return what answers whether a value may stand here."""
        return self.field.type.accepts if self.only is None else self.field.type.narrowed(self.only)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branch:
    """An object below which something is granted; `known` is the same place in the vocabulary."""

    members: Mapping[str, Granted]
    known: Group


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """A list of objects below which something is granted."""

    item: Branch
    most: int


Granted: TypeAlias = Leaf | Branch | Items
_Add: TypeAlias = Callable[[Field], None]
_Passes: TypeAlias = Callable[[Any, _Add], bool]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """`leaves` by generic path; `root` the same as a tree; `required` the generic paths that must be present."""

    leaves: Mapping[str, Leaf]
    root: Branch
    required: tuple[str, ...]
    passes: _Passes

    def present_in(self, body: Any) -> set[Field] | None:
        """Return the fields present in a body that may travel as it is, None where anything in it is a breach."""
        present: set[Field] = set()
        return present if self.passes(body, present.add) else None

    def bases(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the bases that the given granted paths rest on, sorted."""
        return tuple(sorted(frozenset().union(*{self.leaves[path].bases for path in paths})))


def make_plan(grants: Iterable[CompiledGrant], vocabulary: Group, max_items: Mapping[str, int]) -> Plan:
    """Return the plan of grants that are all TRUE."""
    leaves = _merge(grants)
    root = _branch(vocabulary, leaves, max_items)
    required = tuple(path for path, leaf in leaves.items() if leaf.need == "required")
    return Plan(leaves=leaves, root=root, required=required, passes=_object(root))


def _merge(grants: Iterable[CompiledGrant]) -> dict[str, Leaf]:
    """Unite grants of one path: the strongest need, the union of `only` sets, no limit where one grant sets none."""
    leaves: dict[str, Leaf] = {}
    for grant in grants:
        for field in grant.fields:
            only, need, bases = grant.only.get(field.path), grant.need, frozenset({grant.basis})
            earlier = leaves.get(field.path)
            if earlier is not None:
                only = None if only is None or earlier.only is None else only | earlier.only
                need = max(need, earlier.need, key=_STRENGTH.__getitem__)
                bases |= earlier.bases
            leaves[field.path] = Leaf(field=field, need=need, only=only, bases=bases)
    return leaves


def _branch(known: Group, leaves: Mapping[str, Leaf], max_items: Mapping[str, int]) -> Branch:
    members = {}
    for name, node in known.members.items():
        granted = _granted(node, leaves, max_items)
        if granted is not None:
            members[name] = granted
    return Branch(members=members, known=known)


def _granted(node: Node, leaves: Mapping[str, Leaf], max_items: Mapping[str, int]) -> Granted | None:
    if isinstance(node, Field):
        return leaves.get(node.path)
    if isinstance(node, ListOf):
        item = _branch(node.item, leaves, max_items)
        return Items(item=item, most=max_items[node.path]) if item.members else None
    branch = _branch(node, leaves, max_items)
    return branch if branch.members else None


def _member(node: Granted) -> tuple[Acceptor, Field] | tuple[_Passes, None]:
    if isinstance(node, Leaf):
        return node.acceptor(), node.field
    return (_list(node) if isinstance(node, Items) else _object(node)), None


def _object(branch: Branch) -> _Passes:
    find: Callable[[str], Any] = {name: _member(node) for name, node in branch.members.items()}.get
    required = frozenset(name for name, node in branch.members.items() if _is_required(node))

    def passes(value: Any, add: _Add) -> bool:
        if type(value) is not dict:
            return False
        for name, member in value.items():
            found = find(name)
            if found is None:
                return False
            accepts, field = found
            if field is None:
                if not accepts(member, add):
                    return False
            elif accepts(member):
                add(field)
            else:
                return False
        return not required or required <= value.keys()

    return passes


def _list(items: Items) -> _Passes:
    passes_item, most = _object(items.item), items.most
    least = 1 if _is_required(items) else 0

    def passes(value: Any, add: _Add) -> bool:
        return type(value) is list and least <= len(value) <= most and all(passes_item(item, add) for item in value)

    return passes


def _is_required(node: Granted) -> bool:
    """Whether something required stands here or below: then the containers above it must be there too."""
    if isinstance(node, Leaf):
        return node.need == "required"
    branch = node.item if isinstance(node, Items) else node
    return any(map(_is_required, branch.members.values()))
