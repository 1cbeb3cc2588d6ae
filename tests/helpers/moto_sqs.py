"""moto's server with its SQS mended, which lost a message now and then.

`python -m tests.helpers.moto_sqs -H HOST -p PORT` is `moto_server`.
"""

from __future__ import annotations

from typing import Any

from moto.server import ThreadedMotoServer, main
from moto.sqs.models import Queue

__all__ = ["ThreadedMotoServer"]

_delete = Queue.delete_message


def _delete_alone(self: Any, receipt_handle: str) -> None:
    """It puts a new list in the place of that of all messages.

    What another thread had added meanwhile, after a deletion of its own, was lost with the old one.
    """
    with self._messages_lock:
        _delete(self, receipt_handle)


Queue.delete_message = _delete_alone

if __name__ == "__main__":
    main()
