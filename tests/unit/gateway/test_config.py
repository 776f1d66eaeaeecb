"""config.toml: what it may say, and how an operator is told what is wrong."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.strict import FileError
from gateway.config import (
    ApiSettings,
    Settings,
    Webhook,
    WitnessPoint,
    WitnessSettings,
    default_origin,
    is_loopback,
    read_settings,
    write_settings,
)
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.cosignature import CosignerKey

LEAST = """
org = "la-207"
name = "Invented Council"
public_url = "https://127.0.0.1:8443"
listen = "127.0.0.1:8443"
"""


def read(text: str) -> Settings:
    return read_settings(text.encode(), file="config.toml")


def fault_of(text: str) -> tuple[str, str]:
    """The key and rule of the one thing wrong."""
    with pytest.raises(FileError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert str(caught.value).startswith("config.toml: ")
    return problem.key, problem.rule


def test_four_lines_are_enough_and_the_rest_has_safe_defaults() -> None:
    assert read(LEAST) == Settings(
        org="la-207",
        name="Invented Council",
        public_url="https://127.0.0.1:8443",
        listen=("127.0.0.1", 8443),
        log_origin="safehand.la-207/exchange-log/1",
        tls_certificate="secrets/tls.crt",
        tls_key="secrets/tls.key",
        allowed_private=(),
        ca_file=None,
        metrics_listen=("127.0.0.1", 9464),
        witnesses=WitnessSettings(further=(), without=(), hold_after_hours=4),
    )


def test_everything_can_be_said() -> None:
    settings = read(
        LEAST
        + """
log_origin = "log.a.example/1"
[tls]
certificate = "/etc/tls/chain.pem"
key = "secrets/other.key"
[partners]
allowed_private = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
ca_file = "secrets/ca.crt"
[metrics]
listen = "[::1]:9999"
"""
    )
    assert settings.metrics_listen == ("::1", 9999)
    assert settings.log_origin == "log.a.example/1"
    assert (settings.tls_certificate, settings.tls_key) == ("/etc/tls/chain.pem", "secrets/other.key")
    networks = ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")
    assert settings.allowed_private == tuple(ipaddress.ip_network(network) for network in networks)
    assert settings.ca_file == "secrets/ca.crt"


@pytest.mark.parametrize("key", ["org", "name", "public_url", "listen"])
def test_missing_key_is_named(key: str) -> None:
    lines = [line for line in LEAST.splitlines() if not line.startswith(key)]
    assert fault_of("\n".join(lines)) == (key, "missing")


@pytest.mark.parametrize(
    ("addition", "key"),
    [
        ('publicurl = "x"', "publicurl"),
        ('passphrase = "x"', "passphrase"),
        ('[tls]\nversion = "1.2"', "tls.version"),
        ("[partners]\nverify = false", "partners.verify"),
        ('[metrics]\nlisten = "127.0.0.1:1"\npath = "/m"', "metrics.path"),
        ("[logging]\nlevel = 1", "logging"),
    ],
)
def test_unknown_key_is_refused_by_its_name(addition: str, key: str) -> None:
    assert fault_of(LEAST + addition) == (key, "unknown key")


def replaced(key: str, value: str) -> str:
    return "\n".join(f"{key} = {value}" if line.startswith(key) else line for line in LEAST.splitlines())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("org", '"LA-207"'),
        ("org", '""'),
        ("org", '"-la"'),
        ("org", "207"),
        ("name", '""'),
        ("name", '"   "'),
        ("name", f'"{"x" * 201}"'),
        ("name", '"a\\u0007"'),
        ("public_url", '"http://a.example"'),
        ("public_url", '"https://a.example/"'),
        ("public_url", '"https://a.example/path"'),
        ("public_url", '"https://a.example:0"'),
        ("public_url", '"https://a.example:65536"'),
        ("public_url", '"https://user@a.example"'),
        ("listen", '"8443"'),
        ("listen", '"127.0.0.1"'),
        ("listen", '"127.0.0.1:0"'),
        ("listen", '"127.0.0.1:65536"'),
        ("listen", '"::1:8443"'),
        ("listen", "8443"),
    ],
)
def test_value_in_another_form_is_refused_by_its_key_and_never_shown(key: str, value: str) -> None:
    found, rule = fault_of(replaced(key, value))
    assert found == key
    assert value.strip('"') not in rule or value in ('""', '"-la"')


@pytest.mark.parametrize("origin", ["with space", "a+b", "x" * 201])
def test_log_origin_is_a_name_that_a_signed_note_can_have(origin: str) -> None:
    assert fault_of(f'{LEAST}log_origin = "{origin}"')[0] == "log_origin"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "localhost", "300.0.0.1", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused_by_its_place(network: str) -> None:
    text = f'{LEAST}[partners]\nallowed_private = ["127.0.0.1", "{network}"]'
    assert fault_of(text)[0] == "partners.allowed_private[1]"


def test_a_network_with_bits_beyond_its_length_is_told_apart_from_what_is_none() -> None:
    assert "bits beyond" in fault_of(f'{LEAST}[partners]\nallowed_private = ["10.0.0.1/8"]')[1]
    assert "bits beyond" not in fault_of(f'{LEAST}[partners]\nallowed_private = ["10.0.0.0/33"]')[1]


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_lines_end_as_they_do_on_any_system(ending: str) -> None:
    assert read(LEAST.replace("\n", ending)) == read(LEAST)


@pytest.mark.parametrize("data", [b"org = ", b"\xff", b'org = "a"\norg = "b"', b"[org]"])
def test_what_is_no_toml_is_refused_with_the_file_named(data: bytes) -> None:
    with pytest.raises(FileError, match=r"config\.toml: "):
        read_settings(data, file="config.toml")


def test_every_fault_is_told_at_once() -> None:
    text = """
