"""Judging an exported log (log A5): without a home, a keystore or a network, by signatures and whatever the judge brings along.

What an export proves by itself is that its parts belong together and were signed by the keys in it. That those keys are
the organisation's, and that this is the log others were shown, is proven by what comes from elsewhere: a fingerprint
heard on the telephone, a head remembered from last time, a partner's receipts, a witness's checkpoint, one's own policy.
"""
