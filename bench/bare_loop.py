"""The forwarder's ceiling: boto3 and nothing else, calling PutEvents with ten events each time.

python -m bench.bare_loop EVENTS
"""

from __future__ import annotations

import json
import sys

import boto3

from bench.backlog import records
from bench.servers import SITE
from gateway.forwarder.personalize import CONFIG


def main() -> None:
    """As the forwarder does, from the texts in which events are stored."""
    client = boto3.Session().client("personalize-events", region_name="us-east-1", config=CONFIG)
    waiting = list(records(int(sys.argv[1])))
    for start in range(0, len(waiting), 10):
        batch = waiting[start : start + 10]
        client.put_events(
            trackingId=SITE,
            sessionId=batch[0].session_id,
            eventList=[json.loads(record.event) for record in batch],
        )


if __name__ == "__main__":
    main()
