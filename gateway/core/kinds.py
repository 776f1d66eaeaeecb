"""What the exchange log is told: every kind of entry, and the members (log A3) that each may have. Pure; a table.

A change of durable state, and every showing of personal data, is an entry of one of these kinds. Members that every entry
has (`v kind at nonce org origin`) are not repeated. A test holds the code to this table; the page on the log shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ALWAYS: Final = frozenset({"v", "kind", "at", "nonce", "org", "origin"})
_MESSAGE: Final = frozenset(
    {"dir", "msg", "partner", "type", "agreement", "env", "jws", "thread", "urgency", "outcome"}
)
_CHECKED: Final = frozenset({"paths", "basis", "conditions"})
_OWN: Final = frozenset({"dir", "outcome"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`says` in one line; `members` it may have besides those of every entry; `commits` are fields of `commit`."""

    says: str
    members: frozenset[str]
    commits: frozenset[str] = frozenset()

    @property
    def allowed(self) -> frozenset[str]:
        return ALWAYS | self.members | ({"commit"} if self.commits else frozenset())


def _message(says: str, *more: str, commits: tuple[str, ...] = (), checked: bool = False) -> Kind:
    members = _MESSAGE | set(more) | (_CHECKED if checked else frozenset())
    return Kind(says=says, members=members, commits=frozenset(commits))


def _own(says: str, *more: str, commits: tuple[str, ...] = ()) -> Kind:
    return Kind(says=says, members=_OWN | set(more), commits=frozenset(commits))


def _agreement(says: str) -> Kind:
    return _own(says, "partner", "agreement", "receipt", commits=("by", "rows"))


KINDS: Final[Mapping[str, Kind]] = {
    # own messages
    "submitted": _message("a message was checked, sealed and queued", commits=("by", "subjects"), checked=True),
    "refused": _message("a submission was refused; `breaches` say why", "breaches", commits=("by",)),
    "held": _message("a message is kept back; `breaches` say why", "breaches"),
    "resent": _message("a person had a dead or held message sent again", commits=("by",)),
    "delivered": _message(
        "the partner's gateway has it; `receipt` is the digest of its receipt", "receipt", "breaches"
    ),
    "taken": _message("the partner's case system has it", "receipt", "breaches"),
    "rejected": _message(
        "the partner's gateway refused it, for the `breaches` its receipt names", "receipt", "breaches"
    ),
    "expired": _message("its time ended, or another message replaced it"),
    "cancelled": _message("a person took it back before it went", commits=("by",)),
    "dead-lettered": _message(
        "it was tried for too long; or, with `dir` own, something owed to a partner was given up"
    ),
    # partners' messages
    "received": _message("a message was checked and kept", commits=("subjects",), checked=True),
    "refused-inbound": _message("a message was refused; `breaches` say why", "breaches"),
    "released": _message("content was given to a case system, or to a mailbox's owner", "role", commits=("by",)),
    "handed-over": _message("a case system has it; `role` is what it stands for", "role", commits=("by",)),
    "collected": _message(
        "out: a person at the partner opened it (`receipt`); in: a person of `role` opened it here",
        "role",
        "receipt",
        "breaches",
        commits=("by",),
    ),
    "withdrawn": _message("its sender took it back before anybody read it: the content was destroyed"),
    "destroyed": _message("its content was destroyed by a person, as was owed", commits=("by",)),
    # agreements: one kind for each action of an event, ours or a partner's
    "agreement-propose": _agreement("an agreement was proposed; `receipt` is the digest of the event, here and below"),
    "agreement-sign": _agreement("it was signed"),
    "agreement-suspend": _agreement("a party suspended it"),
    "agreement-resume": _agreement("a party lifted its suspension"),
    "agreement-terminate": _agreement("a party ended it"),
    "agreement-supersede": _agreement("a party put another version in its place"),
    "agreement-withdraw": _agreement("a party took its proposal back"),
    "agreement-review": _agreement("a party reviewed it"),
    "agreement-extend": _agreement("a party extended it"),
    # partners, keys, people
    "partner-added": _own("an organisation was made known, unverified", "partner", commits=("by", "rows")),
    "partner-verified": _own(
        "its fingerprint was compared, by two people or (said so) one", "partner", commits=("by", "rows")
    ),
    "partner-changed": _own(
        "the name shown for it, or its duty number, changed, by two people or (said so) one",
        "partner",
        commits=("by", "rows"),
    ),
    "key-bundle-published": _own(
        "our own key bundle came into force; `receipt` is its digest", "receipt", commits=("by", "rows")
    ),
    "key-bundle-accepted": _own(
        "a partner's key bundle was accepted; `receipt` is its digest", "partner", "receipt", commits=("by", "rows")
    ),
    "key-destroyed": _own("a key was destroyed; `receipt` is the digest of its id", "receipt"),
    "token-created": _own("a service token was made", "role", commits=("by", "rows")),
    "token-revoked": _own("a service token was revoked", "role", commits=("by", "rows")),
    "approval": _own("one person stated an act that needs two; `outcome` names the act", commits=("by", "rows")),
    # protection
    "protection-added": _own("a child was put on the protection list", commits=("by", "rows", "subjects")),
    "protection-removed": _own(
        "a child was taken off it, by two people or (said so) one", commits=("by", "rows", "subjects")
    ),
    # statements between partners
    "statement-sent": _own("our daily statement went to the partner", "partner", "receipt"),
    "statement-received": _own("the partner's daily statement came", "partner", "receipt"),
    "statement-differs": _message("a statement and our log contradict each other", "breaches", "receipt"),
    # the log and the database themselves
    "search": _own("personal data was searched for", "role", commits=("by",)),
    "export": _own("the log was exported, with openings or without", commits=("by",)),
    "erased": _own(
        "openings and search tags of an entry were erased; `outcome` is the reason", "msg", commits=("by", "erased")
    ),
    # what service messages and people made of it
    "breach-opened": _message("something went wrong with a message; 72 hours run; `outcome` is the code"),
    "breach-decided": _message("a person decided what becomes of a breach; `outcome` says what", commits=("by",)),
    # partners' logs, and a home made of a backup
    "witness-conflict": _own("a partner's log was seen with another history", "partner", "breaches", "receipt"),
    "epoch-opened": _own(
        "from here on the log has another name; `receipt` is the digest of the checkpoint that a witness held",
        "receipt",
        commits=("by", "rows"),
    ),
    "restored": _own("from here on the log continues a backup", commits=("rows",)),
    "row-refused": _own(
        "a row that decides, or of a message, was not ours, or not as the log says, or a trigger not as it was made;"
        " `outcome` is its table; or somebody else wrote to the database while the gateway had it open: `outcome` is then"
        " `database`",
        "partner",
        "msg",
        "breaches",
    ),
    "clock-step": _own("the wall clock stepped by more than two seconds; `outcome` is the direction"),
}


def table() -> str:
    """The table in Markdown, for the page on the log."""
    lines = ["| kind | what it says | members | committed |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        members, commits = " ".join(sorted(kind.members)), " ".join(sorted(kind.commits))
        lines.append(f"| `{name}` | {kind.says} | {members} | {commits} |")
    return "\n".join(lines) + "\n"
