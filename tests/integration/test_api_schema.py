"""The API against its own description: whatever a client makes up, a running gateway answers as `openapi.json` says.

Requests by schemathesis, as described and deliberately not, to a real gateway in a process of its own, on its real store.
Every other one that is as described names things that exist. Bounded, and the same in every run; SAFEHAND_API_EXAMPLES asks
for more of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from gateway.demo import records
from gateway.demo.stage import wait_for
from gateway.web.api.description import document
from tests.support.api_councils import ApiCouncil, Councils

EXAMPLES = int(os.environ.get("SAFEHAND_API_EXAMPLES", "20"))  # noqa: TID251 - a knob of this test alone

# What is as described may still be against a rule that a schema cannot say: no such partner, no fractions, another's cursor.
REFUSED = ["2xx", "400", "401", "403", "404", "409", "410", "422"]
CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"deterministic": True, "max-examples": EXAMPLES, "with-security-parameters": False},
        "checks": {"positive_data_acceptance": {"expected-statuses": REFUSED}},
    }
)
turn = count()
described = schemathesis.openapi.from_dict(json.loads(document()), config=CONFIG)


@dataclass(frozen=True, slots=True)
class Subject:
    """A gateway, and path parameters that name something in it."""

    council: ApiCouncil
    session: requests.Session
    sent: str
    received: str
    digest: str

    def known(self, path: str) -> Mapping[str, str]:
        message = self.received if path.startswith("/inbox") else self.sent
        return {"sender": "la-850", "id": message, "digest": self.digest}


@pytest.fixture(scope="module")
def subject(councils: Councils) -> Iterator[Subject]:
    kc, hants = councils
    with requests.Session() as session:
        session.trust_env = False
        sent, received = send(kc, "la-850"), send(hants, "la-207")
        digest = kc.act("agreement.list")[0]["digest"]
        yield Subject(kc, session, sent, received, digest)
        # Nothing that was made up was a fault of ours, broke the log, or was repeated in what the gateway says of itself.
        said = (kc.folder / "gateway.log").read_text()
        assert "request-failed" not in said
        assert "step-failed" not in said
        assert "[withheld]" not in said
        kc.run("log", "verify", quiet=True)


def send(council: ApiCouncil, to: str) -> str:
    """Send an enquiry, and wait until it has arrived."""
    answer = council.act(
        "send",
        partner=to,
        type="cme.enquiry",
        facts={"urgency": "routine"},
        body=json.dumps(records.enquiry()),
        key="schema-1",
    )
    wait_for("it arrives", lambda: council.act("message.show", id=answer["id"])["state"] == "delivered")
    return str(answer["id"])


@described.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # no shrinking: a failure is told as it came, with its curl command
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: Any, subject: Subject) -> None:
    number = next(turn)
    if case.meta.generation.mode is GenerationMode.POSITIVE and number % 2:
        known = subject.known(case.path)
        case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        if case.method == "POST":
            case.headers["Idempotency-Key"] = f"turn-{number}"  # else many would be refused for a key used before
    headers = {"Authorization": f"Bearer {subject.council.token}"}
    case.call_and_validate(
        base_url=f"{subject.council.api}/api/v1", session=subject.session, headers=headers, timeout=30
    )


def test_examples_of_the_description_are_accepted(subject: Subject) -> None:
    """The positive half would be worth nothing if no request ever got through."""
    for path, name in (("/messages", "Submission"), ("/enquiries", "Enquiry"), ("/protection", "ProtectionRequest")):
        example = json.loads(document())["components"]["schemas"][name]["examples"][0]
        answer = subject.session.post(
            f"{subject.council.api}/api/v1{path}",
            json=example,
            headers={"Authorization": f"Bearer {subject.council.token}", "Idempotency-Key": name},
            timeout=30,
        )
        assert answer.status_code in (200, 202), answer.text
