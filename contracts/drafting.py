"""Drawing up: a template's text with vocabulary, roots and dates filled in, everything else left as its author wrote it.

Pure. The filled-in text is read again and compared with the filled-in value, so a text edit can change nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from contracts.agreement import Agreement, draw_up, read_agreement
from contracts.errors import ContractError
from contracts.names import Digest, Party
from contracts.vocabulary import Vocabulary

_HEADER = re.compile(r"^\[([^\[\]]+)\]", re.MULTILINE)


class DraftingError(ContractError):
    """The template cannot be filled in as asked."""

    code = "agreement.draft"


def fill_in(
    template: bytes,
    *,
    file: str,
    vocabulary: Vocabulary,
    roots: Mapping[str, str],
    days: Mapping[str, date | None],
) -> tuple[bytes, Agreement]:
    """Return the complete TOML text and the agreement it reads as.

    `roots` maps organisation ids to root fingerprints; `days` may set valid_from, valid_until and review_by (None keeps the
    template's). Raises ContractError naming file and key, where a party's root is not known or a day is missing.
    """
    read = read_agreement(template, file=file)
    chosen: dict[str, date] = {}
    for name, template_day in {
        "valid_from": read.valid_from,
        "valid_until": read.valid_until,
        "review_by": read.review_by,
    }.items():
        day = days.get(name) or template_day
        if day is None:
            raise DraftingError(f"{file}: dates.{name}: a day is needed")
        chosen[name] = day
    by_party = {party: _root(file, party, terms.id, roots) for party, terms in read.parties.items()}
    drawn = draw_up(
        read,
        vocabulary_digest=vocabulary.digest,
        roots=by_party,
        valid_from=chosen["valid_from"],
        valid_until=chosen["valid_until"],
        review_by=chosen["review_by"],
    )
    text = template.decode()
    text = _set(text, "vocabulary", "sha256", f'"{vocabulary.digest}"')
    for party, root in by_party.items():
        text = _set(text, f"party.{party}", "root", f'"{root}"')
    for name, day in chosen.items():
        text = _set(text, "dates", name, day.isoformat())
    filled = read_agreement(text.encode(), file=file)
    if filled.digest != drawn.digest:
        raise DraftingError(
            f"{file}: the template's layout does not allow filling it in: set vocabulary, root and dates by hand"
        )
    return text.encode(), filled


def _root(file: str, party: Party, org: str, roots: Mapping[str, str]) -> Digest:
    if org not in roots:
        raise DraftingError(f"{file}: party.{party}.root: {org} is neither our organisation nor a verified partner")
    return Digest(roots[org])


def _set(text: str, table: str, key: str, value: str) -> str:
    """Replace the value of `key` in `[table]`, comment and all, or add it as the table's last line."""
    headers = [*_HEADER.finditer(text)]
    for position, header in enumerate(headers):
        if header.group(1) == table:
            end = headers[position + 1].start() if position + 1 < len(headers) else len(text)
            end = min(end, text.find("\n[[", header.end()) + 1 or len(text))
            body = text[header.end() : end]
            line = re.compile(rf"^{key}\s*=.*$", re.MULTILINE)
            replaced = (
                line.sub(lambda _: f"{key} = {value}", body)
                if line.search(body)
                else f"{body.rstrip()}\n{key} = {value}\n"
            )
            return text[: header.end()] + replaced + text[end:]
    return f"{text.rstrip()}\n[{table}]\n{key} = {value}\n"
