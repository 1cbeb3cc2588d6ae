"""The recipes of docs/backends.md, as they stand there, read the gateway's cookies and tags."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.support import (
    ROOT,
    SECRET_KEY,
    Start,
    Stored,
    beacon,
    post,
)

TEXT = (ROOT / "docs/backends.md").read_text()
COOKIE = "pz_sid_shop"
OTHER_KEY = "another-key-0123456789abcdefghijkl"
# Language → its fence, how to run it, and the lines that apply it to the cases on standard input:
# [the session ID of a Cookie header, the verified session ID].
RUNS = {
    "Python": (
        "python",
        [sys.executable],
        """
import json, sys
print(json.dumps([
    [session_id(token), verified_session_id(token, site, keys)]
    for header, site, keys in json.load(sys.stdin)
    for token in [session_token(header, site)]
]))
""",
    ),
    "Node": (
        "js",
        ["node"],
        """
const cases = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
console.log(JSON.stringify(cases.map(([header, site, keys]) => {
  const token = sessionToken(header, site)
  return [sessionId(token), verifiedSessionId(token, site, keys)]
})))
""",
    ),
    "PHP": (
        "php",
        ["php"],
        """
echo json_encode(array_map(function($case) {
    [$header, $site, $keys] = $case;
    $token = session_token($header, $site);
    return [session_id_of($token), verified_session_id($token, $site, $keys)];
}, json_decode(file_get_contents('php://stdin'))));
""",
    ),
    "Ruby": (
        "ruby",
        ["ruby"],
        """
require 'json'
answers = JSON.parse($stdin.read).map do |header, site, keys|
  token = session_token(header, site)
  [session_id(token), verified_session_id(token, site, keys)]
end
puts JSON.generate(answers)
""",
    ),
}

Answers = list[list[str | None]]
Recipe = Callable[[list["Case"]], Answers]


class Case(NamedTuple):
    """A Cookie header, and what the recipe is told."""

    header: str
    site: str = "shop"
    keys: str = SECRET_KEY


@pytest.fixture(params=RUNS)
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    """Run a language's recipe on cases."""
    fence, command, application = RUNS[request.param]
    [code] = re.findall(rf"## {request.param}\n\n```{fence}\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "recipe.cjs"
    path.write_text(("<?php\n" if fence == "php" else "") + code + application)

    def run(cases: list[Case]) -> Answers:
        ended = subprocess.run(
            [*command, path], input=json.dumps(cases), capture_output=True, text=True, check=True
        )
        assert ended.stderr == ""
        answers: Answers = json.loads(ended.stdout)
        return answers

    return run


def test_every_recipe_reads_the_gateways_cookie_and_tag(
    recipe: Recipe, start: Start, stored: Stored
) -> None:
    browser = start()
    cases = []
    for members in ({}, {"userId": "ann"}, {"userId": "bob"}, {"reset": True}):
        tag = post(browser, beacon(**members)).headers["X-Gateway-Session"]
        cookie = browser.get_cookie(COOKIE)
        assert cookie is not None
        for token in (cookie.value, tag):
            cases += [
                Case(f"{COOKIE}={token}"),
                Case(
                    f"a=b; {COOKIE}2=x; x{COOKIE}=y; {COOKIE}={token}; c=d",
                    keys=f"{OTHER_KEY}, {SECRET_KEY}",
                ),
                Case(f"a=b;{COOKIE}={token};c", keys=f"{SECRET_KEY},{OTHER_KEY}"),
            ]
    ids = [record["session_id"] for record in stored() for _ in range(6)]
    assert len(set(ids)) == 3  # a log-in, another user, a log-out
    assert recipe(cases) == [[id_, id_] for id_ in ids]


def test_no_recipe_verifies_what_the_gateway_did_not_sign_for_this_site(
    recipe: Recipe, start: Start, stored: Stored
) -> None:
    token = post(start(), beacon()).headers["X-Gateway-Session"]
    [record] = stored()
    session_id = record["session_id"]
    payload, _, signature = token.rpartition(".")
    other = "0" * 32
    forged = {
        token: [Case(f"{COOKIE}={token}", keys=OTHER_KEY), Case(f"{COOKIE}={token}", keys="")],
        **{
            text: [Case(f"{COOKIE}={text}")]
            for text in (
                token.replace(session_id, other),
                f"{payload}.{signature[:-1]}",
                f"{payload}.{signature}A",
                f"{payload}.",
                f"{payload}.ü",
            )
        },
    }
    cases = [case for cases in forged.values() for case in cases]
    texts = [text for text, cases in forged.items() for _ in cases]
    assert recipe(cases) == [[text.split(".")[0], None] for text in texts]
    assert recipe([Case(f"pz_sid_media={token}", site="media")]) == [[session_id, None]]


def test_no_recipe_finds_a_session_where_there_is_none(recipe: Recipe) -> None:
    headers = ["", f"{COOKIE}=", f"{COOKIE}2=a.1.2..b", f"x{COOKIE}=a.1.2..b", "a=b; c", ";;"]
    assert recipe([Case(header) for header in headers]) == [[None] * 2] * len(headers)
    malformed = ["a", "a.b", "a.1.2.b", "a.1.2.b.c.d", "....."]
    cases = [Case(f"{COOKIE}={token}") for token in malformed]
    assert recipe(cases) == [[None] * 2] * len(malformed)
