"""Settings: what `config.toml` in the home says. Pure: bytes in, a value out; no secret stands in it.

Example (everything after `listen` may be left out):

    org = "la-207"
    name = "Council A"
    public_url = "https://exchange.a.example"
    listen = "0.0.0.0:8443"
    log_origin = "safehand.la-207/exchange-log/1"
    [tls]
    certificate = "secrets/tls.crt"
    key = "secrets/tls.key"
    [partners]
    allowed_private = ["127.0.0.1", "10.20.0.0/16"]
    ca_file = "secrets/partners-ca.crt"
    [metrics]
    listen = "127.0.0.1:9464"
    [witnesses]
    keys = ["dpo.a.example/witness+<key id>+<key> https://dpo.a.example:8444/witness/v1"]
    without = ["la-299"]
    hold_after_hours = 4
    [api]
    listen = "127.0.0.1:8445"
    requests_per_minute = 1200
    burst = 100
    in_flight = 32
    failures_per_minute = 20
    [[webhook]]
    name = "case-system"
    url = "https://cases.a.example/safehand"
    secret = "secrets/case-system.whsec"
    events = ["message.received", "message.rejected"]
    allowed_private = ["10.30.0.5"]
    ca_file = "secrets/inside-ca.crt"

Strict: an unknown key is refused, for a misspelt one would leave its default in force. Errors name file, key and rule,
and every one of them is told at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import orjson

from contracts.names import is_organisation
from contracts.strict import FileError, Problem, Table, fault, join, parse_toml
from gateway.core.happened import TYPES
from gateway.tlog.cosignature import CosignerKey
from gateway.tlog.errors import NoteError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TLS_CERTIFICATE: Final = "secrets/tls.crt"
TLS_KEY: Final = "secrets/tls.key"
METRICS_LISTEN: Final = ("127.0.0.1", 9464)  # loopback: what is told there is nobody else's
_NAME_LIMIT = 200  # code points: what a key bundle allows for a name (envelope section 10)
_ORIGIN_LIMIT = 200

_HOST = r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
_PUBLIC_URL = re.compile(rf"https://{_HOST}(?::([1-9][0-9]{{0,4}}))?")  # an endpoint as bundles list it
_WITNESS_URL = re.compile(_PUBLIC_URL.pattern + r"(?:/[A-Za-z0-9._~-]{1,64}){0,8}")
_LISTEN = re.compile(rf"({_HOST}):([1-9][0-9]{{0,4}})")
_ORIGIN = re.compile(r"[^\s+]+")  # C2SP signed-note: a key name has no white space and no plus
_PORT_LIMIT = 65_535

_WEBHOOKS_LIMIT = 16
_WEBHOOK_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_WEBHOOK_SECRET = re.compile(r"secrets/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_TARGET = re.compile(rf"(https?)://({_HOST})(?::([1-9][0-9]{{0,4}}))?/[!$->@-~]{{0,500}}")
_LOOPBACK: Final = ("127.0.0.1", "[::1]", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver of events; the tables of the file are all there are. `events` empty: every type.

    `on_loopback` where the address names this machine: then nothing else may be connected to, and http is allowed.
    """

    name: str
    url: str
    secret: str
    events: tuple[str, ...] = ()
    allowed_private: tuple[Network, ...] = ()
    ca_file: str | None = None

    @property
    def on_loopback(self) -> bool:
        match = _TARGET.fullmatch(self.url)
        return match is not None and match[2] in _LOOPBACK


HOLD_AFTER_HOURS: Final = 4
_HOLD_AFTER_LIMIT: Final = 8_760  # a year


