"""Keystore files: the secret keys of one job, under a passphrase. Example:

    {"v":1,"format":"safehand-keystore","kdf":"argon2id","memory":268435456,"passes":3,"salt":"<22>",
     "cipher":"xsalsa20-poly1305","nonce":"<32>","ciphertext":"..","sha256":"<64 hex>"}

argon2id (libsodium, one lane) makes the key of a secretbox out of the passphrase; inside is the wire JSON
`{"keys":[{"role","alg","seed","kid"},..],"secrets":{"<name>":"<43>",..}}`. `sha256` is over the bytes before `,"sha256"`:
it protects nothing, and only tells a damaged file from a wrong passphrase. The cost in a file is capped from above
(a planted file must not exhaust the machine) and not from below: whoever can write a cheap file that opens knows the
passphrase already, and the next `replace` writes the cost that this program was given.

The passphrase comes from the caller or a file, never from the environment. What the operating system keeps of a
replaced file (old blocks, snapshots, backups) is beyond this module.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nacl.bindings
import nacl.exceptions
import nacl.pwhash

from contracts.document import read_wire, write_wire
from contracts.errors import DocumentError
from keys import base64url, suite
from keys.errors import Base64Error, KeyFormatError, KeystoreError
from keys.key import Ed25519Secret, MlDsa65Secret, XWingSecret
from keys.keyset import SYMMETRIC_SIZE, KeySet, StoredKey
from keys.sources.durable import UnsyncedError, create_file, replace_file

FILE_LIMIT = 1024 * 1024  # bytes: some thousand keys
PASSPHRASE_LIMIT = 1024  # bytes
_VERSION = 1
_FORMAT = "safehand-keystore"
_KDF = "argon2id"
_CIPHER = "xsalsa20-poly1305"
_MEMBERS = ["v", "format", "kdf", "memory", "passes", "salt", "cipher", "nonce", "ciphertext", "sha256"]
_SALT_SIZE = 16
_NONCE_SIZE = 24
_MIB = 1024 * 1024
_DERIVED = 8  # a home has three keystores, and changing one makes another
_KINDS: dict[str, type[Ed25519Secret | MlDsa65Secret | XWingSecret]] = {
    suite.ED25519_ALGORITHM: Ed25519Secret,
    suite.ML_DSA_ALGORITHM: MlDsa65Secret,
    suite.KEY_ENCRYPTION: XWingSecret,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What argon2id costs whoever guesses a passphrase: `memory` in bytes, `passes` over it."""

    memory: int
    passes: int


STANDARD = Cost(memory=256 * _MIB, passes=3)
HIGHEST = Cost(memory=1024 * _MIB, passes=10)
LOWEST = Cost(memory=8 * 1024, passes=1)  # libsodium's own


