"""The recipes of docs/identity.md, as they stand there, sign what the gateway believes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.support import ROOT, SITES, Start, Stored, beacon, post

TEXT = (ROOT / "docs/identity.md").read_text()
PAIRS = [
    ("s3", "u-17"),
    ("s3", "u-\u00fc\u20ac\U0001f6d2"),
    ("\u00e4 long secret, " * 10, 'o\'neil "x" \\ $0'),
    ("s", "u" * 256),
]
# Language → its fence, how to run it, and a line that signs what is on standard input.
RUNS = {
    "Python": (
        "python",
        [sys.executable],
        "import json, sys\nprint(json.dumps([signature(*pair) for pair in json.load(sys.stdin)]))",
    ),
    "Node": (
        "js",
        ["node"],
        "const pairs = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))\n"
        "console.log(JSON.stringify(pairs.map((pair) => signature(...pair))))",
    ),
    "PHP": (
        "php",
        ["php"],
        "echo json_encode(array_map(fn($pair) => signature(...$pair),"
        " json_decode(file_get_contents('php://stdin'))));",
    ),
    "Ruby": (
        "ruby",
        ["ruby"],
        "require 'json'\nputs JSON.generate(JSON.parse($stdin.read).map { |p| signature(*p) })",
    ),
}


@pytest.fixture(scope="module", params=RUNS)
def signatures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """What a recipe makes of the pairs of secret and userId."""
    fence, command, last = RUNS[request.param]
    [recipe] = re.findall(rf"## {request.param}\n\n```{fence}\n(.*?)```", TEXT, re.DOTALL)
    path: Path = tmp_path_factory.mktemp("recipe") / "recipe.cjs"
    path.write_text(("<?php\n" if fence == "php" else "") + recipe + last)
    run = subprocess.run(
        [*command, path], input=json.dumps(PAIRS), capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return json.loads(run.stdout)


def test_every_recipe_signs_what_the_gateway_believes(
    signatures: list[str], start: Start, stored: Stored
) -> None:
    assert f"`{signatures[0]}`" in TEXT
    for (secret, user), signature in zip(PAIRS, signatures, strict=True):
        line = f"user_secret = {json.dumps(secret)}"
        client = start(SITES.replace("[sites.media]", f"{line}\n\n[sites.media]"))
        assert post(client, beacon(userId=user, signature=signature)).status_code == 204
    assert [record["user_id"] for record in stored()] == [user for _, user in PAIRS]
