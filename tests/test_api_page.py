"""docs/api.md says what openapi.json says: every route, every code, every type; and its examples are what the schemas allow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.core.happened import TYPES, WORDS
from gateway.core.lifecycle import InboundState, State
from gateway.core.tokens import Scope
from gateway.web.api.description import document

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/api.md").read_text()
DESCRIBED = json.loads(document())
SCHEMAS = DESCRIBED["components"]["schemas"]
EXAMPLES = re.findall(r"```json (\w+)\n(.*?)```", PAGE, re.DOTALL)
ROUTES = [(method.upper(), path) for path, methods in DESCRIBED["paths"].items() for method in methods]
EVENTS = PAGE.partition("## States and events")[2].partition("\n## ")[0]
ERRORS = PAGE.partition("## Errors")[2].partition("\n## ")[0]
CODE = re.compile(r"`([a-z]+(?:[.-][a-z-]+)*)`")


def validator(name: str) -> Any:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DESCRIBED["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def resolved(said: Any) -> Any:
    """What is said here, or where a reference leads."""
    return DESCRIBED["components"]["responses"][said["$ref"].rpartition("/")[2]] if "$ref" in said else said


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_every_route_has_its_heading(method: str, path: str) -> None:
    headings = re.findall(r"^### ([A-Z]+) ([^?\n]+)", PAGE, re.MULTILINE)
    assert (method, path) in headings


def test_the_page_describes_no_other_route() -> None:
    assert set(re.findall(r"^### ([A-Z]+) ([^?\n]+)", PAGE, re.MULTILINE)) == set(ROUTES)


def test_every_query_parameter_is_in_its_heading() -> None:
    for path, methods in DESCRIBED["paths"].items():
        for method, said in methods.items():
            named = [
                DESCRIBED["components"]["parameters"][one["$ref"].rpartition("/")[2]]
                for one in said.get("parameters", ())
            ]
            query = {one["name"] for one in named if one["in"] == "query"}
            heading = next(
                line
                for line in PAGE.splitlines()
                if re.fullmatch(rf"### {method.upper()} {re.escape(path)}(\?.*)?", line)
            )
            assert query == set(re.findall(r"\w+", heading.partition("?")[2])), heading


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_example_is_as_described(name: str, text: str) -> None:
    assert [str(error) for error in validator(name).iter_errors(json.loads(text))] == []


def test_every_body_and_every_answer_has_an_example() -> None:
    wanted = set()
    for methods in DESCRIBED["paths"].values():
        for said in methods.values():
            bodies = [said.get("requestBody", {}), *map(resolved, said["responses"].values())]
            for media in (media for body in bodies for media in body.get("content", {}).values()):
                wanted.add(media["schema"].get("$ref", "").rpartition("/")[2])
    assert wanted - {"", "Nothing"} <= {name for name, _ in EXAMPLES}


def test_every_code_of_the_description_has_a_row_and_its_status() -> None:
    rows = {
        (status, code)
        for status, codes in re.findall(r"^\| (\d{3}) \| ([^|]+) \|", ERRORS, re.MULTILINE)
        for code in CODE.findall(codes)
    }
    described = set()
    for said in DESCRIBED["paths"].values():
        for operation in said.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    described |= {(status, code) for code in CODE.findall(resolved(answer)["description"])}
    assert described <= rows, described - rows
    listed_otherwise = {
        ("404", "route.unknown"),
        ("405", "method.unknown"),
    }  # of what the description does not describe
    assert rows - described <= listed_otherwise, rows - described


def test_every_status_of_the_description_has_a_row() -> None:
    statuses = {status for said in DESCRIBED["paths"].values() for one in said.values() for status in one["responses"]}
    refusals = {status for status in statuses if int(status) >= 400} | {"405"}  # what is not described has no method
    assert refusals == set(re.findall(r"^\| (\d{3}) \|", ERRORS, re.MULTILINE))


def test_every_scope_is_named() -> None:
    for scope in Scope:
        assert f"`{scope.value}`" in PAGE


# --- one table of events


def test_the_description_and_the_page_have_the_types_of_the_table() -> None:
    assert tuple(SCHEMAS["EventType"]["enum"]) == TYPES
    rows = re.findall(r"^\| `(message\.\w+)` \| ([^|]*) \| ([^|]*) \|$", EVENTS, re.MULTILINE)
    assert [kind for kind, _, _ in rows] == list(TYPES)
    for kind, out, in_ in rows:
        state = kind.removeprefix("message.")
        assert out.strip() == (WORDS["out"].get(State(state), "") if state in set(State) else "")
        assert in_.strip() == (WORDS["in"].get(InboundState(state), "") if state in set(InboundState) else "")


def test_states_of_the_description_are_those_of_the_tables() -> None:
    assert set(SCHEMAS["State"]["enum"]) == set(State)
    assert set(SCHEMAS["InboundState"]["enum"]) == set(InboundState)


# --- the lines of the page that people copy


def test_the_verification_on_the_page_works() -> None:
    code = re.search(r"```python\n(def verify.*?)```", PAGE, re.DOTALL)
    assert code is not None
    namespace: dict[str, Any] = {}
    exec("import base64, hmac, json\n" + code[1], namespace)  # noqa: S102 - our own page
    headers = _signed(b'{"a":1}', b"k" * 32, at=1000)
    assert namespace["verify"](headers, b'{"a":1}', b"k" * 32, now=1290) == {"a": 1}
    for body, secret, now in (
        (b'{"a":2}', b"k" * 32, 1000),
        (b'{"a":1}', b"x" * 32, 1000),
        (b'{"a":1}', b"k" * 32, 1301),
    ):
        with pytest.raises(ValueError, match=r"secret|old"):
            namespace["verify"](headers, body, secret, now=now)


def _signed(body: bytes, secret: bytes, at: int) -> dict[str, str]:
    from gateway.core.webhook import Post

    return dict(Post(id="evt_1", body=body).headers(secret, at))


def test_the_configuration_on_the_page_is_read() -> None:
    from gateway.config import read_settings

    tables = "".join(text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
    least = 'org = "a"\nname = "A"\npublic_url = "https://a.example"\nlisten = "127.0.0.1:8443"\n'
    settings = read_settings((least + tables).encode(), file="config.toml")
    assert settings.api is not None
    assert len(settings.webhooks) == 1
