"""Every journey, made with values of an invented child in every place where a value can stand; afterwards everything that was
said, logged, sent, stored or shown is searched for them.

A journey is a function of the `World`; a further one is a further line of `JOURNEYS`. It leaves the world as it found it, for
they run in any order.
"""

from __future__ import annotations

import gc
import json
import shutil
import ssl
import warnings
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import click
import pytest

from gateway.acts import READING, WRITING
from gateway.cli.main import main
from tests.support import canary
from tests.support.canary import ADULT, CASE, CITY, FAMILY, GIVEN, POSTCODE, REMARK, STAFF, TELEPHONE, UPN
from tests.support.tls import LOOPBACK
from tests.support.world import AGREEMENT, Site, World, say_raw, wait_for

Journey = Callable[[World], None]

SENDING = ("--type", "cme.transfer", "--urgency", "routine")
BY = ("--by", STAFF)


# --- what is allowed


def send_and_open(world: World) -> None:
    """Sent, listed, shown, taken, opened, answered; every step with the name of who did it."""
    kc, hants = world.both
    sent = kc.send(hants, "cme.transfer", canary.transfer(), *BY)
    kc.reaches(sent, "delivered")
    for site, group in ((kc, "message"), (hants, "inbox")):
        site.run(group, "list")
        site.run(group, "show", sent)
    hants.run("inbox", "take", sent, *BY)
    kc.reaches(sent, "taken")
    opened = hants.ask("inbox", "open", sent, "--role", "officer", *BY, shows_a_body=True)
    assert opened["body"]["child"]["name"]["family"] == FAMILY
    kc.reaches(sent, "collected")
    reply: dict[str, object] = {"case": {"reference": CASE, "answer": "accepted", "other_la_reference": UPN}}
    answer = hants.send(kc, "cme.answer", reply, "--thread", sent)
    hants.reaches(answer, "delivered")


def transfer_file(world: World) -> None:
    """Read from a Common Transfer File, and from files that are none."""
    kc, hants = world.both
    plain = resources.files("gateway.demo").joinpath("child.xml").read_text()
    case = kc.file("case.json", {"case": {"reference": CASE, "reason": "moved-out-of-area", "status": "open"}})
    good = canary.transfer_file(plain)
    command = ("send", "--to", hants.org, *SENDING, "--ctf", "--with", case)
    kc.reaches(kc.ask(*command, kc.file("file.xml", good))["id"], "delivered")
    for wrong in (
        good.replace("</Pupil>", ""),
        good.replace("<Sex>F", f"<Sex>{FAMILY}"),
        good.replace("</Pupil>", f"<{GIVEN}>{FAMILY}</{GIVEN}></Pupil>"),
        good.replace(canary.BORN, f"{canary.BORN}T{CITY}"),
        good.replace('encoding="UTF-8"', f'encoding="{FAMILY}"'),
        f'<!DOCTYPE x SYSTEM "file:///{FAMILY}">' + good,
        FAMILY,
    ):
        kc.run(*command, kc.file("file.xml", wrong), "--json", expect=None)


# --- what is not


def refuse(world: World) -> None:
    """Beyond the agreement, malformed, or under names that no vocabulary has: refused with paths of ours and no value."""
    kc, hants = world.both
    allowed = canary.transfer()
    child = {"name": {"family": FAMILY, "given": GIVEN, FAMILY: 1}, "ethnicity": FAMILY, "date_of_birth": FAMILY}
    texts = [
        json.dumps(allowed | {"child": child}),
        json.dumps(allowed | {FAMILY: {GIVEN: REMARK}}),
        json.dumps(allowed | {"notes": [REMARK] * 200}),
        json.dumps({FAMILY: {FAMILY: {FAMILY: [FAMILY]}}}),
        json.dumps([FAMILY]),
        f'{{"{FAMILY}": NaN}}',
        f'{{"{FAMILY}": 1, "{FAMILY}": 2}}',
        f'{{"child": "{FAMILY}',
        FAMILY,
    ]
    for text in texts:
        for more in ((), ("--json",), ("--fact", f"{FAMILY}={GIVEN}"), ("--thread", FAMILY), ("--agreement", FAMILY)):
            file = kc.file("body.json", text)
            kc.run("send", "--to", hants.org, *SENDING, *BY, *more, file, expect=None)
    for one in (FAMILY.lower(), POSTCODE, "la-999"):
        kc.run("send", "--to", one, *SENDING, kc.file("body.json", allowed), expect=None)
    kc.run(
        "send", "--to", hants.org, "--type", FAMILY, "--urgency", "routine", kc.file("body.json", allowed), expect=None
    )