@dataclass(frozen=True, slots=True)
class WitnessPoint:
    """A witness that is no partner's gateway: its key, and the URL up to the witness protocol's own paths."""

    key: CosignerKey
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """Who is asked to cosign our checkpoints besides verified partners, and which of those are not (organisation ids).

    Routine messages are held when the log has grown for `hold_after_hours` without more than half of all cosigning.
    """

    further: tuple[WitnessPoint, ...] = ()
    without: tuple[str, ...] = ()
    hold_after_hours: int = HOLD_AFTER_HOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The listener for case systems. Each token may ask `requests_per_minute`, `burst` at once and `in_flight` at a time;
    `failures_per_minute` are the wrong tokens that one address may show before it has to wait."""

    listen: tuple[str, int]
    requests_per_minute: int = 1200
    burst: int = 100
    in_flight: int = 32
    failures_per_minute: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator settles once. Paths are relative to the home unless absolute; `listen` is (host, port).

    `allowed_private` are the private networks in which a partner may be; all others are refused. `ca_file` holds
    certificate authorities trusted besides the system's.
    """

    org: str
    name: str
    public_url: str
    listen: tuple[str, int]
    log_origin: str
    tls_certificate: str = TLS_CERTIFICATE
    tls_key: str = TLS_KEY
    allowed_private: tuple[Network, ...] = ()
    ca_file: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    metrics_listen: tuple[str, int] = METRICS_LISTEN
    witnesses: WitnessSettings = WitnessSettings()
    api: ApiSettings | None = None


def default_origin(org: str) -> str:
    """Return the name of an organisation's first exchange log."""
    return f"safehand.{org}/exchange-log/1"


def read_settings(data: bytes, *, file: str) -> Settings:
    """Return the settings of a file's bytes; `file` is its name in errors. Raises contracts' FileError with every fault."""
    values = parse_toml(data, file=file)
    found = faults(values, file=file)
    if found:
        raise FileError(file, found)
    return settings_from(values, file=file)


def faults(values: Mapping[str, Any], *, file: str) -> tuple[Problem, ...]:
    """Return everything wrong with the file's tables, of a list its first wrong item: after each fault its key is taken
    out, or given a sound value, and the rest is read again."""
    found: list[Problem] = []
    rest = deepcopy(dict(values))
    while True:
        try:
            settings_from(rest, file=file)
        except FileError as error:
            (problem,) = error.problems
            if any(problem.key == known.key for known in found):
                return tuple(found)  # it cannot be mended from here: what follows it stays unread
            found.append(problem)
            _mend(rest, problem.key)
        else:
            return tuple(found)


def settings_from(values: Mapping[str, Any], *, file: str) -> Settings:
    """Return the settings of the file's tables, wherever they come from; raises contracts' FileError."""
    top = Table(values, file=file)
    org = top.text("org")
    if not is_organisation(org):
        raise top.fault("org", "must be lower-case letters, digits and inner hyphens, at most 63")
    name = top.text("name")
    if len(name) > _NAME_LIMIT or not name.strip():
        raise top.fault("name", f"must have 1 to {_NAME_LIMIT} characters, and not only spaces")
    certificate, key = _tls(top.optional_table("tls"))
    allowed_private, ca_file = _partners(top.optional_table("partners"))
    settings = Settings(
        org=org,
        name=name,
        public_url=_public_url(top),
        listen=_listen(top),
        log_origin=_origin(top, org),
        tls_certificate=certificate,
        tls_key=key,
        allowed_private=allowed_private,
        ca_file=ca_file,
        webhooks=_webhooks(top),
        metrics_listen=_metrics(top.optional_table("metrics")),
        witnesses=_witnesses(top.optional_table("witnesses")),
        api=_api(top.optional_table("api")),
    )
    top.done()
    return settings


def write_settings(settings: Settings) -> str:
    """Return the text of the file that reads back as these settings, with every default spelt out; no secret stands in it."""
    lines = [
        _line("org", settings.org),
        _line("name", settings.name),
        _line("public_url", settings.public_url),
        _line("listen", address_text(settings.listen)),
        _line("log_origin", settings.log_origin),
        "\n[tls]\n",
        _line("certificate", settings.tls_certificate),
        _line("key", settings.tls_key),
        "\n[partners]\n",
        _line("allowed_private", [str(network) for network in settings.allowed_private]),
    ]
    if settings.ca_file is not None:
        lines.append(_line("ca_file", settings.ca_file))
    lines += ["\n[metrics]\n", _line("listen", address_text(settings.metrics_listen))]
    asked = settings.witnesses
    lines += [
        "\n[witnesses]\n",
        _line("keys", [f"{point.key.vkey()} {point.url}" for point in asked.further]),
        _line("without", list(asked.without)),
        f"hold_after_hours = {asked.hold_after_hours}\n",
    ]
    if settings.api is not None:
        lines += ["\n[api]\n", _line("listen", address_text(settings.api.listen))]
        lines += [f"{name} = {getattr(settings.api, name)}\n" for name in _API_LIMITS]
    for webhook in settings.webhooks:
        lines += _webhook_lines(webhook)
    return "".join(lines)


