"""A site's `calls_per_second` is kept to, whatever has gathered; other sites are not slowed."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.support import ROOT, SITES, TRACKING_ID, Gateway, beacon, event, write_sites

SESSIONS = 60
LATE = 0.5  # seconds
PACED = SITES.replace("[sites.media]", "calls_per_second = 20\n\n[sites.media]")


def times(gateway: Gateway, *, paced: bool) -> list[float]:
    """When PutEvents received the calls of the paced site, or of the other, in epoch seconds."""
    calls = gateway.sandbox.requests()
    return [one["receivedAt"] for one in calls if (one["trackingId"] == TRACKING_ID) is paced]


def test_a_backlog_is_delivered_at_the_sites_own_pace(gateway, tmp_path):
    write_sites(tmp_path / "sites.toml", PACED)
    gateway.start(GATEWAY_FORWARDER="off")
    for number in range(SESSIONS):
        gateway.assert_accepted(event(), sessionId=f"s-{number}")
        other = {**beacon(event(), sessionId=f"s-{number}"), "trackingId": "media"}
        assert gateway.post(other, Origin="https://media.example.com").status_code == 204
    command = [sys.executable, "-m", "gateway", "forward", "--once"]
    subprocess.run(command, cwd=ROOT, env=gateway.environ, timeout=60, check=True)

    shop, media = times(gateway, paced=True), times(gateway, paced=False)
    assert len(shop) == len(media) == SESSIONS
    # No call comes before its turn; each may come later, as the machine has it, the first too.
    first, *others = sorted(shop)
    for number, moment in enumerate(others, 1):
        assert moment - first >= number / 20 - LATE
    assert max(media) < max(shop)  # the other site isn't slowed