class KeystoreFile:
    """One keystore file, read and written under one passphrase; `cost` is what new files are written with."""

    def __init__(self, path: Path, passphrase: bytes, *, cost: Cost = STANDARD) -> None:
        if not passphrase:
            raise KeystoreError("keystore.passphrase", "a passphrase is not empty")
        _check_cost(cost)
        self._path = path
        self._passphrase = passphrase
        self._cost = cost

    def create(self, keys: KeySet) -> None:
        """Write a new file with mode 0600. Raises KeystoreError `keystore.exists`."""
        data = _lock(keys, self._passphrase, self._cost)
        with _writing(self._path):
            try:
                create_file(self._path, data)
            except FileExistsError:
                raise _refused(self._path, "keystore.exists", "exists and is not overwritten") from None

    def load(self) -> KeySet:
        """Return the keys. Raises KeystoreError: `keystore.absent`, `keystore.permissions`, `keystore.malformed`
        (damaged), `keystore.passphrase` (wrong)."""
        data = _read_private(self._path, FILE_LIMIT)
        try:
            return _unlock(data, self._passphrase)
        except KeystoreError as error:
            raise _refused(self._path, error.code, error.rule) from None

    def replace(self, keys: KeySet) -> None:
        """Put a new file in the place of the present one, at once or not at all.

        The present one must open, so that a mistyped passphrase cannot lock keys away. Callers keep to one writer.
        """
        self.load()
        data = _lock(keys, self._passphrase, self._cost)
        with _writing(self._path):
            replace_file(self._path, data)


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in a private file, without the line end after it. Raises KeystoreError."""
    data = _read_private(path, PASSPHRASE_LIMIT)
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or b"\n" in passphrase:
        raise _refused(path, "keystore.passphrase", "holds one line that is not empty")
    return passphrase


def _lock(keys: KeySet, passphrase: bytes, cost: Cost) -> bytes:
    inner = {
        "keys": [
            {
                "role": key.role,
                "alg": key.secret.public.algorithm,
                "seed": base64url.encode(key.secret.seed),
                "kid": key.kid,
            }
            for key in keys.keys
        ],
        "secrets": {name: base64url.encode(value) for name, value in keys.secrets.items()},
    }
    salt, nonce = secrets.token_bytes(_SALT_SIZE), secrets.token_bytes(_NONCE_SIZE)
    ciphertext = nacl.bindings.crypto_secretbox(write_wire(inner), nonce, _derive(passphrase, salt, cost))
    members = (
        _VERSION,
        _FORMAT,
        _KDF,
        cost.memory,
        cost.passes,
        base64url.encode(salt),
        _CIPHER,
        base64url.encode(nonce),
        base64url.encode(ciphertext),
    )
    outer = dict(zip(_MEMBERS, members, strict=False))
    data = write_wire({**outer, "sha256": hashlib.sha256(write_wire(outer)[:-1]).hexdigest()})
    if len(data) > FILE_LIMIT:
        raise KeystoreError("keystore.full", "a keystore holds at most 1 MiB")
    return data


def _unlock(data: bytes, passphrase: bytes) -> KeySet:
    """Steps: 1 strict form, 2 undamaged, 3 cost within the cap, 4 passphrase, 5 the keys are what they say."""
    try:
        # 1
        outer = read_wire(data, limit=FILE_LIMIT, depth=1)
        if type(outer) is not dict or list(outer) != _MEMBERS:
            raise _malformed("it has exactly the members of a keystore")
        if type(outer["v"]) is not int or (outer["v"], outer["format"], outer["kdf"], outer["cipher"]) != (
            _VERSION,
            _FORMAT,
            _KDF,
            _CIPHER,
        ):
            raise _malformed("it is a keystore of another format")
        salt, nonce = base64url.decode(outer["salt"], _SALT_SIZE), base64url.decode(outer["nonce"], _NONCE_SIZE)
        ciphertext = base64url.decode(outer["ciphertext"])
        # 2
        if hashlib.sha256(data[: data.rindex(b',"sha256":')]).hexdigest() != outer["sha256"]:
            raise _malformed("it is damaged: restore it from a backup")
        # 3
        cost = Cost(memory=outer["memory"], passes=outer["passes"])
        _check_cost(cost)
        # 4
        key = _derive(passphrase, salt, cost)
        try:
            inner = nacl.bindings.crypto_secretbox_open(ciphertext, nonce, key)
        except nacl.exceptions.CryptoError:
            raise KeystoreError("keystore.passphrase", "the passphrase does not open the keystore") from None
        # 5
        return _key_set(read_wire(inner, limit=FILE_LIMIT, depth=3))
    except (DocumentError, Base64Error, KeyFormatError) as error:
        raise _malformed(error.rule) from None  # no chain: a context could hold what was inside


def _key_set(value: Any) -> KeySet:
    if type(value) is not dict or list(value) != ["keys", "secrets"]:
        raise _malformed("inside are exactly keys and secrets")
    if type(value["keys"]) is not list or type(value["secrets"]) is not dict:
        raise _malformed("inside are a list and an object")
    return KeySet(
        keys=tuple(_stored_key(entry) for entry in value["keys"]),
        secrets={name: base64url.decode(text, SYMMETRIC_SIZE) for name, text in value["secrets"].items()},
    )


def _stored_key(entry: Any) -> StoredKey:
    if type(entry) is not dict or list(entry) != ["role", "alg", "seed", "kid"]:
        raise _malformed("a key has exactly role, alg, seed and kid")
    if not all(type(member) is str for member in entry.values()) or entry["alg"] not in _KINDS:
        raise _malformed("a key is of a kind that this program knows")
    key = StoredKey(entry["role"], _KINDS[entry["alg"]](base64url.decode(entry["seed"])))
    if key.kid != entry["kid"]:
        raise _malformed("a key is the one that its id names")
    return key


def _check_cost(cost: Cost) -> None:
    if not (
        type(cost.memory) is type(cost.passes) is int
        and LOWEST.memory <= cost.memory <= HIGHEST.memory
        and LOWEST.passes <= cost.passes <= HIGHEST.passes
    ):
        raise KeystoreError("keystore.cost", "argon2id takes at most 1 GiB and 10 passes")


@lru_cache(maxsize=_DERIVED)
def _derive(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    """The key of one file. The newest few are remembered while the process lasts: a command that opens, changes and opens
    a keystore again pays its cost once for each file. Whoever can read them there reads the keys themselves
    (docs/decisions/0020)."""
    size = nacl.bindings.crypto_secretbox_KEYBYTES
    try:
        return nacl.pwhash.argon2id.kdf(size, passphrase, salt, opslimit=cost.passes, memlimit=cost.memory)
    except nacl.exceptions.RuntimeError:
        raise KeystoreError("keystore.memory", "argon2id does not get the memory that it needs") from None


def _malformed(rule: str) -> KeystoreError:
    return KeystoreError("keystore.malformed", f"cannot be read: {rule}")


def _refused(path: Path, code: str, rule: str) -> KeystoreError:
    return KeystoreError(code, f"{path.name}: {rule}")


def _read_private(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file that belongs to this user and that nobody else may read."""
    try:  # not blocking: a pipe put there must not hang the caller
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _refused(path, "keystore.absent", "there is no such file") from None
    except OSError as error:
        raise _refused(path, "keystore.permissions", "cannot be opened, or is a link") from error
    try:
        _check_private(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _refused(path, "keystore.io", "cannot be read") from error
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise _refused(path, "keystore.malformed", f"has more than {limit} bytes")
    return data


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refused(path, "keystore.permissions", "is not a regular file")
    if status.st_uid != os.geteuid():
        raise _refused(path, "keystore.permissions", "belongs to another user")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _refused(path, "keystore.permissions", "is open to its group or to others: chmod 600 it")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except UnsyncedError as error:
        raise _refused(path, "keystore.io", "is written, but its folder is not on disk") from error
    except OSError as error:
        raise _refused(path, "keystore.io", f"cannot be written ({error.strerror})") from error
