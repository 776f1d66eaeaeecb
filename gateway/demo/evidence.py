"""The second half of the story: a case system speaks to the API, an auditor verifies, and administrators are found out.

Each step is as those of `story`: it says what will happen, does it as the person would, and checks that it came out so.
"""

from __future__ import annotations

import http.client
import shutil
from typing import Any

import orjson

from gateway.demo import records
from gateway.demo.stage import Council, NotAsToldError, expect, wait_for
from gateway.demo.story import Story

_SCOPES = ("send", "read")
_PATIENCE = 30.0  # seconds for one answer of the API
_DATABASE = ("safehand.db", "safehand.db-wal", "safehand.db-shm", "log-signer")


class Evidence:
    """What the story's two councils can prove, and what nobody can undo."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.kc, self.hants = story.both
        self.sent = ""

    def case_system(self) -> None:
        """A case system, which has only HTTP, a token and the published description, sends a transfer and follows it."""
        scopes = [part for scope in _SCOPES for part in ("--scope", scope)]
        self.kc.run("token", "create", "--name", "case-system", "--role", "officer", *scopes, "--out", "token")
        token = (self.story.folder / "token").read_text().strip()
        body = {"partner": self.hants.org, "type": "cme.transfer", "facts": {"urgency": "routine"}}
        wrong = records.transfer()
        wrong["child"]["ethnicity"] = "WBRI"
        status, problem = _ask(self.kc, token, "POST", "/messages", body | {"body": wrong}, key="case-1")
        expect((status, [b["path"] for b in problem["breaches"]]) == (422, ["child.ethnicity"]), "refused by path")
        self.story.say("POST /api/v1/messages  422: child.ethnicity goes beyond the agreement")
        status, accepted = _ask(self.kc, token, "POST", "/messages", body | {"body": records.transfer()}, key="case-2")
        expect(status == 202, "accepted")
        again = _ask(self.kc, token, "POST", "/messages", body | {"body": records.transfer()}, key="case-2")
        expect(again == (status, accepted), "the same key: the same answer, and no second message")
        self.sent = str(accepted["id"])
        wait_for("it is delivered and proven", lambda: self._proven(token))
        self.story.say("POST /api/v1/messages  202; asked again with its key: the same answer, no second message")
        self.story.say("GET  /api/v1/messages/ID  delivered, with the receipt and a proof that the log holds it")
        self.kc.run("token", "revoke", self.kc.ask("token", "list")[0]["id"])
        expect(_ask(self.kc, token, "GET", "/status")[0] == 401, "a revoked token opens nothing")

    def _proven(self, token: str) -> bool:
        _, message = _ask(self.kc, token, "GET", f"/messages/{self.sent}")
        return message["state"] == "delivered" and bool(message["proof"])

    def witness(self) -> None:
        """Each council's gateway watches over the other's log and cosigns it: from then on no entry before can change."""
        for council in self.story.both:
            log = self._cosigned(council)
            self.story.say(f"{council.org}: {log['witnessed']} entries cosigned by {log['witnesses'][0]['id']}")
        self.hants.run("backup", "--out", "hants-of-now")

    def _cosigned(self, council: Council) -> Any:
        """Have everything that is in the log now cosigned, and return how it stands."""
        size = council.act("status")["counts"]["log.size"]
        council.run("log", "cosign")
        wait_for("the partner vouches for the log", lambda: council.act("status")["log"]["witnessed"] >= size)
        return council.act("status")["log"]

    def auditor(self) -> None:
        """The data protection officer takes the log home, and verifies it without the gateway, its keys or its network."""
        self.kc.run("log", "export", "--out", "audit", "--by", "dpo")
        root = self.kc.ask("partner", "fingerprint")["hex"]
        verified = self.kc.run(
            "log", "verify", "audit", "--root", f"{self.kc.org}={root}", "--remember", "dpo-remembers"
        )
        self.story.say(verified.splitlines()[0])
        self.kc.run("log", "prove", "--message", self.sent, "--kind", "delivered", "--out", "one.proof")
        proven = self.kc.run("log", "verify", "one.proof", "--policy", "audit/policy")
        expect(self.sent in proven, "one entry, proven alone")
        self.story.say("One entry, proven alone to whoever asks: no other entry was shown.")
        secret = ("--passphrase-file", f"{self.kc.org}/passphrase")
        self.kc.run("witness", "init", "dpo", "--name", "dpo.kc.example/witness", *secret, quiet=True)
        self.kc.run("witness", "add", "dpo", (self.story.folder / "audit/log.vkey").read_text().strip(), quiet=True)
        self.kc.run("witness", "check", "dpo", "audit", *secret)
        entries = self.story.folder / "audit" / "entries.jsonl"
        lines = entries.read_bytes().split(b"\n")
        index = next(n for n, line in enumerate(lines) if b'"kind":"delivered"' in line)
        entries.write_bytes(
            b"\n".join([*lines[:index], lines[index].replace(b'"delivered"', b'"collected"', 1), *lines[index + 1 :]])
        )
        found = self.kc.run("log", "verify", "audit", expect=3)
        expect(f"index {index}," in found, "the changed line is named")
        self.story.say(f"Entry {index} of the export changed by hand: log verify, exit 3, names index {index}.")

    def roll_back(self) -> None:
        """An administrator puts an old database in place of today's, and wipes what the gateway remembers of its log."""
        asked = self.story.sent(self.kc, self.hants, "cme.enquiry", records.enquiry(25))
        self.story.reaches(self.kc, asked, "delivered")
        self._cosigned(self.hants)
        self.hants.stop()
        data, aside = self.hants.home.database.parent, self.story.folder / "aside"
        aside.mkdir()
        for name in _DATABASE:
            if (data / name).exists():
                shutil.move(data / name, aside / name)
        shutil.copy(self.story.folder / "hants-of-now" / "data" / "safehand.db", data / "safehand.db")
        refused = self.hants.run("serve", expect=3)
        expect("witness" in refused, "the witness remembers more")
        self.story.say(refused.strip().splitlines()[-1])
        for name in _DATABASE:
            (data / name).unlink(missing_ok=True)
            if (aside / name).exists():
                shutil.move(aside / name, data / name)
        self.hants.start()
        self.story.say("Today's database put back: it serves again.")


def _ask(
    council: Council, token: str, method: str, path: str, body: object = None, *, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    """One request as a case system makes it, without any code of the gateway's."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
    data = None
    if body is not None:
        data, headers["Content-Type"] = orjson.dumps(body), "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", council.api_port, timeout=_PATIENCE)
    try:
        connection.request(method, f"/api/v1{path}", body=data, headers=headers)
        answer = connection.getresponse()
        return answer.status, orjson.loads(answer.read() or b"{}")
    except OSError as error:
        raise NotAsToldError(f"the API of {council.org} does not answer") from error
    finally:
        connection.close()
