"""The admin listener's faces: a refusal and a bug both answer problem details, and neither names a value."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from gateway.ports import Exchange
from gateway.web.admin import admin_app

CANARY = "Zebulonia"


async def post(act: str, body: bytes, exchange: object = None) -> tuple[int, Any, list[Any]]:
    async def published() -> None: ...

    app = admin_app(cast(Exchange, exchange), published)
    async with TestClient(TestServer(app)) as client:
        with capture_logs() as logged:
            answer = await client.post(f"/acts/{act}", data=body)
            return answer.status, await answer.json(content_type="application/problem+json"), list(logged)


@pytest.mark.parametrize(
    ("act", "body", "code"),
    [
        ("nosuch", b"{}", "act.unknown"),
        ("status", b"[]", "argument.malformed"),
        ("status", CANARY.encode() + b"\xff", "argument.malformed"),
    ],
    ids=["no-act", "no-object", "no-json"],
)
async def test_a_refusal_is_answered_with_its_code_and_logged_by_the_route(act: str, body: bytes, code: str) -> None:
    status, problem, logged = await post(act, body)
    assert (status, problem["code"], problem["exit"]) == (422, code, 4)
    assert [(line["event"], line["code"], line["route"]) for line in logged] == [
        ("request-refused", code, "/acts/{name}")
    ]
    assert CANARY not in str(problem) + str(logged)


async def test_a_bug_is_answered_by_its_type_alone() -> None:
    class Broken:
        @property
        def overview(self) -> object:
            raise ZeroDivisionError(CANARY)

    status, problem, logged = await post("outbox.list", b"{}", Broken())
    assert (status, problem["code"], problem["detail"], problem["exit"]) == (500, "fault", "ZeroDivisionError", 1)
    assert [line["event"] for line in logged] == ["request-failed"]
    assert CANARY not in str(problem)
