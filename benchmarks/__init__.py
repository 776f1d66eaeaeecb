"""Measurements: each of ours beside the bare primitives it cannot be faster than, in one run, so that ratios mean something."""
