"""Log arithmetic: entries, the Merkle tree, proofs, checkpoints, and the check of a whole log.

Pure: bytes and hashes in, values out. Knows nothing of messages, keys or tables, so that a partner or an auditor can
verify a log with this package alone (and any Ed25519 of theirs, given as a function).
"""
