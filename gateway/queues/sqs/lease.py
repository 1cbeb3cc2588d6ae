"""The lease on SQS: any number of forwarders may share the queue."""

from __future__ import annotations

from gateway.queues import ForwarderStatus


class SqsLease:
    """A lease that is always held: SQS hides each message from other forwarders."""

    def acquire(self) -> bool:
        """Return True."""
        return True

    def report(self, status: ForwarderStatus) -> None:
        """Do nothing: each forwarder reports at its own `--metrics-port`."""
