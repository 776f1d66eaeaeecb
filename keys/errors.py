"""What can go wrong with keys and signatures. Each error has a code for the local log; none holds a secret, a key or
what was signed. To a partner they all look alike: the public face is chosen elsewhere."""

from __future__ import annotations


class KeysError(Exception):
    """A key, a signature or the place that keeps keys is not what it should be; `rule` says what was asked of it."""

    code = "keys.error"

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(rule)


class Base64Error(KeysError):
    """Text that is not the one canonical base64url form of its bytes."""

    code = "base64.malformed"


class KeyFormatError(KeysError):
    """A public key, seed or JWK that no honest key maker writes."""

    code = "key.malformed"


class SignatureError(KeysError):
    """A signature that its key did not make over these bytes."""

    code = "signature.invalid"


class UnwrapError(KeysError):
    """A content key that was not wrapped for this key."""

    code = "key.unwrap"


class StatementError(KeysError):
    """A two-signature statement that is malformed (`statement.malformed`), has other headers than asked for
    (`statement.header`) or a signature that fails (`statement.signature`)."""

    def __init__(self, code: str, rule: str) -> None:
        self.code = code
        super().__init__(rule)


class BundleError(KeysError):
    """A key bundle that must not be accepted; `code` names the refusal of envelope section 5."""

    def __init__(self, code: str, rule: str) -> None:
        self.code = code
        super().__init__(rule)


class HttpSignatureError(KeysError):
    """A partner's request whose signature is absent, malformed, stale, replayed or wrong; the partner sees 401 only."""

    def __init__(self, code: str, rule: str) -> None:
        self.code = code
        super().__init__(rule)


class KeystoreError(KeysError):
    """A place that keeps private keys and cannot be read, opened or written."""

    def __init__(self, code: str, rule: str) -> None:
        self.code = code
        super().__init__(rule)
