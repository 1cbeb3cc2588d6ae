"""Check each site's region and credentials and, if asked to, send PutEvents a test event."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from uuid import uuid4

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from gateway.commands.check.finding import Finding
from gateway.forwarder.batching import Call, CallFailed
from gateway.forwarder.personalize import Personalize, session
from gateway.queues import Delivery, Record
from gateway.settings import Settings
from gateway.sites import Site

TEST_EVENT = "personalize-gateway-check"  # its type, and its session
GIVE_CREDENTIALS = (
    "Give the forwarder credentials: an instance's or task's role, AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
POLICY = "Allow it personalize:PutEvents: docs/iam/forwarder.json"
CLOCK = "The machine's clock is wrong: set it by NTP (timedatectl set-ntp true)"
RENEW = "The session is over: sign in again (aws sso login), or renew the temporary credentials"
KEYS = "The access key is unknown or its secret is wrong: look into AWS_…, ~/.aws and AWS_PROFILE"

# Text in AWS's message → remedy; the first match counts, then the forwarder's reason.
REMEDIES = {
    "RequestTimeTooSkewed": CLOCK,
    "Signature expired": CLOCK,
    "Signature not yet current": CLOCK,
    "ExpiredToken": RENEW,
    "UnrecognizedClient": KEYS,
    "InvalidClientTokenId": KEYS,
    "InvalidSignature": KEYS,
    "SignatureDoesNotMatch": KEYS,
    "IncompleteSignature": KEYS,
    "MissingAuthenticationToken": GIVE_CREDENTIALS,
    "AssumeRole": (
        "Allow these credentials sts:AssumeRole on the site's role_arn, and name them in that "
        "role's trust policy"
    ),
    "Unable to locate credentials": GIVE_CREDENTIALS,
    "config profile": "AWS_PROFILE names a profile that ~/.aws/config does not have",
    "specify a region": "Set region in the site's table, or AWS_DEFAULT_REGION",
    "ResourceInUse": "The event tracker is still being made: wait a minute and try again",
    "access_denied": POLICY,
    "not_found": "No such event tracker: is the region the dataset group's own?",
    "tracking_id": (
        "The tracking ID must be of an active event tracker in this region and account: "
        "aws personalize list-event-trackers"
    ),
    "throttled": "Past the quota of PutEvents: try again, or ask AWS for a higher one",
    "aws_error": "AWS is unwell: try again in a minute",
    "unreachable": (
        "No way there: look into DNS, firewall, proxy (HTTPS_PROXY), the VPC endpoint of "
        "personalize-events, and AWS_ENDPOINT_URL_PERSONALIZE_EVENTS"
    ),
    "refused": (
        "The dataset group's schema asks for more than the test event has: AWS's message says "
        "subject, and your own events need it too"
    ),
}


def findings(settings: Settings, *, send_test: bool) -> Iterator[Finding]:
    """Yield findings on each site's region and credentials, and on a test event if asked for."""
    personalize = Personalize(settings)
    for site in settings.sites.values():
        found = _region(site), _credentials(site)
        yield from found
        if send_test and all(finding.ok for finding in found):
            yield _test_event(site, personalize)


def remedy(reason: str, message: str) -> str:
    """Return what to do about a failure; `reason` is the forwarder's code."""
    by_message = (text for sign, text in REMEDIES.items() if sign in message)
    return next(by_message, REMEDIES.get(reason, "AWS's message is all that is known of it"))


def _region(site: Site) -> Finding:
    subject = f"site {site.key}: region"
    try:
        region = site.region or boto3.Session().region_name
        known = _regions(region) if region else []
    except BotoCoreError as error:
        return Finding(subject, False, str(error), remedy("aws_setup", str(error)))
    if region is None:
        text = "none"
        if "AWS_REGION" in os.environ:
            text = "none: boto3 reads AWS_DEFAULT_REGION, and not AWS_REGION"
        return Finding(subject, False, text, REMEDIES["specify a region"])
    is_elsewhere = site.endpoint_url or "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS" in os.environ
    if known and region not in known:
        text = f"boto3 knows no Amazon Personalize in {region}"
        advice = f"Known: {', '.join(known)}. A newer one? Update boto3"
        return Finding(subject, bool(is_elsewhere), text, advice)
    return Finding(subject, True, region)


def _regions(region: str) -> list[str]:
    """Return the regions of the same partition that have Personalize."""
    here = boto3.Session()
    partition = here.get_partition_for_region(region)
    return list(here.get_available_regions("personalize", partition_name=partition))


def _credentials(site: Site) -> Finding:
    subject = f"site {site.key}: credentials"
    try:
        found = session(site).get_credentials()
        keys = found and found.get_frozen_credentials()
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        return Finding(subject, False, str(error), remedy("aws_setup", str(error)))
    if not found or not keys or not keys.access_key:
        return Finding(subject, False, "none", GIVE_CREDENTIALS)
    return Finding(subject, True, f"{site.role_arn or found.method}, {keys.access_key[:4]}…")


def _test_event(site: Site, personalize: Personalize) -> Finding:
    subject, now = f"site {site.key}: test event", time.time()
    event_id = str(uuid4())
    event = {"eventId": event_id, "eventType": TEST_EVENT, "sentAt": int(now)}
    record = Record(site.key, TEST_EVENT, None, event_id, json.dumps(event), None, now)
    try:
        personalize.send(Call(site.key, TEST_EVENT, None, [Delivery(0, record, 0)]))
    except CallFailed as failure:
        text = f"{failure.reason}: {failure}"
        return Finding(subject, False, text, remedy(failure.reason, str(failure)))
    return Finding(subject, True, f"PutEvents took {event_id}, of type {TEST_EVENT}")
