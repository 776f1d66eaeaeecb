"""The constants of suite sh1. A suite is whole and never negotiated: another algorithm is another suite. Pure."""

from __future__ import annotations

from typing import Final

SUITE: Final = "sh1"

# Envelope section 1: content encryption and the wrapping of its key.
ENCRYPTION: Final = "A256GCM"
KEY_ENCRYPTION: Final = "HPKE-9-KE"
RECIPIENT_INFO: Final = b"JOSE-HPKE rcpt\xffA256GCM\xff"
COMMITMENT_LABEL: Final = b"safehand sh1 cek commitment"
CONTENT_KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
ENCAPSULATED_SIZE: Final = 1120
ENCRYPTED_KEY_SIZE: Final = 48

# Envelope section 5: keys. Every secret key is a seed of this size.
SEED_SIZE: Final = 32
ED25519_ALGORITHM: Final = "Ed25519"
ED25519_PUBLIC_SIZE: Final = 32
ED25519_SIGNATURE_SIZE: Final = 64
ML_DSA_ALGORITHM: Final = "ML-DSA-65"
ML_DSA_PUBLIC_SIZE: Final = 1952
ML_DSA_SIGNATURE_SIZE: Final = 3309
ML_KEM_PUBLIC_SIZE: Final = 1184
X25519_PUBLIC_SIZE: Final = 32
KEM_PUBLIC_SIZE: Final = ML_KEM_PUBLIC_SIZE + X25519_PUBLIC_SIZE

# `typ` of everything that is signed or sealed, and its media type.
SEALED_TYPE: Final = "safehand-msg+jwe"
MESSAGE_TYPE: Final = "safehand-msg+jws"
RECEIPT_TYPE: Final = "safehand-rcpt+jws"
BUNDLE_TYPE: Final = "safehand-keys+jws"
EVENT_TYPE: Final = "safehand-agr+jws"
STATEMENT_TYPE: Final = "safehand-stmt+jws"
CONTENT_TYPE: Final = "jose+json"
MEDIA_TYPE: Final = "application/jose+json"