org = "LA-207"
name = "Invented Council"
listen = 8443
log_origin = "with space"
surprise = true
[partners]
allowed_private = ["10.0.0.0/8", "nowhere", "300.0.0.1"]
verify = false
[metrics]
listen = "9464"
"""
    with pytest.raises(FileError) as caught:
        read(text)
    assert {problem.key for problem in caught.value.problems} == {
        "org",
        "public_url",
        "listen",
        "log_origin",
        "surprise",
        "partners.allowed_private[1]",
        "partners.verify",
        "metrics.listen",
    }


@pytest.mark.parametrize("text", ['"odd key" = 1', '"a.b" = 1', "metrics = 5", "[metrics]", 'tls = []\npartners = "x"'])
def test_telling_every_fault_comes_to_an_end(text: str) -> None:
    with pytest.raises(FileError):
        read(LEAST + text)


def test_ipv6_listener_is_written_in_brackets_and_held_without() -> None:
    assert read(replaced("listen", '"[::1]:8443"')).listen == ("::1", 8443)


_LABEL = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
_PLAIN = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=200)


@st.composite
def all_settings(draw: st.DrawFn) -> Settings:
    org = draw(_LABEL)
    networks = st.ip_addresses().map(ipaddress.ip_network)
    return Settings(
        org=org,
        name=draw(_PLAIN.filter(str.strip)),
        public_url=f"https://{draw(_LABEL)}.example:{draw(st.integers(1, 65_535))}",
        listen=(draw(st.sampled_from(["127.0.0.1", "::1", "gateway.internal"])), draw(st.integers(1, 65_535))),
        log_origin=draw(st.just(default_origin(org)) | _LABEL),
        tls_certificate=draw(_PLAIN),
        tls_key=draw(_PLAIN),
        allowed_private=tuple(draw(st.lists(networks, max_size=3, unique=True))),
        ca_file=draw(st.none() | _PLAIN),
        metrics_listen=(draw(st.sampled_from(["127.0.0.1", "::1"])), draw(st.integers(1, 65_535))),
        witnesses=WitnessSettings(
            further=tuple(
                WitnessPoint(
                    CosignerKey(f"{name}.example", name.encode().ljust(32, b"\0")), f"https://{name}.example/w"
                )
                for name in draw(st.lists(_LABEL, max_size=3, unique=True))
            ),
            without=tuple(draw(st.lists(_LABEL, max_size=3, unique=True))),
            hold_after_hours=draw(st.integers(1, 1000)),
        ),
    )


WITNESS = CosignerKey("dpo.a.example/witness", b"\x07" * 32)


def test_witnesses_besides_partners_are_named_by_key_and_address() -> None:
    text = f"""{LEAST}[witnesses]