def hold(world: World) -> None:
    """A child is protected while its message waits for a partner that is away: held, and cancelled by a person."""
    kc, hants = world.both
    hants.stop()
    try:
        waiting = kc.send(hants, "cme.transfer", canary.transfer(), *BY)
        _protected(kc, "add")
        kc.reaches(waiting, "held")
        kc.run("message", "show", waiting)
        kc.run("doctor", expect=None)
        kc.run("message", "cancel", waiting, *BY)
        _protected(kc, "remove")
    finally:
        hants.start()


def protect(world: World) -> None:
    """A protected child is sent with an address, and refused; two people take it off the list."""
    kc, hants = world.both
    _protected(kc, "add")
    kc.run("send", "--to", hants.org, *SENDING, kc.file("body.json", canary.transfer()), expect=4)
    kc.run("protect", "list")
    _protected(kc, "remove")
    for text in ('{"child": {"name": 1}}', f'{{"{FAMILY}": 1}}', f'["{FAMILY}"]', FAMILY):
        kc.run("protect", "add", kc.file("child.json", text), "--kind", "location", *BY, expect=None)


def _protected(site: Site, act: str) -> None:
    child = site.file("child.json", {"child": canary.identity()})
    names = (STAFF,) if act == "add" else ("duty one", "duty two")
    for name in names:
        site.run("protect", act, child, "--kind", "location", "--by", name)


def agreement_events(world: World) -> None:
    """Suspended by one, resumed by both, with the names of who did it; sent to meanwhile, and refused."""
    kc, hants = world.both
    kc.run("agreement", "suspend", AGREEMENT, "--role", "dpo", *BY)
    world.in_state("suspended")
    kc.run("send", "--to", hants.org, *SENDING, kc.file("body.json", canary.transfer()), expect=4)
    for site in world.both:
        site.run("agreement", "show", AGREEMENT)
        site.run("agreement", "resume", AGREEMENT, *site.secret, *BY)
    world.in_state("in-force")


def worked_cases(world: World) -> None:
    """`agreement check` answers codes, paths and rules, whatever the cases hold."""
    body = canary.transfer() | {FAMILY: GIVEN}
    case = {
        "agreement": AGREEMENT, "from": "a", "type": "cme.transfer", "body": body,
        "facts": {"urgency": "routine", FAMILY: FAMILY}, "requested": None, "on": "2026-12-01",
    }  # fmt: skip
    lines = (json.dumps(case), json.dumps(case | {"agreement": FAMILY}), json.dumps({FAMILY: FAMILY}), FAMILY)
    file = world.kc.file("cases.jsonl", "\n".join(lines))
    world.kc.run("agreement", "check", "--cases", file, expect=None)


# --- whatever a command or a listener is given


CONTENTS = (
    json.dumps(canary.transfer()),
    f'{{"{FAMILY}": "{GIVEN}"}}',
    f"{FAMILY} = ",
    f'[{FAMILY}]\n{GIVEN} = "{REMARK}"',
    f'{{"payload":"{FAMILY}","signatures":[]}}',
    FAMILY,
)


def every_command(world: World) -> None:
    """Every argument and option of every command holds a name, one at a time and all at once; files hold one in many forms.

    A file is named by its path, which is the operator's own; so paths here say nothing, and their contents do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a file argument stays open where a later option is refused
        _run_every_command(world.kc)
        gc.collect()


def _run_every_command(kc: Site) -> None:
    for path, command in _leaves(main):
        if path[0] in ("serve", "demo", "init"):
            continue
        for number, arguments in enumerate(_filled(command, kc)):
            kc.run(*path, *arguments, *(("--json",) if _has_json(command) and number % 2 else ()), expect=None)
        kc.run(*path, f"--{FAMILY.lower()}", expect=2)
        kc.run(*path, *[STAFF] * 9, expect=None)
    kc.run(FAMILY, expect=2)
    kc.run("message", FAMILY, expect=2)


def _leaves(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, (*before, name))
        else:
            yield (*before, name), command


def _has_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def _filled(command: click.Command, site: Site) -> Iterator[list[str]]:
    """The command's parameters, each in turn with a canary where the others are plausible, then all with canaries."""
    parameters = [p for p in command.params if not (isinstance(p, click.Option) and p.is_flag)]
    for wrong in (*parameters, None):
        for content in CONTENTS if _reads_a_file(wrong, parameters) else CONTENTS[:1]:
            file = site.file("content", content)
            arguments: list[str] = []
            for parameter in parameters:
                value = _value(parameter, site, file, canary_here=parameter is wrong or wrong is None)
                named = isinstance(parameter, click.Option)
                arguments += [parameter.opts[0], value] if named else [value]
            yield arguments


