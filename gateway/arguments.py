"""The named arguments of an act, read strictly: a missing, mistyped or unknown one is refused by its name, never by its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from contracts.names import is_organisation
from gateway.core.errors import SubmissionRefusedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arguments:
    """The named arguments of one act, read strictly: a missing or mistyped one is refused by its name."""

    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            raise SubmissionRefusedError("argument.missing", name, "a text is needed")
        return value

    def maybe(self, name: str) -> str | None:
        value = self.values.get(name)
        return None if value is None else self.text(name)

    def choice(self, name: str, choices: Mapping[str, T]) -> T:
        value = self.text(name)
        if value not in choices:
            raise SubmissionRefusedError("argument.malformed", name, f"one of {', '.join(choices)}")
        return choices[value]

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise SubmissionRefusedError("argument.malformed", name, "a list of texts is needed")
        return tuple(value)

    def whole(self, name: str) -> int:
        value = self.values.get(name)
        if type(value) is not int:
            raise SubmissionRefusedError("argument.malformed", name, "a whole number is needed")
        return value

    def flag(self, name: str) -> bool:
        return self.values.get(name) is True

    def organisation(self, name: str) -> str:
        value = self.text(name)
        if not is_organisation(value):
            raise SubmissionRefusedError("argument.malformed", name, "not an organisation id")
        return value

    def object(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise SubmissionRefusedError("argument.missing", name, "an object is needed")
        return value
