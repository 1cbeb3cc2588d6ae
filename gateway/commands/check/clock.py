"""Compare the machine's clock with AWS's: AWS rejects signatures that are minutes off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from botocore.exceptions import BotoCoreError

from gateway.commands.check.aws import REMEDIES
from gateway.commands.check.finding import Finding
from gateway.forwarder.personalize import session
from gateway.settings import Settings

TOLERANCE = 60.0  # seconds; AWS's own is five minutes
PATIENCE = 10.0  # seconds
SET_IT = "Set it by NTP: timedatectl set-ntp true, or chrony"


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield one finding, from the Date header of the first site's PutEvents endpoint."""
    site = next(iter(settings.sites.values()))
    try:
        client = session(site).create_client(
            "personalize-events", region_name=site.region, endpoint_url=site.endpoint_url
        )
    except BotoCoreError:  # no region, no such profile: reported already
        return
    try:
        aws_time = _date_of(client.meta.endpoint_url)
    except (OSError, ValueError) as error:
        text = f"not compared: {error}"
        yield Finding("clock", False, text, REMEDIES["unreachable"])
        return
    offset = time.time() - aws_time
    if abs(offset) > TOLERANCE:
        which = "ahead of" if offset > 0 else "behind"
        yield Finding("clock", False, f"{abs(offset):.0f} s {which} AWS's", SET_IT)
    else:
        yield Finding("clock", True, f"within {TOLERANCE:.0f} s of AWS's")


def _date_of(url: str) -> float:
    """Return the Date header of any answer in epoch seconds. Raises OSError or ValueError."""
    request = Request(url, method="HEAD")  # noqa: S310 - boto3's endpoint
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            date = answer.headers["Date"]
    except HTTPError as error:
        date = error.headers["Date"]
    except URLError as error:
        raise OSError(str(error.reason)) from error
    return parsedate_to_datetime(date or "").timestamp()
