"""Messages per second through two gateways in processes of their own: accepted durably, and confirmed by a verified receipt."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from benchmarks.parts import rate
from gateway.demo import records
from gateway.demo.stage import wait_for
from gateway.demo.story import Story
from gateway.store.sqlite import writer_engine
from keys.key import Ed25519Secret, MlDsa65Secret, SigningPair, XWingSecret
from keys.suite import RECIPIENT_INFO

_CLIENTS = 8
_ROWS = 3  # durable rows a message writes on each side, as in log.md B5


def run(console: Console, messages: int) -> None:
    """Set two gateways up, send `messages` enquiries, and print the rates beside the floor measured in the same run."""
    with tempfile.TemporaryDirectory(prefix="safehand-bench-") as folder:
        story = Story(Path(folder), Console(file=Path(os.devnull).open("w")))  # noqa: SIM115 - ends with the process
        try:
            story.set_up()
            story.introduce()
            story.agree()
            accepted, confirmed = _measure(story, messages)
        finally:
            for council in story.both:
                council.stop()
        floor = _floor(Path(folder))
    table = Table(title=f"Two gateways on one machine, TLS 1.3, SQLite synchronous=FULL, {messages} messages")
    for name in ("", "ours / s", "bare primitives / s", "ours : bare"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row(
        "accepted (checked, sealed, durable) : the same", f"{accepted:,.0f}", f"{floor:,.0f}", f"{accepted / floor:.2f}"
    )
    table.add_row(
        "confirmed end to end : both sides' signatures, KEM and commits", f"{confirmed:,.0f}", f"{floor:,.0f}",
        f"{confirmed / floor:.2f}",
    )  # fmt: skip
    console.print(table)


def _measure(story: Story, messages: int) -> tuple[float, float]:
    kc = story.kc
    began = time.perf_counter()
    with ThreadPoolExecutor(max_workers=_CLIENTS) as clients:
        list(clients.map(lambda number: _send(story, number), range(messages)))
    accepted = time.perf_counter()
    wait_for("every message is confirmed", lambda: kc.act("status")["counts"].get("outbound.delivered", 0) >= messages)
    confirmed = time.perf_counter()
    return messages / (accepted - began), messages / (confirmed - began)


def _send(story: Story, number: int) -> None:
    story.kc.act(
        "send",
        partner=story.hants.org,
        type="cme.enquiry",
        facts={"urgency": "routine"},
        body=orjson.dumps(records.enquiry(number)).decode(),
        key=f"bench-{number}",
    )


def _floor(folder: Path) -> float:
    """What one message costs at least, in one thread: two signed statements, their verification, KEM, AES, two commits."""
    pair, kem, cek = SigningPair(Ed25519Secret.generate(), MlDsa65Secret.generate()), XWingSecret.generate(), bytes(32)
    text, box = bytes(4096), AESGCM(cek)
    ek, encrypted_key = kem.public.wrap(cek, RECIPIENT_INFO)
    closed = box.encrypt(bytes(12), text, b"")
    signed = pair.ed.sign(text), pair.ml.sign(text)
    engine = writer_engine(folder / "floor.db")
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("create table row (data blob)")
    connection.commit()

    def one_message() -> None:
        for _ in range(2):  # the message, then the receipt
            pair.ed.sign(text)
            pair.ml.sign(text)
            pair.ed.public.verify(signed[0], text)
            pair.ml.public.verify(signed[1], text)
        kem.public.wrap(cek, RECIPIENT_INFO)
        kem.unwrap(ek, encrypted_key, RECIPIENT_INFO)
        box.encrypt(bytes(12), text, b"")
        box.decrypt(bytes(12), closed, b"")
        for _ in range(2):  # the sender's and the receiver's transaction
            cursor.executemany("insert into row values (?)", [(text,)] * _ROWS)
            connection.commit()

    try:
        return rate(one_message, 2.0)
    finally:
        connection.close()
        engine.dispose()
