"""The lease on SQS: there is none to be had for the queue as a whole."""

from __future__ import annotations

from gateway.queues import ForwarderStatus


class SqsLease:
    """SQS keeps forwarders out of each other's way, message by message."""

    def acquire(self) -> bool:
        """Whether it is ours now: always."""
        return True

    def report(self, condition: ForwarderStatus) -> None:
        """Each forwarder says itself how it is going: see `forward --metrics-port`."""
