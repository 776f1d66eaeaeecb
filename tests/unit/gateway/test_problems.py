"""What each error ends a command with, by the one table; and that the documents list the same codes."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from contracts.errors import DocumentError
from gateway import app, home
from gateway.core import errors
from gateway.core.errors import SafehandError
from gateway.store import opening, sqlite, vault, writer
from gateway.web.problems import EXITS, fault_of, problem_of
from gateway.web.tls import TlsError
from keys.errors import BundleError, KeystoreError

ROOT = Path(__file__).resolve().parents[3]
CANARY = "Zebulonia"


@pytest.mark.parametrize(
    ("error", "leaves"),
    [
        (errors.SubmissionRefusedError("code", "place", "rule"), 4),
        (errors.ReceiptRejectedError("cause"), 4),
        (errors.ConflictError("cause"), 4),
        (DocumentError("rule"), 4),
        (BundleError("bundle.seq", "rule"), 4),
        (home.HomeError("rule"), 2),
        (TlsError("rule"), 2),
        (KeystoreError("keystore.permissions", "rule"), 2),
        (app.NotReadyError("rule"), 2),
        (opening.SchemaError("rule"), 2),
        (sqlite.SqliteVersionError("rule"), 2),
        (errors.LogInconsistentError("rule"), 3),
        (errors.RowTamperedError("partner"), 3),
        (vault.VaultError("rule"), 3),
        (errors.BusyError("rule"), 75),
        (errors.NotYetError("rule"), 75),
        (writer.WriterStoppedError("rule"), 75),
        (SafehandError("rule"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_error_leaves_with_the_exit_code_of_its_kind(error: Exception, leaves: int) -> None:
    problem = problem_of(error)
    assert problem is not None
    assert problem.exit == leaves


def test_every_error_of_the_core_has_a_face_of_its_own() -> None:
    """What falls through to the base would be told as a fault of ours."""
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if kind is not SafehandError:
            bare = kind.__new__(kind)
            problem = problem_of(bare)
            assert problem is not None, kind.__name__
            assert problem.exit != 1, kind.__name__


def test_a_bug_has_no_face_and_is_told_by_its_type_alone() -> None:
    assert problem_of(ValueError(CANARY)) is None
    assert CANARY not in str(fault_of(ValueError(CANARY)).members())


@pytest.mark.parametrize("page", ["README.md", "docs/operators.md"])
def test_the_documents_list_the_exit_codes_of_the_table(page: str) -> None:
    told = " ".join((ROOT / page).read_text().split())
    assert ", ".join(f"{code} {meaning}" for code, meaning in EXITS.items()) in told
