"""The demonstration: Kensington and Chelsea and Hampshire hand over a child's record, and what is refused, held and found.

Each step says what will happen, does it with real commands against two real gateways, and checks that it came out as told.
Every child in it is invented.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import orjson
from rich.console import Console

from gateway.app import now_utc
from gateway.demo import records
from gateway.demo.stage import Council, expect, free_port, wait_for
from gateway.demo.tls import Authority, make_authority, write_certificate

AGREEMENT = "rbkc-hants-cme-transfer"
BURST = 40
KILL_AFTER = 10  # messages of the burst that arrived before the receiver is killed


class Story:
    """The two councils, and the steps in which their story is told."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.console = console
        self.folder = folder
        self.kc = self._council("la-207", "Royal Borough of Kensington and Chelsea")
        self.hants = self._council("la-850", "Hampshire County Council")
        self.transfer = ""

    def _council(self, org: str, name: str) -> Council:
        folder = self.folder / org
        folder.mkdir()
        return Council(org=org, name=name, folder=folder, port=free_port(), console=self.console)

    @property
    def both(self) -> tuple[Council, Council]:
        return self.kc, self.hants

    # --- setting up

    def set_up(self) -> None:
        """Two homes with their own keys; root keys outside of them; certificates of a one-day authority."""
        authority = make_authority(now_utc())
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(self._begin, council, authority) for council in self.both]:
                done.result()
        for council in self.both:
            self.say(f"{council.name} ({council.org}) serves at {council.url}")

    def _begin(self, council: Council, authority: Authority) -> None:
        self._make_home(council, authority)
        council.start()

    def _make_home(self, council: Council, authority: Authority) -> None:
        council.passphrase.touch(mode=0o600)
        council.passphrase.write_text("an invented passphrase for one day\n")
        listen = f"127.0.0.1:{council.port}"
        council.run(
            "init", "--org", council.org, "--name", council.name, "--public-url", council.url, "--listen", listen,
            "--metrics-listen", f"127.0.0.1:{council.metrics}", "--allow-private", "127.0.0.0/8",
            "--ca-file", "secrets/ca.crt", *council.secret, quiet=True,
        )  # fmt: skip
        with council.home.config.open("a") as config:
            config.write(council.more)
        authority.write(council.home.secrets)
        write_certificate(authority, council.home.secrets)
        root, request, bundle = (f"{council.org}/{name}" for name in ("root.keystore", "request", "bundle.jws"))
        council.run("root", "init", root, "--org", council.org, *council.secret, quiet=True)
        council.run("keys", "request", "--out", request, *council.secret, quiet=True)
        council.run("root", "sign", request, "--root", root, "--out", bundle, "--yes", *council.secret, quiet=True)
        council.run("keys", "publish", bundle, *council.secret, quiet=True)

    # --- the steps

    def introduce(self) -> None:
        """Each fetches the other's key bundle, and believes it only after the words were compared on the telephone."""
        for one, other in (self.both, self.both[::-1]):
            one.run("partner", "add", other.org, other.url, "--duty-number", "01632 960000")
            words = other.ask("partner", "fingerprint")["words"]
            self.say(f"On the telephone {other.name} reads out: {words}")
            wrong = " ".join([*words.split()[1:], words.split()[0]])
            one.run("partner", "verify", other.org, "--words", wrong, "--by", "duty officer", expect=4, quiet=True)
            one.run(
                "partner", "verify", other.org, "--words", words, "--by", "duty officer", "--single-person-demo",
                quiet=True,
            )  # fmt: skip
            expect(one.ask("partner", "list")[0]["verified"], "the partner is verified")

    def agree(self) -> None:
        """The transfer agreement is drawn up, proposed by one council and countersigned by the other."""
        draft = "agreement.toml"
        today = now_utc().date()
        self.kc.run(
            "agreement", "draw-up", "la-la-cme-transfer.toml", "--out", draft, "--from", today.isoformat(),
            "--until", (today + timedelta(days=700)).isoformat(),
            "--review-by", (today + timedelta(days=350)).isoformat(),
        )  # fmt: skip
        self.kc.run("agreement", "propose", draft, *self.kc.secret)
        wait_for("the proposal arrives", lambda: bool(self.hants.act("agreement.list")))
        expect(self.hants.act("agreement.list")[0]["state"] == "proposed", "proposed, not in force")
        refused = self.kc.run(*self._send(self.hants, "cme.enquiry", records.enquiry()), expect=4)
        expect("agreement.not-in-force" in refused, "nothing goes before both have signed")
        self.hants.run("agreement", "sign", AGREEMENT, *self.hants.secret)
        for council in self.both:
            self._in_state(council, "in-force")
        self.say("Signed by both, in force in both gateways.")

    def hand_over(self) -> None:
        """A child read from a Common Transfer File is transferred, opened by a person, and accepted."""
        file, case = self._file("child.xml", records.transfer_file()), self._file("case.json", records.transfer_case())
        sent = orjson.loads(
            self.kc.run(
                "send", "--to", self.hants.org, "--type", "cme.transfer", "--urgency", "routine", "--ctf", file,
                "--with", case, "--json",
            )
        )  # fmt: skip
        self.transfer = sent["id"]
        self.reaches(self.kc, self.transfer, "delivered")
        self.say("Arrived, nobody has read it.")
        opened = orjson.loads(self.hants.run("inbox", "open", self.transfer, "--role", "officer", "--json"))
        expect(opened["body"]["child"]["name"]["family"] == records.FAMILY, "the record arrived as it was sent")
        expect("ethnicity" not in opened["body"]["child"], "what the agreement does not list was left in the file")
        self.reaches(self.kc, self.transfer, "collected")
        self.say("Opened by a person. Kensington and Chelsea stay responsible until Hampshire accept.")
        answer = self.sent(self.hants, self.kc, "cme.answer", records.answer(), "--thread", self.transfer)
        self.reaches(self.hants, answer, "delivered")
        read = orjson.loads(self.kc.run("inbox", "open", answer, "--role", "officer", "--json"))
        expect(read["body"]["case"]["answer"] == "accepted", "the answer is: accepted")
        self.say("Accepted: now Hampshire's case.")

    def enquire(self) -> None:
        """Is this child known to you? With the least that can match, and no address in the answer."""
        asked = self.sent(self.hants, self.kc, "cme.enquiry", records.enquiry())
        self.reaches(self.hants, asked, "delivered")
        self.kc.run("inbox", "take", asked)
        self.reaches(self.hants, asked, "taken")
        told = self.sent(self.kc, self.hants, "cme.enquiry_answer", records.enquiry_answer(), "--thread", asked)
        self.reaches(self.kc, told, "delivered")
        self.say("Asked, taken into the case system, answered.")

    def refuse_more(self) -> None:
        """Ethnicity and nationality are added: refused, naming exactly those two fields, and no value."""
        body = records.transfer()
        body["child"] |= {"ethnicity": "WBRI", "nationality": "GBR"}
        refused = self._refusal(self.kc, self.hants, "cme.transfer", body)
        expect(refused == {"child.ethnicity", "child.nationality"}, f"exactly the two fields, not {sorted(refused)}")
        self.say("Refused: child.ethnicity, child.nationality. Nothing left the building.")

    def urgent(self) -> None:
        """Under an immediate risk, and only then, the summary and the services that know the child may travel."""
        body = records.transfer() | records.urgent_part()
        refused = self._refusal(self.kc, self.hants, "cme.transfer", body)
        expect(refused == {"safeguarding.summary", "services[0].service", "services[0].open"}, "refused as routine")
        sent = self.sent(self.kc, self.hants, "cme.transfer", body, urgency="immediate_risk")
        self.reaches(self.kc, sent, "delivered")
        self.say("Refused as routine, carried under immediate risk; the log counts it for review.")

    def protect(self) -> None:
        """A child on the protection list cannot be sent with an address, by anyone, under any agreement."""
        body = records.transfer()
        child = self._file("child.json", orjson.dumps({"child": records.identity(body)}).decode())
        self.kc.run("protect", "add", child, "--kind", "location", "--by", "duty officer")
        refused = self._refusal(self.kc, self.hants, "cme.transfer", body)
        expect("child.address.postcode" in refused and "child.name.family" not in refused, "the address is refused")
        for path in ("address", "school"):
            (body["child"] if path == "address" else body).pop(path, None)
        body.pop("destination", None)
        sent = self.sent(self.kc, self.hants, "cme.transfer", body)
        self.reaches(self.kc, sent, "delivered")
        self.kc.run("protect", "remove", child, "--kind", "location", "--by", "first manager")
        expect(self.kc.act("protect.list")["location"] > 0, "one person is not enough")
        self.kc.run("protect", "remove", child, "--kind", "location", "--by", "second manager")
        expect(not self.kc.act("protect.list").get("location"), "two people took the child off the list")
        self.say("With an address refused, without one delivered; two people took the child off the list again.")

    def suspend(self) -> None:
        """The agreement is suspended while a message waits: the message is held, and goes only when both resume."""
        self.hants.stop()
        waiting = self.sent(self.kc, self.hants, "cme.enquiry", records.enquiry())
        self.kc.run("agreement", "suspend", AGREEMENT, "--role", "dpo")
        self.try_now(self.kc, self.hants)
        self.reaches(self.kc, waiting, "held")
        self.hants.start()
        self.try_now(self.kc, self.hants)
        self._in_state(self.hants, "suspended")
        self.kc.run("agreement", "resume", AGREEMENT, *self.kc.secret)
        expect(self.kc.act("agreement.list")[0]["state"] == "suspended", "one party alone does not resume")
        expect(self.kc.act("message.show", id=waiting)["state"] == "held", "the message is still held")
        self.hants.run("agreement", "resume", AGREEMENT, *self.hants.secret)
        self.reaches(self.kc, waiting, "delivered")
        self.say("Held while suspended, delivered when both had resumed.")

    def burst(self) -> None:
        """Forty messages; the receiver is killed with -9 in the middle; nothing is lost and nothing is doubled."""
        before = {message["id"] for message in self.hants.act("inbox.list")}
        with ThreadPoolExecutor(max_workers=4) as clients:
            asked = [clients.submit(self._quick, number) for number in range(BURST)]
            wait_for("some of the burst arrives", lambda: self._arrived(before) >= KILL_AFTER)
            self.hants.kill()
            sent = [one.result() for one in asked]
        waiting = sum(
            message["state"] != "delivered" for message in self.kc.act("outbox.list") if message["id"] in sent
        )
        self.say(f"kill -9 with {waiting} of {BURST} not yet confirmed. Started again.")
        self.hants.start()
        self.try_now(self.kc, self.hants)
        wait_for(
            "the whole burst is confirmed",
            lambda: all(
                message["state"] == "delivered" for message in self.kc.act("outbox.list") if message["id"] in sent
            ),
        )
        received = [message["id"] for message in self.hants.act("inbox.list") if message["id"] not in before]
        expect(sorted(received) == sorted(sent), f"{len(set(received))} of {BURST} arrived, {len(received)} rows")
        for council in self.both:
            self.say(f"{council.org}: {council.run('log', 'verify', quiet=True).strip()}")
        self.say(f"All {BURST} arrived, each once.")

    def tamper(self) -> None:
        """An administrator changes one byte of one log entry in Hampshire's database: the verifier names it."""
        index = self._change_one_byte()
        found = self.hants.run("log", "verify", expect=3)
        expect(f"index {index}," in found, "the changed entry is named")
        self.say(f"One byte of entry {index} was changed behind the gateway's back. log verify, exit 3:")
        for line in found.strip().splitlines()[:3]:
            self.say(f"  {line}")

    # --- helpers

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False, soft_wrap=True)

    def _file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def _send(self, to: Council, message_type: str, body: dict[str, object], *more: str) -> tuple[str, ...]:
        file = self._file(f"{message_type}.json", orjson.dumps(body).decode())
        urgency = () if "--urgency" in more else ("--urgency", "routine")
        return ("send", "--to", to.org, "--type", message_type, *urgency, *more, file)

    def sent(
        self,
        sender: Council,
        to: Council,
        message_type: str,
        body: dict[str, object],
        *more: str,
        urgency: str = "routine",
    ) -> str:
        command = self._send(to, message_type, body, "--urgency", urgency, *more, "--json")
        answer = orjson.loads(sender.run(*command))
        return str(answer["id"])

    def _refusal(self, sender: Council, to: Council, message_type: str, body: dict[str, object]) -> set[str]:
        answer = orjson.loads(sender.run(*self._send(to, message_type, body, "--json"), expect=4))
        for breach in answer["breaches"]:
            self.say(f"  {breach['code']}  {breach['path']}: {breach['rule']}")
        return {breach["path"] for breach in answer["breaches"]}

    def _quick(self, number: int) -> str:
        answer = self.kc.act(
            "send",
            partner=self.hants.org,
            type="cme.enquiry",
            facts={"urgency": "routine"},
            body=orjson.dumps(records.enquiry(number)).decode(),
            key=f"burst-{number}",
        )
        return str(answer["id"])

    def _arrived(self, before: set[str]) -> int:
        return sum(message["id"] not in before for message in self.hants.act("inbox.list"))

    def reaches(self, council: Council, message_id: str, state: str) -> None:
        wait_for(f"the message is {state}", lambda: council.act("message.show", id=message_id)["state"] == state)

    def try_now(self, council: Council, partner: Council) -> None:
        """What a person does who hears that the partner's gateway is back, and does not wait for the next attempt."""
        council.run("partner", "retry", partner.org)

    def _in_state(self, council: Council, state: str) -> None:
        wait_for(f"the agreement is {state}", lambda: council.act("agreement.list")[0]["state"] == state)

    def _change_one_byte(self) -> int:
        """What an administrator with the database file can do: take the triggers away, change a byte."""
        import pysqlite3

        connection = pysqlite3.connect(self.hants.home.database, isolation_level=None)
        try:
            triggers = [row[0] for row in connection.execute("select name from sqlite_master where type = 'trigger'")]
            for trigger in triggers:
                connection.execute(f"drop trigger {trigger}")
            index, entry = connection.execute(
                "select idx, entry from log_entry where kind = 'received' order by idx limit 1"
            ).fetchone()
            changed = bytes(entry).replace(b'"kind":"received"', b'"kind":"receiveb"')
            connection.execute("update log_entry set entry = ? where idx = ?", (changed, index))
        finally:
            connection.close()
        return int(index)