def _webhook_lines(webhook: Webhook) -> list[str]:
    lines = [
        "\n[[webhook]]\n",
        _line("name", webhook.name),
        _line("url", webhook.url),
        _line("secret", webhook.secret),
        _line("allowed_private", [str(network) for network in webhook.allowed_private]),
    ]
    if webhook.events:
        lines.append(_line("events", list(webhook.events)))
    if webhook.ca_file is not None:
        lines.append(_line("ca_file", webhook.ca_file))
    return lines


def is_loopback(host: str) -> bool:
    """Whether a listener on this host is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_text(address: tuple[str, int]) -> str:
    """Return host and port as the file has them."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _line(key: str, value: str | list[str]) -> str:
    return f"{key} = {orjson.dumps(value).decode()}\n"  # JSON's strings and arrays of them are TOML's


def _public_url(top: Table) -> str:
    url = top.text("public_url")
    match = _PUBLIC_URL.fullmatch(url)
    if match is None or int(match[1] or 0) > _PORT_LIMIT:
        raise top.fault("public_url", "must be https://, a host and perhaps a port; no path and no slash at the end")
    return url


def _listen(table: Table) -> tuple[str, int]:
    match = _LISTEN.fullmatch(table.text("listen"))
    if match is None or int(match[2]) > _PORT_LIMIT:
        raise table.fault("listen", "must be host:port, an IPv6 address in brackets")
    return match[1].strip("[]"), int(match[2])


def _origin(top: Table, org: str) -> str:
    origin = top.optional_text("log_origin") or default_origin(org)
    if not _ORIGIN.fullmatch(origin) or len(origin) > _ORIGIN_LIMIT:
        raise top.fault("log_origin", f"must have at most {_ORIGIN_LIMIT} characters, no white space and no plus")
    return origin


def _tls(table: Table | None) -> tuple[str, str]:
    if table is None:
        return TLS_CERTIFICATE, TLS_KEY
    certificate, key = table.optional_text("certificate"), table.optional_text("key")
    table.done()
    return certificate or TLS_CERTIFICATE, key or TLS_KEY


def _metrics(table: Table | None) -> tuple[str, int]:
    if table is None:
        return METRICS_LISTEN
    listen = _listen(table)
    table.done()
    return listen


def _api(table: Table | None) -> ApiSettings | None:
    if table is None:
        return None
    listen = _listen(table)
    limits = {}
    for name, most in _API_LIMITS.items():
        value = table.optional_whole(name, least=1)
        if value is not None and value > most:
            raise table.fault(name, f"must be at most {most}")
        if value is not None:
            limits[name] = value
    table.done()
    return ApiSettings(listen=listen, **limits)


def _partners(table: Table | None) -> tuple[tuple[Network, ...], str | None]:
    if table is None:
        return (), None
    networks = _networks(table)
    ca_file = table.optional_text("ca_file")
    table.done()
    return networks, ca_file


def _webhooks(top: Table) -> tuple[Webhook, ...]:
    if "webhook" not in top.names():
        return ()
    tables = top.tables("webhook")
    if len(tables) > _WEBHOOKS_LIMIT:
        raise top.fault("webhook", f"at most {_WEBHOOKS_LIMIT}")
    webhooks: dict[str, Webhook] = {}
    for table in tables:
        webhook = _webhook(table)
        if webhook.name in webhooks:
            raise table.fault("name", "given twice: each has its own place in the log")
        webhooks[webhook.name] = webhook
    return tuple(webhooks.values())