def _reads_a_file(wrong: click.Parameter | None, parameters: list[click.Parameter]) -> bool:
    return isinstance(wrong.type, click.File | click.Path) if wrong else any(_reads_a_file(p, []) for p in parameters)


def _value(parameter: click.Parameter, site: Site, file: str, *, canary_here: bool) -> str:
    match parameter.type:
        case click.Path() | click.File():
            if "passphrase" in (parameter.name or ""):
                return site.secret[1]
            return str(site.folder / "out") if parameter.name == "out" else file
        case click.Choice(choices=choices) if not canary_here:
            return str(next(iter(choices)))
        case _:
            return f"{FAMILY} {STAFF}" if canary_here else "la-850"


def every_act(world: World) -> None:
    """Every act of the admin socket, with names as its arguments, and as the act."""
    for site in world.both:
        for name in (*READING, *WRITING, FAMILY, f"{FAMILY}/{GIVEN}", UPN):
            given = dict.fromkeys(("id", "org", "agreement", "partner", "type", "body", "by", "from", "words"), FAMILY)
            for body in (
                json.dumps(given),
                json.dumps({FAMILY: GIVEN}),
                json.dumps([FAMILY]),
                FAMILY,
                f'{{"a":"{FAMILY}',
            ):
                data = body.encode()
                head = (
                    f"POST /acts/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
                )
                site.hear(f"act at {site.org}", say_raw(site.home.socket, head.encode() + data))


def malformed_http(world: World) -> None:
    """Names in every place of a request, well-formed or not, on every listener."""
    context = ssl.create_default_context(cafile=world.folder / "ca.crt")
    for site in world.both:
        for data in _requests():
            site.hear(f"exchange of {site.org}", say_raw((LOOPBACK, site.listen), data, context))
            site.hear(f"metrics of {site.org}", say_raw((LOOPBACK, site.metrics), data))
            site.hear(f"admin of {site.org}", say_raw(site.home.socket, data))
            site.hear(f"api of {site.org}", say_raw((LOOPBACK, site.api), data))


def _requests() -> Iterator[bytes]:
    name, spaced = FAMILY, STAFF.replace(" ", "%20")
    heads = (
        f"GET /{name} HTTP/1.1",
        f"GET /metrics?child={name}&upn={UPN} HTTP/1.1",
        f"GET /exchange/v1/bundles?after={name} HTTP/1.1",
        f"GET /exchange/v1/bundles?after=0&{name}={spaced} HTTP/1.1",
        f"GET /exchange/v1/agreements/{name} HTTP/1.1",
        f"GET /../{name} HTTP/1.1",
        f"GET /%{name} HTTP/1.1",
        f"GET http://{name}/readyz HTTP/1.1",
        f"{name.replace('-', '').upper()} /readyz HTTP/1.1",
        f"{name} /livez HTTP/1.1",
        f"GET /livez {name}/1.1",
        f"GET /livez HTTP/{name}",
        f"GET {name} HTTP/1.1",
        f"{name}",
        f"CONNECT {name}:443 HTTP/1.1",
        f"OPTIONS * HTTP/1.1\r\nOrigin: https://{name}",
    )
    for head in heads:
        yield f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    headers = (
        f"Host: {name}",
        f"{name}: {UPN}",
        f"{name} : x",
        f"Cookie: {name}={POSTCODE}",
        f"Authorization: Bearer {name}",
        f"Content-Length: {name}",
        f"Transfer-Encoding: {name}",
        f"Content-Type: {name}/{GIVEN}; charset={CITY}",
        f"Signature: sig={name}",
        f'Signature-Input: sig=("@method" "{name}");created=1;keyid="{name}";nonce="{UPN}";tag="{GIVEN}"',
        f"Idempotency-Key: {name}",
        f"Expect: {name}",
        f"X: {name}\x01",
        f"X: {name * 4000}",
        f"Content-Encoding: {name}",
        name,
    )
    posts = (
        "/exchange/v1/messages",
        "/exchange/v1/receipts",
        "/exchange/v1/events",
        "/exchange/v1/bundles",
        "/acts/send",
    )
    body = json.dumps({"payload": FAMILY, "protected": REMARK, "aad": ADULT, "tel": TELEPHONE})
    for header in headers:
        for path in posts[:1]:
            yield f"POST {path} HTTP/1.1\r\n{header}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
    for path in posts:
        for media in ("application/jose+json", "application/json", f"text/{GIVEN}"):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
            yield f"{head}Connection: close\r\n\r\n{body}".encode()
    chunks = f"5;{name}={UPN}\r\nabcde\r\n{name}\r\n"
    yield f"POST {posts[3]} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}".encode()


