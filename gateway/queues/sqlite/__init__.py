"""The queue on one machine: a SQLite file in WAL mode.

Many web workers put, one forwarder takes. The lease is the lock on the file: whoever holds it is
the only forwarder, so what is in flight is known from its memory, and nothing is written for it.
"""