def _webhook(table: Table) -> Webhook:
    name = table.text("name")
    if not _WEBHOOK_NAME.fullmatch(name):
        raise table.fault("name", "must be lower-case letters, digits and inner hyphens, at most 32")
    url = table.text("url")
    match = _TARGET.fullmatch(url)
    if match is None or int(match[3] or 0) > _PORT_LIMIT:
        raise table.fault("url", "must be https://, a host, perhaps a port, and a path; no user, query or fragment")
    if match[1] == "http" and match[2] not in _LOOPBACK:
        raise table.fault("url", "must be https; http is only for 127.0.0.1, [::1] and localhost")
    secret = table.text("secret")
    if not _WEBHOOK_SECRET.fullmatch(secret):
        raise table.fault("secret", "must name a file right in secrets/: safehand webhook secret makes one")
    events = table.some_texts("events") or ()
    for index, event in enumerate(events):
        if event not in TYPES:
            raise fault(table.file, f"{join(table.key, 'events')}[{index}]", f"must be one of {', '.join(TYPES)}")
    webhook = Webhook(
        name=name,
        url=url,
        secret=secret,
        events=events,
        allowed_private=_networks(table),
        ca_file=table.optional_text("ca_file"),
    )
    table.done()
    return webhook


def _networks(table: Table) -> tuple[Network, ...]:
    place = join(table.key, "allowed_private")
    texts = table.texts("allowed_private")
    return tuple(_network(text, f"{place}[{index}]", table.file) for index, text in enumerate(texts))


def _witnesses(table: Table | None) -> WitnessSettings:
    if table is None:
        return WitnessSettings()
    further = tuple(
        _witness(text, f"{join(table.key, 'keys')}[{index}]", table.file)
        for index, text in enumerate(table.texts("keys"))
    )
    if len({point.key.public for point in further}) != len(further):
        raise table.fault("keys", "must name each witness once")
    without = table.texts("without")
    for index, org in enumerate(without):
        if not is_organisation(org):
            raise fault(table.file, f"{join(table.key, 'without')}[{index}]", "must be an organisation id")
    hours = table.optional_whole("hold_after_hours", least=1)
    if hours is not None and hours > _HOLD_AFTER_LIMIT:
        raise table.fault("hold_after_hours", f"must be at most {_HOLD_AFTER_LIMIT}")
    table.done()
    return WitnessSettings(
        further=further, without=without, hold_after_hours=HOLD_AFTER_HOURS if hours is None else hours
    )


def _witness(text: str, place: str, file: str) -> WitnessPoint:
    vkey, _, url = text.partition(" ")
    match = _WITNESS_URL.fullmatch(url)
    if match is None or int(match[1] or 0) > _PORT_LIMIT:
        raise fault(file, place, "must be a verifier key, one space, and an https URL without a slash at the end")
    try:
        return WitnessPoint(CosignerKey.from_vkey(vkey), url)
    except NoteError:
        raise fault(
            file, place, "must begin with the verifier key of an Ed25519 witness (C2SP tlog-cosignature)"
        ) from None


def _network(text: str, place: str, file: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise fault(file, place, _network_rule(text)) from None


def _network_rule(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "must be an IP address, or a network such as 10.20.0.0/16"
    return "has bits beyond its length: 10.20.0.0/16, not 10.20.3.4/16"


_API_LIMITS: Final[Mapping[str, int]] = {
    "requests_per_minute": 60_000,
    "burst": 10_000,
    "in_flight": 1_000,
    "failures_per_minute": 1_000,
}
_SOUND: Final[Mapping[str, Any]] = {
    "org": "a",
    "name": "a",
    "public_url": "https://a.example",
    "listen": "127.0.0.1:1",
    "metrics.listen": "127.0.0.1:1",
    "api.listen": "127.0.0.1:1",
}


def _mend(values: dict[str, Any], key: str) -> None:
    """Put a sound value in the place of a required key, and take any other out: of a list with a wrong item all of it."""
    *outer, last = key.partition("[")[0].split(".")
    place: Any = values
    for name in outer:
        place = place.get(name, {})
    if key in _SOUND:
        place[last] = _SOUND[key]
    else:
        place.pop(last, None)
