"""Durable state behind the ports: one SQLite file, one writer, readers beside it.

Tables and SQL are private to this package; `gateway.app` alone imports it, and through `opening` only. What is stored
as evidence is stored as the bytes that were signed; bodies are encrypted under a key of their own (log.md parts A and B).
"""
