"""Alembic's entry point: runs revisions on the connection it is given, or, for maintainers, on an empty scratch database."""

from __future__ import annotations

import tempfile
from pathlib import Path

from alembic import context
from sqlalchemy import Connection

from gateway.store.migrations import CONNECTION
from gateway.store.schema import metadata
from gateway.store.sqlite import writer_engine


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get(CONNECTION)
if given is not None:
    run(given)
else:
    with tempfile.TemporaryDirectory() as folder:
        engine = writer_engine(Path(folder) / "scratch.sqlite")
        with engine.begin() as scratch:
            run(scratch)
        engine.dispose()
