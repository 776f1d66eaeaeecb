"""Strict reading of TOML files: every key is asked for by name, and what nobody asked for is an error.

Pure. It knows TOML and key paths, not agreements. An error names the file (as the caller calls it), the key path and
the rule, never a value: a data protection officer's address in a file is personal data too.
"""

from __future__ import annotations

import codecs
import datetime
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from contracts.document import MAX_DEPTH, MAX_INTEGER
from contracts.errors import ContractError

MAX_FILE = 1_048_576  # bytes; the longest worked agreement has 11,000, the vocabulary 22,000
_ECHOED_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUOTED_KEY = re.compile(r"[A-Za-z0-9_.\[\]()-]{1,80}")
_POSITION = re.compile(r"at line (\d+), column (\d+)")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a file: the key path, such as `message[2].allow[0].fields[3]`, and the rule it breaks."""

    key: str
    rule: str


class FileError(ContractError):
    """A file does not say what a file of its kind must say."""

    code = "file.invalid"

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = problems
        super().__init__("; ".join(f"{file}: {p.key}: {p.rule}" if p.key else f"{file}: {p.rule}" for p in problems))


def fault(file: str, key: str, rule: str) -> FileError:
    """Return the error for one problem."""
    return FileError(file, (Problem(key=key, rule=rule),))


_MOST_PARTS = 16
_PART = rb"[A-Za-z0-9_\"'-]"
_LONG_KEY = re.compile(rb"(?<!" + _PART + rb")(?:" + _PART + rb"++[ \t]*+\.[ \t]*+){%d}" % _MOST_PARTS)


def parse_toml(data: bytes, *, file: str) -> dict[str, Any]:
    """Return the tables of a TOML file that holds only strings, whole numbers, booleans, days, arrays and tables.

    Raises FileError: not UTF-8, not TOML (duplicate keys are not), above 1 MiB, a float, a time, 2^53 or more.
    """
    if len(data) > MAX_FILE:
        raise fault(file, "", f"larger than {MAX_FILE} bytes")
    if _LONG_KEY.search(data):  # the library's time grows with the square of a key's parts
        raise fault(file, "", f"a name of more than {_MOST_PARTS} dotted parts")
    if data.startswith(codecs.BOM_UTF8):
        raise fault(file, "", "begins with a byte order mark: save it as UTF-8 without one")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise fault(file, "", "not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise fault(file, "", _toml_rule(str(error))) from None
    except (RecursionError, ValueError):
        raise fault(file, "", "not valid TOML: nested too deeply or a number out of range") from None
    _check_plain(document, "", file, 1)
    return document


def _toml_rule(message: str) -> str:
    # The library's own words may hold a key; only the position is repeated, and the commonest cause.
    position = _POSITION.search(message)
    where = f" (line {position[1]}, column {position[2]})" if position else ""
    twice = any(words in message for words in ("Cannot overwrite", "Cannot declare", "Cannot mutate", "Duplicate"))
    return f"a key or table is given twice{where}" if twice else f"not valid TOML{where}"


def _check_plain(value: Any, key: str, file: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise fault(file, key, f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for name, member in value.items():
            _check_plain(member, join(key, name), file, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_plain(item, f"{key}[{index}]", file, depth + 1)
    elif isinstance(value, float):
        raise fault(file, key, "a number that is not whole")
    elif isinstance(value, datetime.datetime | datetime.time):
        raise fault(file, key, "a time: only days are allowed")
    elif isinstance(value, int) and not -MAX_INTEGER < value < MAX_INTEGER:
        raise fault(file, key, "a whole number of 2^53 or more")


def join(key: str, name: str) -> str:
    """Return the key path of a member; names that need quotes are quoted, odd ones shown as `?`."""
    quoted = f'"{name}"' if _QUOTED_KEY.fullmatch(name) else "?"
    shown = name if _ECHOED_KEY.fullmatch(name) else quoted
    return f"{key}.{shown}" if key else shown


class Table:
    """One table of a file, read key by key; `done` refuses what was not read."""

    def __init__(self, values: Mapping[str, Any], *, file: str, key: str = "") -> None:
        self.file = file
        self.key = key
        self._values = values
        self._unread = dict.fromkeys(values)

    def fault(self, name: str, rule: str) -> FileError:
        """Return the error for one key of this table."""
        return fault(self.file, join(self.key, name) if name else self.key, rule)

    def done(self) -> None:
        """Refuse the first key that nothing asked for."""
        for name in self._unread:
            raise self.fault(name, "unknown key")

    def names(self) -> Iterator[str]:
        """Yield the names of all members, for tables whose keys the file chooses."""
        return iter(self._values)

    def _take(self, name: str, kind: type[_T], words: str) -> _T | None:
        self._unread.pop(name, None)
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not kind:
            raise self.fault(name, f"must be {words}")
        return value

    def _required(self, name: str, value: _T | None) -> _T:
        if value is None:
            raise self.fault(name, "missing")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a string of 1 to 4000 characters without control characters, or None where absent."""
        value = self._take(name, str, "text")
        if value is not None and not is_plain_text(value):
            raise self.fault(name, "must be 1 to 4000 characters without control characters")
        return value

    def text(self, name: str) -> str:
        """Return a required string."""
        return self._required(name, self.optional_text(name))

    def fillable(self, name: str) -> str | None:
        """Return a string that a template leaves empty, or None where absent."""
        if self._values.get(name) == "":
            self._unread.pop(name, None)
            return ""
        return self.optional_text(name)

    def choice(self, name: str, choices: tuple[_T, ...], default: _T | None = None) -> _T:
        """Return one of the choices (strings), `default` where absent and given."""
        value = self.optional_text(name)
        if value is None:
            return self._required(name, default)
        for choice in choices:
            if choice == value:
                return choice
        raise self.fault(name, f"must be one of {', '.join(map(str, choices))}")

    def optional_whole(self, name: str, *, least: int = 0) -> int | None:
        """Return a whole number of at least `least`, or None where absent."""
        value = self._take(name, int, "a whole number")
        if value is not None and value < least:
            raise self.fault(name, f"must be {least} or more")
        return value

    def whole(self, name: str, *, least: int = 0) -> int:
        """Return a required whole number."""
        return self._required(name, self.optional_whole(name, least=least))

    def flag(self, name: str) -> bool:
        """Return a boolean, False where absent."""
        return self._take(name, bool, "true or false") or False

    def optional_day(self, name: str) -> datetime.date | None:
        """Return a TOML local date, or None where absent."""
        return self._take(name, datetime.date, "a day (YYYY-MM-DD, without quotes in TOML)")

    def optional_texts(self, name: str) -> tuple[str, ...] | None:
        """Return an array of distinct strings, or None where absent."""
        values = self._take(name, list, "a list of texts")
        if values is None:
            return None
        seen: set[str] = set()
        for index, value in enumerate(values):
            place = f"{join(self.key, name)}[{index}]"
            if type(value) is not str or not is_plain_text(value):
                raise fault(self.file, place, "must be text")
            if value in seen:
                raise fault(self.file, place, "given twice")
            seen.add(value)
        return tuple(values)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of distinct strings, empty where absent."""
        return self.optional_texts(name) or ()

    def some_texts(self, name: str) -> tuple[str, ...] | None:
        """Return an array of at least one string, or None where absent: an empty list of conditions would always hold."""
        values = self.optional_texts(name)
        if values == ():
            raise self.fault(name, "must not be empty")
        return values

    def optional_table(self, name: str) -> Table | None:
        """Return a table, or None where absent."""
        values = self._take(name, dict, "a table")
        return None if values is None else Table(values, file=self.file, key=join(self.key, name))

    def table(self, name: str) -> Table:
        """Return a required table."""
        return self._required(name, self.optional_table(name))

    def tables(self, name: str) -> tuple[Table, ...]:
        """Return an array of at least one table."""
        values = self._required(name, self._take(name, list, "an array of tables"))
        if not values or any(type(value) is not dict for value in values):
            raise self.fault(name, "must be an array of tables, not empty")
        place = join(self.key, name)
        return tuple(Table(value, file=self.file, key=f"{place}[{index}]") for index, value in enumerate(values))

    def members(self, name: str) -> Mapping[str, Table]:
        """Return the tables below a table whose keys the file chooses, empty where absent."""
        outer = self.optional_table(name)
        return {} if outer is None else {inner: outer.table(inner) for inner in outer.names()}

    def raw(self, name: str) -> Any:
        """Return a member of any type, or None where absent, for the few places that allow several types."""
        self._unread.pop(name, None)
        return self._values.get(name)


_PLAIN_TEXT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,4000}")


def is_plain_text(text: str) -> bool:
    """Whether the text has 1 to 4000 characters, none of them a control character or a lone surrogate."""
    return _PLAIN_TEXT.fullmatch(text) is not None
