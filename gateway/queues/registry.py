"""Find the backend of a queue by its URL's scheme. A new backend is a module and a line here.

A backend is imported when it is used: with a SQLite queue nothing loads boto3.
"""

from __future__ import annotations

from importlib import import_module

from gateway.queues import QueueBackend
from gateway.settings import Settings

BACKENDS = {
    "sqlite": "gateway.queues.sqlite.backend",
    "http": "gateway.queues.sqs.backend",
    "https": "gateway.queues.sqs.backend",
    "memory": "gateway.queues.memory",
}


def find_queue(settings: Settings) -> QueueBackend:
    """Return the queue that GATEWAY_QUEUE names. Nothing is opened before it is used."""
    scheme = settings.queue.partition(":")[0]
    backend: QueueBackend = import_module(BACKENDS[scheme]).create_backend(settings)
    return backend