SCOPES = ("send", "read", "open", "agreements", "protect")


def case_system(world: World) -> None:
    """Everything that a case system can ask, rightly and wrongly; it hears of events by webhook."""
    kc, hants = world.both
    tokens = {}
    for site in world.both:
        out = site.folder / "token"
        out.unlink(missing_ok=True)
        scopes = [part for scope in SCOPES for part in ("--scope", scope)]
        site.run("token", "create", "--name", "case-system", "--role", "officer", *scopes, "--out", str(out), *BY)
        tokens[site.org] = {"Authorization": f"Bearer {out.read_text().strip()}", "Content_Type": "application/json"}
    mine, theirs = tokens[kc.org], tokens[hants.org]
    request = {"partner": hants.org, "type": "cme.transfer", "facts": {"urgency": "routine"}, "body": canary.transfer()}
    status, sent = kc.call("POST", "/messages", json.dumps(request).encode(), Idempotency_Key="c-1", **mine)
    assert status == 202
    kc.reaches(sent["id"], "delivered")
    place = f"/inbox/{kc.org}/{sent['id']}"
    assert (
        hants.call("GET", f"{place}/content", shows_a_body=True, **theirs)[1]["body"]["child"]["name"]["family"]
        == FAMILY
    )
    assert hants.call("POST", f"{place}/taken", b"{}", Idempotency_Key="c-2", **theirs)[0] == 200
    assert hants.call("POST", f"{place}/opened", b'{"role":"officer"}', Idempotency_Key="c-3", **theirs)[0] == 200
    for path in (
        f"/messages/{sent['id']}",
        "/inbox?limit=50",
        "/events?limit=100",
        "/agreements",
        "/protection",
        "/status",
    ):
        kc.call("GET", path, **mine)
        hants.call("GET", path, **theirs)
    _wrong_requests(kc, hants, mine)
    wait_for(lambda: all(receiver.heard for receiver in world.receivers), "both case systems hear of events")
    for site in world.both:
        for token in site.ask("token", "list"):
            site.run("token", "revoke", token["id"], *BY)


def _wrong_requests(kc: Site, hants: Site, mine: dict[str, str]) -> None:
    spaced = STAFF.replace(" ", "%20")
    for path in (
        f"/{FAMILY}",
        f"/messages/{FAMILY}",
        f"/inbox/{FAMILY}/{UPN}",
        f"/inbox?after={FAMILY}",
        f"/events?{FAMILY}={spaced}",
    ):
        kc.call("GET", path, **mine)
        kc.call("POST", path, f'{{"{FAMILY}":"{GIVEN}"}}'.encode(), Idempotency_Key=FAMILY, **mine)
        kc.call("GET", path, Authorization=f"Bearer {FAMILY}")
    known = {"partner": hants.org, "type": "cme.transfer", "facts": {"urgency": "routine"}, "body": canary.transfer()}
    bodies: tuple[object, ...] = (
        known | {"body": canary.transfer() | {FAMILY: GIVEN}},
        known | {FAMILY: REMARK},
        known | {"type": FAMILY},
        known | {"partner": FAMILY.lower()},
        known | {"facts": {FAMILY: GIVEN}},
        known | {"thread": UPN},
        [FAMILY],
        FAMILY,
    )
    for number, body in enumerate(bodies):
        for path in ("/messages", "/enquiries", "/protection", "/protection/removals"):
            data = json.dumps(body).encode()
            kc.call("POST", path, data, Idempotency_Key=f"w-{number}", **mine)
    for data in (f'{{"{FAMILY}'.encode(), FAMILY.encode("utf-16"), b""):
        kc.call("POST", "/messages", data, Idempotency_Key="w-x", **mine)
    kc.call("POST", "/messages", FAMILY.encode(), Idempotency_Key=STAFF, **(mine | {"Content_Type": f"text/{GIVEN}"}))


