"""What a case is, and the files that the invocations may name."""

from dataclasses import dataclass, field
from typing import Any

USAGE, CONFIGURATION, SERVICE, GENERAL = 252, 253, 254, 255

IDS = ("--tracking-id", "t-1", "--session-id", "s-1")
VIEW = "eventType=view,itemId=i1,sentAt=1700000000"
VIEWED = {"eventType": "view", "itemId": "i1", "sentAt": 1700000000}
JSON = (
    '{"trackingId": "t-1", "userId": "u-1", "sessionId": "s-1",'
    ' "eventList": [{"eventType": "view", "itemId": "i1", "sentAt": 1700000000}]}'
)
YAML = """\
trackingId: t-1
sessionId: s-1
eventList:
- eventType: view
  itemId: i1
  sentAt: 1700000000
"""


@dataclass(frozen=True)
class Case:
    """One invocation. `status` is ours; AWS CLI v1 must only succeed or fail likewise.

    In `args` and `env`, `{url}` stands for the recording server's address; where neither has it,
    `--endpoint-url {url}` goes before the rest.

    `v1_lacks`: what AWS CLI v1 does not have; the expectation is v2's, written out in `sent`.
    `differs`: why we refuse what AWS CLI sends.
    """

    name: str
    args: tuple[str, ...]
    status: int = 0
    v1_lacks: str = ""
    sent: Any = None
    differs: str = ""
    answer: int = 200
    env: dict[str, str | None] = field(default_factory=dict)


# In the directory where the commands run.
FILES: dict[str, bytes] = {
    "list.json": b'\n [{"eventType": "view", "itemId": "i1", "sentAt": 1700000000}]\n',
    "object.json": b'{"eventType": "view", "sentAt": 1700000000}',
    "shorthand.txt": VIEW.encode(),
    "empty.txt": b"",
    "binary.bin": b"\xff\xfe\x00",
    "bom.json": b'\xef\xbb\xbf[{"eventType": "view", "sentAt": 1}]',
    "tracking-id.txt": b"t-from-file",
    "newline.txt": b"t-from-file\n",
    "umlaut.txt": "t-ü".encode(),
    "properties.json": b'{"color": "red, \\"dark\\""}',
    "input.json": JSON.encode(),
    "input.yaml": YAML.encode(),
    "config": b"[default]\nregion = eu-west-1\n[profile other]\nregion = ap-south-1\n",
    "credentials": b"[other]\naws_access_key_id = OTHER\naws_secret_access_key = other\n",
}


def view(**members: Any) -> dict[str, Any]:
    return {"trackingId": "t-1", "sessionId": "s-1", "eventList": [{**VIEWED, **members}]}


def given(*event_list: str) -> tuple[str, ...]:
    return (*IDS, "--event-list", *event_list)


def plus(extra: str) -> tuple[str, ...]:
    """One event in shorthand with more after it."""
    return given(f"eventType=view,sentAt=1700000000,{extra}")


def at(json_value: str) -> tuple[str, ...]:
    """One event in JSON with this sentAt."""
    return given(f'[{{"eventType": "view", "sentAt": {json_value}}}]')


def member(json_member: str) -> tuple[str, ...]:
    """One event in JSON with one more member."""
    return given(f'[{{"eventType": "view", "sentAt": 1700000000, {json_member}}}]')