keys = ["{WITNESS.vkey()} https://dpo.a.example:8444/witness/v1"]
without = ["la-299"]
hold_after_hours = 12
"""
    assert read(text).witnesses == WitnessSettings(
        further=(WitnessPoint(WITNESS, "https://dpo.a.example:8444/witness/v1"),),
        without=("la-299",),
        hold_after_hours=12,
    )


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (f'keys = ["{WITNESS.vkey()}"]', "witnesses.keys[0]"),
        (f'keys = ["{WITNESS.vkey()} http://dpo.a.example"]', "witnesses.keys[0]"),
        (f'keys = ["{WITNESS.vkey()} https://dpo.a.example/"]', "witnesses.keys[0]"),
        (f'keys = ["{WITNESS.vkey()} https://dpo.a.example/a?b"]', "witnesses.keys[0]"),
        (f'keys = ["{WITNESS.vkey()}  https://dpo.a.example"]', "witnesses.keys[0]"),
        (f'keys = ["{WITNESS.vkey()} https://dpo.a.example:65536"]', "witnesses.keys[0]"),
        (f'keys = ["x{WITNESS.vkey()} https://dpo.a.example"]', "witnesses.keys[0]"),
        (f'keys = ["{NoteKey("log", WITNESS.public).vkey()} https://dpo.a.example"]', "witnesses.keys[0]"),
        (f'keys = ["{WITNESS.vkey()} https://a.example", "{WITNESS.vkey()} https://b.example"]', "witnesses.keys"),
        ('without = ["No Organisation"]', "witnesses.without[0]"),
        ("hold_after_hours = 0", "witnesses.hold_after_hours"),
        ("hold_after_hours = 8761", "witnesses.hold_after_hours"),
        ('hold_after_hours = "4"', "witnesses.hold_after_hours"),
        ("quorum = 1", "witnesses.quorum"),
    ],
)
def test_a_fault_in_what_is_said_of_witnesses_is_told_by_its_place(line: str, place: str) -> None:
    assert fault_of(f"{LEAST}[witnesses]\n{line}\n")[0] == place


@given(all_settings())
def test_written_settings_read_back_as_themselves(settings: Settings) -> None:
    assert read(write_settings(settings)) == settings


# --- webhooks

HOOK = """
[[webhook]]
name = "case-system"
url = "https://cases.a.example/safehand"
secret = "secrets/case-system.whsec"
"""


def hook(**changes: str) -> str:
    """The file with one webhook, keys of it changed or added (TOML values)."""
    values = {
        "name": '"case-system"',
        "url": '"https://cases.a.example/safehand"',
        "secret": '"secrets/case-system.whsec"',
        **changes,
    }
    return LEAST + "[[webhook]]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def test_a_webhook_is_told_everything_unless_types_are_named() -> None:
    assert read(LEAST + HOOK).webhooks == (
        Webhook(name="case-system", url="https://cases.a.example/safehand", secret="secrets/case-system.whsec"),
    )
    (named,) = read(hook(events='["message.received"]', allowed_private='["10.30.0.5"]', ca_file='"ca.crt"')).webhooks
    assert named.events == ("message.received",)
    assert named.allowed_private == (ipaddress.ip_network("10.30.0.5"),)
    assert named.ca_file == "ca.crt"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://[::1]/", "http://localhost:8080/hook"])
def test_http_leads_to_this_machine_alone(url: str) -> None:
    (webhook,) = read(hook(url=f'"{url}"')).webhooks
    assert webhook.on_loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://cases.a.example/",
        "http://127.0.0.1.example/",
        "http://10.0.0.1/",
        "https://user:pass@cases.a.example/",
        "https://cases.a.example",
        "https://cases.a.example/?token=x",
        "https://cases.a.example/#x",
        "https://cases.a.example:99999/",
        "ftp://127.0.0.1/",
        "https:///x",
    ],
)
def test_an_address_that_no_webhook_can_have_is_refused(url: str) -> None:
    assert fault_of(hook(url=f'"{url}"'))[0] == "webhook[0].url"


def test_https_on_this_machine_leads_nowhere_else() -> None:
    assert read(hook(url='"https://localhost/x"')).webhooks[0].on_loopback
    assert not read(LEAST + HOOK).webhooks[0].on_loopback


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", '"Case System"'),
        ("name", '""'),
        ("secret", '"/etc/passwd"'),
        ("secret", '"secrets/../config.toml"'),
        ("secret", '"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"'),
        ("events[0]", '["message.sending"]'),
        ("events", "[]"),
        ("allowed_private[0]", '["here"]'),
        ("surprise", '"yes"'),
    ],
)
def test_what_is_wrong_with_a_webhook_is_named_and_not_repeated(key: str, value: str) -> None:
    place, rule = fault_of(hook(**{key.partition("[")[0]: value}))
    assert place == f"webhook[0].{key}"
    assert "whsec_M" not in rule


def test_two_webhooks_of_one_name_are_refused() -> None:
    assert fault_of(LEAST + HOOK + HOOK)[0] == "webhook[1].name"


def test_webhooks_are_written_as_they_are_read() -> None:
    settings = read(
        hook(events='["message.dead", "message.expired"]', ca_file='"secrets/ca.crt"') + HOOK.replace("case", "b")
    )
    assert len(settings.webhooks) == 2
    assert read(write_settings(settings)) == settings


def test_api_has_no_listener_unless_one_is_named() -> None:
    assert read(LEAST).api is None


def test_api_is_read_and_written_with_every_limit() -> None:
    settings = read(LEAST + '[api]\nlisten = "127.0.0.1:8445"\nburst = 7\n')
    assert settings.api == ApiSettings(listen=("127.0.0.1", 8445), burst=7)
    assert read_settings(write_settings(settings).encode(), file="config.toml") == settings


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("[api]\nburst = 1\n", "api.listen"),
        ('[api]\nlisten = "127.0.0.1"\n', "api.listen"),
        ('[api]\nlisten = "127.0.0.1:1"\nburst = 0\n', "api.burst"),
        ('[api]\nlisten = "127.0.0.1:1"\nin_flight = 1001\n', "api.in_flight"),
        ('[api]\nlisten = "127.0.0.1:1"\nrequests_per_minute = "many"\n', "api.requests_per_minute"),
        ('[api]\nlisten = "127.0.0.1:1"\ntls = false\n', "api.tls"),
    ],
)
def test_fault_of_the_api_is_named_by_its_key(table: str, key: str) -> None:
    with pytest.raises(FileError) as refused:
        read(LEAST + table)
    assert [problem.key for problem in refused.value.problems] == [key]


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("a.example", False),
    ],
)
def test_only_loopback_is_reached_from_this_machine_alone(host: str, plain: bool) -> None:
    assert is_loopback(host) is plain