def service_messages(world: World) -> None:
    """Asked, corrected, withdrawn, destroyed, with the names of who did it."""
    kc, hants = world.both
    sent = kc.send(hants, "cme.transfer", canary.transfer(), *BY)
    kc.reaches(sent, "delivered")
    hants.run("inbox", "take", sent, *BY)
    hants.run("service", "question", sent, "--path", "child.upn", "--reason", "missing", *BY, expect=None)
    values = kc.file("values.json", {"child": {"name": {"family": FAMILY, "given": ADULT}}})
    kc.run("service", "correct", sent, "--path", "child.name.given", "--values", values, *BY, expect=None)
    kc.run("service", "withdraw", sent, "--reason", "wrong-child", *BY)
    wait_for(lambda: bool(hants.ask("breach", "list")), "the breach is told")
    for site in world.both:
        for breach in site.ask("breach", "list"):
            site.run("breach", "decide", breach["id"], "--outcome", "not-reportable", *BY)
    hants.run("inbox", "destroy", sent, *BY)
    for site in world.both:
        for command in (("service", "list"), ("breach", "list"), ("status",)):
            site.run(*command)


def evidence(world: World) -> None:
    """The log exported, proven, verified and witnessed; backed up while it runs."""
    kc = world.kc
    out, copy = kc.folder / "export", kc.folder / "backup"
    kc.run("log", "export", "--out", str(out), *BY)
    kc.run("log", "verify", str(out), expect=None)  # a young log may wait for its witness
    kc.run("log", "prove", "--index", "0", "--out", str(kc.folder / "one.proof"))
    kc.run("backup", "--out", str(copy))
    for path in (*out.rglob("*"), *copy.rglob("*"), kc.folder / "one.proof"):
        world.hear(f"the name of {path.name}", path.name.encode())
        if path.is_file():
            world.hear(path.name, path.read_bytes())
    shutil.rmtree(out)
    shutil.rmtree(copy)


def everything_shown(world: World) -> None:
    """Every command that only shows something, beside the running gateways; their logs verify."""
    for site in world.both:
        for command in (
            ("status",), ("message", "list"), ("inbox", "list"), ("partner", "list"), ("keys", "list"),
            ("agreement", "list"), ("agreement", "show", AGREEMENT), ("protect", "list"), ("doctor",), ("log", "verify"),
        ):  # fmt: skip
            site.run(*command, expect=0)
            site.ask(*command)
        for path in ("/livez", "/readyz", "/metrics"):
            assert site.page(path)[0] == 200


JOURNEYS: tuple[Journey, ...] = (
    send_and_open,
    transfer_file,
    refuse,
    hold,
    protect,
    agreement_events,
    worked_cases,
    every_command,
    every_act,
    malformed_http,
    case_system,
    service_messages,
    evidence,
    everything_shown,
)


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.__name__)
def test_a_journey_leaves_no_name_behind(world: World, journey: Journey) -> None:
    journey(world)
    assert world.leaks() == {}


def test_the_search_is_not_blind(world: World) -> None:
    """What a body does show is found: the same search, on the one output that may hold one, and on a file with a name."""
    kc, hants = world.both
    sent = kc.send(hants, "cme.transfer", canary.transfer())
    kc.reaches(sent, "delivered")
    shown = hants.run("inbox", "open", sent, "--role", "officer", "--json", shows_a_body=True)
    assert {FAMILY, POSTCODE, CASE} <= canary.leaks(shown.encode())
    planted: Path = hants.home.path / "run" / f"{FAMILY}.json"
    planted.touch()
    try:
        assert any(FAMILY in found for found in world.leaks().values())
    finally:
        planted.unlink()
    wait_for(lambda: world.leaks() == {}, "the planted name is gone")
